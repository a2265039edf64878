//! The open session: its keys and where its chain stands.

use assay_job::JobFile;
use assay_job::seal::{self, SealError, Secret};
use assay_ledger::session::{Head, SessionStart};
use assay_wire::{Digest, Envelope, Kind, Network};
use minicbor::Encode;

use super::boot_state::BootState;
use super::gpus::GpuPart;
use super::keys::SessionKeys;

/// A session that is stored in the ledger and may sign.
#[derive(Debug)]
pub(super) struct Session {
    /// Its id.
    pub(super) id: Digest,
    /// What its quote bound.
    pub(super) start: SessionStart,
    keys: SessionKeys,
    network: Network,
    /// Where its chain ends, as stored.
    pub(super) head: Head,
    /// Monotonic time of its last beat.
    pub(super) mono_ms: u64,
    /// GPU facts of a beat that could not be stored: they go into the next one.
    pub(super) unstored: Option<GpuPart>,
    /// The beacon of the newest anchor, or of one that is being made.
    pub(super) anchored: Option<Digest>,
    /// The boot that its opening quote showed.
    pub(super) boot: Option<BootState>,
}

impl Session {
    /// A session whose evidence is stored.
    pub(super) fn new(start: SessionStart, keys: SessionKeys, network: Network) -> Self {
        let id = start.id();
        let head = Head { session: id, seq: 0, head: id };
        let mono_ms = start.mono_ms;
        Self { id, start, keys, network, head, mono_ms, unstored: None, anchored: None, boot: None }
    }

    /// Signs a message of this session.
    pub(super) fn seal<T: Encode<()>>(&self, kind: Kind, message: &T) -> Vec<u8> {
        Envelope::seal(kind, self.id, message, &self.keys.sign, &self.network)
    }

    /// Opens a job's secrets.
    ///
    /// # Errors
    /// [`SealError::Open`] for the first that is not sealed to this session and this job.
    pub(super) fn open_secrets(&self, job: &JobFile) -> Result<Vec<Secret>, SealError> {
        seal::open_all(job, self.keys.sealing(), self.network.id(), &self.id, &self.start.node)
    }
}
