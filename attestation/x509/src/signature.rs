//! Signatures over certificates: which algorithms count, and the one function that checks them.

use assay_tpm::{Curve, RsaKey, SignatureHash, TpmError, verify_ecdsa, verify_rsapss, verify_rsassa};
use const_oid::ObjectIdentifier;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p521::ecdsa::signature::hazmat::PrehashVerifier as _;

use crate::der::{self, NULL, Reader, SEQUENCE, constructed};
use crate::error::{X509Error, value};
use crate::key::{EcCurve, PublicKey};
use crate::oids;
use crate::quirk::{Quirk, Quirks};

/// Hashes that a certificate's signature may be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    fn of(oid: ObjectIdentifier) -> Option<Self> {
        match oid {
            oids::SHA256 => Some(Self::Sha256),
            oids::SHA384 => Some(Self::Sha384),
            oids::SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    fn digest(self, message: &[u8]) -> Vec<u8> {
        SignatureHash::from(self).digest(message)
    }
}

impl From<Hash> for SignatureHash {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256,
            Hash::Sha384 => Self::Sha384,
            Hash::Sha512 => Self::Sha512,
        }
    }
}

/// How a certificate is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Hash),
    /// RSASSA-PSS with MGF1 over the same hash and a salt of this many bytes.
    RsaPss(Hash, usize),
    /// ECDSA.
    Ecdsa(Hash),
    /// SHA-1 under any key: collisions are affordable, so it proves nothing.
    Sha1,
    /// Anything else.
    Unknown(ObjectIdentifier),
}

impl SignatureAlgorithm {
    /// AlgorithmIdentifier; also gives its bytes, which stand twice in a certificate.
    pub(crate) fn read<'a>(
        reader: &mut Reader<'a>,
        quirks: &mut Quirks,
    ) -> Result<(Self, &'a [u8]), X509Error> {
        const FIELD: &str = "signatureAlgorithm";
        let sequence = reader.expect(SEQUENCE, FIELD)?;
        let mut parts = sequence.reader();
        let oid = der::oid(parts.next(FIELD)?, FIELD)?;
        let algorithm = match oid {
            oids::RSA_SHA256 => Self::RsaPkcs1(Hash::Sha256),
            oids::RSA_SHA384 => Self::RsaPkcs1(Hash::Sha384),
            oids::RSA_SHA512 => Self::RsaPkcs1(Hash::Sha512),
            oids::ECDSA_SHA256 => Self::Ecdsa(Hash::Sha256),
            oids::ECDSA_SHA384 => Self::Ecdsa(Hash::Sha384),
            oids::ECDSA_SHA512 => Self::Ecdsa(Hash::Sha512),
            oids::RSA_SHA1 | oids::ECDSA_SHA1 => Self::Sha1,
            oids::RSA_PSS => return Ok((pss(parts)?, sequence.raw)),
            other => return Ok((Self::Unknown(other), sequence.raw)),
        };
        let null = parts.optional(NULL, FIELD)?;
        match (algorithm, null) {
            (_, Some(null)) if !null.value.is_empty() => {
                return Err(value(FIELD, null.offset, "a NULL with content"));
            }
            (Self::RsaPkcs1(_), None) => {
                quirks.insert(Quirk::MissingNull);
            }
            _ => {}
        }
        parts.finish(FIELD)?;
        Ok((algorithm, sequence.raw))
    }
}

