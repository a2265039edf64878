//! The endorsement key: which one is canonical, its template, and how to use it.
//!
//! By the TCG EK Credential Profile for TPM 2.0, version 2.5 ("the profile"). A TPM can derive
//! many endorsement keys from one seed; a node has exactly one, so that it can't be two nodes:
//! P-256 if the TPM holds its certificate, else P-384, else RSA-2048.

use tss_esapi::{
    Context, Error as TssError,
    constants::response_code::Tss2ResponseCode,
    handles::AuthHandle,
    interface_types::{
        algorithm::HashingAlgorithm,
        session_handles::{AuthSession, PolicySession},
    },
    structures::{Digest, DigestList, EccParameter, EccPoint, Nonce, Public, PublicKeyRsa, PublicParameters},
    traits::UnMarshall,
};

use crate::{
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
/// `PolicyA`: `PolicySecret(TPM_RH_ENDORSEMENT)` (profile, annex B), SHA-256.
const POLICY_A_SHA256: &[u8; 32] = b"\x83\x71\x97\x67\x44\x84\xb3\xf8\x1a\x90\xcc\x8d\x46\xa5\xd7\x24\
      \xfd\x52\xd7\x6e\x06\x52\x0b\x64\xf2\xa1\xda\x1b\x33\x14\x69\xaa";
/// `PolicyA`, SHA-384.
const POLICY_A_SHA384: &[u8; 48] = b"\x8b\xbf\x22\x66\x53\x7c\x17\x1c\xb5\x6e\x40\x3c\x4d\xc1\xd4\xb6\
      \x4f\x43\x26\x11\xdc\x38\x6e\x6f\x53\x20\x50\xc3\x27\x8c\x93\x0e\
      \x14\x3e\x8b\xb1\x13\x38\x24\xcc\xb4\x31\x05\x38\x71\xc6\xdb\x53";
/// `PolicyC`: `PolicyAuthorizeNV` with the profile's policy index (profile, annex B), SHA-256.
const POLICY_C_SHA256: &[u8; 32] = b"\x37\x67\xe2\xed\xd4\x3f\xf4\x5a\x3a\x7e\x1e\xae\xfc\xef\x78\x64\
      \x3d\xca\x96\x46\x32\xe7\xaa\xd8\x2c\x67\x3a\x30\xd8\x63\x3f\xde";
/// `PolicyC`, SHA-384.
const POLICY_C_SHA384: &[u8; 48] = b"\xd6\x03\x2c\xe6\x1f\x2f\xb3\xc2\x40\xeb\x3c\xf6\xa3\x32\x37\xef\
      \x2b\x6a\x16\xf4\x29\x3c\x22\xb4\x55\xe2\x61\xcf\xfd\x21\x7a\xd5\
      \xb4\x94\x7c\x2d\x73\xe6\x30\x05\xee\xd2\xdc\x2b\x35\x93\xd1\x65";
/// `PolicyB`: `PolicyOR(PolicyA, PolicyC)` (profile, annex B), SHA-256.
const POLICY_B_SHA256: &[u8; 32] = b"\xca\x3d\x0a\x99\xa2\xb9\x39\x06\xf7\xa3\x34\x24\x14\xef\xcf\xb3\
      \xa3\x85\xd4\x4c\xd1\xfd\x45\x90\x89\xd1\x9b\x50\x71\xc0\xb7\xa0";
/// `PolicyB`, SHA-384.
const POLICY_B_SHA384: &[u8; 48] = b"\xb2\x6e\x7d\x28\xd1\x1a\x50\xbc\x53\xd8\x82\xbc\xf5\xfd\x3a\x1a\
      \x07\x41\x48\xbb\x35\xd3\xb4\xe4\xcb\x1c\x0a\xd9\xbd\xe4\x19\xca\
      \xcb\x47\xba\x09\x69\x96\x46\x15\x0f\x9f\xc0\x00\xf3\xf8\x0e\x12";
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
    /// Contents of the certificate chain indices, in their order.
    pub(crate) chain: Vec<Vec<u8>>,
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

fn chain(context: &mut Context, indices: &[u32]) -> Result<Vec<Vec<u8>>, TpmError> {
    let mut chain = Vec::new();
    for index in indices.iter().filter(|index| CHAIN.contains(index)) {
        chain.extend(nv::read(context, *index)?);
    }
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

/// How to satisfy an endorsement key's `authPolicy`.
///
/// Always by policy: a high range key would take its empty password too, but that counts as
/// use of a key with dictionary attack protection, and power cuts after it lead to a lockout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EkPolicy {
    /// The session's hash: the key's `nameAlg`.
    pub(crate) hash: HashingAlgorithm,
    /// The branches of the `PolicyOR` to take after `PolicySecret`; `None` for `PolicyA` alone.
    branches: Option<[&'static [u8]; 2]>,
}

impl EkPolicy {
    /// The policy of `public`.
    ///
    /// # Errors
    ///
    /// [`TpmError::EkPolicyUnknown`] if it is none of the profile's.
    pub(crate) fn of(public: &Public) -> Result<Self, TpmError> {
        let (Public::Rsa { name_hashing_algorithm: hash, auth_policy, .. }
        | Public::Ecc { name_hashing_algorithm: hash, auth_policy, .. }) = public
        else {
            return Err(TpmError::EkPolicyUnknown);
        };
        let policy = auth_policy.value();
        let known: [(_, &[u8], _); 4] = [
            (HashingAlgorithm::Sha256, POLICY_A_SHA256, None),
            (HashingAlgorithm::Sha384, POLICY_A_SHA384, None),
            (HashingAlgorithm::Sha256, POLICY_B_SHA256, Some([&POLICY_A_SHA256[..], POLICY_C_SHA256])),
            (HashingAlgorithm::Sha384, POLICY_B_SHA384, Some([&POLICY_A_SHA384[..], POLICY_C_SHA384])),
        ];
        known
            .into_iter()
            .find(|(alg, digest, _)| alg == hash && *digest == policy)
            .map(|(hash, _, branches)| Self { hash, branches })
            .ok_or(TpmError::EkPolicyUnknown)
    }

    /// Brings `session` to the policy's digest.
    ///
    /// # Errors
    ///
    /// [`TpmError::AuthoriseEk`]; a password on the endorsement hierarchy is the usual reason.
    pub(crate) fn satisfy(self, context: &mut Context, session: PolicySession) -> Result<(), TpmError> {
        context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.policy_secret(
                    session,
                    AuthHandle::Endorsement,
                    Nonce::default(),
                    Digest::default(),
                    Nonce::default(),
                    None,
                )
            })
            .and_then(|_| match self.branches {
                Some(branches) => policy_or(context, session, branches),
                None => Ok(()),
            })
            .map_err(tss(TpmError::AuthoriseEk))
    }
}

