//! RSA public keys: signatures (RFC 8017, 8.1 and 8.2) and the seed of a credential (7.1).

use rand_core::CryptoRngCore;
use rsa::traits::{PublicKeyParts, SignatureScheme};
use rsa::{BigUint, Oaep, Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Sha256, Sha384};

use crate::alg::HashAlg;
use crate::error::TpmError;

/// NIST SP 800-131A: shorter moduli are no longer acceptable.
const MIN_BITS: usize = 2048;

/// The key, refused when too short, even, or when the modulus does not fill its buffer.
pub(crate) fn key(modulus: &[u8], exponent: u32) -> Result<RsaPublicKey, TpmError> {
    let n = BigUint::from_bytes_be(modulus);
    if n.bits() < MIN_BITS {
        return Err(TpmError::RsaKeySize { bits: u64::try_from(n.bits()).unwrap_or(u64::MAX) });
    }
    if n.bits() != modulus.len() * 8 {
        return Err(TpmError::RsaModulus);
    }
    RsaPublicKey::new(n, exponent.into()).map_err(|_| TpmError::RsaModulus)
}

/// A signature must be as long as the modulus and below it, or it has a second encoding.
fn check_range(key: &RsaPublicKey, sig: &[u8]) -> Result<(), TpmError> {
    if sig.len() == key.size() && &BigUint::from_bytes_be(sig) < key.n() {
        Ok(())
    } else {
        Err(TpmError::SignatureRange)
    }
}

/// RSASSA-PKCS1-v1_5 over an already hashed message.
pub(crate) fn verify_rsassa(
    key: &RsaPublicKey,
    hash: HashAlg,
    prehash: &[u8],
    sig: &[u8],
) -> Result<(), TpmError> {
    check_range(key, sig)?;
    let scheme = match hash {
        HashAlg::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
        HashAlg::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
        HashAlg::Sha1 => return Err(TpmError::WeakHash { purpose: "signature", alg: hash }),
    };
    scheme.verify(key, prehash, sig).map_err(|_| TpmError::SignatureInvalid)
}

/// RSASSA-PSS over an already hashed message.
///
/// Part 1, B.7: a TPM salts with as many bytes as fit; one in FIPS mode with the digest's length.
pub(crate) fn verify_rsapss(
    key: &RsaPublicKey,
    hash: HashAlg,
    prehash: &[u8],
    sig: &[u8],
) -> Result<(), TpmError> {
    check_range(key, sig)?;
    let longest = key.size().saturating_sub(hash.digest_len() + 2);
    let holds = |salt| pss(hash, salt).is_ok_and(|scheme| scheme.verify(key, prehash, sig).is_ok());
    if holds(hash.digest_len()) || holds(longest) { Ok(()) } else { Err(TpmError::SignatureInvalid) }
}

fn pss(hash: HashAlg, salt: usize) -> Result<Pss, TpmError> {
    match hash {
        HashAlg::Sha256 => Ok(Pss::new_with_salt::<Sha256>(salt)),
        HashAlg::Sha384 => Ok(Pss::new_with_salt::<Sha384>(salt)),
        HashAlg::Sha1 => Err(TpmError::WeakHash { purpose: "signature", alg: hash }),
    }
}

/// RSAES-OAEP of a credential's seed. The label includes its terminating zero (Part 1, B.4).
pub(crate) fn encrypt_seed(
    key: &RsaPublicKey,
    hash: HashAlg,
    seed: &[u8],
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, TpmError> {
    const LABEL: &str = "IDENTITY\0";
    let padding = match hash {
        HashAlg::Sha256 => Oaep::new_with_label::<Sha256, _>(LABEL),
        HashAlg::Sha384 => Oaep::new_with_label::<Sha384, _>(LABEL),
        HashAlg::Sha1 => return Err(TpmError::WeakHash { purpose: "credential", alg: hash }),
    };
    key.encrypt(rng, padding, seed).map_err(|_| TpmError::SeedEncryption)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_moduli_are_refused() {
        let mut modulus = vec![0xff; 256];
        assert!(key(&modulus, 65_537).is_ok());
        modulus[255] = 0xfe;
        assert_eq!(key(&modulus, 65_537), Err(TpmError::RsaModulus), "even");
        modulus[0] = 0x7f;
        assert_eq!(key(&modulus, 65_537), Err(TpmError::RsaKeySize { bits: 2047 }));
        let mut long = vec![0xff; 384];
        long[0] = 0x7f;
        assert_eq!(key(&long, 65_537), Err(TpmError::RsaModulus), "top bit clear");
        assert_eq!(key(&[0xff; 128], 65_537), Err(TpmError::RsaKeySize { bits: 1024 }));
    }
}
