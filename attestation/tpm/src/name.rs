//! Names and qualified names (Part 1, 16 and "Qualified Name"): a key's public area, and where it hangs.

use core::fmt;

use crate::alg::HashAlg;
use crate::error::TpmError;

/// Handle of the owner (storage) hierarchy.
pub const RH_OWNER: u32 = 0x4000_0001;
/// Handle of the null hierarchy.
pub const RH_NULL: u32 = 0x4000_0007;
/// Handle of the endorsement hierarchy.
pub const RH_ENDORSEMENT: u32 = 0x4000_000B;
/// Handle of the platform hierarchy.
pub const RH_PLATFORM: u32 = 0x4000_000C;

/// `nameAlg || digest`: identifies an object by its public area.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    alg: HashAlg,
    bytes: Vec<u8>,
}

impl Name {
    /// The Name of an object whose hashed content is `parts`.
    pub(crate) fn of(alg: HashAlg, parts: &[&[u8]]) -> Self {
        let mut bytes = alg.id().to_be_bytes().to_vec();
        bytes.extend(alg.digest_parts(parts));
        Self { alg, bytes }
    }

    /// Reads a Name as carried in a `TPM2B_NAME`. A Name that is a bare handle is refused.
    ///
    /// # Errors
    /// [`TpmError::Truncated`] without an algorithm, [`TpmError::Unsupported`] for an unknown one, and
    /// [`TpmError::BadValue`] (value: the length) unless exactly one digest follows it.
    pub fn parse(bytes: &[u8]) -> Result<Self, TpmError> {
        let (id, digest) =
            bytes.split_first_chunk::<2>().ok_or(TpmError::Truncated { field: "nameAlg", offset: 0 })?;
        let id = u16::from_be_bytes(*id);
        let alg = HashAlg::from_id(id).ok_or_else(|| TpmError::Unsupported {
            field: "nameAlg",
            offset: 0,
            value: id.into(),
        })?;
        if digest.len() != alg.digest_len() {
            let value = u64::try_from(digest.len()).unwrap_or(u64::MAX);
            return Err(TpmError::BadValue { field: "name", offset: 2, value });
        }
        Ok(Self { alg, bytes: bytes.to_vec() })
    }

    /// `nameAlg || digest`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash the Name is made with.
    #[must_use]
    pub const fn alg(&self) -> HashAlg {
        self.alg
    }
}

/// The Name in lower-case hexadecimal.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Qualified name of a primary key: `nameAlg || H(handle || Name)` (Part 1, "Qualified Name").
///
/// A TPM puts it into every attestation it signs, so it proves which hierarchy the key lives in:
/// only a key of the endorsement hierarchy reports its counters in clear.
#[must_use]
pub fn qualified_name(hierarchy_handle: u32, name: &Name) -> Name {
    Name::of(name.alg, &[&hierarchy_handle.to_be_bytes(), &name.bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_refuses_handles_and_wrong_lengths() {
        assert_eq!(Name::parse(&[0]), Err(TpmError::Truncated { field: "nameAlg", offset: 0 }));
        let handle = RH_ENDORSEMENT.to_be_bytes();
        let unsupported = TpmError::Unsupported { field: "nameAlg", offset: 0, value: 0x4000 };
        assert_eq!(Name::parse(&handle), Err(unsupported));
        let name = Name::of(HashAlg::Sha256, &[b"x"]);
        let mut long = name.as_bytes().to_vec();
        long.push(0);
        assert_eq!(Name::parse(&long), Err(TpmError::BadValue { field: "name", offset: 2, value: 33 }));
        assert_eq!(Name::parse(name.as_bytes()), Ok(name));
    }

    #[test]
    fn qualified_names_differ_by_hierarchy() {
        let name = Name::of(HashAlg::Sha384, &[b"x"]);
        let qualified = qualified_name(RH_ENDORSEMENT, &name);
        assert_eq!(qualified.alg(), HashAlg::Sha384);
        assert_ne!(qualified, qualified_name(RH_OWNER, &name));
        assert!(qualified.to_string().starts_with("000c"));
    }
}
