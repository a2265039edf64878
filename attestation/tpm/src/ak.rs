//! The shape of an attestation key: what a verifier asks of it before it believes its signatures.

use crate::alg::{Curve, HashAlg, Scheme, Symmetric};
use crate::attributes::Attributes;
use crate::public::{KeyKind, Public};

/// The attributes of an attestation key, all of them and no other.
///
/// `noDA` is among them because without it a few unclean power losses lock the key out.
pub const AK_ATTRIBUTES: Attributes = Attributes::FIXED_TPM
    .union(Attributes::FIXED_PARENT)
    .union(Attributes::SENSITIVE_DATA_ORIGIN)
    .union(Attributes::USER_WITH_AUTH)
    .union(Attributes::NO_DA)
    .union(Attributes::RESTRICTED)
    .union(Attributes::SIGN);

/// Why a public area is not that of an attestation key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AkFault {
    /// Not an ECC key.
    #[error("attestation key is not an ECC key")]
    KeyType,
    /// Another curve than P-256.
    #[error("attestation key is on {0}, not on P-256")]
    Curve(Curve),
    /// The public point is not on the curve.
    #[error("attestation key's public point is not on its curve")]
    Point,
    /// The Name is not made with SHA-256.
    #[error("attestation key's name algorithm is {0}, not sha256")]
    NameAlg(HashAlg),
    /// The scheme is not ECDSA with SHA-256.
    #[error("attestation key's scheme is {0:?}, not ECDSA with sha256")]
    Scheme(Scheme),
    /// The key has a symmetric algorithm, which only storage keys have.
    #[error("attestation key has a symmetric algorithm")]
    Symmetric,
    /// Not `fixedTPM`: it can be duplicated to another TPM or to software.
    #[error("attestation key is not fixed to its TPM")]
    NotFixedTpm,
    /// Not `fixedParent`: it can be moved below another parent.
    #[error("attestation key is not fixed to its parent")]
    NotFixedParent,
    /// Not `sensitiveDataOrigin`: the private part was made outside the TPM.
    #[error("attestation key's private part was not made by the TPM")]
    NotSensitiveDataOrigin,
    /// Not `userWithAuth`.
    #[error("attestation key can't be used with its auth value")]
    NotUserWithAuth,
    /// Not `noDA`: unclean power losses lock it out.
    #[error("attestation key is subject to the dictionary-attack lockout")]
    NotNoDa,
    /// Not `restricted`: it signs whatever it is given, made-up attestations included.
    #[error("attestation key is not restricted")]
    NotRestricted,
    /// Not `sign`.
    #[error("attestation key does not sign")]
    NotSign,
    /// Attributes beyond [`AK_ATTRIBUTES`]; holds their bits.
    #[error("attestation key has attributes {0:#x} that it must not have")]
    ExtraAttributes(u32),
}

/// Checks that `public` is an attestation key: ECC P-256, ECDSA with SHA-256, SHA-256 Name, and
/// exactly [`AK_ATTRIBUTES`]. That it lives in the endorsement hierarchy is shown by the qualified
/// name in what it signs, and that it lives in a TPM by credential activation.
///
/// # Errors
/// The first fault, in the order of [`AkFault`].
pub fn check_ak(public: &Public) -> Result<(), AkFault> {
    match public.kind() {
        KeyKind::Ecc { curve: Curve::P256, .. } => public.check_key().map_err(|_| AkFault::Point)?,
        KeyKind::Ecc { curve, .. } => return Err(AkFault::Curve(*curve)),
        KeyKind::Rsa { .. } => return Err(AkFault::KeyType),
    }
    if public.name_alg() != HashAlg::Sha256 {
        return Err(AkFault::NameAlg(public.name_alg()));
    }
    if public.scheme() != Scheme::Ecdsa(HashAlg::Sha256) {
        return Err(AkFault::Scheme(public.scheme()));
    }
    if public.symmetric() != Symmetric::Null {
        return Err(AkFault::Symmetric);
    }
    check_attributes(public.attributes())
}

