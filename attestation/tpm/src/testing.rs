//! Keys and structures for this crate's unit tests: software in the place of a TPM.

use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsa::traits::{PublicKeyParts, SignatureScheme};
use rsa::{Pkcs1v15Sign, Pss, RsaPrivateKey};
use sha2::{Sha256, Sha384};

use crate::{
    AK_ATTRIBUTES, Attest, AttestBody, Attributes, ClockInfo, Curve, HashAlg, KeyKind, PcrSelection, PcrSet,
    Public, PublicParts, QuoteInfo, Scheme, Signature, Symmetric, TimeInfo,
};

pub(crate) fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

pub(crate) fn p256_key(seed: u8) -> SigningKey {
    SigningKey::random(&mut rng(seed))
}

fn p256_kind(key: &SigningKey) -> KeyKind {
    let point = key.verifying_key().to_encoded_point(false);
    KeyKind::Ecc { curve: Curve::P256, x: point.x().unwrap().to_vec(), y: point.y().unwrap().to_vec() }
}

/// A well-formed attestation key.
pub(crate) fn ak_parts(key: &SigningKey) -> PublicParts {
    PublicParts {
        name_alg: HashAlg::Sha256,
        attributes: AK_ATTRIBUTES,
        auth_policy: vec![],
        symmetric: Symmetric::Null,
        scheme: Scheme::Ecdsa(HashAlg::Sha256),
        kind: p256_kind(key),
    }
}

/// An endorsement key after the TCG's template: 0x000300b2 and a policy.
pub(crate) fn ek_parts(key: &SigningKey) -> PublicParts {
    PublicParts {
        attributes: Attributes::from_bits(0x0003_00b2).unwrap(),
        auth_policy: vec![7; 32],
        symmetric: Symmetric::Aes128Cfb,
        scheme: Scheme::Null,
        ..ak_parts(key)
    }
}

/// An RSA endorsement key with a modulus that nobody has the factors of.
pub(crate) fn rsa_parts(bits: u16) -> PublicParts {
    let modulus = vec![0xff; usize::from(bits / 8)];
    PublicParts { kind: KeyKind::Rsa { bits, exponent: 65_537, modulus }, ..ek_parts(&p256_key(1)) }
}

pub(crate) fn p256_sign(key: &SigningKey, message: &[u8]) -> Signature {
    let signature: p256::ecdsa::Signature = key.sign(message);
    let (r, s) = signature.split_bytes();
    Signature::ecdsa(HashAlg::Sha256, &r, &s).unwrap()
}

/// A P-384 signing key and its signature.
pub(crate) fn p384_parts_and_sign(message: &[u8]) -> (PublicParts, Signature) {
    let key = p384::ecdsa::SigningKey::random(&mut rng(3));
    let point = key.verifying_key().to_encoded_point(false);
    let kind =
        KeyKind::Ecc { curve: Curve::P384, x: point.x().unwrap().to_vec(), y: point.y().unwrap().to_vec() };
    let signature: p384::ecdsa::Signature = key.sign(message);
    let (r, s) = signature.split_bytes();
    let parts = PublicParts { scheme: Scheme::Ecdsa(HashAlg::Sha384), kind, ..ak_parts(&p256_key(1)) };
    (parts, Signature::ecdsa(HashAlg::Sha384, &r, &s).unwrap())
}

pub(crate) fn rsa_key() -> RsaPrivateKey {
    RsaPrivateKey::new(&mut rng(4), 2048).unwrap()
}

pub(crate) fn rsa_kind(key: &RsaPrivateKey) -> KeyKind {
    let modulus = key.n().to_bytes_be();
    let bits = u16::try_from(modulus.len() * 8).unwrap();
    KeyKind::Rsa { bits, exponent: 65_537, modulus }
}

pub(crate) fn rsa_public(key: &RsaPrivateKey, scheme: Scheme) -> Public {
    Public::from_parts(&PublicParts { scheme, kind: rsa_kind(key), ..ak_parts(&p256_key(1)) }).unwrap()
}

/// Signs with the library's own names of the schemes, so that ours are checked against them.
pub(crate) fn rsa_sign(key: &RsaPrivateKey, scheme: Scheme, salt: usize, message: &[u8]) -> Signature {
    let hash = scheme.hash().unwrap();
    let digest = hash.digest(message);
    let some_rng = &mut rng(5);
    match scheme {
        Scheme::RsaSsa(HashAlg::Sha256) => {
            let sig = Pkcs1v15Sign::new::<Sha256>().sign(Some(some_rng), key, &digest);
            Signature::rsassa(hash, &sig.unwrap()).unwrap()
        }
        Scheme::RsaSsa(_) => {
            let sig = Pkcs1v15Sign::new::<Sha384>().sign(Some(some_rng), key, &digest);
            Signature::rsassa(hash, &sig.unwrap()).unwrap()
        }
        Scheme::RsaPss(HashAlg::Sha256) => {
            let sig = Pss::new_with_salt::<Sha256>(salt).sign(Some(some_rng), key, &digest);
            Signature::rsapss(hash, &sig.unwrap()).unwrap()
        }
        _ => {
            let sig = Pss::new_with_salt::<Sha384>(salt).sign(Some(some_rng), key, &digest);
            Signature::rsapss(hash, &sig.unwrap()).unwrap()
        }
    }
}

fn attest(body: AttestBody) -> Attest {
    Attest {
        qualified_signer: vec![1; 34],
        extra_data: vec![2; 32],
        clock_info: ClockInfo { clock: 3, reset_count: 4, restart_count: 5, safe: true },
        firmware_version: 6,
        body,
    }
}

pub(crate) fn quote() -> Attest {
    let pcrs = PcrSet::from_indices(&[0, 7, 11]).unwrap();
    let selection = vec![PcrSelection { alg: HashAlg::Sha256, pcrs }];
    attest(AttestBody::Quote(QuoteInfo { selection, pcr_digest: vec![8; 32] }))
}

pub(crate) fn time() -> Attest {
    let clock_info = ClockInfo { clock: 9, reset_count: 10, restart_count: 11, safe: false };
    attest(AttestBody::Time(TimeInfo { time: 12, clock_info, firmware_version: 13 }))
}
