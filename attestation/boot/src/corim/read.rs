//! From CBOR to the model (draft-ietf-rats-corim, section 4.1 and 5.1). Entries with keys that the
//! model has no place for are skipped, as the draft's extension points ask.

use super::value::{Node, Value, fault, parse};
use super::*;
use crate::BootError;

const UNSIGNED_CORIM: u64 = 501;
const COMID: u64 = 506;
const TAGS: [u64; 3] = [505, COMID, 508];
const TIME: u64 = 1;
const URI: u64 = 32;
const UUID: u64 = 37;
const OID: u64 = 111;
const UEID: u64 = 550;
const SVN: u64 = 552;
const MINIMUM_SVN: u64 = 553;
const PKIX_KEY: u64 = 554;
const BYTES: u64 = 560;

type Read<T> = Result<T, BootError>;

impl Corim {
    /// Reads a manifest: tag 501 and its map, each CoMID in it, and the rules of its profile where
    /// that is one of [`PARSEC_TPM_PROFILE`] and [`RELEASE_PROFILE`].
    ///
    /// # Errors
    /// [`BootError::Corim`]; offsets are 0 where a profile's rule is broken.
    pub fn parse(bytes: &[u8]) -> Read<Self> {
        let node = parse(bytes, 0)?;
        let Value::Tag(UNSIGNED_CORIM, map) = &node.value else {
            return Err(fault(CorimFault::NotCorim, node.offset));
        };
        let map = Map::of(map, "corim-map")?;
        let corim = Self {
            id: tag_id(map.need(0, "id")?, "id")?,
            profile: map.get(3).map(profile).transpose()?,
            validity: map.get(4).map(validity).transpose()?,
            tags: list(map.need(1, "tags")?, "tags", tag)?,
        };
        corim.check_profile()?;
        Ok(corim)
    }
}

/// A map with integer keys.
struct Map<'a> {
    offset: usize,
    entries: &'a [(Node, Node)],
}

impl<'a> Map<'a> {
    fn of(node: &'a Node, what: &'static str) -> Read<Self> {
        match &node.value {
            Value::Map(entries) => Ok(Self { offset: node.offset, entries }),
            _ => Err(shape(node, what)),
        }
    }

    /// A map that must hold something.
    fn filled(node: &'a Node, what: &'static str) -> Read<Self> {
        let map = Self::of(node, what)?;
        if map.entries.is_empty() { Err(fault(CorimFault::Missing(what), node.offset)) } else { Ok(map) }
    }

    fn get(&self, key: u64) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|(seen, _)| seen.value == Value::Uint(key));
        entry.map(|(_, value)| value)
    }

    fn need(&self, key: u64, what: &'static str) -> Read<&'a Node> {
        self.get(key).ok_or_else(|| fault(CorimFault::Missing(what), self.offset))
    }

    fn text(&self, key: u64, what: &'static str) -> Read<Option<String>> {
        self.get(key).map(|node| text(node, what)).transpose()
    }

    fn uint(&self, key: u64, what: &'static str) -> Read<Option<u64>> {
        self.get(key).map(|node| uint(node, what)).transpose()
    }

    /// A list at `key`; none, no list.
    fn list<T>(&self, key: u64, what: &'static str, read: fn(&Node) -> Read<T>) -> Read<Vec<T>> {
        self.get(key).map_or_else(|| Ok(Vec::new()), |node| list(node, what, read))
    }
}

fn shape(node: &Node, what: &'static str) -> BootError {
    fault(CorimFault::Shape(what), node.offset)
}

fn text(node: &Node, what: &'static str) -> Read<String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(shape(node, what)),
    }
}

fn uint(node: &Node, what: &'static str) -> Read<u64> {
    match node.value {
        Value::Uint(n) => Ok(n),
        _ => Err(shape(node, what)),
    }
}

fn bytes<'a>(node: &'a Node, what: &'static str) -> Read<&'a [u8]> {
    match &node.value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(shape(node, what)),
    }
}

fn uuid(node: &Node, what: &'static str) -> Read<[u8; 16]> {
    bytes(node, what)?.try_into().map_err(|_| shape(node, what))
}

/// A list of one or more.
fn list<T>(node: &Node, what: &'static str, read: fn(&Node) -> Read<T>) -> Read<Vec<T>> {
    match &node.value {
        Value::Array(items) if !items.is_empty() => items.iter().map(read).collect(),
        Value::Array(_) => Err(fault(CorimFault::Missing(what), node.offset)),
        _ => Err(shape(node, what)),
    }
}

