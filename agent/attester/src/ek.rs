//! The endorsement key: which one is canonical, and its template.
//!
//! By the TCG EK Credential Profile for TPM 2.0, version 2.5 ("the profile"). A TPM can derive
//! many endorsement keys from one seed; a node has exactly one, so that it can't be two nodes:
//! P-256 if the TPM holds its certificate, else P-384, else RSA-2048.

use tss_esapi::{
    Context, Error as TssError,
    constants::response_code::Tss2ResponseCode,
    structures::{EccParameter, EccPoint, Public, PublicKeyRsa, PublicParameters},
    traits::UnMarshall,
};

use crate::{
    chain::Pieces,
    ek_policy::{POLICY_A_SHA256, POLICY_B_SHA256, POLICY_B_SHA384},
    error::{TpmError, tss},
    key::wrong_value,
    nv,
    template::{Kind, P256, P384, SHA256, SHA384, Template},
};

/// Low range attributes: `fixedTPM | fixedParent | sensitiveDataOrigin | adminWithPolicy |
/// restricted | decrypt` (profile, B.3).
const LOW: u32 = 0x0003_00B2;
/// High range attributes: the same with `userWithAuth` (profile, B.4).
const HIGH: u32 = 0x0003_00F2;
/// NV indices of the certificates of the CA that made the EK certificates, for TPMs that carry
/// them (profile, 2.2.1).
const CHAIN: std::ops::RangeInclusive<u32> = 0x01C0_0100..=0x01C0_01FF;

/// One endorsement key of the profile: where NV says what about it, and its default template.
struct Profile {
    certificate: u32,
    nonce: Option<u32>,
    template: u32,
    default: Template<'static>,
}

/// The keys we use, best first (profile, 2.2.1.4: low range; 2.2.1.5: high range).
const PROFILES: [Profile; 5] = [
    Profile { certificate: 0x01C0_000A, nonce: Some(0x01C0_000B), template: 0x01C0_000C, default: ecc_low() },
    Profile {
        certificate: 0x01C0_0014,
        nonce: None,
        template: 0x01C0_0015,
        default: ecc_high(P256, SHA256, POLICY_B_SHA256, 128),
    },
    Profile {
        certificate: 0x01C0_0016,
        nonce: None,
        template: 0x01C0_0017,
        default: ecc_high(P384, SHA384, POLICY_B_SHA384, 256),
    },
    Profile {
        certificate: 0x01C0_0002,
        nonce: Some(0x01C0_0003),
        template: 0x01C0_0004,
        default: rsa(LOW, POLICY_A_SHA256, &[0; 256]),
    },
    Profile {
        certificate: 0x01C0_0012,
        nonce: None,
        template: 0x01C0_0013,
        default: rsa(HIGH, POLICY_B_SHA256, &[]),
    },
];

/// Template L-2 (profile, B.3).
const fn ecc_low() -> Template<'static> {
    Template {
        kind: Kind::EccStorage { curve: P256, aes_bits: 128 },
        name_alg: SHA256,
        attributes: LOW,
        policy: POLICY_A_SHA256,
        unique: &[0; 32],
        unique_y: &[0; 32],
    }
}

/// Templates H-2 and H-3 (profile, B.4).
const fn ecc_high(curve: u16, name_alg: u16, policy: &'static [u8], aes_bits: u16) -> Template<'static> {
    Template {
        kind: Kind::EccStorage { curve, aes_bits },
        name_alg,
        attributes: HIGH,
        policy,
        unique: &[],
        unique_y: &[],
    }
}

/// Templates L-1 and H-1 (profile, B.3 and B.4).
const fn rsa(attributes: u32, policy: &'static [u8], unique: &'static [u8]) -> Template<'static> {
    Template { kind: Kind::Rsa2048Storage, name_alg: SHA256, attributes, policy, unique, unique_y: &[] }
}

/// The canonical endorsement key before the TPM creates it, and the certificates in NV.
#[derive(Debug, Clone)]
pub(crate) struct Endorsement {
    pub(crate) template: Public,
    /// Contents of the certificate indices, the canonical key's first.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// The certificates in the certificate chain indices, in their order.
    pub(crate) chain: Pieces,
}

/// Reads the certificates and decides which key is canonical.
///
/// An index that is defined and cannot be read is an error, never a reason to take the next key:
/// the node would change its identity.
///
/// # Errors
///
/// [`TpmError::ListNv`], [`TpmError::ReadEkCertificate`], [`TpmError::EkTemplate`], or
/// [`TpmError::NoEk`].
pub(crate) fn discover(context: &mut Context) -> Result<Endorsement, TpmError> {
    let indices = nv::ek_indices(context)?;
    let mut certified = None;
    let mut certificates = Vec::new();
    for profile in PROFILES {
        if let Some(certificate) = read_defined(context, &indices, profile.certificate)? {
            certificates.push(certificate);
            certified.get_or_insert(profile);
        }
    }
    let profile = match certified {
        Some(profile) => profile,
        None => uncertified(context)?,
    };
    Ok(Endorsement {
        template: template(context, &indices, &profile)?,
        certificates,
        chain: chain(context, &indices)?,
    })
}

fn read_defined(context: &mut Context, indices: &[u32], index: u32) -> Result<Option<Vec<u8>>, TpmError> {
    if indices.contains(&index) { nv::read(context, index) } else { Ok(None) }
}

