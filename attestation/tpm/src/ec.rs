//! The two curves: point checks and the key agreement of a credential.
//!
//! `p256` and `p384` have the same shape, so one body is written for both.

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::alg::Curve;
use crate::error::TpmError;

/// One side of a one-pass Diffie-Hellman (SP 800-56A 6.2.2.2, as Part 1, C.6 uses it).
pub(crate) struct Agreement {
    /// X coordinate of the ephemeral public key.
    pub(crate) x: Vec<u8>,
    /// Y coordinate of the ephemeral public key.
    pub(crate) y: Vec<u8>,
    /// X coordinate of the shared point.
    pub(crate) z: Zeroizing<Vec<u8>>,
}

/// An uncompressed point (SEC 1, 2.3.3); the only form of which a TPM makes use.
pub(crate) fn sec1_point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[0x04], x, y].concat()
}

macro_rules! curve_module {
    ($krate:ident, $curve:expr) => {
        mod $krate {
            use $krate::PublicKey;
            use $krate::ecdh::EphemeralSecret;
            use $krate::elliptic_curve::sec1::ToEncodedPoint;

            use super::{Agreement, CryptoRngCore, TpmError, Zeroizing};

            /// The key, refused unless the point is uncompressed, on the curve and not the identity.
            pub(super) fn key(point: &[u8]) -> Result<PublicKey, TpmError> {
                let off = TpmError::PointNotOnCurve { curve: $curve };
                if point.len() != 1 + 2 * $curve.field_len() {
                    return Err(off);
                }
                PublicKey::from_sec1_bytes(point).map_err(|_| off)
            }

            pub(super) fn agree(point: &[u8], rng: &mut impl CryptoRngCore) -> Result<Agreement, TpmError> {
                let key = key(point)?;
                let secret = EphemeralSecret::random(rng);
                let ours = secret.public_key().to_encoded_point(false);
                let coordinate = |bytes: Option<&_>| bytes.map(|bytes: &$krate::FieldBytes| bytes.to_vec());
                let shared = secret.diffie_hellman(&key);
                Ok(Agreement {
                    x: coordinate(ours.x()).unwrap_or_default(),
                    y: coordinate(ours.y()).unwrap_or_default(),
                    z: Zeroizing::new(shared.raw_secret_bytes().to_vec()),
                })
            }
        }
    };
}

curve_module!(p256, crate::alg::Curve::P256);
curve_module!(p384, crate::alg::Curve::P384);

/// Refuses a point that is not on `curve`: agreeing with one leaks a private key bit by bit.
pub(crate) fn check_point(curve: Curve, point: &[u8]) -> Result<(), TpmError> {
    match curve {
        Curve::P256 => p256::key(point).map(drop),
        Curve::P384 => p384::key(point).map(drop),
    }
}

/// Agrees on a secret with the holder of `point`.
pub(crate) fn agree(curve: Curve, point: &[u8], rng: &mut impl CryptoRngCore) -> Result<Agreement, TpmError> {
    match curve {
        Curve::P256 => p256::agree(point, rng),
        Curve::P384 => p384::agree(point, rng),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_off_the_curve_are_refused() {
        for curve in [Curve::P256, Curve::P384] {
            let point = sec1_point(&vec![1; curve.field_len()], &vec![1; curve.field_len()]);
            let off = TpmError::PointNotOnCurve { curve };
            assert_eq!(check_point(curve, &point), Err(off.clone()));
            assert_eq!(agree(curve, &point, &mut crate::testing::rng(1)).err(), Some(off));
        }
    }
}
