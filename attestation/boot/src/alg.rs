//! Hash algorithms of PCR banks (TCG Algorithm Registry 1.34, table 3) and the digests they make.

use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// The hash algorithm of one PCR bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlg {
    /// TPM_ALG_SHA1.
    Sha1,
    /// TPM_ALG_SHA256.
    Sha256,
    /// TPM_ALG_SHA384.
    Sha384,
    /// TPM_ALG_SHA512.
    Sha512,
    /// Any other identifier: its digests are carried, but never computed or replayed.
    Other(u16),
}

impl HashAlg {
    /// The algorithm with this TPM_ALG_ID.
    #[must_use]
    pub fn from_id(id: u16) -> Self {
        match id {
            0x0004 => Self::Sha1,
            0x000b => Self::Sha256,
            0x000c => Self::Sha384,
            0x000d => Self::Sha512,
            other => Self::Other(other),
        }
    }

    /// The TPM_ALG_ID.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
            Self::Other(id) => id,
        }
    }

    /// Digest length in bytes; `None` where this crate does not compute the algorithm.
    #[must_use]
    pub fn digest_len(self) -> Option<usize> {
        match self {
            Self::Sha1 => Some(20),
            Self::Sha256 => Some(32),
            Self::Sha384 => Some(48),
            Self::Sha512 => Some(64),
            Self::Other(_) => None,
        }
    }

    /// Lower-case name as TPM tools print it; "unknown" for [`HashAlg::Other`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Other(_) => "unknown",
        }
    }

    /// Hash of the parts one after another; `None` for [`HashAlg::Other`].
    #[must_use]
    pub fn hash(self, parts: &[&[u8]]) -> Option<Vec<u8>> {
        match self {
            Self::Sha1 => Some(digest::<Sha1>(parts)),
            Self::Sha256 => Some(digest::<Sha256>(parts)),
            Self::Sha384 => Some(digest::<Sha384>(parts)),
            Self::Sha512 => Some(digest::<Sha512>(parts)),
            Self::Other(_) => None,
        }
    }
}

fn digest<D: sha2::Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut hasher = D::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().to_vec()
}

/// SHA-256 of one byte string.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identifier_round_trips() {
        for id in [0x04, 0x0b, 0x0c, 0x0d, 0x12, 0xffff] {
            assert_eq!(HashAlg::from_id(id).id(), id);
        }
    }

    #[test]
    fn digests_have_the_length_they_claim() {
        for alg in [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512] {
            let hash = alg.hash(&[b"a", b"b"]).unwrap();
            assert_eq!(Some(hash.len()), alg.digest_len());
            assert_eq!(Some(hash), alg.hash(&[b"ab"]));
            assert!(!alg.name().is_empty());
        }
        assert_eq!(HashAlg::Other(0x12).hash(&[b"a"]), None);
        assert_eq!(HashAlg::Other(0x12).digest_len(), None);
    }
}