fn pair<'a>(node: &'a Node, what: &'static str) -> Read<[&'a Node; 2]> {
    match &node.value {
        Value::Array(items) => match items.as_slice() {
            [one, two] => Ok([one, two]),
            _ => Err(shape(node, what)),
        },
        _ => Err(shape(node, what)),
    }
}

fn tag_id(node: &Node, what: &'static str) -> Read<TagId> {
    match &node.value {
        Value::Text(text) => Ok(TagId::Text(text.clone())),
        Value::Tag(UUID, inner) => uuid(inner, what).map(TagId::Uuid),
        _ => uuid(node, what).map(TagId::Uuid),
    }
}

/// One profile; drafts before the fourth wrote a list of them.
fn profile(node: &Node) -> Read<Profile> {
    const WHAT: &str = "profile";
    match &node.value {
        Value::Tag(URI, uri) => text(uri, WHAT).map(Profile::Uri),
        Value::Tag(OID, oid) => Ok(Profile::Oid(bytes(oid, WHAT)?.to_vec())),
        Value::Array(items) => match items.as_slice() {
            [one] if !matches!(one.value, Value::Array(_)) => profile(one),
            _ => Err(shape(node, WHAT)),
        },
        _ => Err(shape(node, WHAT)),
    }
}

fn validity(node: &Node) -> Read<Validity> {
    let map = Map::of(node, "rim-validity")?;
    let not_before = map.get(0).map(|node| time(node, "not-before")).transpose()?;
    let not_after = time(map.need(1, "not-after")?, "not-after")?;
    Ok(Validity { not_before, not_after })
}

fn time(node: &Node, what: &'static str) -> Read<u64> {
    match &node.value {
        Value::Tag(TIME, seconds) => uint(seconds, what),
        _ => Err(shape(node, what)),
    }
}

fn tag(node: &Node) -> Read<CorimTag> {
    const WHAT: &str = "tags";
    let Value::Tag(number, content) = &node.value else { return Err(shape(node, WHAT)) };
    let inner = bytes(content, WHAT)?;
    match *number {
        COMID => comid(&parse(inner, content.offset)?).map(CorimTag::Comid),
        number if TAGS.contains(&number) => Ok(CorimTag::Other(number, inner.to_vec())),
        _ => Err(shape(node, WHAT)),
    }
}

fn comid(node: &Node) -> Read<Comid> {
    let map = Map::of(node, "concise-mid-tag")?;
    let identity = Map::of(map.need(1, "tag-identity")?, "tag-identity")?;
    let triples = Map::filled(map.need(4, "triples")?, "triples")?;
    let known = |key: &u64| matches!(key, 0 | 1 | 3);
    let keys = triples.entries.iter().filter_map(|(key, _)| uint(key, "triples").ok());
    Ok(Comid {
        id: tag_id(identity.need(0, "tag-id")?, "tag-id")?,
        version: identity.uint(1, "tag-version")?.unwrap_or(0),
        reference: triples.list(0, "reference-triples", triple)?,
        endorsed: triples.list(1, "endorsed-triples", triple)?,
        attest_keys: triples.list(3, "attest-key-triples", key_triple)?,
        other: keys.filter(|key| !known(key)).collect(),
    })
}

fn triple(node: &Node) -> Read<Triple> {
    let [of, measured] = pair(node, "triple")?;
    let measurements = list(measured, "measurements", measurement)?;
    Ok(Triple { environment: environment(of)?, measurements })
}

/// A third element holds conditions, which narrow what the keys are for.
fn key_triple(node: &Node) -> Read<KeyTriple> {
    match &node.value {
        Value::Array(items) => match items.as_slice() {
            [of, keys] | [of, keys, _] => {
                Ok(KeyTriple { environment: environment(of)?, keys: list(keys, "keys", crypto_key)? })
            }
            _ => Err(shape(node, "attest-key-triples")),
        },
        _ => Err(shape(node, "attest-key-triples")),
    }
}

fn crypto_key(node: &Node) -> Read<CryptoKey> {
    match &node.value {
        Value::Tag(PKIX_KEY, key) => text(key, "key").map(CryptoKey::PkixBase64Key),
        Value::Tag(tag, _) => Ok(CryptoKey::Other(*tag)),
        _ => Err(shape(node, "key")),
    }
}

fn environment(node: &Node) -> Read<Environment> {
    let map = Map::filled(node, "environment")?;
    Ok(Environment {
        class: map.get(0).map(class).transpose()?,
        instance: map.get(1).map(|node| identifier(node, "instance")).transpose()?,
        group: map.get(2).map(|node| identifier(node, "group")).transpose()?,
    })
}

