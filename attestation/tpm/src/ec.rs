//! The two curves: point checks, ECDSA and the key agreement of a credential.
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

/// `bytes` with leading zeros up to `N`; longer input is refused.
fn pad<const N: usize>(bytes: &[u8]) -> Result<[u8; N], TpmError> {
    let mut padded = [0; N];
    let start = N.checked_sub(bytes.len()).ok_or(TpmError::SignatureRange)?;
    padded.iter_mut().skip(start).zip(bytes).for_each(|(to, from)| *to = *from);
    Ok(padded)
}

macro_rules! curve_module {
    ($krate:ident, $curve:expr, $len:literal) => {
        mod $krate {
            use $krate::PublicKey;
            use $krate::ecdh::EphemeralSecret;
            use $krate::ecdsa::signature::hazmat::PrehashVerifier;
            use $krate::ecdsa::{Signature, VerifyingKey};
            use $krate::elliptic_curve::sec1::ToEncodedPoint;

            use super::{Agreement, CryptoRngCore, TpmError, Zeroizing, pad};

            /// The key, refused unless the point is on the curve and not the identity.
            pub(super) fn key(point: &[u8]) -> Result<PublicKey, TpmError> {
                PublicKey::from_sec1_bytes(point).map_err(|_| TpmError::PointNotOnCurve { curve: $curve })
            }

            pub(super) fn verify(point: &[u8], prehash: &[u8], r: &[u8], s: &[u8]) -> Result<(), TpmError> {
                let key = VerifyingKey::from(key(point)?);
                // `from_scalars` refuses 0 and anything from the order on. A high s is accepted:
                // TPMs do not normalise it, and no identity here hangs on signature bytes.
                let signature = Signature::from_scalars(pad::<$len>(r)?, pad::<$len>(s)?)
                    .map_err(|_| TpmError::SignatureRange)?;
                key.verify_prehash(prehash, &signature).map_err(|_| TpmError::SignatureInvalid)
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

curve_module!(p256, crate::alg::Curve::P256, 32);
curve_module!(p384, crate::alg::Curve::P384, 48);

/// Refuses a point that is not on `curve`: agreeing with one leaks a private key bit by bit.
pub(crate) fn check_point(curve: Curve, point: &[u8]) -> Result<(), TpmError> {
    match curve {
        Curve::P256 => p256::key(point).map(drop),
        Curve::P384 => p384::key(point).map(drop),
    }
}

/// ECDSA over an already hashed message (FIPS 186-5, 6.4.2).
pub(crate) fn verify(curve: Curve, point: &[u8], prehash: &[u8], r: &[u8], s: &[u8]) -> Result<(), TpmError> {
    match curve {
        Curve::P256 => p256::verify(point, prehash, r, s),
        Curve::P384 => p384::verify(point, prehash, r, s),
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
    fn pad_fills_on_the_left_and_refuses_longer() {
        assert_eq!(pad::<3>(&[1, 2]), Ok([0, 1, 2]));
        assert_eq!(pad::<2>(&[0, 1, 2]), Err(TpmError::SignatureRange));
    }

    #[test]
    fn points_off_the_curve_are_refused() {
        for curve in [Curve::P256, Curve::P384] {
            let point = sec1_point(&vec![1; curve.field_len()], &vec![1; curve.field_len()]);
            let off = TpmError::PointNotOnCurve { curve };
            assert_eq!(check_point(curve, &point), Err(off.clone()));
            assert_eq!(verify(curve, &point, &[0; 32], &[1], &[1]), Err(off.clone()));
            assert_eq!(agree(curve, &point, &mut crate::testing::rng(1)).err(), Some(off));
        }
    }
}
