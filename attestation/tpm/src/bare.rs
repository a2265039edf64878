//! Signature checks under bare keys: for certificates, and below [`crate::Public::verify`].
//!
//! Every rule on keys and numbers is checked here, before either back end sees them, so that both
//! give the same verdict and the same error.

use crate::alg::{Curve, HashAlg};
use crate::backend::{self, Ecdsa};
use crate::ec;
use crate::error::TpmError;

/// NIST SP 800-131A: shorter moduli are no longer acceptable.
const MIN_RSA_BITS: u64 = 2048;
/// The longest modulus that a TPM has (Part 2, 11.2.4), which bounds the work of a check.
const MAX_RSA_BITS: u64 = 4096;
/// Exponents from 3 (RFC 8017, 3.1) to the longest that every back end takes.
const RSA_EXPONENTS: std::ops::RangeInclusive<u64> = 3..=(1 << 33) - 1;
/// Order of P-256 (SP 800-186, 3.2.1.3).
const P256_ORDER: [u8; 32] = *b"\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\
\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";
/// Order of P-384 (SP 800-186, 3.2.1.4).
const P384_ORDER: [u8; 48] = *b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
\xff\xff\xff\xff\xff\xff\xff\xff\xc7\x63\x4d\x81\xf4\x37\x2d\xdf\x58\x1a\x0d\xb2\x48\xb0\xa7\x7a\
\xec\xec\x19\x6a\xcc\xc5\x29\x73";

/// A hash that a signature may be made over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureHash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512: in certificates only.
    Sha512,
}

impl SignatureHash {
    /// Digest length in bytes.
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Digest of `data`.
    #[must_use]
    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        backend::digest(self, &[data])
    }
}

impl TryFrom<HashAlg> for SignatureHash {
    type Error = TpmError;

    /// Refuses SHA-1.
    fn try_from(alg: HashAlg) -> Result<Self, TpmError> {
        match alg {
            HashAlg::Sha1 => Err(TpmError::WeakHash { purpose: "signature", alg }),
            HashAlg::Sha256 => Ok(Self::Sha256),
            HashAlg::Sha384 => Ok(Self::Sha384),
        }
    }
}

/// An RSA public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RsaKey<'a> {
    /// Modulus, big-endian, without leading zeros.
    pub modulus: &'a [u8],
    /// Public exponent.
    pub exponent: u64,
}

impl RsaKey<'_> {
    /// Checks that modulus and exponent are a key's: 2048 to 4096 bits, odd, nothing in front; an odd
    /// exponent from 3 to 2^33 - 1.
    ///
    /// # Errors
    /// [`TpmError::RsaKeySize`], [`TpmError::RsaModulus`] or [`TpmError::RsaExponent`].
    pub fn check(&self) -> Result<(), TpmError> {
        let bits = self.bits();
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(TpmError::RsaKeySize { bits });
        }
        let leading_zero = self.modulus.first() == Some(&0);
        let odd = self.modulus.last().is_some_and(|byte| byte & 1 == 1);
        if leading_zero || !odd {
            return Err(TpmError::RsaModulus);
        }
        if !RSA_EXPONENTS.contains(&self.exponent) || self.exponent & 1 == 0 {
            return Err(TpmError::RsaExponent { exponent: self.exponent });
        }
        Ok(())
    }

    /// Length of the modulus in bits.
    fn bits(&self) -> u64 {
        let zeros = self.modulus.iter().take_while(|byte| **byte == 0).count();
        let bytes = u64::try_from(self.modulus.len().saturating_sub(zeros)).unwrap_or(u64::MAX);
        let top = self.modulus.get(zeros).map_or(0, |byte| byte.leading_zeros());
        bytes.saturating_mul(8).saturating_sub(top.into())
    }

    /// A sound key, and a signature that is as long as the modulus and below it: any other length or
    /// number would be a second encoding of the same signature.
    fn check_with(&self, sig: &[u8]) -> Result<(), TpmError> {
        self.check()?;
        let in_range = sig.len() == self.modulus.len() && sig < self.modulus;
        if in_range { Ok(()) } else { Err(TpmError::SignatureRange) }
    }
}

/// Checks an ECDSA signature (FIPS 186-5, 6.4.2) under a bare key.
///
/// `point` is the key, uncompressed (SEC 1, 2.3.3). `r` and `s` are big-endian, at most as long as
/// the field; leading zeros may be missing. A high s is accepted.
///
/// # Errors
/// [`TpmError::PointNotOnCurve`], [`TpmError::SignatureRange`] unless r and s are from 1 to the
/// order minus 1, else [`TpmError::SignatureInvalid`].
pub fn verify_ecdsa(
    curve: Curve,
    point: &[u8],
    hash: SignatureHash,
    message: &[u8],
    r: &[u8],
    s: &[u8],
) -> Result<(), TpmError> {
    ec::check_point(curve, point)?;
    let (r, s) = (scalar(curve, r)?, scalar(curve, s)?);
    held(backend::ecdsa(&Ecdsa { curve, point, r: &r, s: &s }, hash, message))
}