fn check_attributes(attributes: Attributes) -> Result<(), AkFault> {
    let required = [
        (Attributes::FIXED_TPM, AkFault::NotFixedTpm),
        (Attributes::FIXED_PARENT, AkFault::NotFixedParent),
        (Attributes::SENSITIVE_DATA_ORIGIN, AkFault::NotSensitiveDataOrigin),
        (Attributes::USER_WITH_AUTH, AkFault::NotUserWithAuth),
        (Attributes::NO_DA, AkFault::NotNoDa),
        (Attributes::RESTRICTED, AkFault::NotRestricted),
        (Attributes::SIGN, AkFault::NotSign),
    ];
    if let Some((_, fault)) = required.into_iter().find(|(bit, _)| !attributes.contains(*bit)) {
        return Err(fault);
    }
    match attributes.without(AK_ATTRIBUTES).bits() {
        0 => Ok(()),
        extra => Err(AkFault::ExtraAttributes(extra)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::PublicParts;
    use crate::testing::{ak_parts, p256_key, p384_parts_and_sign, rsa_parts};

    fn fault(change: impl FnOnce(&mut PublicParts)) -> Option<AkFault> {
        let mut parts = ak_parts(&p256_key(1));
        change(&mut parts);
        check_ak(&Public::from_parts(&parts).unwrap()).err()
    }

    #[test]
    fn the_template_is_accepted() {
        assert_eq!(fault(|_| {}), None);
        assert_eq!(AK_ATTRIBUTES.bits(), 0x0005_0472);
    }

    #[test]
    fn each_missing_attribute_is_its_own_fault() {
        for (bit, expected) in [
            (Attributes::FIXED_TPM, AkFault::NotFixedTpm),
            (Attributes::FIXED_PARENT, AkFault::NotFixedParent),
            (Attributes::SENSITIVE_DATA_ORIGIN, AkFault::NotSensitiveDataOrigin),
            (Attributes::USER_WITH_AUTH, AkFault::NotUserWithAuth),
            (Attributes::NO_DA, AkFault::NotNoDa),
            (Attributes::RESTRICTED, AkFault::NotRestricted),
            (Attributes::SIGN, AkFault::NotSign),
        ] {
            assert_eq!(fault(|parts| parts.attributes = AK_ATTRIBUTES.without(bit)), Some(expected));
        }
    }

    #[test]
    fn further_attributes_are_refused() {
        for bit in [Attributes::DECRYPT, Attributes::STCLEAR, Attributes::ADMIN_WITH_POLICY] {
            let extra = Some(AkFault::ExtraAttributes(bit.bits()));
            assert_eq!(fault(|parts| parts.attributes = AK_ATTRIBUTES | bit), extra);
        }
    }

    #[test]
    fn type_curve_and_algorithms_are_fixed() {
        let p384 = p384_parts_and_sign(b"").0;
        assert_eq!(fault(|parts| *parts = rsa_parts(2048)), Some(AkFault::KeyType));
        assert_eq!(fault(|parts| *parts = p384), Some(AkFault::Curve(Curve::P384)));
        let sha384 = HashAlg::Sha384;
        assert_eq!(fault(|parts| parts.name_alg = sha384), Some(AkFault::NameAlg(sha384)));
        for scheme in [Scheme::Null, Scheme::Ecdsa(sha384), Scheme::Ecdh(HashAlg::Sha256)] {
            assert_eq!(fault(|parts| parts.scheme = scheme), Some(AkFault::Scheme(scheme)));
        }
        assert_eq!(fault(|parts| parts.symmetric = Symmetric::Aes128Cfb), Some(AkFault::Symmetric));
        let off = KeyKind::Ecc { curve: Curve::P256, x: vec![1; 32], y: vec![1; 32] };
        assert_eq!(fault(|parts| parts.kind = off), Some(AkFault::Point));
    }
}
