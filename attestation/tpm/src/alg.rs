//! Algorithm identifiers (Part 2, 6.3 and 6.4) and the few algorithms this crate knows.

use core::fmt;

use sha1::{Digest as _, Sha1};

use crate::backend;
use crate::bare::SignatureHash;
use crate::error::TpmError;

/// `TPM_ALG_RSA`.
pub(crate) const ALG_RSA: u16 = 0x0001;
/// `TPM_ALG_AES`.
pub(crate) const ALG_AES: u16 = 0x0006;
/// `TPM_ALG_NULL`.
pub(crate) const ALG_NULL: u16 = 0x0010;
/// `TPM_ALG_RSASSA`.
pub(crate) const ALG_RSASSA: u16 = 0x0014;
/// `TPM_ALG_RSAES`.
pub(crate) const ALG_RSAES: u16 = 0x0015;
/// `TPM_ALG_RSAPSS`.
pub(crate) const ALG_RSAPSS: u16 = 0x0016;
/// `TPM_ALG_OAEP`.
pub(crate) const ALG_OAEP: u16 = 0x0017;
/// `TPM_ALG_ECDSA`.
pub(crate) const ALG_ECDSA: u16 = 0x0018;
/// `TPM_ALG_ECDH`.
pub(crate) const ALG_ECDH: u16 = 0x0019;
/// `TPM_ALG_ECC`.
pub(crate) const ALG_ECC: u16 = 0x0023;
/// `TPM_ALG_CFB`.
pub(crate) const ALG_CFB: u16 = 0x0043;

/// A hash algorithm: of a PCR bank, a Name, or a signature scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashAlg {
    /// SHA-1. Readable as a PCR bank and inside old structures; never trusted.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl HashAlg {
    /// The `TPM_ALG_ID` (Part 2, 6.3).
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000B,
            Self::Sha384 => 0x000C,
        }
    }

    /// The algorithm with this `TPM_ALG_ID`, if this crate knows it.
    #[must_use]
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0004 => Some(Self::Sha1),
            0x000B => Some(Self::Sha256),
            0x000C => Some(Self::Sha384),
            _ => None,
        }
    }

    /// Digest length in bytes.
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    /// Digest of `data`.
    #[must_use]
    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        self.digest_parts(&[data])
    }

    /// Digest of the concatenation of `parts`.
    pub(crate) fn digest_parts(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha1 => sha1(parts),
            Self::Sha256 => backend::digest(SignatureHash::Sha256, parts),
            Self::Sha384 => backend::digest(SignatureHash::Sha384, parts),
        }
    }

    /// Refuses SHA-1 where security rests on the hash.
    pub(crate) const fn strong(self, purpose: &'static str) -> Result<Self, TpmError> {
        match self {
            Self::Sha1 => Err(TpmError::WeakHash { purpose, alg: self }),
            Self::Sha256 | Self::Sha384 => Ok(self),
        }
    }
}

impl fmt::Display for HashAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
        })
    }
}

fn sha1(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha1::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().to_vec()
}

/// A NIST curve (Part 2, 6.4 `TPM_ECC_CURVE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// `TPM_ECC_NIST_P256`.
    P256,
    /// `TPM_ECC_NIST_P384`.
    P384,
}

impl Curve {
    /// The `TPM_ECC_CURVE` value.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::P256 => 0x0003,
            Self::P384 => 0x0004,
        }
    }

    /// The curve with this `TPM_ECC_CURVE` value, if this crate knows it.
    #[must_use]
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0003 => Some(Self::P256),
            0x0004 => Some(Self::P384),
            _ => None,
        }
    }

    /// Length of a coordinate and of a scalar in bytes.
    #[must_use]
    pub const fn field_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        })
    }
}

/// A key's or a signature's asymmetric scheme (Part 2, 11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `TPM_ALG_NULL`: the key leaves the scheme to the caller of the TPM.
    Null,
    /// RSASSA-PKCS1-v1_5 signatures.
    RsaSsa(HashAlg),
    /// RSASSA-PSS signatures.
    RsaPss(HashAlg),
    /// RSAES-PKCS1-v1_5 encryption.
    RsaEs,
    /// RSAES-OAEP encryption.
    Oaep(HashAlg),
    /// ECDSA signatures.
    Ecdsa(HashAlg),
    /// One-pass Diffie-Hellman.
    Ecdh(HashAlg),
}

impl Scheme {
    /// The scheme's `TPM_ALG_ID`.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::Null => ALG_NULL,
            Self::RsaSsa(_) => ALG_RSASSA,
            Self::RsaPss(_) => ALG_RSAPSS,
            Self::RsaEs => ALG_RSAES,
            Self::Oaep(_) => ALG_OAEP,
            Self::Ecdsa(_) => ALG_ECDSA,
            Self::Ecdh(_) => ALG_ECDH,
        }
    }

    /// The scheme's hash, if it has one. A quote's PCR digest uses the signing scheme's.
    #[must_use]
    pub const fn hash(self) -> Option<HashAlg> {
        match self {
            Self::Null | Self::RsaEs => None,
            Self::RsaSsa(hash)
            | Self::RsaPss(hash)
            | Self::Oaep(hash)
            | Self::Ecdsa(hash)
            | Self::Ecdh(hash) => Some(hash),
        }
    }
}

/// The symmetric algorithm that a storage or endorsement key protects children and credentials with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Symmetric {
    /// `TPM_ALG_NULL`: not a key of that kind.
    Null,
    /// AES with a 128-bit key in CFB mode.
    Aes128Cfb,
    /// AES with a 256-bit key in CFB mode.
    Aes256Cfb,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_map_back() {
        for alg in [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384] {
            assert_eq!(HashAlg::from_id(alg.id()), Some(alg));
            assert_eq!(alg.digest(b"").len(), alg.digest_len());
        }
        for curve in [Curve::P256, Curve::P384] {
            assert_eq!(Curve::from_id(curve.id()), Some(curve));
        }
        assert_eq!(HashAlg::from_id(0x000D), None, "SHA-512 is not known here");
    }

    #[test]
    fn digests_are_the_standard_ones() {
        // FIPS 180-4 examples for "abc", first four bytes.
        assert_eq!(HashAlg::Sha1.digest(b"abc")[..4], [0xa9, 0x99, 0x3e, 0x36]);
        assert_eq!(HashAlg::Sha256.digest(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(HashAlg::Sha384.digest_parts(&[b"a", b"bc"])[..4], [0xcb, 0x00, 0x75, 0x3f]);
    }
}
