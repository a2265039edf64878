//! The endorsement keys of the TCG EK Credential Profile for TPM 2.0, version 2.5 ("the profile").
//!
//! A TPM derives an endorsement key from its seed and a template. Whoever may choose the template has
//! as many endorsement keys as they like, and so as many nodes: only the profile's own are taken.

use crate::alg::{Curve, HashAlg, Scheme, Symmetric};
use crate::attributes::Attributes;
use crate::public::{KeyKind, Public};

/// `PolicyA`: `PolicySecret(TPM_RH_ENDORSEMENT)` (profile, annex B), SHA-256.
const POLICY_A_SHA256: [u8; 32] = *b"\x83\x71\x97\x67\x44\x84\xb3\xf8\x1a\x90\xcc\x8d\x46\xa5\xd7\x24\
\xfd\x52\xd7\x6e\x06\x52\x0b\x64\xf2\xa1\xda\x1b\x33\x14\x69\xaa";
/// `PolicyB`: `PolicyA` or the policy that an NV index authorises (profile, annex B), SHA-256.
const POLICY_B_SHA256: [u8; 32] = *b"\xca\x3d\x0a\x99\xa2\xb9\x39\x06\xf7\xa3\x34\x24\x14\xef\xcf\xb3\
\xa3\x85\xd4\x4c\xd1\xfd\x45\x90\x89\xd1\x9b\x50\x71\xc0\xb7\xa0";
/// `PolicyB`, SHA-384.
const POLICY_B_SHA384: [u8; 48] = *b"\xb2\x6e\x7d\x28\xd1\x1a\x50\xbc\x53\xd8\x82\xbc\xf5\xfd\x3a\x1a\
\x07\x41\x48\xbb\x35\xd3\xb4\xe4\xcb\x1c\x0a\xd9\xbd\xe4\x19\xca\
\xcb\x47\xba\x09\x69\x96\x46\x15\x0f\x9f\xc0\x00\xf3\xf8\x0e\x12";

/// Attributes of the low range (profile, B.3).
const LOW: Attributes = Attributes::FIXED_TPM
    .union(Attributes::FIXED_PARENT)
    .union(Attributes::SENSITIVE_DATA_ORIGIN)
    .union(Attributes::ADMIN_WITH_POLICY)
    .union(Attributes::RESTRICTED)
    .union(Attributes::DECRYPT);
/// Attributes of the high range (profile, B.4).
const HIGH: Attributes = LOW.union(Attributes::USER_WITH_AUTH);

/// Which of the profile's templates an endorsement key follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EkTemplate {
    /// RSA 2048, low range (profile, B.3.3).
    L1,
    /// ECC P-256, low range (profile, B.3.4).
    L2,
    /// RSA 2048, high range (profile, B.4.4).
    H1,
    /// ECC P-256, high range (profile, B.4.5).
    H2,
    /// ECC P-384, high range (profile, B.4.6).
    H3,
}

/// Why a public area is not that of an endorsement key of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EkFault {
    /// Another size of RSA key than the profile's templates have.
    #[error("endorsement key of RSA {0} bits follows no template that is taken")]
    RsaSize(u16),
    /// The public value is no key: a point off its curve, or an even modulus.
    #[error("endorsement key's public value is malformed")]
    Key,
    /// Attributes of neither range; holds their bits.
    #[error("endorsement key's attributes {0:#x} are those of no template")]
    Attributes(u32),
    /// P-384 with the attributes of the low range, which has no such template.
    #[error("no template of the low range has {0}")]
    Curve(Curve),
    /// The Name is not made with the template's hash.
    #[error("endorsement key's name algorithm is {found}, {expected} is the template's")]
    NameAlg {
        /// The template's.
        expected: HashAlg,
        /// The key's.
        found: HashAlg,
    },
    /// Not the template's policy: someone else decides how the key is used.
    #[error("endorsement key's policy is not the template's")]
    Policy,
    /// Not the template's symmetric algorithm.
    #[error("endorsement key's symmetric algorithm is {found:?}, {expected:?} is the template's")]
    Symmetric {
        /// The template's.
        expected: Symmetric,
        /// The key's.
        found: Symmetric,
    },
    /// Coordinates without their leading zeros, or an exponent written out where the template leaves
    /// it at its default: the same key in other bytes, which would be another node.
    #[error("endorsement key is not encoded as the template does")]
    Encoding,
    /// A scheme, which no template has.
    #[error("endorsement key has the scheme {0:?}")]
    Scheme(Scheme),
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

    const fn name_alg(self) -> HashAlg {
        match self {
            Self::H3 => HashAlg::Sha384,
            _ => HashAlg::Sha256,
        }
    }

    const fn policy(self) -> &'static [u8] {
        match self {
            Self::L1 | Self::L2 => &POLICY_A_SHA256,
            Self::H1 | Self::H2 => &POLICY_B_SHA256,
            Self::H3 => &POLICY_B_SHA384,
        }
    }

    const fn symmetric(self) -> Symmetric {
        match self {
            Self::H3 => Symmetric::Aes256Cfb,
            _ => Symmetric::Aes128Cfb,
        }
    }
}

