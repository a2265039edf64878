//! Signed tokens around an EAR: JWT (RFC 7519, 8037) and CWT (RFC 8392).
//!
//! Both are signed with Ed25519, which needs no randomness: the same result and key give the same
//! bytes. Neither can pass as a message of Assay's own: an envelope's signature covers a network's id
//! where a CWT's covers nothing (RFC 9052 4.4), and a JWT's begins with base64 of `{`.

use assay_wire::{SigningKey, cbor};
use minicbor::Encoder;

use crate::ear::Ear;

/// CBOR tag 18, `COSE_Sign1`, in its one-byte form.
const TAG_SIGN1: u8 = 0xd2;

impl Ear {
    /// A JWS in compact form (RFC 7515 3.1), `alg` EdDSA, `kid` the signer's validator id in hex.
    pub fn to_jwt(&self, key: &SigningKey) -> String {
        let kid = key.verifying_key().validator_id();
        let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"JWT"}}"#);
        // Fields with fixed names and no map with other keys: serialising can't fail.
        let claims = serde_json::to_vec(self).unwrap_or_default();
        let signed = format!("{}.{}", base64url(header.as_bytes()), base64url(&claims));
        let signature = base64url(&key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A tagged `COSE_Sign1` over the claims-set, protected header `{1: -8, 4: validator id}`.
    pub fn to_cwt(&self, key: &SigningKey) -> Vec<u8> {
        let kid = key.verifying_key().validator_id();
        let claims = cbor::to_vec(self);
        let protected = encoded(|e| e.map(2)?.u8(1)?.i8(-8)?.u8(4)?.bytes(&kid.0)?.ok());
        let signed =
            encoded(|e| e.array(4)?.str("Signature1")?.bytes(&protected)?.bytes(&[])?.bytes(&claims)?.ok());
        let signature = key.sign(&signed);
        let body =
            encoded(|e| e.array(4)?.bytes(&protected)?.map(0)?.bytes(&claims)?.bytes(&signature)?.ok());
        [&[TAG_SIGN1], body.as_slice()].concat()
    }
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn encoded(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing into a Vec cannot fail.
    let _ = write(&mut Encoder::new(&mut bytes));
    bytes
}

/// Base64 with the URL alphabet and without padding (RFC 4648 5, RFC 7515 2).
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            let index = usize::try_from(group >> (18 - 6 * at) & 63).unwrap_or_default();
            text.extend(ALPHABET.get(index).map(|byte| char::from(*byte)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 10, without the padding, and the two characters of the URL alphabet.
    #[test]
    fn base64url_vectors() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (b"fooba", "Zm9vYmE"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xfb, 0xff, 0xfe], "-__-"),
        ] {
            assert_eq!(base64url(bytes), text);
        }
    }
}