/// RSASSA-PSS-params (RFC 4055 3.1). The defaults are SHA-1 throughout.
fn pss(mut algorithm: Reader<'_>) -> Result<SignatureAlgorithm, X509Error> {
    const FIELD: &str = "RSASSA-PSS-params";
    let offset = algorithm.offset();
    let mut parts = algorithm.expect(SEQUENCE, FIELD)?.reader();
    algorithm.finish(FIELD)?;
    let inner = |reader: &mut Reader<'_>| -> Result<ObjectIdentifier, X509Error> {
        der::oid(reader.expect(SEQUENCE, FIELD)?.reader().next(FIELD)?, FIELD)
    };
    let hash = match parts.optional(constructed(0), FIELD)? {
        Some(tlv) => inner(&mut tlv.reader())?,
        None => oids::SHA1,
    };
    let mask = match parts.optional(constructed(1), FIELD)? {
        Some(tlv) => {
            let mut mgf = tlv.reader().expect(SEQUENCE, FIELD)?.reader();
            if der::oid(mgf.next(FIELD)?, FIELD)? != oids::MGF1 {
                return Err(value(FIELD, tlv.offset, "another mask generation function than MGF1"));
            }
            inner(&mut mgf)?
        }
        None => oids::SHA1,
    };
    let salt = match parts.optional(constructed(2), FIELD)? {
        Some(tlv) => der::small(tlv.reader().next(FIELD)?, der::INTEGER, FIELD)?,
        None => 20,
    };
    let trailer = match parts.optional(constructed(3), FIELD)? {
        Some(tlv) => der::small(tlv.reader().next(FIELD)?, der::INTEGER, FIELD)?,
        None => 1,
    };
    parts.finish(FIELD)?;
    if hash != mask || trailer != 1 {
        return Err(value(FIELD, offset, "two hashes or another trailer"));
    }
    let salt = usize::try_from(salt).ok().filter(|salt| *salt <= 512);
    let salt = salt.ok_or_else(|| value(FIELD, offset, "a salt longer than any key"))?;
    Ok(match Hash::of(hash) {
        Some(hash) => SignatureAlgorithm::RsaPss(hash, salt),
        None if hash == oids::SHA1 => SignatureAlgorithm::Sha1,
        None => SignatureAlgorithm::Unknown(hash),
    })
}

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// SHA-1: see [`SignatureAlgorithm::Sha1`].
    #[error("signed over SHA-1, which is too weak")]
    WeakHash,
    /// An algorithm or key that nobody here checks.
    #[error("unknown algorithm {0}")]
    UnknownAlgorithm(ObjectIdentifier),
    /// An RSA key shorter than 2048 bits (NIST SP 800-131A) or longer than 4096 (bounded work).
    #[error("signed by an RSA key of {bits} bits, 2048 to 4096 are accepted")]
    KeySize {
        /// Bits of the modulus.
        bits: usize,
    },
    /// A number that is no key, or a point off its curve.
    #[error("signed by something that is no key")]
    MalformedKey,
    /// The algorithm is for another type of key.
    #[error("the signature's algorithm is not the key's")]
    KeyMismatch,
    /// Not the encoding of a signature under this key.
    #[error("the signature is malformed")]
    Malformed,
    /// Everything else is well, and the signature does not hold.
    #[error("the signature does not hold")]
    Invalid,
}

/// Checks that the holder of `key` signed `message`.
///
/// # Errors
/// [`SignatureFault`] says why it doesn't count.
pub fn verify_spki(
    key: &PublicKey,
    algorithm: SignatureAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureFault> {
    match (algorithm, key) {
        (SignatureAlgorithm::Sha1, _) => Err(SignatureFault::WeakHash),
        (SignatureAlgorithm::Unknown(oid), _) => Err(SignatureFault::UnknownAlgorithm(oid)),
        (_, PublicKey::Other(oid)) => Err(SignatureFault::UnknownAlgorithm(*oid)),
        (SignatureAlgorithm::RsaPkcs1(hash), PublicKey::Rsa { modulus, exponent }) => {
            let key = rsa_key(key, modulus, exponent)?;
            verify_rsassa(&key, hash.into(), message, signature).map_err(fault)
        }
        (SignatureAlgorithm::RsaPss(hash, salt), PublicKey::Rsa { modulus, exponent }) => {
            let key = rsa_key(key, modulus, exponent)?;
            verify_rsapss(&key, hash.into(), salt, message, signature).map_err(fault)
        }
        (SignatureAlgorithm::Ecdsa(hash), PublicKey::Ec { curve, point }) => {
            ecdsa(*curve, point, hash, message, signature)
        }
        _ => Err(SignatureFault::KeyMismatch),
    }
}

fn fault(error: TpmError) -> SignatureFault {
    match error {
        TpmError::SignatureInvalid => SignatureFault::Invalid,
        TpmError::SignatureRange => SignatureFault::Malformed,
        _ => SignatureFault::MalformedKey,
    }
}

fn rsa_key<'a>(key: &PublicKey, modulus: &'a [u8], exponent: &[u8]) -> Result<RsaKey<'a>, SignatureFault> {
    let bits = key.bits();
    if !(2048..=4096).contains(&bits) {
        return Err(SignatureFault::KeySize { bits });
    }
    let exponent = pad(exponent).map(u64::from_be_bytes).ok_or(SignatureFault::MalformedKey)?;
    Ok(RsaKey { modulus, exponent })
}

