//! Templates, and the fields that they are made of.

use super::ImaEntry;
use crate::cursor::Cursor;
use crate::{BootError, HashAlg};

/// Digest length of the template `ima`.
pub(super) const IMA_DIGEST_LEN: usize = 20;
/// Length of the length before the name of the template `ima`.
pub(super) const IMA_NAME_LEN_LEN: usize = 4;
/// Longest name of the template `ima`; its hash covers the name padded to one byte more.
pub(super) const IMA_NAME_MAX: usize = 255;

/// Most fields of a template (IMA_TEMPLATE_NUM_FIELDS_MAX).
const MAX_FIELDS: usize = 15;

/// Templates with a name, and their formats.
const NAMED: [(&str, &str); 6] = [
    ("ima-ng", "d-ng|n-ng"),
    ("ima-sig", "d-ng|n-ng|sig"),
    ("ima-buf", "d-ng|n-ng|buf"),
    ("ima-ngv2", "d-ngv2|n-ng"),
    ("ima-sigv2", "d-ngv2|n-ng|sig"),
    ("ima-modsig", "d-ng|n-ng|sig|d-modsig|modsig"),
];

/// File digest algorithms by the kernel's names (`hash_algo_name`), and their lengths in bytes.
const FILE_DIGESTS: [(&[u8], usize); 20] = [
    (b"sha1", 20),
    (b"sha256", 32),
    (b"sha384", 48),
    (b"sha512", 64),
    (b"sha224", 28),
    (b"md4", 16),
    (b"md5", 16),
    (b"rmd128", 16),
    (b"rmd160", 20),
    (b"rmd256", 32),
    (b"rmd320", 40),
    (b"wp256", 32),
    (b"wp384", 48),
    (b"wp512", 64),
    (b"sm3", 32),
    (b"streebog256", 32),
    (b"streebog512", 64),
    (b"sha3-256", 32),
    (b"sha3-384", 48),
    (b"sha3-512", 64),
];

/// How an entry's data is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    /// The original one, with an encoding and a hash rule of its own.
    Ima,
    /// A list of fields, each behind its length.
    Fields(FieldList),
    /// Something else; its data is carried and replayed, but not read.
    Unknown,
}

impl Template {
    /// The template with this name; a template without a name is called by its format.
    pub(super) fn named(name: &str) -> Self {
        if name == "ima" {
            return Self::Ima;
        }
        let format = NAMED.iter().find(|(known, _)| *known == name).map_or(name, |(_, format)| format);
        FieldList::of(format).map_or(Self::Unknown, Self::Fields)
    }
}

/// The fields of a template, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FieldList {
    fields: [Field; MAX_FIELDS],
    len: u8,
}

impl FieldList {
    /// The list of a format; `None` for one with an unknown field.
    fn of(format: &str) -> Option<Self> {
        let mut list = Self { fields: [Field::Digest; MAX_FIELDS], len: 0 };
        for id in format.split('|') {
            *list.fields.get_mut(usize::from(list.len))? = Field::of(id)?;
            list.len += 1;
        }
        Some(list)
    }

    pub(super) fn as_slice(&self) -> &[Field] {
        self.fields.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// What a field's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// A digest of 20 bytes or fewer.
    Digest,
    /// Algorithm, colon, NUL, digest.
    DigestNg,
    /// Kind, colon, algorithm, colon, NUL, digest.
    DigestNgV2,
    /// Text with its NUL.
    Name,
    /// A signature.
    Signature,
    /// A buffer.
    Buffer,
    /// A digest that an appended signature covers; not that of the file.
    ModsigDigest,
    /// An appended signature.
    Modsig,
}

impl Field {
    fn of(id: &str) -> Option<Self> {
        Some(match id {
            "d" => Self::Digest,
            "d-ng" => Self::DigestNg,
            "d-ngv2" => Self::DigestNgV2,
            "n" | "n-ng" => Self::Name,
            "sig" | "evmsig" => Self::Signature,
            "buf" => Self::Buffer,
            "d-modsig" => Self::ModsigDigest,
            "modsig" => Self::Modsig,
            _ => return None,
        })
    }
}

/// The fields of an entry; empty where the template has no such field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImaFields<'a> {
    /// What was hashed, in templates that say so: `ima` for the file, `verity` for its fs-verity
    /// descriptor.
    pub digest_kind: &'a str,
    /// The file digest's algorithm, by the kernel's name; "sha1" for the template `ima`.
    pub digest_alg: &'a str,
    /// The digest of a file or buffer. For a violation zeros, of that length or of 20 bytes.
    pub digest: &'a [u8],
    /// Path, or name of what was measured, without its NUL: bytes, usually UTF-8.
    pub path: &'a [u8],
    /// `security.ima` or `security.evm`, with its header.
    pub signature: &'a [u8],
    /// The buffer measured (`ima-buf`): a kernel command line, a key, critical data.
    pub buffer: &'a [u8],
    /// A signature appended to the file.
    pub modsig: &'a [u8],
}

