//! From the model to CBOR: the part of it that a release needs.

use super::value::{Node, Value, to_vec};
use super::*;

/// The deterministic encoding of a manifest whose values are those that a release has.
pub(super) fn encode(corim: &Corim) -> Vec<u8> {
    let mut entries = vec![(0, id(&corim.id)), (1, array(corim.tags.iter().map(tag)))];
    if let Some(Profile::Uri(uri)) = &corim.profile {
        entries.push((3, tagged(32, Value::Text(uri.clone()))));
    }
    if let Some(validity) = &corim.validity {
        let time = |seconds| tagged(1, Value::Uint(seconds));
        let before = validity.not_before.map(|seconds| (0, time(seconds)));
        entries.push((4, map(before.into_iter().chain([(1, time(validity.not_after))]))));
    }
    to_vec(&tagged(501, map(entries)))
}

fn node(value: Value) -> Node {
    Node { offset: 0, value }
}

fn map(entries: impl IntoIterator<Item = (u64, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (node(Value::Uint(key)), node(value))).collect())
}

fn array(items: impl Iterator<Item = Value>) -> Value {
    Value::Array(items.map(node).collect())
}

fn tagged(tag: u64, value: Value) -> Value {
    Value::Tag(tag, Box::new(node(value)))
}

fn id(id: &TagId) -> Value {
    match id {
        TagId::Text(text) => Value::Text(text.clone()),
        TagId::Uuid(uuid) => Value::Bytes(uuid.to_vec()),
    }
}

fn tag(tag: &CorimTag) -> Value {
    match tag {
        CorimTag::Comid(comid) => {
            let identity = map([(0, id(&comid.id)), (1, Value::Uint(comid.version))]);
            let triples = map([(0, array(comid.reference.iter().map(triple)))]);
            tagged(506, Value::Bytes(to_vec(&map([(1, identity), (4, triples)]))))
        }
        CorimTag::Other(number, content) => tagged(*number, Value::Bytes(content.clone())),
    }
}

fn triple(triple: &Triple) -> Value {
    let class = triple.environment.class.iter().map(|of| (0, class(of)));
    let measured = array(triple.measurements.iter().map(measurement));
    array([map(class), measured].into_iter())
}

fn class(class: &Class) -> Value {
    let id = match &class.id {
        Some(Identifier::Uuid(uuid)) => Some((0, tagged(37, Value::Bytes(uuid.to_vec())))),
        _ => None,
    };
    let model = class.model.iter().map(|model| (2, Value::Text(model.clone())));
    map(id.into_iter().chain(model))
}

fn measurement(measurement: &Measurement) -> Value {
    let key = match &measurement.key {
        Some(MeasurementKey::Uint(n)) => Some((0, Value::Uint(*n))),
        Some(MeasurementKey::Text(text)) => Some((0, Value::Text(text.clone()))),
        _ => None,
    };
    map(key.into_iter().chain([(1, values(&measurement.values))]))
}

fn values(values: &MeasurementValues) -> Value {
    let version = values.version.iter().map(|text| (0, map([(0, Value::Text(text.clone()))])));
    let svn = values.svn.iter().map(|svn| match svn {
        Svn::Exact(n) => (1, tagged(552, Value::Uint(*n))),
        Svn::Minimum(n) => (1, tagged(553, Value::Uint(*n))),
    });
    let digests = (!values.digests.is_empty()).then(|| (2, array(values.digests.iter().map(digest))));
    let name = values.name.iter().map(|name| (11, Value::Text(name.clone())));
    map(version.chain(svn).chain(digests).chain(name))
}

fn digest(digest: &CorimDigest) -> Value {
    let alg = match &digest.alg {
        DigestAlg::Id(id) => {
            u64::try_from(*id).map_or_else(|_| Value::Negative((-1 - *id).unsigned_abs()), Value::Uint)
        }
        DigestAlg::Name(name) => Value::Text(name.clone()),
    };
    array([alg, Value::Bytes(digest.value.clone())].into_iter())
}
