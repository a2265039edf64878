//! `TPMT_PUBLIC` (Part 2, 12.2.4): a key's public area.

use crate::alg::{Curve, HashAlg, Scheme, Symmetric};
use crate::attributes::Attributes;
use crate::error::TpmError;
use crate::name::Name;
use crate::public_codec;

/// The public key itself, with the parameters of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// `TPM_ALG_RSA`.
    Rsa {
        /// Length of the modulus in bits: 1024, 2048, 3072 or 4096.
        bits: u16,
        /// Public exponent; always 65537, which the wire also writes as 0.
        exponent: u32,
        /// Modulus, big-endian, `bits / 8` bytes.
        modulus: Vec<u8>,
    },
    /// `TPM_ALG_ECC`.
    Ecc {
        /// The curve.
        curve: Curve,
        /// X coordinate, big-endian, padded to the field's length. Not yet known to be on the curve.
        x: Vec<u8>,
        /// Y coordinate, likewise.
        y: Vec<u8>,
    },
}

/// What a [`Public`] is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicParts {
    /// Hash of the key's Name and of its policy.
    pub name_alg: HashAlg,
    /// What the TPM lets the key do.
    pub attributes: Attributes,
    /// Policy digest of `name_alg`, or empty.
    pub auth_policy: Vec<u8>,
    /// Symmetric algorithm of a storage or endorsement key.
    pub symmetric: Symmetric,
    /// The one scheme the key is used with, or [`Scheme::Null`].
    pub scheme: Scheme,
    /// Type, parameters and public value.
    pub kind: KeyKind,
}

/// A key's public area, with the very bytes it was read from: Names are hashes of those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Public {
    bytes: Vec<u8>,
    parts: PublicParts,
}

impl Public {
    /// Reads a whole `TPMT_PUBLIC` (without the `TPM2B_PUBLIC` size).
    ///
    /// # Errors
    /// [`TpmError::Unsupported`] for an algorithm this crate doesn't know, [`TpmError::BadValue`] for
    /// reserved attributes, a scheme of the other key type, or lengths that contradict each
    /// other, and length errors including [`TpmError::TrailingBytes`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TpmError> {
        let parts = public_codec::read(bytes)?;
        Ok(Self { bytes: bytes.to_vec(), parts })
    }

    /// The public area with these parts, for templates and tests.
    ///
    /// # Errors
    /// What [`Public::parse`] says of the encoded parts: nothing can be built that it would refuse.
    pub fn from_parts(parts: &PublicParts) -> Result<Self, TpmError> {
        Self::parse(&public_codec::write(parts)?)
    }

    /// The parts.
    #[must_use]
    pub const fn parts(&self) -> &PublicParts {
        &self.parts
    }

    /// Type, parameters and public value.
    #[must_use]
    pub const fn kind(&self) -> &KeyKind {
        &self.parts.kind
    }

    /// Hash of the key's Name and of its policy.
    #[must_use]
    pub const fn name_alg(&self) -> HashAlg {
        self.parts.name_alg
    }

    /// What the TPM lets the key do.
    #[must_use]
    pub const fn attributes(&self) -> Attributes {
        self.parts.attributes
    }

    /// Symmetric algorithm of a storage or endorsement key.
    #[must_use]
    pub const fn symmetric(&self) -> Symmetric {
        self.parts.symmetric
    }

    /// The one scheme the key is used with, or [`Scheme::Null`].
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    /// Policy digest, or empty.
    #[must_use]
    pub fn auth_policy(&self) -> &[u8] {
        &self.parts.auth_policy
    }

    /// The bytes it was read from.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A copy of the bytes it was read from.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// The key's Name: `nameAlg || H(TPMT_PUBLIC)` (Part 1, 16).
    ///
    /// # Errors
    /// [`TpmError::WeakHash`] for SHA-1: two public areas with one Name could be made.
    pub fn name(&self) -> Result<Name, TpmError> {
        let alg = self.parts.name_alg.strong("object name")?;
        Ok(Name::of(alg, &[&self.bytes]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ak_parts, p256_key};

    #[test]
    fn name_is_the_hash_of_the_bytes() {
        let public = Public::from_parts(&ak_parts(&p256_key(1))).unwrap();
        let name = public.name().unwrap();
        assert_eq!(name.as_bytes()[..2], [0, 0x0b]);
        assert_eq!(name.as_bytes()[2..], HashAlg::Sha256.digest(public.as_bytes()));
    }

    #[test]
    fn sha1_names_are_refused() {
        let parts = PublicParts { name_alg: HashAlg::Sha1, ..ak_parts(&p256_key(1)) };
        let weak = TpmError::WeakHash { purpose: "object name", alg: HashAlg::Sha1 };
        assert_eq!(Public::from_parts(&parts).unwrap().name(), Err(weak));
    }
}
