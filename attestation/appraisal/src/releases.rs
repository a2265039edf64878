//! Releases that a verifier holds: manifests by signers in its trust file.

use assay_boot::Release;
use assay_wire::{Digest, Envelope, Kind, Network, WireError};

use crate::trust::Trust;

/// The network that releases are signed for: one release serves every network.
pub const RELEASE_NETWORK: &str = "assay-releases";

/// A release whose signature held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRelease {
    /// Name of its signer in the trust file.
    pub signer: String,
    /// Envelope hash.
    pub hash: Digest,
    /// The reference values.
    pub release: Release,
    /// The envelope.
    pub envelope: Vec<u8>,
}

/// Why a release manifest does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// No release envelope, or no signature by the signer it names.
    #[error("release manifest")]
    Open(#[from] WireError),
    /// The signer is not in the trust file.
    #[error("release manifest by {0}, who is not a release signer in the trust file")]
    Signer(Digest),
}

impl Trust {
    /// Takes a release manifest, for [`crate::appraise`] to hold boots against. One that is there
    /// already is not taken twice.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub fn add_release(&mut self, bytes: &[u8]) -> Result<&TrustedRelease, ReleaseError> {
        let envelope = Envelope::decode_as(Kind::Release, bytes)?;
        let signer = self.release_signers.iter().find(|signer| signer.key.validator_id() == envelope.kid);
        let signer = signer.ok_or(ReleaseError::Signer(envelope.kid))?;
        envelope.verify(&signer.key, &Network::new(RELEASE_NETWORK))?;
        let release: Release = envelope.message()?;
        let held = TrustedRelease {
            signer: signer.name.clone(),
            hash: envelope.hash(),
            release,
            envelope: bytes.to_vec(),
        };
        let place = match self.releases.iter().position(|release| release.hash == held.hash) {
            Some(place) => place,
            None => {
                self.releases.push(held);
                self.releases.len() - 1
            }
        };
        self.releases.get(place).ok_or(ReleaseError::Signer(envelope.kid))
    }

    /// The releases that count at `now_ms`: current, and taken back by none of the same signer's.
    pub(crate) fn current_releases(&self, now_ms: u64) -> impl Iterator<Item = &TrustedRelease> {
        let revoked = |one: &TrustedRelease| {
            self.releases
                .iter()
                .any(|other| other.signer == one.signer && other.release.revokes(&one.release))
        };
        self.releases.iter().filter(move |one| one.release.is_current(now_ms) && !revoked(one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::ReleaseSigner;
    use assay_wire::SigningKey;

    fn release(number: u64, minimum: u64) -> Release {
        Release {
            name: "appliance".into(),
            version: format!("{number}.0"),
            number,
            minimum,
            issued_ms: 10,
            expires_ms: 20,
            kernel_boot: vec![],
            applications: vec![],
            secure_boot: vec![],
            overrides: vec![],
            extensions: vec![],
            root_hash: Digest([1; 32]),
            agent: Digest([2; 32]),
            command_line: None,
        }
    }

    fn sealed(seed: u8, network: &str, release: &Release) -> Vec<u8> {
        let key = SigningKey::from_seed(&[seed; 32]);
        let kid = key.verifying_key().validator_id();
        Envelope::seal(Kind::Release, kid, release, &key, &Network::new(network))
    }

    fn trust(seeds: &[u8]) -> Trust {
        let signer = |seed: &u8| ReleaseSigner {
            name: format!("s{seed}"),
            key: SigningKey::from_seed(&[*seed; 32]).verifying_key(),
        };
        Trust { release_signers: seeds.iter().map(signer).collect(), ..Trust::of(Network::new("n")) }
    }

    #[test]
    fn only_signers_in_the_trust_file_release() {
        let mut trust = trust(&[1]);
        let good = sealed(1, RELEASE_NETWORK, &release(1, 0));
        assert_eq!(trust.add_release(&good).unwrap().signer, "s1");
        trust.add_release(&good).unwrap();
        assert_eq!(trust.releases.len(), 1);
        let stranger = trust.add_release(&sealed(2, RELEASE_NETWORK, &release(1, 0)));
        assert!(matches!(stranger, Err(ReleaseError::Signer(_))));
        let elsewhere = trust.add_release(&sealed(1, "n", &release(1, 0)));
        assert!(matches!(elsewhere, Err(ReleaseError::Open(_))));
        assert!(trust.add_release(&good[1..]).is_err());
    }

    #[test]
    fn releases_end_and_are_taken_back_by_their_signer_only() {
        let mut trust = trust(&[1, 2]);
        let numbers = |trust: &Trust, now| {
            trust.current_releases(now).map(|one| one.release.number).collect::<Vec<_>>()
        };
        trust.add_release(&sealed(1, RELEASE_NETWORK, &release(1, 0))).unwrap();
        assert_eq!((numbers(&trust, 9), numbers(&trust, 10), numbers(&trust, 20)), (vec![], vec![1], vec![]));
        trust.add_release(&sealed(2, RELEASE_NETWORK, &release(3, 3))).unwrap();
        assert_eq!(numbers(&trust, 10), [1, 3]);
        trust.add_release(&sealed(1, RELEASE_NETWORK, &release(2, 2))).unwrap();
        assert_eq!(numbers(&trust, 10), [3, 2]);
    }
}
