//! RSA public keys as `rsa` takes them, and the seed of a credential (RFC 8017, 7.1).

use rand_core::CryptoRngCore;
use rsa::{BigUint, Oaep, RsaPublicKey};
use sha2::{Sha256, Sha384};

use crate::alg::HashAlg;
use crate::bare::RsaKey;
use crate::error::TpmError;

/// The key, refused unless [`RsaKey::check`] finds it sound.
pub(crate) fn key(key: &RsaKey<'_>) -> Result<RsaPublicKey, TpmError> {
    key.check()?;
    let modulus = BigUint::from_bytes_be(key.modulus);
    RsaPublicKey::new(modulus, key.exponent.into()).map_err(|_| TpmError::RsaModulus)
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