/// `number` padded to the field's length, refused unless it is from 1 to the order minus 1.
fn scalar(curve: Curve, number: &[u8]) -> Result<Vec<u8>, TpmError> {
    let order: &[u8] = match curve {
        Curve::P256 => &P256_ORDER,
        Curve::P384 => &P384_ORDER,
    };
    let missing = curve.field_len().checked_sub(number.len()).ok_or(TpmError::SignatureRange)?;
    let padded = [&vec![0; missing], number].concat();
    let in_range = padded.iter().any(|byte| *byte != 0) && *padded < *order;
    if in_range { Ok(padded) } else { Err(TpmError::SignatureRange) }
}

/// Checks an RSASSA-PKCS1-v1_5 signature (RFC 8017, 8.2.2) under a bare key.
///
/// # Errors
/// Those of [`RsaKey::check`], [`TpmError::SignatureRange`] unless `sig` is as long as the modulus
/// and below it, else [`TpmError::SignatureInvalid`].
pub fn verify_rsassa(
    key: &RsaKey<'_>,
    hash: SignatureHash,
    message: &[u8],
    sig: &[u8],
) -> Result<(), TpmError> {
    key.check_with(sig)?;
    held(backend::rsassa(key, hash, message, sig))
}

/// Checks an RSASSA-PSS signature (RFC 8017, 8.1.2) under a bare key: MGF1 over the same hash, and a
/// salt of exactly `salt` bytes.
///
/// # Errors
/// As [`verify_rsassa`].
pub fn verify_rsapss(
    key: &RsaKey<'_>,
    hash: SignatureHash,
    salt: usize,
    message: &[u8],
    sig: &[u8],
) -> Result<(), TpmError> {
    key.check_with(sig)?;
    held(backend::rsapss(key, hash, salt, message, sig))
}

/// RSASSA-PSS as TPMs make it: a salt of the digest's length, or as long as fits (Part 1, B.7).
pub(crate) fn verify_tpm_rsapss(
    key: &RsaKey<'_>,
    hash: SignatureHash,
    message: &[u8],
    sig: &[u8],
) -> Result<(), TpmError> {
    let longest = key.modulus.len().saturating_sub(hash.digest_len() + 2);
    match verify_rsapss(key, hash, hash.digest_len(), message, sig) {
        Err(TpmError::SignatureInvalid) => verify_rsapss(key, hash, longest, message, sig),
        verdict => verdict,
    }
}

const fn held(holds: bool) -> Result<(), TpmError> {
    if holds { Ok(()) } else { Err(TpmError::SignatureInvalid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_those_of_the_curves() {
        use p256::elliptic_curve::Curve as _;
        use p256::elliptic_curve::bigint::ArrayEncoding as _;
        assert_eq!(P256_ORDER, p256::NistP256::ORDER.to_be_byte_array()[..]);
        assert_eq!(P384_ORDER, p384::NistP384::ORDER.to_be_byte_array()[..]);
    }

    #[test]
    fn scalars_are_padded_and_in_range() {
        assert_eq!(scalar(Curve::P256, &[7]).unwrap(), [vec![0; 31], vec![7]].concat());
        let mut last = P384_ORDER;
        last[47] -= 1;
        assert_eq!(scalar(Curve::P384, &last), Ok(last.to_vec()));
        for bad in [&[][..], &[0; 48], &P384_ORDER, &[0xff; 48], &[1; 49]] {
            assert_eq!(scalar(Curve::P384, bad), Err(TpmError::SignatureRange));
        }
    }

    #[test]
    fn malformed_rsa_keys_are_refused() {
        let check = |modulus: &[u8], exponent| RsaKey { modulus, exponent }.check();
        let modulus = |len: usize, first: u8, last: u8| {
            let mut modulus = vec![0xff; len];
            (modulus[0], modulus[len - 1]) = (first, last);
            modulus
        };
        assert_eq!(check(&modulus(256, 0x80, 1), 65_537), Ok(()));
        assert_eq!(check(&modulus(512, 0xff, 1), 65_537), Ok(()));
        assert_eq!(check(&modulus(257, 1, 1), 65_537), Ok(()), "2049 bits");
        let size = |bits| Err(TpmError::RsaKeySize { bits });
        assert_eq!(check(&modulus(256, 0x7f, 1), 65_537), size(2047));
        assert_eq!(check(&modulus(513, 1, 1), 65_537), size(4097));
        assert_eq!(check(&[], 65_537), size(0));
        assert_eq!(check(&modulus(256, 0xff, 0xfe), 65_537), Err(TpmError::RsaModulus), "even");
        assert_eq!(check(&modulus(257, 0, 1), 65_537), Err(TpmError::RsaModulus), "leading zero");
        for exponent in [0, 1, 2, 65_536, (1 << 33) + 1, u64::MAX] {
            assert_eq!(check(&modulus(256, 0xff, 1), exponent), Err(TpmError::RsaExponent { exponent }));
        }
        for exponent in [3, 17, (1 << 33) - 1] {
            assert_eq!(check(&modulus(256, 0xff, 1), exponent), Ok(()));
        }
    }
}
