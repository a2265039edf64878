//! How many checks a second one core makes, printed and not asserted:
//! `cargo test --release -p assay-tpm [--features ring] --test rates -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use assay_tpm::{Curve, HashAlg, RsaKey, SignatureHash, verify_ecdsa, verify_rsassa};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsa::traits::{PublicKeyParts, SignatureScheme};

const LENGTH: Duration = Duration::from_secs(1);

fn rate(name: &str, work: impl Fn()) {
    let start = Instant::now();
    let mut count = 0u32;
    while start.elapsed() < LENGTH {
        work();
        count += 1;
    }
    println!("{name}: {:.0} a second", f64::from(count) / start.elapsed().as_secs_f64());
}

#[test]
#[ignore = "prints figures"]
fn checks_a_second() {
    println!("{}", if cfg!(feature = "ring") { "ring" } else { "portable" });
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let (message, hash) = (&[7; 145][..], SignatureHash::Sha256);
    let key = p256::ecdsa::SigningKey::random(&mut rng);
    let signature: p256::ecdsa::Signature = key.sign_prehash(&hash.digest(message)).unwrap();
    let (r, s) = signature.split_bytes();
    let point = key.verifying_key().to_encoded_point(false);
    rate("P-256", || verify_ecdsa(Curve::P256, point.as_bytes(), hash, message, &r, &s).unwrap());
    let hash = SignatureHash::Sha384;
    let key = p384::ecdsa::SigningKey::random(&mut rng);
    let signature: p384::ecdsa::Signature = key.sign_prehash(&hash.digest(message)).unwrap();
    let (r, s) = signature.split_bytes();
    let point = key.verifying_key().to_encoded_point(false);
    rate("P-384", || verify_ecdsa(Curve::P384, point.as_bytes(), hash, message, &r, &s).unwrap());
    let hash = SignatureHash::Sha256;
    let key = rsa::RsaPrivateKey::new(&mut rng, 2048).unwrap();
    let scheme = rsa::Pkcs1v15Sign::new::<sha2::Sha256>();
    let sig = scheme.sign(Some(&mut rng), &key, &hash.digest(message)).unwrap();
    let modulus = key.n().to_bytes_be();
    let key = RsaKey { modulus: &modulus, exponent: 65_537 };
    rate("RSA-2048", || verify_rsassa(&key, hash, message, &sig).unwrap());
    let block = vec![1; 1 << 20];
    rate("SHA-256 of 1 MiB", || drop(std::hint::black_box(HashAlg::Sha256.digest(&block))));
    rate("SHA-384 of 1 MiB", || drop(std::hint::black_box(HashAlg::Sha384.digest(&block))));
}
