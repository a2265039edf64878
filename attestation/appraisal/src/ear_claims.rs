//! Claims with text keys, in the order that deterministic CBOR asks for.

use minicbor::{Encode, Encoder, encode};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// A map with text keys: shorter ones first, then by their bytes (RFC 8949 4.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextMap<V>(Vec<(String, V)>);

impl<V> TextMap<V> {
    /// The map of these entries; of a key that comes twice the first one stays.
    pub(crate) fn new(entries: impl IntoIterator<Item = (impl Into<String>, V)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
        entries.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        entries.dedup_by(|(later, _), (earlier, _)| later == earlier);
        Self(entries)
    }

    #[cfg(test)]
    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }
}

impl<V: Serialize> Serialize for TextMap<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<C, V: Encode<C>> Encode<C> for TextMap<V> {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.map(u64::try_from(self.0.len()).unwrap_or(u64::MAX))?;
        for (key, value) in &self.0 {
            e.str(key)?.encode_with(value, ctx)?;
        }
        Ok(())
    }
}

/// A private claim's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Number(u8),
    Truth(bool),
    Text(String),
    /// Ids of checks.
    Ids(Vec<&'static str>),
}

impl<C> Encode<C> for Value {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        match self {
            Self::Number(number) => e.u8(*number)?.ok(),
            Self::Truth(truth) => e.bool(*truth)?.ok(),
            Self::Text(text) => e.str(text)?.ok(),
            Self::Ids(ids) => e.encode_with(ids, ctx)?.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_wire::cbor;

    #[test]
    fn any_keys_make_deterministic_cbor() {
        let keys = ["node", "gpu-10", "gpu-2", "switch-0", "a", "node"];
        let map = TextMap::new(keys.iter().zip(0u8..).map(|(key, n)| (*key, Value::Number(n))));
        assert_eq!(cbor::check(&cbor::to_vec(&map)), Ok(()));
        assert_eq!(map.get("node"), Some(&Value::Number(0)));
        let json = serde_json::to_string(&map).unwrap_or_default();
        assert_eq!(json, r#"{"a":4,"node":0,"gpu-2":2,"gpu-10":1,"switch-0":3}"#);
    }
}