/// ECDSA-Sig-Value (RFC 3279 2.2.3), then FIPS 186-5 6.4.2.
fn ecdsa(
    curve: EcCurve,
    point: &[u8],
    hash: Hash,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureFault> {
    let numbers = || -> Result<(Vec<u8>, Vec<u8>), X509Error> {
        const FIELD: &str = "ECDSA-Sig-Value";
        let mut outer = Reader::new(signature, 0);
        let mut numbers = outer.expect(SEQUENCE, FIELD)?.reader();
        outer.finish(FIELD)?;
        let r = der::unsigned(numbers.next("r")?, "r")?.to_vec();
        let s = der::unsigned(numbers.next("s")?, "s")?.to_vec();
        numbers.finish(FIELD)?;
        Ok((r, s))
    };
    let (r, s) = numbers().map_err(|_| SignatureFault::Malformed)?;
    let bare = |curve, point: Option<Vec<u8>>| {
        let point = point.ok_or(SignatureFault::MalformedKey)?;
        verify_ecdsa(curve, &point, hash.into(), message, &r, &s).map_err(fault)
    };
    match curve {
        EcCurve::P256 => bare(Curve::P256, p256_point(point)),
        EcCurve::P384 => bare(Curve::P384, p384_point(point)),
        EcCurve::P521 => p521(point, &hash.digest(message), &r, &s),
    }
}

/// Uncompressed, as the bare check takes it; a certificate may hold either form (RFC 5480 2.2).
fn p256_point(point: &[u8]) -> Option<Vec<u8>> {
    let key = p256::PublicKey::from_sec1_bytes(point).ok()?;
    Some(key.to_encoded_point(false).as_bytes().to_vec())
}

fn p384_point(point: &[u8]) -> Option<Vec<u8>> {
    let key = p384::PublicKey::from_sec1_bytes(point).ok()?;
    Some(key.to_encoded_point(false).as_bytes().to_vec())
}

/// Of authorities only, and in no other back end.
fn p521(point: &[u8], digest: &[u8], r: &[u8], s: &[u8]) -> Result<(), SignatureFault> {
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| SignatureFault::MalformedKey)?;
    let number = |bytes| {
        let padded = pad::<66>(bytes).and_then(p521::FieldBytes::from_exact_iter);
        padded.ok_or(SignatureFault::Malformed)
    };
    let signature = p521::ecdsa::Signature::from_scalars(number(r)?, number(s)?)
        .map_err(|_| SignatureFault::Malformed)?;
    key.verify_prehash(digest, &signature).map_err(|_| SignatureFault::Invalid)
}

/// `bytes` with leading zeros up to `N`.
fn pad<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut padded = [0; N];
    let start = N.checked_sub(bytes.len())?;
    padded.iter_mut().skip(start).zip(bytes).for_each(|(to, from)| *to = *from);
    Some(padded)
}
