//! How the TPM lets us use an endorsement key: the policies of the TCG EK Credential Profile for
//! TPM 2.0, version 2.5 ("the profile").

use tss_esapi::{
    Context, Error as TssError,
    handles::AuthHandle,
    interface_types::{
        algorithm::HashingAlgorithm,
        session_handles::{AuthSession, PolicySession},
    },
    structures::{Digest, DigestList, Nonce, Public},
};

use crate::error::{TpmError, tss};

/// `PolicyA`: `PolicySecret(TPM_RH_ENDORSEMENT)` (profile, annex B), SHA-256.
pub(crate) const POLICY_A_SHA256: &[u8; 32] =
    b"\x83\x71\x97\x67\x44\x84\xb3\xf8\x1a\x90\xcc\x8d\x46\xa5\xd7\x24\
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
pub(crate) const POLICY_B_SHA256: &[u8; 32] =
    b"\xca\x3d\x0a\x99\xa2\xb9\x39\x06\xf7\xa3\x34\x24\x14\xef\xcf\xb3\
      \xa3\x85\xd4\x4c\xd1\xfd\x45\x90\x89\xd1\x9b\x50\x71\xc0\xb7\xa0";
/// `PolicyB`, SHA-384.
pub(crate) const POLICY_B_SHA384: &[u8; 48] =
    b"\xb2\x6e\x7d\x28\xd1\x1a\x50\xbc\x53\xd8\x82\xbc\xf5\xfd\x3a\x1a\
      \x07\x41\x48\xbb\x35\xd3\xb4\xe4\xcb\x1c\x0a\xd9\xbd\xe4\x19\xca\
      \xcb\x47\xba\x09\x69\x96\x46\x15\x0f\x9f\xc0\x00\xf3\xf8\x0e\x12";

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

    #[cfg(test)]
    pub(crate) fn has_branches(self) -> bool {
        self.branches.is_some()
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
    use crate::template::{Kind, P256, SHA256, SHA384, Template};
    use sha2::{Sha256, Sha384};

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
    fn an_unknown_policy_is_refused() {
        let template = Template {
            kind: Kind::EccStorage { curve: P256, aes_bits: 128 },
            name_alg: SHA256,
            attributes: 0x0003_00B2,
            policy: POLICY_A_SHA256,
            unique: &[],
            unique_y: &[],
        };
        assert!(EkPolicy::of(&template.public().unwrap()).is_ok());
        let other = Template { policy: &[7; 32], ..template };
        assert!(matches!(EkPolicy::of(&other.public().unwrap()), Err(TpmError::EkPolicyUnknown)));
        let wrong_hash = Template { name_alg: SHA384, ..template };
        assert!(EkPolicy::of(&wrong_hash.public().unwrap()).is_err());
    }
}