fn class(node: &Node) -> Read<Class> {
    let map = Map::filled(node, "class")?;
    Ok(Class {
        id: map.get(0).map(|node| identifier(node, "class-id")).transpose()?,
        vendor: map.text(1, "vendor")?,
        model: map.text(2, "model")?,
        layer: map.uint(3, "layer")?,
        index: map.uint(4, "index")?,
    })
}

fn identifier(node: &Node, what: &'static str) -> Read<Identifier> {
    let Value::Tag(tag, inner) = &node.value else { return Err(shape(node, what)) };
    Ok(match *tag {
        UUID => Identifier::Uuid(uuid(inner, what)?),
        OID => Identifier::Oid(bytes(inner, what)?.to_vec()),
        UEID => Identifier::Ueid(bytes(inner, what)?.to_vec()),
        BYTES => Identifier::Bytes(bytes(inner, what)?.to_vec()),
        other => Identifier::Other(other),
    })
}

fn measurement(node: &Node) -> Read<Measurement> {
    let map = Map::of(node, "measurement")?;
    let key = map.get(0).map(measurement_key).transpose()?;
    Ok(Measurement { key, values: values(map.need(1, "mval")?)? })
}

fn measurement_key(node: &Node) -> Read<MeasurementKey> {
    const WHAT: &str = "mkey";
    match &node.value {
        Value::Uint(n) => Ok(MeasurementKey::Uint(*n)),
        Value::Text(text) => Ok(MeasurementKey::Text(text.clone())),
        Value::Tag(UUID, inner) => uuid(inner, WHAT).map(MeasurementKey::Uuid),
        Value::Tag(OID, inner) => Ok(MeasurementKey::Oid(bytes(inner, WHAT)?.to_vec())),
        _ => Err(shape(node, WHAT)),
    }
}

fn values(node: &Node) -> Read<MeasurementValues> {
    let map = Map::filled(node, "mval")?;
    let version = map.get(0).map(|node| Map::of(node, "version")).transpose()?;
    let version = version.map(|version| text(version.need(0, "version")?, "version")).transpose()?;
    let known = |key: &i64| matches!(key, 0 | 1 | 2 | 11);
    let keys: Read<Vec<i64>> = map.entries.iter().map(|(key, _)| int(key, "mval")).collect();
    Ok(MeasurementValues {
        version,
        svn: map.get(1).map(svn).transpose()?,
        digests: map.list(2, "digests", digest)?,
        name: map.text(11, "name")?,
        other: keys?.into_iter().filter(|key| !known(key)).collect(),
    })
}

fn int(node: &Node, what: &'static str) -> Read<i64> {
    let int = match node.value {
        Value::Uint(n) => i64::try_from(n).ok(),
        Value::Negative(n) => i64::try_from(-1 - i128::from(n)).ok(),
        _ => None,
    };
    int.ok_or_else(|| shape(node, what))
}

fn svn(node: &Node) -> Read<Svn> {
    match &node.value {
        Value::Tag(SVN, n) => uint(n, "svn").map(Svn::Exact),
        Value::Tag(MINIMUM_SVN, n) => uint(n, "svn").map(Svn::Minimum),
        _ => uint(node, "svn").map(Svn::Exact),
    }
}

fn digest(node: &Node) -> Read<CorimDigest> {
    const WHAT: &str = "digest";
    let [alg, value] = pair(node, WHAT)?;
    let alg = match &alg.value {
        Value::Text(name) => DigestAlg::Name(name.clone()),
        _ => DigestAlg::Id(int(alg, WHAT)?),
    };
    let bytes = bytes(value, WHAT)?.to_vec();
    if alg.digest_len().is_some_and(|len| len != bytes.len()) {
        return Err(shape(value, WHAT));
    }
    Ok(CorimDigest { alg, value: bytes })
}

impl DigestAlg {
    /// Length in bytes of a digest; `None` for an algorithm that this crate does not know.
    #[must_use]
    pub fn digest_len(&self) -> Option<usize> {
        match self {
            Self::Id(1 | 10 | -16) => Some(32),
            Self::Id(7 | 11 | -43) => Some(48),
            Self::Id(8 | 12 | -44) => Some(64),
            Self::Name(name) => match name.as_str() {
                "sha-256" | "sha3-256" => Some(32),
                "sha-384" | "sha3-384" => Some(48),
                "sha-512" | "sha3-512" => Some(64),
                _ => None,
            },
            Self::Id(_) => None,
        }
    }
}
