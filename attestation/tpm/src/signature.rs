//! `TPMT_SIGNATURE` (Part 2, 11.3.4): RSASSA, RSAPSS and ECDSA.

use crate::alg::{ALG_ECDSA, ALG_RSAPSS, ALG_RSASSA, HashAlg, Scheme};
use crate::error::TpmError;
use crate::public_codec::read_hash;
use crate::wire::{Reader, Writer};

/// Largest RSA signature: 4096 bits.
const MAX_RSA_BYTES: usize = 512;
/// Largest ECDSA number: P-384.
const MAX_ECC_BYTES: usize = 48;

/// The numbers of a signature, as they came: ranges are checked against the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// RSASSA or RSAPSS.
    Rsa(Vec<u8>),
    /// ECDSA; leading zeros may be missing.
    Ecdsa {
        /// The number r.
        r: Vec<u8>,
        /// The number s.
        s: Vec<u8>,
    },
}

/// A signature by a TPM's key, with the scheme it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    scheme: Scheme,
    numbers: Numbers,
}

impl Signature {
    /// Reads a whole `TPMT_SIGNATURE`.
    ///
    /// # Errors
    /// [`TpmError::Unsupported`] for another scheme or hash, and length errors including
    /// [`TpmError::TrailingBytes`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TpmError> {
        let mut reader = Reader::new(bytes);
        let id = reader.u16("sigAlg")?;
        let scheme = match id {
            ALG_RSASSA => Scheme::RsaSsa(read_hash(&mut reader, "signature.hash")?),
            ALG_RSAPSS => Scheme::RsaPss(read_hash(&mut reader, "signature.hash")?),
            ALG_ECDSA => Scheme::Ecdsa(read_hash(&mut reader, "signature.hash")?),
            _ => return Err(TpmError::Unsupported { field: "sigAlg", offset: 0, value: id.into() }),
        };
        let numbers = if id == ALG_ECDSA {
            Numbers::Ecdsa {
                r: reader.sized("signatureR", MAX_ECC_BYTES)?.to_vec(),
                s: reader.sized("signatureS", MAX_ECC_BYTES)?.to_vec(),
            }
        } else {
            Numbers::Rsa(reader.sized("sig", MAX_RSA_BYTES)?.to_vec())
        };
        reader.finish().map(|()| Self { scheme, numbers })
    }

    /// An ECDSA signature from its two numbers, big-endian: for software that plays a TPM in tests.
    ///
    /// # Errors
    /// As [`Signature::parse`] of the encoded signature.
    pub fn ecdsa(hash: HashAlg, r: &[u8], s: &[u8]) -> Result<Self, TpmError> {
        let numbers = Numbers::Ecdsa { r: r.to_vec(), s: s.to_vec() };
        Self::checked(Scheme::Ecdsa(hash), numbers)
    }

    /// An RSASSA signature, big-endian, likewise.
    ///
    /// # Errors
    /// As [`Signature::parse`] of the encoded signature.
    pub fn rsassa(hash: HashAlg, sig: &[u8]) -> Result<Self, TpmError> {
        Self::checked(Scheme::RsaSsa(hash), Numbers::Rsa(sig.to_vec()))
    }

    /// An RSAPSS signature, big-endian, likewise.
    ///
    /// # Errors
    /// As [`Signature::parse`] of the encoded signature.
    pub fn rsapss(hash: HashAlg, sig: &[u8]) -> Result<Self, TpmError> {
        Self::checked(Scheme::RsaPss(hash), Numbers::Rsa(sig.to_vec()))
    }

    fn checked(scheme: Scheme, numbers: Numbers) -> Result<Self, TpmError> {
        Self::parse(&Self { scheme, numbers }.to_bytes())
    }

    /// Scheme and hash the signature claims.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(crate) const fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// The structure as a TPM marshals it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u16(self.scheme.id());
        if let Some(hash) = self.scheme.hash() {
            writer.u16(hash.id());
        }
        let buffers = match &self.numbers {
            Numbers::Rsa(sig) => vec![sig],
            Numbers::Ecdsa { r, s } => vec![r, s],
        };
        for buffer in buffers {
            // Parsed buffers are at most 512 bytes; an overlong one of a constructor becomes its
            // bare size and is refused as truncated or too large.
            if writer.sized("signature", buffer).is_err() {
                writer.u16(u16::MAX);
            }
        }
        writer.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for signature in [
            Signature::ecdsa(HashAlg::Sha256, &[1; 32], &[2; 31]),
            Signature::ecdsa(HashAlg::Sha384, &[1; 48], &[2; 48]),
            Signature::rsassa(HashAlg::Sha256, &[3; 256]),
            Signature::rsapss(HashAlg::Sha384, &[4; 512]),
        ] {
            let signature = signature.unwrap();
            assert_eq!(Signature::parse(&signature.to_bytes()), Ok(signature));
        }
    }

    #[test]
    fn overlong_numbers_are_refused() {
        let max = |field, size, max| Err(TpmError::TooLarge { field, offset: 4, size, max });
        assert_eq!(Signature::ecdsa(HashAlg::Sha256, &[1; 49], &[]), max("signatureR", 49, 48));
        assert_eq!(Signature::rsassa(HashAlg::Sha256, &[1; 513]), max("sig", 513, 512));
        assert_eq!(Signature::rsapss(HashAlg::Sha256, &[1; 65_536]), max("sig", 65_535, 512));
        let error = TpmError::TooLarge { field: "signatureS", offset: 7, size: 49, max: 48 };
        assert_eq!(Signature::ecdsa(HashAlg::Sha256, &[1], &[1; 49]), Err(error));
    }

    #[test]
    fn other_schemes_and_hashes_are_unsupported() {
        // TPM_ALG_ECDAA and TPM_ALG_HMAC
        for id in [0x1A, 0x05] {
            let error = TpmError::Unsupported { field: "sigAlg", offset: 0, value: id };
            assert_eq!(Signature::parse(&[0, u8::try_from(id).unwrap(), 0, 0x0b]), Err(error));
        }
        let error = TpmError::Unsupported { field: "signature.hash", offset: 2, value: 0x10 };
        assert_eq!(Signature::parse(&[0, 0x18, 0, 0x10, 0, 0, 0, 0]), Err(error));
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_refused() {
        let mut bytes = Signature::ecdsa(HashAlg::Sha256, &[1; 32], &[2; 32]).unwrap().to_bytes();
        for len in 0..bytes.len() {
            assert!(matches!(Signature::parse(&bytes[..len]), Err(TpmError::Truncated { .. })));
        }
        bytes.push(0);
        assert_eq!(Signature::parse(&bytes), Err(TpmError::TrailingBytes { offset: 72 }));
    }
}
