//! `ring`: assembly for the curves, RSA and the hashes, on native targets.
//!
//! Its RSA takes moduli of 2048 to 8192 bits and odd exponents from 3 to 2^33 - 1, which
//! [`crate::bare`] demands of every key.

use ring::digest::{Context, SHA256, SHA384, SHA512};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, EcdsaVerificationAlgorithm, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use super::Ecdsa;
use crate::alg::Curve;
use crate::bare::{RsaKey, SignatureHash};

pub(super) fn digest(hash: SignatureHash, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(match hash {
        SignatureHash::Sha256 => &SHA256,
        SignatureHash::Sha384 => &SHA384,
        SignatureHash::Sha512 => &SHA512,
    });
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().to_vec()
}

/// `None` for a pair of curve and hash that is not offered with plain numbers.
pub(super) fn ecdsa(signature: &Ecdsa<'_>, hash: SignatureHash, message: &[u8]) -> Option<bool> {
    let algorithm: &EcdsaVerificationAlgorithm = match (signature.curve, hash) {
        (Curve::P256, SignatureHash::Sha256) => &ECDSA_P256_SHA256_FIXED,
        (Curve::P384, SignatureHash::Sha384) => &ECDSA_P384_SHA384_FIXED,
        _ => return None,
    };
    let numbers = [signature.r, signature.s].concat();
    Some(UnparsedPublicKey::new(algorithm, signature.point).verify(message, &numbers).is_ok())
}

pub(super) fn rsassa(key: &RsaKey<'_>, hash: SignatureHash, message: &[u8], sig: &[u8]) -> bool {
    let parameters = match hash {
        SignatureHash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        SignatureHash::Sha384 => &RSA_PKCS1_2048_8192_SHA384,
        SignatureHash::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
    };
    rsa(key, parameters, message, sig)
}

/// With a salt of the digest's length, the only one there is here.
pub(super) fn rsapss(key: &RsaKey<'_>, hash: SignatureHash, message: &[u8], sig: &[u8]) -> bool {
    let parameters = match hash {
        SignatureHash::Sha256 => &RSA_PSS_2048_8192_SHA256,
        SignatureHash::Sha384 => &RSA_PSS_2048_8192_SHA384,
        SignatureHash::Sha512 => &RSA_PSS_2048_8192_SHA512,
    };
    rsa(key, parameters, message, sig)
}

fn rsa(key: &RsaKey<'_>, parameters: &'static RsaParameters, message: &[u8], sig: &[u8]) -> bool {
    let exponent = key.exponent.to_be_bytes();
    let zeros = exponent.iter().take_while(|byte| **byte == 0).count();
    let e = exponent.get(zeros..).unwrap_or_default();
    RsaPublicKeyComponents { n: key.modulus, e }.verify(parameters, message, sig).is_ok()
}
