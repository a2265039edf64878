//! 32 bytes as 64 hexadecimal digits in the file.

use assay_wire::Digest;
use serde::{Deserialize as _, Deserializer, de::Error as _};

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    Digest::from_hex(&text)
        .map(|digest| digest.0)
        .ok_or_else(|| D::Error::custom("expected 64 hexadecimal digits"))
}

/// A public key that may be left out.
pub(super) fn optional_key<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<assay_wire::VerifyingKey>, D::Error> {
    bytes(from).map(|bytes| Some(assay_wire::VerifyingKey(bytes)))
}

/// A public key.
pub(super) mod key {
    use assay_wire::VerifyingKey;
    use serde::Deserializer;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<VerifyingKey, D::Error> {
        super::bytes(from).map(VerifyingKey)
    }
}

/// A hash.
pub(super) mod digest {
    use assay_wire::Digest;
    use serde::Deserializer;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        super::bytes(from).map(Digest)
    }
}
