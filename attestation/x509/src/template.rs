//! The EK templates of the TCG EK Credential Profile 2.5, annex B: what an EK's public area must be.

use assay_tpm::{Attributes, Curve, HashAlg, KeyKind, Public, Scheme, Symmetric};

/// A template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EkTemplate {
    /// RSA 2048 in the low range (B.3.3).
    L1,
    /// ECC P-256 in the low range (B.3.4).
    L2,
    /// RSA 2048 in the high range (B.4.4).
    H1,
    /// ECC P-256 in the high range (B.4.5).
    H2,
    /// ECC P-384 in the high range (B.4.6).
    H3,
}

impl EkTemplate {
    /// Its name in the profile.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::L1 => "L-1",
            Self::L2 => "L-2",
            Self::H1 => "H-1",
            Self::H2 => "H-2",
            Self::H3 => "H-3",
        }
    }
}

/// Attributes that every template has (B.3.1, B.4.1).
const COMMON: Attributes = Attributes::FIXED_TPM
    .union(Attributes::FIXED_PARENT)
    .union(Attributes::SENSITIVE_DATA_ORIGIN)
    .union(Attributes::ADMIN_WITH_POLICY)
    .union(Attributes::RESTRICTED)
    .union(Attributes::DECRYPT);

/// PolicyA over SHA-256: TPM2_PolicySecret of the endorsement hierarchy (B.6.2).
const POLICY_A_SHA256: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd,
    0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// PolicyB over SHA-256: PolicyA or the policy in the TPM's EK policy index (B.6.4).
const POLICY_B_SHA256: [u8; 32] = [
    0xca, 0x3d, 0x0a, 0x99, 0xa2, 0xb9, 0x39, 0x06, 0xf7, 0xa3, 0x34, 0x24, 0x14, 0xef, 0xcf, 0xb3, 0xa3,
    0x85, 0xd4, 0x4c, 0xd1, 0xfd, 0x45, 0x90, 0x89, 0xd1, 0x9b, 0x50, 0x71, 0xc0, 0xb7, 0xa0,
];
/// PolicyB over SHA-384.
const POLICY_B_SHA384: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a, 0x07,
    0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47,
    0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];

/// The template that a public area follows in attributes, policy, hash, cipher and size.
///
/// `None` when it follows none: such a key may let its owner do what an EK must not.
#[must_use]
pub fn ek_template(ek: &Public) -> Option<EkTemplate> {
    let template = match (ek.kind(), ek.auth_policy() == POLICY_A_SHA256) {
        (KeyKind::Rsa { bits: 2048, .. }, true) => EkTemplate::L1,
        (KeyKind::Rsa { bits: 2048, .. }, false) => EkTemplate::H1,
        (KeyKind::Ecc { curve: Curve::P256, .. }, true) => EkTemplate::L2,
        (KeyKind::Ecc { curve: Curve::P256, .. }, false) => EkTemplate::H2,
        (KeyKind::Ecc { curve: Curve::P384, .. }, false) => EkTemplate::H3,
        _ => return None,
    };
    let low = matches!(template, EkTemplate::L1 | EkTemplate::L2);
    let attributes = if low { COMMON } else { COMMON.union(Attributes::USER_WITH_AUTH) };
    let (hash, cipher, policy): (_, _, &[u8]) = match template {
        EkTemplate::L1 | EkTemplate::L2 => (HashAlg::Sha256, Symmetric::Aes128Cfb, &POLICY_A_SHA256),
        EkTemplate::H1 | EkTemplate::H2 => (HashAlg::Sha256, Symmetric::Aes128Cfb, &POLICY_B_SHA256),
        EkTemplate::H3 => (HashAlg::Sha384, Symmetric::Aes256Cfb, &POLICY_B_SHA384),
    };
    let follows = ek.attributes() == attributes
        && ek.name_alg() == hash
        && ek.symmetric() == cipher
        && ek.auth_policy() == policy
        && ek.scheme() == Scheme::Null;
    follows.then_some(template)
}

#[cfg(test)]
mod tests {
    use assay_tpm::PublicParts;

    use super::*;

    fn parts(template: EkTemplate) -> PublicParts {
        let ecc = |curve: Curve| KeyKind::Ecc {
            curve,
            x: vec![1; curve.field_len()],
            y: vec![2; curve.field_len()],
        };
        let kind = match template {
            EkTemplate::L1 | EkTemplate::H1 => {
                KeyKind::Rsa { bits: 2048, exponent: 65_537, modulus: vec![0xff; 256] }
            }
            EkTemplate::L2 | EkTemplate::H2 => ecc(Curve::P256),
            EkTemplate::H3 => ecc(Curve::P384),
        };
        let low = PublicParts {
            name_alg: HashAlg::Sha256,
            attributes: Attributes::from_bits(0x0003_00b2).unwrap(),
            auth_policy: POLICY_A_SHA256.to_vec(),
            symmetric: Symmetric::Aes128Cfb,
            scheme: Scheme::Null,
            kind,
        };
        let high = Attributes::from_bits(0x0003_00f2).unwrap();
        match template {
            EkTemplate::L1 | EkTemplate::L2 => low,
            EkTemplate::H1 | EkTemplate::H2 => {
                PublicParts { attributes: high, auth_policy: POLICY_B_SHA256.to_vec(), ..low }
            }
            EkTemplate::H3 => PublicParts {
                name_alg: HashAlg::Sha384,
                attributes: high,
                auth_policy: POLICY_B_SHA384.to_vec(),
                symmetric: Symmetric::Aes256Cfb,
                ..low
            },
        }
    }

    fn of(parts: &PublicParts) -> Option<EkTemplate> {
        ek_template(&Public::from_parts(parts).unwrap())
    }

    #[test]
    fn each_template_is_told_and_nothing_beside_it() {
        for template in [EkTemplate::L1, EkTemplate::L2, EkTemplate::H1, EkTemplate::H2, EkTemplate::H3] {
            let good = parts(template);
            assert_eq!(of(&good), Some(template), "{}", template.name());
            let mut policy = good.auth_policy.clone();
            policy[0] ^= 1;
            assert_eq!(of(&PublicParts { auth_policy: policy, ..good.clone() }), None);
            assert_eq!(of(&PublicParts { auth_policy: vec![], ..good.clone() }), None);
            let dual = good.attributes | Attributes::NO_DA;
            assert_eq!(of(&PublicParts { attributes: dual, ..good.clone() }), None);
            let free = good.attributes.without(Attributes::FIXED_TPM);
            assert_eq!(of(&PublicParts { attributes: free, ..good.clone() }), None);
            let swapped = match good.symmetric {
                Symmetric::Aes128Cfb => Symmetric::Aes256Cfb,
                _ => Symmetric::Aes128Cfb,
            };
            assert_eq!(of(&PublicParts { symmetric: swapped, ..good }), None);
        }
        let large = KeyKind::Rsa { bits: 3072, exponent: 65_537, modulus: vec![0xff; 384] };
        assert_eq!(of(&PublicParts { kind: large, ..parts(EkTemplate::L1) }), None);
    }
}