/// Finds which template an endorsement key follows, in every part but `unique`.
///
/// # Errors
/// The first fault, in the order of [`EkFault`].
pub fn ek_template(public: &Public) -> Result<EkTemplate, EkFault> {
    let template = by_type(public)?;
    let (expected, found) = (template.name_alg(), public.name_alg());
    if found != expected {
        return Err(EkFault::NameAlg { expected, found });
    }
    if public.auth_policy() != template.policy() {
        return Err(EkFault::Policy);
    }
    let (expected, found) = (template.symmetric(), public.symmetric());
    if found != expected {
        return Err(EkFault::Symmetric { expected, found });
    }
    if !is_canonical(public) {
        return Err(EkFault::Encoding);
    }
    match public.scheme() {
        Scheme::Null => Ok(template),
        scheme => Err(EkFault::Scheme(scheme)),
    }
}

/// Whether the key is written in one of the ways that it can be: whole coordinates (some TPMs strip
/// their zeros; a node adds them again), and the default exponent left at 0 (TPM 2.0 Part 2, 12.2.3.5).
fn is_canonical(public: &Public) -> bool {
    Public::from_parts(public.parts()).is_ok_and(|again| again.as_bytes() == public.as_bytes())
}

/// The one template with this type, size and range.
fn by_type(public: &Public) -> Result<EkTemplate, EkFault> {
    if let KeyKind::Rsa { bits, .. } = public.kind()
        && *bits != 2048
    {
        return Err(EkFault::RsaSize(*bits));
    }
    public.check_key().map_err(|_| EkFault::Key)?;
    let attributes = public.attributes();
    let high = match attributes {
        LOW => false,
        HIGH => true,
        _ => return Err(EkFault::Attributes(attributes.bits())),
    };
    match (public.kind(), high) {
        (KeyKind::Rsa { .. }, false) => Ok(EkTemplate::L1),
        (KeyKind::Rsa { .. }, true) => Ok(EkTemplate::H1),
        (KeyKind::Ecc { curve: Curve::P256, .. }, false) => Ok(EkTemplate::L2),
        (KeyKind::Ecc { curve: Curve::P256, .. }, true) => Ok(EkTemplate::H2),
        (KeyKind::Ecc { curve: Curve::P384, .. }, true) => Ok(EkTemplate::H3),
        (KeyKind::Ecc { curve, .. }, false) => Err(EkFault::Curve(*curve)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::PublicParts;
    use crate::testing::{ek_parts, p256_key, p384_parts_and_sign, rsa_parts};

    fn parts(template: EkTemplate) -> PublicParts {
        let base = ek_parts(&p256_key(1));
        let kind = match template {
            EkTemplate::L1 | EkTemplate::H1 => rsa_parts(2048).kind,
            EkTemplate::L2 | EkTemplate::H2 => base.kind,
            EkTemplate::H3 => p384_parts_and_sign(b"").0.kind,
        };
        let low = matches!(template, EkTemplate::L1 | EkTemplate::L2);
        PublicParts {
            name_alg: template.name_alg(),
            attributes: Attributes::from_bits(if low { 0x0003_00b2 } else { 0x0003_00f2 }).unwrap(),
            auth_policy: template.policy().to_vec(),
            symmetric: template.symmetric(),
            scheme: Scheme::Null,
            kind,
        }
    }

    fn judged(parts: &PublicParts) -> Result<EkTemplate, EkFault> {
        ek_template(&Public::from_parts(parts).unwrap())
    }

    #[test]
    fn templates_have_the_profiles_names() {
        assert_eq!(ALL.map(EkTemplate::name), ["L-1", "L-2", "H-1", "H-2", "H-3"]);
    }

    const ALL: [EkTemplate; 5] =
        [EkTemplate::L1, EkTemplate::L2, EkTemplate::H1, EkTemplate::H2, EkTemplate::H3];

    #[test]
    fn every_template_is_recognised() {
        for template in ALL {
            assert_eq!(judged(&parts(template)), Ok(template), "{}", template.name());
        }
    }

    #[test]
    fn another_policy_makes_another_key_and_is_refused() {
        for template in ALL {
            let good = parts(template);
            let mut auth_policy = good.auth_policy.clone();
            auth_policy[0] ^= 1;
            assert_eq!(judged(&PublicParts { auth_policy, ..good.clone() }), Err(EkFault::Policy));
            assert_eq!(judged(&PublicParts { auth_policy: vec![], ..good }), Err(EkFault::Policy));
        }
        let swapped = PublicParts { auth_policy: POLICY_B_SHA256.to_vec(), ..parts(EkTemplate::L2) };
        assert_eq!(judged(&swapped), Err(EkFault::Policy), "the other range's");
    }

    #[test]
    fn every_other_attribute_is_a_fault() {
        for template in ALL {
            let good = parts(template);
            for bit in (0..32).filter_map(|bit| Attributes::from_bits(1 << bit)) {
                let attributes = match good.attributes.contains(bit) {
                    true => good.attributes.without(bit),
                    false => good.attributes | bit,
                };
                let verdict = judged(&PublicParts { attributes, ..good.clone() });
                // `userWithAuth` alone tells the ranges apart; policy and curve do then.
                let expected = match (bit, template) {
                    (Attributes::USER_WITH_AUTH, EkTemplate::H3) => EkFault::Curve(Curve::P384),
                    (Attributes::USER_WITH_AUTH, _) => EkFault::Policy,
                    _ => EkFault::Attributes(attributes.bits()),
                };
                assert_eq!(verdict, Err(expected), "{} {bit:?}", template.name());
            }
        }
    }

    #[test]
    fn algorithms_and_sizes_are_fixed() {
        for template in ALL {
            let good = parts(template);
            let (expected, found) = match template {
                EkTemplate::H3 => (Symmetric::Aes256Cfb, Symmetric::Aes128Cfb),
                _ => (Symmetric::Aes128Cfb, Symmetric::Aes256Cfb),
            };
            let other = PublicParts { symmetric: found, ..good.clone() };
            assert_eq!(judged(&other), Err(EkFault::Symmetric { expected, found }));
            let (expected, found, len) = match template {
                EkTemplate::H3 => (HashAlg::Sha384, HashAlg::Sha256, 32),
                _ => (HashAlg::Sha256, HashAlg::Sha384, 48),
            };
            let other = PublicParts { name_alg: found, auth_policy: vec![1; len], ..good };
            assert_eq!(judged(&other), Err(EkFault::NameAlg { expected, found }));
        }
        let scheme = Scheme::Ecdh(HashAlg::Sha256);
        assert_eq!(judged(&PublicParts { scheme, ..parts(EkTemplate::H2) }), Err(EkFault::Scheme(scheme)));
        let large = PublicParts { kind: rsa_parts(3072).kind, ..parts(EkTemplate::H1) };
        assert_eq!(judged(&large), Err(EkFault::RsaSize(3072)));
        let kind = KeyKind::Ecc { curve: Curve::P256, x: vec![1; 32], y: vec![1; 32] };
        assert_eq!(judged(&PublicParts { kind, ..parts(EkTemplate::L2) }), Err(EkFault::Key));
    }

    #[test]
    fn one_key_has_one_encoding() {
        let rsa = Public::from_parts(&parts(EkTemplate::L1)).unwrap().to_bytes();
        // The exponent stands before the modulus and its length.
        let at = rsa.len() - 256 - 2 - 4;
        let mut written = rsa.clone();
        written[at..at + 4].copy_from_slice(&65_537u32.to_be_bytes());
        assert_eq!(ek_template(&Public::parse(&written).unwrap()), Err(EkFault::Encoding));
        let leads = |parts: &PublicParts| matches!(&parts.kind, KeyKind::Ecc { x, .. } if x[0] == 0);
        let zero =
            (1..=255u8).map(|seed| ek_parts(&p256_key(seed))).find(leads).expect("one key in 256 or so");
        let zero = PublicParts { kind: zero.kind, ..parts(EkTemplate::L2) };
        assert_eq!(judged(&zero), Ok(EkTemplate::L2));
        let bytes = Public::from_parts(&zero).unwrap().to_bytes();
        let KeyKind::Ecc { x, .. } = &zero.kind else { panic!("not ECC") };
        let at = bytes.windows(x.len()).position(|window| window == &x[..]).unwrap();
        let mut stripped = bytes.clone();
        stripped.remove(at);
        stripped[at - 1] -= 1;
        let stripped = Public::parse(&stripped).unwrap();
        assert_eq!(stripped.kind(), &zero.kind, "the same key");
        assert_eq!(ek_template(&stripped), Err(EkFault::Encoding));
    }
}
