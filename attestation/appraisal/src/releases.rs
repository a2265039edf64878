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
        let held = TrustedRelease { signer: signer.name.clone(), hash: envelope.hash(), release };
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
