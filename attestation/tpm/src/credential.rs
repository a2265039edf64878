//! `TPM2_MakeCredential` in software (Part 1, 24): a secret that one TPM alone can open, and only
//! while it holds the named object.
//!
//! The seed goes to the endorsement key (Annex B.10 for RSA, C.6 for ECC); a symmetric key and
//! an HMAC key are derived from it, and the object's Name goes into both, so that a TPM without that very
//! object refuses. The secret is protected against everyone but the holder of the endorsement key, which
//! says nothing about who that is: its certificate, or a pin, does.

use aes::{Aes128, Aes256};
use cfb_mode::Encryptor;
use cfb_mode::cipher::generic_array::GenericArray;
use cfb_mode::cipher::{AsyncStreamCipher, KeyIvInit};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::alg::{Curve, HashAlg, Symmetric};
use crate::attributes::Attributes;
use crate::bare::RsaKey;
use crate::ec;
use crate::error::TpmError;
use crate::kdf::{hmac, kdfa, kdfe};
use crate::name::Name;
use crate::public::{KeyKind, Public};
use crate::rsa_keys;
use crate::wire::Writer;

/// What `TPM2_ActivateCredential` needs; each buffer without the size of its `TPM2B`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// `TPM2B_ID_OBJECT`: `TPM2B integrityHMAC || encIdentity`.
    pub id_object: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET`: OAEP ciphertext, or an ephemeral `TPMS_ECC_POINT`.
    pub encrypted_secret: Vec<u8>,
}

/// Attributes of a key that may receive a credential, among those this check looks at.
const REQUIRED: Attributes = Attributes::FIXED_TPM.union(Attributes::RESTRICTED).union(Attributes::DECRYPT);

/// Protects `secret` so that only the TPM holding both `ek` and the object `object_name` can read it.
///
/// `rng` must be cryptographic; it is asked for a seed or an ephemeral key, and OAEP's padding.
///
/// # Errors
/// [`TpmError::NotCredentialKey`] unless `ek` is a restricted decryption key fixed to its TPM with
/// AES-CFB, [`TpmError::WeakHash`] for an SHA-1 `ek`, [`TpmError::SecretLength`] for an empty secret
/// or one longer than the name digest, [`TpmError::RsaKeySize`], [`TpmError::RsaModulus`],
/// [`TpmError::PointNotOnCurve`] or [`TpmError::SeedEncryption`] when `ek` is no sound key.
pub fn make_credential(
    ek: &Public,
    object_name: &Name,
    secret: &[u8],
    rng: &mut impl CryptoRngCore,
) -> Result<Credential, TpmError> {
    check_credential_key(ek)?;
    let alg = ek.name_alg().strong("credential")?;
    let max = alg.digest_len();
    if secret.is_empty() || secret.len() > max {
        return Err(TpmError::SecretLength { len: secret.len(), max });
    }
    let (seed, encrypted_secret) = share_seed(ek, alg, rng)?;
    let id_object = protect(ek.symmetric(), alg, &seed, object_name, secret)?;
    Ok(Credential { id_object, encrypted_secret })
}

fn check_credential_key(ek: &Public) -> Result<(), TpmError> {
    let attributes = ek.attributes();
    let fits = attributes.contains(REQUIRED) && !attributes.contains(Attributes::SIGN);
    if fits { Ok(()) } else { Err(TpmError::NotCredentialKey) }
}

/// A fresh seed of the name algorithm's length, and the seed as only `ek` can read it.
fn share_seed(
    ek: &Public,
    alg: HashAlg,
    rng: &mut impl CryptoRngCore,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), TpmError> {
    match ek.kind() {
        KeyKind::Rsa { modulus, exponent, .. } => {
            let key = rsa_keys::key(&RsaKey { modulus, exponent: (*exponent).into() })?;
            let mut seed = Zeroizing::new(vec![0; alg.digest_len()]);
            rng.fill_bytes(&mut seed);
            let encrypted = rsa_keys::encrypt_seed(&key, alg, &seed, rng)?;
            Ok((seed, encrypted))
        }
        KeyKind::Ecc { curve, x, y } => share_seed_ecc(*curve, x, y, alg, rng),
    }
}

fn share_seed_ecc(
    curve: Curve,
    x: &[u8],
    y: &[u8],
    alg: HashAlg,
    rng: &mut impl CryptoRngCore,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), TpmError> {
    let ephemeral = ec::agree(curve, &ec::sec1_point(x, y), rng)?;
    let seed = kdfe(alg, &ephemeral.z, b"IDENTITY", &ephemeral.x, x, digest_bits(alg));
    let mut point = Writer::default();
    point.sized("secret.x", &ephemeral.x)?;
    point.sized("secret.y", &ephemeral.y)?;
    Ok((seed, point.into_bytes()))
}

const fn digest_bits(alg: HashAlg) -> u16 {
    match alg {
        HashAlg::Sha1 => 160,
        HashAlg::Sha256 => 256,
        HashAlg::Sha384 => 384,
    }
}

/// `TPMS_ID_OBJECT`: encrypt, then authenticate ciphertext and Name (Part 1, 24).
fn protect(
    symmetric: Symmetric,
    alg: HashAlg,
    seed: &[u8],
    object_name: &Name,
    secret: &[u8],
) -> Result<Vec<u8>, TpmError> {
    let mut identity = Writer::default();
    identity.sized("credential", secret)?;
    let mut identity = Zeroizing::new(identity.into_bytes());
    encrypt(symmetric, alg, seed, object_name.as_bytes(), &mut identity)?;
    let hmac_key = kdfa(alg, seed, b"INTEGRITY", &[], digest_bits(alg));
    let integrity = hmac(alg, &hmac_key, &[&identity, object_name.as_bytes()]);
    let mut id_object = Writer::default();
    id_object.sized("integrityHMAC", &integrity)?;
    id_object.bytes(&identity);
    Ok(id_object.into_bytes())
}

/// AES-CFB under a key derived for this Name. A zero IV is sound: the seed is used once.
fn encrypt(
    symmetric: Symmetric,
    alg: HashAlg,
    seed: &[u8],
    name: &[u8],
    data: &mut [u8],
) -> Result<(), TpmError> {
    let key = |bits| kdfa(alg, seed, b"STORAGE", name, bits);
    let iv = GenericArray::default();
    match symmetric {
        Symmetric::Aes128Cfb => Encryptor::<Aes128>::new(&block(&key(128)), &iv).encrypt(data),
        Symmetric::Aes256Cfb => Encryptor::<Aes256>::new(&block(&key(256)), &iv).encrypt(data),
        Symmetric::Null => return Err(TpmError::NotCredentialKey),
    }
    Ok(())
}

/// The key as the cipher wants it; both have the same length.
fn block<N: cfb_mode::cipher::ArrayLength<u8>>(key: &[u8]) -> GenericArray<u8, N> {
    key.iter().copied().chain(core::iter::repeat(0)).take(N::USIZE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::PublicParts;
    use crate::testing::{ak_parts, ek_parts, p256_key, rng, rsa_parts};

    fn make(parts: &PublicParts, secret: &[u8]) -> Result<Credential, TpmError> {
        let object = Public::from_parts(&ak_parts(&p256_key(2))).unwrap().name().unwrap();
        make_credential(&Public::from_parts(parts).unwrap(), &object, secret, &mut rng(9))
    }

    fn ek() -> PublicParts {
        ek_parts(&p256_key(1))
    }

    #[test]
    fn only_fixed_restricted_decryption_keys_receive_credentials() {
        let bits = |bits| Attributes::from_bits(bits).unwrap();
        let good = ek().attributes;
        for attributes in [
            good.without(Attributes::FIXED_TPM),
            good.without(Attributes::RESTRICTED),
            good.without(Attributes::DECRYPT),
            good | Attributes::SIGN,
            bits(0),
        ] {
            assert_eq!(make(&PublicParts { attributes, ..ek() }, b"s"), Err(TpmError::NotCredentialKey));
        }
        let parts = PublicParts { symmetric: Symmetric::Null, ..ek() };
        assert_eq!(make(&parts, b"s"), Err(TpmError::NotCredentialKey));
    }

    #[test]
    fn secrets_fit_the_name_digest() {
        let length = |len| Err(TpmError::SecretLength { len, max: 32 });
        assert_eq!(make(&ek(), &[]), length(0));
        assert_eq!(make(&ek(), &[1; 33]), length(33));
        assert!(make(&ek(), &[1; 32]).is_ok());
    }

    #[test]
    fn weak_or_malformed_keys_are_refused() {
        let sha1 = PublicParts { name_alg: HashAlg::Sha1, auth_policy: vec![], ..ek() };
        let weak = TpmError::WeakHash { purpose: "credential", alg: HashAlg::Sha1 };
        assert_eq!(make(&sha1, b"s"), Err(weak));
        assert_eq!(make(&rsa_parts(1024), b"s"), Err(TpmError::RsaKeySize { bits: 1024 }));
        let kind = KeyKind::Ecc { curve: Curve::P256, x: vec![1; 32], y: vec![1; 32] };
        let off = TpmError::PointNotOnCurve { curve: Curve::P256 };
        assert_eq!(make(&PublicParts { kind, ..ek() }, b"s"), Err(off));
    }

    #[test]
    fn sizes_are_those_of_the_structures() {
        let credential = make(&ek(), &[1; 32]).unwrap();
        assert_eq!(credential.id_object.len(), 2 + 32 + 2 + 32);
        assert_eq!(credential.encrypted_secret.len(), 2 * (2 + 32));
        assert_eq!(make(&rsa_parts(3072), &[1; 16]).unwrap().encrypted_secret.len(), 384);
    }
}
