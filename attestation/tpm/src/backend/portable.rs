//! RustCrypto: runs everywhere, wasm included.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::traits::SignatureScheme;
use rsa::{Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::Ecdsa;
use crate::alg::Curve;
use crate::bare::{RsaKey, SignatureHash};

#[cfg_attr(all(feature = "ring", not(test)), allow(dead_code, reason = "ring hashes instead"))]
pub(super) fn digest(hash: SignatureHash, parts: &[&[u8]]) -> Vec<u8> {
    match hash {
        SignatureHash::Sha256 => digest_of::<Sha256>(parts),
        SignatureHash::Sha384 => digest_of::<Sha384>(parts),
        SignatureHash::Sha512 => digest_of::<Sha512>(parts),
    }
}

fn digest_of<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = D::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().to_vec()
}

macro_rules! verify_on {
    ($krate:ident, $signature:expr, $prehash:expr) => {{
        let Ecdsa { point, r, s, .. } = $signature;
        let key = $krate::ecdsa::VerifyingKey::from_sec1_bytes(point);
        let signature = $krate::ecdsa::Signature::from_slice(&[*r, *s].concat());
        // A high s is accepted: TPMs do not normalise it, and no identity hangs on signature bytes.
        matches!((key, signature), (Ok(key), Ok(signature)) if key.verify_prehash($prehash, &signature).is_ok())
    }};
}

pub(super) fn ecdsa(signature: &Ecdsa<'_>, prehash: &[u8]) -> bool {
    match signature.curve {
        Curve::P256 => verify_on!(p256, signature, prehash),
        Curve::P384 => verify_on!(p384, signature, prehash),
    }
}

#[cfg_attr(feature = "ring", allow(dead_code, reason = "ring verifies instead"))]
pub(super) fn rsassa(key: &RsaKey<'_>, hash: SignatureHash, message: &[u8], sig: &[u8]) -> bool {
    let scheme = match hash {
        SignatureHash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
        SignatureHash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
        SignatureHash::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
    };
    public(key).is_some_and(|key| scheme.verify(&key, &super::digest(hash, &[message]), sig).is_ok())
}

pub(super) fn rsapss(key: &RsaKey<'_>, hash: SignatureHash, salt: usize, message: &[u8], sig: &[u8]) -> bool {
    // The library computes the sum of these lengths before it compares.
    if salt > key.modulus.len() {
        return false;
    }
    let scheme = match hash {
        SignatureHash::Sha256 => Pss::new_with_salt::<Sha256>(salt),
        SignatureHash::Sha384 => Pss::new_with_salt::<Sha384>(salt),
        SignatureHash::Sha512 => Pss::new_with_salt::<Sha512>(salt),
    };
    public(key).is_some_and(|key| scheme.verify(&key, &super::digest(hash, &[message]), sig).is_ok())
}

fn public(key: &RsaKey<'_>) -> Option<RsaPublicKey> {
    crate::rsa_keys::key(key).ok()
}
