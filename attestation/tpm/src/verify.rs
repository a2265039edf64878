//! Signature checks under a key's public area: the enrolled scheme, and nothing else.

use crate::alg::{Curve, Scheme};
use crate::attributes::Attributes;
use crate::bare::{RsaKey, verify_ecdsa, verify_rsassa, verify_tpm_rsapss};
use crate::ec;
use crate::error::TpmError;
use crate::public::{KeyKind, Public};
use crate::signature::{Numbers, Signature};

impl Public {
    /// Checks that the holder of this key signed `message`, under the scheme the key was made with.
    ///
    /// The message is hashed with the signature's hash. When the key leaves the scheme open, any
    /// scheme of its type is accepted; a caller that wants an attestation key asks
    /// [`crate::check_ak`] first.
    ///
    /// # Errors
    /// [`TpmError::NotSigningKey`], [`TpmError::SchemeMismatch`], [`TpmError::KeyTypeMismatch`],
    /// [`TpmError::WeakHash`] for SHA-1, [`TpmError::RsaKeySize`] below 2048 bits,
    /// [`TpmError::RsaModulus`], [`TpmError::PointNotOnCurve`], [`TpmError::SignatureRange`], and
    /// [`TpmError::SignatureInvalid`] when all that is well and the signature is not.
    pub fn verify(&self, message: &[u8], sig: &Signature) -> Result<(), TpmError> {
        if !self.attributes().contains(Attributes::SIGN) {
            return Err(TpmError::NotSigningKey);
        }
        if self.scheme() != Scheme::Null && self.scheme() != sig.scheme() {
            return Err(TpmError::SchemeMismatch { key: self.scheme(), signature: sig.scheme() });
        }
        verify_kind(self.kind(), message, sig)
    }

    /// Checks that the public value is a key: a modulus of a fair size, or a point on its curve.
    ///
    /// # Errors
    /// [`TpmError::RsaKeySize`], [`TpmError::RsaModulus`] or [`TpmError::PointNotOnCurve`].
    pub fn check_key(&self) -> Result<(), TpmError> {
        match self.kind() {
            KeyKind::Rsa { modulus, exponent, .. } => rsa(modulus, *exponent)?.check(),
            KeyKind::Ecc { curve, x, y } => ec::check_point(*curve, &ec::sec1_point(x, y)),
        }
    }
}

/// The key of a TPM, whose modulus fills its buffer.
fn rsa(modulus: &[u8], exponent: u32) -> Result<RsaKey<'_>, TpmError> {
    let key = RsaKey { modulus, exponent: exponent.into() };
    let fills = modulus.first().is_some_and(|first| first & 0x80 != 0);
    // A modulus that is too short is told so first.
    key.check().and(if fills { Ok(key) } else { Err(TpmError::RsaModulus) })
}

fn verify_kind(kind: &KeyKind, message: &[u8], sig: &Signature) -> Result<(), TpmError> {
    match (kind, sig.scheme(), sig.numbers()) {
        (KeyKind::Rsa { modulus, exponent, .. }, Scheme::RsaSsa(hash), Numbers::Rsa(number)) => {
            verify_rsassa(&rsa(modulus, *exponent)?, hash.try_into()?, message, number)
        }
        (KeyKind::Rsa { modulus, exponent, .. }, Scheme::RsaPss(hash), Numbers::Rsa(number)) => {
            verify_tpm_rsapss(&rsa(modulus, *exponent)?, hash.try_into()?, message, number)
        }
        (KeyKind::Ecc { curve, x, y }, Scheme::Ecdsa(hash), Numbers::Ecdsa { r, s }) => {
            verify_ecdsa(*curve, &ec::sec1_point(x, y), hash.try_into()?, message, r, s)
        }
        _ => Err(TpmError::KeyTypeMismatch),
    }
}