fn chain(context: &mut Context, indices: &[u32]) -> Result<Pieces, TpmError> {
    let mut chain = Pieces::default();
    for index in indices.iter().filter(|index| CHAIN.contains(index)) {
        chain.take(*index, &nv::read(context, *index)?.unwrap_or_default());
    }
    chain.end();
    Ok(chain)
}

/// The first key that the TPM can do, for a TPM that has no certificate at all.
fn uncertified(context: &mut Context) -> Result<Profile, TpmError> {
    for profile in PROFILES {
        let public = profile.default.public().map_err(TpmError::EkTemplate)?;
        if supports(context, &public).map_err(tss(TpmError::ReadProperties))? {
            return Ok(profile);
        }
    }
    Err(TpmError::NoEk)
}

/// Asks the TPM whether it can do a key with these parameters (TPM 2.0 Part 3, 30.3). A refusal
/// of a parameter is a format-one code.
fn supports(context: &mut Context, public: &Public) -> Result<bool, TssError> {
    let parameters = match public {
        Public::Rsa { parameters, .. } => PublicParameters::Rsa(*parameters),
        Public::Ecc { parameters, .. } => PublicParameters::Ecc(*parameters),
        _ => return Ok(false),
    };
    match context.execute_without_session(|context| context.test_parms(parameters)) {
        Ok(()) => Ok(true),
        Err(TssError::Tss2Error(Tss2ResponseCode::FormatOne(_))) => Ok(false),
        Err(other) => Err(other),
    }
}

/// The template from NV if its index exists, else the profile's; a nonce in NV replaces the
/// template's `unique` (profile, 2.2.1).
fn template(context: &mut Context, indices: &[u32], profile: &Profile) -> Result<Public, TpmError> {
    let template = match read_defined(context, indices, profile.template)? {
        Some(bytes) => Public::unmarshall(&bytes),
        None => profile.default.public(),
    }
    .map_err(TpmError::EkTemplate)?;
    let nonce = match profile.nonce {
        Some(index) => read_defined(context, indices, index)?,
        None => None,
    };
    match nonce {
        Some(nonce) => with_nonce(template, nonce).map_err(TpmError::EkTemplate),
        None => Ok(template),
    }
}

/// `template` with `nonce`, padded with zeros at its end, as RSA modulus or as x coordinate.
fn with_nonce(template: Public, mut nonce: Vec<u8>) -> Result<Public, TssError> {
    match template {
        Public::Rsa { object_attributes, name_hashing_algorithm, auth_policy, parameters, .. } => {
            nonce.resize(nonce.len().max(256), 0);
            let unique = PublicKeyRsa::try_from(nonce)?;
            Ok(Public::Rsa { object_attributes, name_hashing_algorithm, auth_policy, parameters, unique })
        }
        Public::Ecc { object_attributes, name_hashing_algorithm, auth_policy, parameters, .. } => {
            nonce.resize(nonce.len().max(32), 0);
            let y = EccParameter::try_from(vec![0; nonce.len()])?;
            let unique = EccPoint::new(EccParameter::try_from(nonce)?, y);
            Ok(Public::Ecc { object_attributes, name_hashing_algorithm, auth_policy, parameters, unique })
        }
        _ => Err(wrong_value()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ek_policy::EkPolicy;
    use tss_esapi::traits::Marshall;

    #[test]
    fn every_template_parses_and_has_a_known_policy() {
        for profile in PROFILES {
            let public = profile.default.public().unwrap();
            let policy = EkPolicy::of(&public).unwrap();
            let high = profile.default.attributes == HIGH;
            assert_eq!(policy.has_branches(), high, "{:#x}", profile.certificate);
        }
    }

    #[test]
    fn templates_equal_those_of_tss_esapi() {
        use tss_esapi::abstraction::{
            AsymmetricAlgorithmSelection as Alg, DefaultKey, ek::create_ek_public_from_default_template_2,
        };
        use tss_esapi::interface_types::ecc::EccCurve;
        let pairs = [
            (0, Alg::Ecc(EccCurve::NistP256)),
            (2, Alg::Ecc(EccCurve::NistP384)),
            (3, Alg::Rsa(tss_esapi::interface_types::key_bits::RsaKeyBits::Rsa2048)),
        ];
        for (index, algorithm) in pairs {
            let theirs = create_ek_public_from_default_template_2(algorithm, DefaultKey).unwrap();
            let ours = PROFILES[index].default.public().unwrap();
            assert_eq!(ours.marshall().unwrap(), theirs.marshall().unwrap());
        }
    }

    #[test]
    fn nonces_are_padded_to_the_field() {
        let Public::Rsa { unique, .. } =
            with_nonce(PROFILES[3].default.public().unwrap(), vec![9; 20]).unwrap()
        else {
            panic!("not RSA");
        };
        assert_eq!(unique.value(), [vec![9; 20], vec![0; 236]].concat());
        let Public::Ecc { unique, .. } =
            with_nonce(PROFILES[0].default.public().unwrap(), vec![9; 20]).unwrap()
        else {
            panic!("not ECC");
        };
        assert_eq!(unique.x().value(), [vec![9; 20], vec![0; 12]].concat());
        assert_eq!(unique.y().value(), [0; 32]);
        assert!(with_nonce(PROFILES[0].default.public().unwrap(), vec![9; 2000]).is_err());
    }
}