/// Checks the data of a known template; `offset` is the entry's.
#[inline]
pub(super) fn check(entry: &ImaEntry<'_>, offset: usize) -> Result<(), BootError> {
    if entry.template == Template::Unknown {
        return Ok(());
    }
    let fields = entry.fields().ok_or(BootError::CheckField { field: "template data", offset })?;
    let wanted = FILE_DIGESTS.iter().find(|(alg, _)| *alg == fields.digest_alg.as_bytes());
    let len = fields.digest.len();
    let zeros = || fields.digest.iter().all(|byte| *byte == 0);
    let digest = match wanted {
        Some((_, wanted)) => len == *wanted || entry.is_violation() && len == IMA_DIGEST_LEN && zeros(),
        None => fields.digest_alg.is_empty() && len <= IMA_DIGEST_LEN,
    };
    if digest { Ok(()) } else { Err(BootError::CheckField { field: "file digest", offset }) }
}

/// Reads the fields; `None` where the data is not exactly what the template says.
pub(super) fn read<'a>(template: &Template, data: &'a [u8]) -> Option<ImaFields<'a>> {
    let mut fields = ImaFields::default();
    match template {
        Template::Unknown => None,
        Template::Ima => {
            let (digest, rest) = data.split_at_checked(IMA_DIGEST_LEN)?;
            let path = rest.get(IMA_NAME_LEN_LEN..)?;
            fields = ImaFields { digest_alg: HashAlg::Sha1.name(), digest, path, ..fields };
            (path.len() <= IMA_NAME_MAX && !has_nul(path)).then_some(fields)
        }
        Template::Fields(list) => {
            let mut cursor = Cursor::new(data, 0);
            for field in list.as_slice() {
                let len = usize::try_from(cursor.u32("field size").ok()?).ok()?;
                fields.set(*field, cursor.take(len, "field").ok()?)?;
            }
            (cursor.remaining() == 0).then_some(fields)
        }
    }
}

impl<'a> ImaFields<'a> {
    fn set(&mut self, field: Field, bytes: &'a [u8]) -> Option<()> {
        match field {
            Field::Digest => self.digest = bytes,
            Field::DigestNg => (self.digest_alg, self.digest) = digest_ng(bytes)?,
            Field::DigestNgV2 => {
                let (head, digest) = digest_ng(bytes)?;
                (self.digest_kind, self.digest_alg) = head.split_once(':')?;
                self.digest = digest;
            }
            Field::Name => {
                let (nul, path) = bytes.split_last()?;
                self.path = path;
                return (*nul == 0 && !has_nul(path)).then_some(());
            }
            Field::Signature => self.signature = bytes,
            Field::Buffer => self.buffer = bytes,
            Field::ModsigDigest => {}
            Field::Modsig => self.modsig = bytes,
        }
        Some(())
    }
}

/// Text up to a colon and a NUL, and the digest behind them.
fn digest_ng(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let nul = bytes.iter().position(|byte| *byte == 0)?;
    let (head, digest) = bytes.split_at_checked(nul)?;
    let head = std::str::from_utf8(head.strip_suffix(b":")?).ok()?;
    Some((head, digest.get(1..)?))
}

/// Whether a name has a NUL. Without an early exit, which costs more than it saves on short names.
fn has_nul(name: &[u8]) -> bool {
    name.iter().fold(false, |found, byte| found | (*byte == 0))
}
