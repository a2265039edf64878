//! Who does the arithmetic: RustCrypto everywhere, or `ring` where it is native and the feature
//! `ring` is on.
//!
//! Both answer yes or no to numbers that [`crate::bare`] has already found in range, for keys it has
//! already found sound, so that a verdict never depends on which one was compiled in. What `ring`
//! does not offer (other pairs of curve and hash, other salts) goes to RustCrypto in both builds.

mod portable;
#[cfg(feature = "ring")]
mod ring;

use crate::alg::Curve;
use crate::bare::{RsaKey, SignatureHash};

/// Who does the arithmetic in this build: `ring` or `portable`. Any package of a build may have chosen `ring`
/// for all of it, so that who compares the two, or measures one, has to ask.
pub const BACKEND: &str = if cfg!(feature = "ring") { "ring" } else { "portable" };

/// An ECDSA signature with its numbers padded to the field's length.
pub(crate) struct Ecdsa<'a> {
    /// The curve.
    pub(crate) curve: Curve,
    /// The key: an uncompressed point that is on the curve.
    pub(crate) point: &'a [u8],
    /// The number r, from 1 to the order minus 1.
    pub(crate) r: &'a [u8],
    /// The number s, likewise.
    pub(crate) s: &'a [u8],
}

/// Digest of the concatenation of `parts`.
pub(crate) fn digest(hash: SignatureHash, parts: &[&[u8]]) -> Vec<u8> {
    #[cfg(feature = "ring")]
    return ring::digest(hash, parts);
    #[cfg(not(feature = "ring"))]
    portable::digest(hash, parts)
}

/// FIPS 186-5, 6.4.2.
pub(crate) fn ecdsa(signature: &Ecdsa<'_>, hash: SignatureHash, message: &[u8]) -> bool {
    #[cfg(feature = "ring")]
    if let Some(holds) = ring::ecdsa(signature, hash, message) {
        return holds;
    }
    portable::ecdsa(signature, &digest(hash, &[message]))
}

/// RFC 8017, 8.2.2; `sig` is as long as the modulus and below it.
pub(crate) fn rsassa(key: &RsaKey<'_>, hash: SignatureHash, message: &[u8], sig: &[u8]) -> bool {
    #[cfg(feature = "ring")]
    return ring::rsassa(key, hash, message, sig);
    #[cfg(not(feature = "ring"))]
    portable::rsassa(key, hash, message, sig)
}

/// RFC 8017, 8.1.2, with MGF1 over the same hash; `sig` is as long as the modulus and below it.
pub(crate) fn rsapss(key: &RsaKey<'_>, hash: SignatureHash, salt: usize, message: &[u8], sig: &[u8]) -> bool {
    #[cfg(feature = "ring")]
    if salt == hash.digest_len() {
        return ring::rsapss(key, hash, message, sig);
    }
    portable::rsapss(key, hash, salt, message, sig)
}

#[cfg(all(test, feature = "ring"))]
mod tests {
    use super::*;

    #[test]
    fn both_hash_alike() {
        for hash in [SignatureHash::Sha256, SignatureHash::Sha384, SignatureHash::Sha512] {
            for text in ["", "a", "a  bc"] {
                let parts: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
                assert_eq!(ring::digest(hash, &parts), portable::digest(hash, &parts));
            }
        }
    }
}
