//! Credentials opened as a TPM opens them, with the private key in software and every derivation
//! written a second time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use aes::{Aes128, Aes256};
use assay_tpm::{
    Attributes, Credential, Curve, HashAlg, KeyKind, Name, Public, PublicParts, Scheme, Symmetric,
    make_credential,
};
use cfb_mode::Decryptor;
use cfb_mode::cipher::{AsyncStreamCipher, KeyIvInit};
use hmac::{Hmac, Mac};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, RsaPrivateKey};
use sha2::{Digest, Sha256, Sha384};

const SECRET: &[u8; 32] = b"thirty-two bytes of some secret!";

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn object(tag: u8) -> Name {
    Name::parse(&[&[0, 0x0b], &[tag; 32][..]].concat()).unwrap()
}

fn ek(kind: KeyKind, name_alg: HashAlg, symmetric: Symmetric) -> Public {
    Public::from_parts(&PublicParts {
        name_alg,
        attributes: Attributes::from_bits(0x0003_00b2).unwrap(),
        auth_policy: vec![],
        symmetric,
        scheme: Scheme::Null,
        kind,
    })
    .unwrap()
}

/// HMAC and the two derivations, for outputs of at most one block.
fn mac(alg: HashAlg, key: &[u8], data: &[u8]) -> Vec<u8> {
    if alg == HashAlg::Sha384 {
        let mut mac = Hmac::<Sha384>::new_from_slice(key).unwrap();
        mac.update(data);
        return mac.finalize().into_bytes().to_vec();
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn kdfa(alg: HashAlg, seed: &[u8], label: &[u8], context: &[u8], bits: u32) -> Vec<u8> {
    let input = [&[0, 0, 0, 1], label, &[0], context, &bits.to_be_bytes()].concat();
    mac(alg, seed, &input)[..usize::try_from(bits / 8).unwrap()].to_vec()
}

fn kdfe(alg: HashAlg, z: &[u8], u: &[u8], v: &[u8]) -> Vec<u8> {
    let input = [&[0, 0, 0, 1], z, b"IDENTITY\0", u, v].concat();
    if alg == HashAlg::Sha384 { Sha384::digest(input).to_vec() } else { Sha256::digest(input).to_vec() }
}

/// The second half of `TPM2_ActivateCredential`: none when the integrity check fails.
fn open(ek: &Public, seed: &[u8], object: &Name, id_object: &[u8]) -> Option<Vec<u8>> {
    let alg = ek.name_alg();
    let digest_len = alg.digest_len();
    assert_eq!(usize::from(u16::from_be_bytes([id_object[0], id_object[1]])), digest_len);
    let (integrity, identity) = id_object[2..].split_at(digest_len);
    let hmac_key = kdfa(alg, seed, b"INTEGRITY", &[], u32::try_from(digest_len * 8).unwrap());
    if mac(alg, &hmac_key, &[identity, object.as_bytes()].concat()) != integrity {
        return None;
    }
    let mut data = identity.to_vec();
    let key = |bits| kdfa(alg, seed, b"STORAGE", object.as_bytes(), bits);
    match ek.symmetric() {
        Symmetric::Aes128Cfb => {
            Decryptor::<Aes128>::new_from_slices(&key(128), &[0; 16]).unwrap().decrypt(&mut data);
        }
        _ => Decryptor::<Aes256>::new_from_slices(&key(256), &[0; 16]).unwrap().decrypt(&mut data),
    }
    assert_eq!(usize::from(u16::from_be_bytes([data[0], data[1]])), data.len() - 2);
    Some(data[2..].to_vec())
}

fn check(ek: &Public, seed_of: impl Fn(&Credential) -> Vec<u8>) {
    let credential = make_credential(ek, &object(1), SECRET, &mut rng(7)).unwrap();
    let seed = seed_of(&credential);
    assert_eq!(open(ek, &seed, &object(1), &credential.id_object).as_deref(), Some(&SECRET[..]));
    assert_eq!(open(ek, &seed, &object(2), &credential.id_object), None, "another object");
    for index in 2..credential.id_object.len() {
        let mut id_object = credential.id_object.clone();
        id_object[index] ^= 1;
        assert_eq!(open(ek, &seed, &object(1), &id_object), None, "byte {index}");
    }
    let again = make_credential(ek, &object(1), SECRET, &mut rng(8)).unwrap();
    assert_ne!(again.encrypted_secret, credential.encrypted_secret, "a fresh seed each time");
}

#[test]
fn p256_ek_opens_it() {
    let secret = p256::SecretKey::random(&mut rng(1));
    let point = secret.public_key().to_encoded_point(false);
    let (x, y) = (point.x().unwrap().to_vec(), point.y().unwrap().to_vec());
    let kind = KeyKind::Ecc { curve: Curve::P256, x: x.clone(), y };
    check(&ek(kind, HashAlg::Sha256, Symmetric::Aes128Cfb), |credential| {
        let (u, sec1) = ephemeral(&credential.encrypted_secret, 32);
        let theirs = p256::PublicKey::from_sec1_bytes(&sec1).unwrap();
        let z = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), theirs.as_affine());
        kdfe(HashAlg::Sha256, z.raw_secret_bytes(), &u, &x)
    });
}

#[test]
fn p384_ek_opens_it() {
    let secret = p384::SecretKey::random(&mut rng(1));
    let point = secret.public_key().to_encoded_point(false);
    let (x, y) = (point.x().unwrap().to_vec(), point.y().unwrap().to_vec());
    let kind = KeyKind::Ecc { curve: Curve::P384, x: x.clone(), y };
    check(&ek(kind, HashAlg::Sha384, Symmetric::Aes256Cfb), |credential| {
        let (u, sec1) = ephemeral(&credential.encrypted_secret, 48);
        let theirs = p384::PublicKey::from_sec1_bytes(&sec1).unwrap();
        let z = p384::ecdh::diffie_hellman(secret.to_nonzero_scalar(), theirs.as_affine());
        kdfe(HashAlg::Sha384, z.raw_secret_bytes(), &u, &x)
    });
}

/// X coordinate and SEC 1 form of a `TPMS_ECC_POINT`.
fn ephemeral(bytes: &[u8], len: usize) -> (Vec<u8>, Vec<u8>) {
    assert_eq!(bytes.len(), 2 * (2 + len));
    let (x, y) = (&bytes[2..2 + len], &bytes[4 + len..]);
    (x.to_vec(), [&[4], x, y].concat())
}

#[test]
fn rsa_ek_opens_it_with_both_hashes() {
    let secret = RsaPrivateKey::new(&mut rng(1), 2048).unwrap();
    let kind = KeyKind::Rsa { bits: 2048, exponent: 65_537, modulus: secret.n().to_bytes_be() };
    check(&ek(kind.clone(), HashAlg::Sha256, Symmetric::Aes128Cfb), |credential| {
        secret.decrypt(Oaep::new_with_label::<Sha256, _>("IDENTITY\0"), &credential.encrypted_secret).unwrap()
    });
    check(&ek(kind, HashAlg::Sha384, Symmetric::Aes256Cfb), |credential| {
        secret.decrypt(Oaep::new_with_label::<Sha384, _>("IDENTITY\0"), &credential.encrypted_secret).unwrap()
    });
}
