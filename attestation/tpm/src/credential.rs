//! `TPM2_MakeCredential` in software (Part 1, 24): a secret that one TPM alone can open, and only
//! while it holds the named object.
//!
//! The seed goes to the endorsement key (Annex B.10.4 for RSA, C.6.4 for ECC); a symmetric key and
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
const REQUIRED: Attributes =
    Attributes::FIXED_TPM.union(Attributes::RESTRICTED).union(Attributes::DECRYPT);

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
    if fits && ek.symmetric() != Symmetric::Null { Ok(()) } else { Err(TpmError::NotCredentialKey) }
}

/// A fresh seed of the name algorithm's length, and the seed as only `ek` can read it.
fn share_seed(
    ek: &Public,
    alg: HashAlg,
    rng: &mut impl CryptoRngCore,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), TpmError> {
    match ek.kind() {
        KeyKind::Rsa { modulus, exponent, .. } => {
            let key = rsa_keys::key(modulus, *exponent)?;
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

/// `TPMS_ID_OBJECT`: encrypt, then authenticate ciphertext and Name (Part 1, 24.4 to 24.6).
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