/// Checks an ECDSA signature under a bare P-256 key of which no public area is known.
///
/// Says nothing about what else the key may sign: without attributes a caller can't tell an
/// attestation from bytes that somebody made up.
///
/// # Errors
/// As [`Public::verify`]; coordinates must be 32 bytes each.
pub fn verify_p256(x: &[u8], y: &[u8], message: &[u8], sig: &Signature) -> Result<(), TpmError> {
    let kind = KeyKind::Ecc { curve: Curve::P256, x: x.to_vec(), y: y.to_vec() };
    verify_kind(&kind, message, sig)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alg::HashAlg;
    use crate::public::PublicParts;
    use crate::testing::{
        ak_parts, ek_parts, p256_key, p256_sign, p384_parts_and_sign, rsa_key, rsa_public, rsa_sign,
    };

    const MESSAGE: &[u8] = b"message";

    fn ak() -> Public {
        Public::from_parts(&ak_parts(&p256_key(1))).unwrap()
    }

    #[test]
    fn ecdsa_holds_for_this_key_and_message_only() {
        let sig = p256_sign(&p256_key(1), MESSAGE);
        assert_eq!(ak().verify(MESSAGE, &sig), Ok(()));
        assert_eq!(ak().verify(b"messagf", &sig), Err(TpmError::SignatureInvalid));
        let other = Public::from_parts(&ak_parts(&p256_key(2))).unwrap();
        assert_eq!(other.verify(MESSAGE, &sig), Err(TpmError::SignatureInvalid));
        let KeyKind::Ecc { x, y, .. } = ak().kind().clone() else { panic!("not ECC") };
        assert_eq!(verify_p256(&x, &y, MESSAGE, &sig), Ok(()));
        let off = TpmError::PointNotOnCurve { curve: Curve::P256 };
        assert_eq!(verify_p256(&x, &y[..31], MESSAGE, &sig), Err(off));
    }

    #[test]
    fn ecdsa_on_p384_holds() {
        let (parts, sig) = p384_parts_and_sign(MESSAGE);
        let public = Public::from_parts(&parts).unwrap();
        assert_eq!(public.verify(MESSAGE, &sig), Ok(()));
        assert_eq!(public.verify(b"other", &sig), Err(TpmError::SignatureInvalid));
    }

    #[test]
    fn ecdsa_numbers_are_one_to_order_minus_one() {
        // SEC 2, 2.4.2: the order of P-256.
        let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
        let good = p256_sign(&p256_key(1), MESSAGE);
        let Numbers::Ecdsa { r, s } = good.numbers() else { panic!("not ECDSA") };
        let zero = vec![0; 32];
        let long = [&[0][..], r].concat();
        let empty = vec![];
        for (r, s) in [(&zero, s), (r, &zero), (&order, s), (r, &order), (&long, s), (&empty, s), (r, &empty)]
        {
            let sig = Signature::ecdsa(HashAlg::Sha256, r, s).unwrap();
            assert_eq!(ak().verify(MESSAGE, &sig), Err(TpmError::SignatureRange));
        }
        let mut below = order;
        below[31] -= 1;
        let sig = Signature::ecdsa(HashAlg::Sha256, r, &below).unwrap();
        assert_eq!(ak().verify(MESSAGE, &sig), Err(TpmError::SignatureInvalid), "in range, and wrong");
    }

    #[test]
    fn the_enrolled_scheme_is_the_only_one() {
        let good = p256_sign(&p256_key(1), MESSAGE);
        let Numbers::Ecdsa { r, s } = good.numbers() else { panic!("not ECDSA") };
        let sha384 = Signature::ecdsa(HashAlg::Sha384, r, s).unwrap();
        let mismatch =
            TpmError::SchemeMismatch { key: Scheme::Ecdsa(HashAlg::Sha256), signature: sha384.scheme() };
        assert_eq!(ak().verify(MESSAGE, &sha384), Err(mismatch));
    }

    #[test]
    fn rsapss_where_rsassa_is_enrolled_is_refused() {
        let key = rsa_key();
        let (ssa, pss) = (Scheme::RsaSsa(HashAlg::Sha256), Scheme::RsaPss(HashAlg::Sha256));
        for (enrolled, other) in [(ssa, pss), (pss, ssa)] {
            let public = rsa_public(&key, enrolled);
            assert_eq!(public.verify(MESSAGE, &rsa_sign(&key, enrolled, 32, MESSAGE)), Ok(()));
            let sig = rsa_sign(&key, other, 32, MESSAGE);
            let mismatch = TpmError::SchemeMismatch { key: enrolled, signature: other };
            assert_eq!(public.verify(MESSAGE, &sig), Err(mismatch));
            // The key itself would accept it, were its scheme left open.
            assert_eq!(rsa_public(&key, Scheme::Null).verify(MESSAGE, &sig), Ok(()));
        }
    }

    #[test]
    fn rsa_schemes_hold_with_both_hashes_and_salts() {
        let key = rsa_key();
        for (scheme, salt) in [
            (Scheme::RsaSsa(HashAlg::Sha384), 0),
            (Scheme::RsaPss(HashAlg::Sha256), 256 - 32 - 2),
            (Scheme::RsaPss(HashAlg::Sha384), 48),
        ] {
            let public = rsa_public(&key, scheme);
            let sig = rsa_sign(&key, scheme, salt, MESSAGE);
            assert_eq!(public.verify(MESSAGE, &sig), Ok(()), "{scheme:?}");
            assert_eq!(public.verify(b"other", &sig), Err(TpmError::SignatureInvalid), "{scheme:?}");
        }
    }

    #[test]
    fn an_rsa_signature_has_one_encoding() {
        let key = rsa_key();
        let KeyKind::Rsa { modulus, .. } = rsa_public(&key, Scheme::Null).kind().clone() else {
            panic!("not RSA")
        };
        for make in [Signature::rsassa, Signature::rsapss] {
            for bytes in [&modulus[..], &[0xff; 256], &[1; 255], &[1; 257], &[]] {
                let sig = make(HashAlg::Sha256, bytes).unwrap();
                let public = rsa_public(&key, sig.scheme());
                assert_eq!(public.verify(MESSAGE, &sig), Err(TpmError::SignatureRange));
            }
        }
    }

    #[test]
    fn sha1_signatures_are_refused() {
        let weak = TpmError::WeakHash { purpose: "signature", alg: HashAlg::Sha1 };
        let key = rsa_key();
        for (public, sig) in [
            (ak_of(Scheme::Ecdsa(HashAlg::Sha1)), Signature::ecdsa(HashAlg::Sha1, &[1], &[1])),
            (rsa_public(&key, Scheme::RsaSsa(HashAlg::Sha1)), Signature::rsassa(HashAlg::Sha1, &[1; 256])),
            (rsa_public(&key, Scheme::RsaPss(HashAlg::Sha1)), Signature::rsapss(HashAlg::Sha1, &[1; 256])),
        ] {
            assert_eq!(public.verify(MESSAGE, &sig.unwrap()), Err(weak.clone()));
        }
    }

    fn ak_of(scheme: Scheme) -> Public {
        Public::from_parts(&PublicParts { scheme, ..ak_parts(&p256_key(1)) }).unwrap()
    }

    #[test]
    fn short_rsa_keys_are_refused() {
        let kind = KeyKind::Rsa { bits: 1024, exponent: 65_537, modulus: vec![0xff; 128] };
        let parts = PublicParts { kind, scheme: Scheme::Null, ..ak_parts(&p256_key(1)) };
        let public = Public::from_parts(&parts).unwrap();
        let sig = Signature::rsassa(HashAlg::Sha256, &[1; 128]).unwrap();
        let short = TpmError::RsaKeySize { bits: 1024 };
        assert_eq!(public.verify(MESSAGE, &sig), Err(short.clone()));
        assert_eq!(public.check_key(), Err(short));
    }

    #[test]
    fn a_modulus_fills_its_buffer() {
        let judged = |first: u8| {
            let modulus = [&[first][..], &[0xff; 383]].concat();
            let kind = KeyKind::Rsa { bits: 3072, exponent: 65_537, modulus };
            let parts = PublicParts { kind, scheme: Scheme::Null, ..ak_parts(&p256_key(1)) };
            Public::from_parts(&parts).unwrap().check_key()
        };
        for first in [0x01, 0x40, 0x7f] {
            assert_eq!(judged(first), Err(TpmError::RsaModulus), "{first:#x}");
        }
        for first in [0x80, 0x81, 0xff] {
            assert_eq!(judged(first), Ok(()), "{first:#x}");
        }
    }

    #[test]
    fn keys_that_do_not_sign_or_are_of_the_other_type_are_refused() {
        let sig = p256_sign(&p256_key(1), MESSAGE);
        let ek = Public::from_parts(&ek_parts(&p256_key(1))).unwrap();
        assert_eq!(ek.verify(MESSAGE, &sig), Err(TpmError::NotSigningKey));
        let rsa = Signature::rsassa(HashAlg::Sha256, &[1; 256]).unwrap();
        assert_eq!(ak_of(Scheme::Null).verify(MESSAGE, &rsa), Err(TpmError::KeyTypeMismatch));
        assert_eq!(ak().check_key(), Ok(()));
    }
}