fn policy_or(context: &mut Context, session: PolicySession, branches: [&[u8]; 2]) -> Result<(), TssError> {
    let mut digests = DigestList::new();
    for branch in branches {
        digests.add(Digest::try_from(branch)?)?;
    }
    context.execute_without_session(|context| context.policy_or(session, digests))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Sha256, Sha384};
    use tss_esapi::traits::Marshall;

    /// TPM 2.0 Part 3, 23.4: two extensions of an empty policy by the name of the hierarchy.
    fn policy_a<H: sha2::Digest>() -> Vec<u8> {
        let zero = vec![0; <H as sha2::Digest>::output_size()];
        let first = H::new().chain_update(zero).chain_update([0, 0, 1, 0x51, 0x40, 0, 0, 0x0B]);
        H::digest(first.finalize()).to_vec()
    }

    /// TPM 2.0 Part 3, 23.6.
    fn policy_or<H: sha2::Digest>(branches: &[&[u8]]) -> Vec<u8> {
        let zero = vec![0; <H as sha2::Digest>::output_size()];
        let hash = H::new().chain_update(zero).chain_update([0, 0, 1, 0x71]);
        hash.chain_update(branches.concat()).finalize().to_vec()
    }

    #[test]
    fn policies_are_what_their_definitions_give() {
        assert_eq!(policy_a::<Sha256>(), POLICY_A_SHA256);
        assert_eq!(policy_a::<Sha384>(), POLICY_A_SHA384);
        assert_eq!(policy_or::<Sha256>(&[POLICY_A_SHA256, POLICY_C_SHA256]), POLICY_B_SHA256);
        assert_eq!(policy_or::<Sha384>(&[POLICY_A_SHA384, POLICY_C_SHA384]), POLICY_B_SHA384);
    }

    #[test]
    fn every_template_parses_and_has_a_known_policy() {
        for profile in PROFILES {
            let public = profile.default.public().unwrap();
            let policy = EkPolicy::of(&public).unwrap();
            let high = profile.default.attributes == HIGH;
            assert_eq!(policy.branches.is_some(), high, "{:#x}", profile.certificate);
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
    fn an_unknown_policy_is_refused() {
        let template = Template { policy: &[7; 32], ..ecc_low() };
        let refused = EkPolicy::of(&template.public().unwrap());
        assert!(matches!(refused, Err(TpmError::EkPolicyUnknown)));
        let wrong_hash = Template { name_alg: SHA384, ..ecc_low() };
        assert!(EkPolicy::of(&wrong_hash.public().unwrap()).is_err());
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
