//! The checkpoint: a directory that outlives a job's restarts, and the agent's.
//!
//! One per job digest, below `checkpoints/` of the state directory, held by a lock while a run of
//! the job uses it. It is kept when a run fails, is stopped or runs out of time, so that the next
//! run of the same job goes on from there, and removed when one succeeds. The oldest go when there
//! are too many.
//!
//! The job writes to the disk itself, so its cap is looked after while the job runs: a job that
//! exceeds it is killed, and loses the checkpoint. Between two looks a job can exceed it. What no name
//! leads to, a removed file that is still open, is not counted: a job with a checkpoint is killed likewise
//! when the disk is nearly full, whoever has filled it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use assay_jailer::plan::Bind;
use rustix::fs::{FlockOperation, flock};

use crate::confined::Dir;
use crate::disk::{RESERVE, available};
use crate::error::SandboxError;
use crate::job::JobFile;
use crate::remove;
use crate::tree::{self, Others};

/// Most checkpoints that nobody uses.
const KEPT_MAX: usize = 32;

/// A checkpoint in use.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    place: PathBuf,
    dir: Dir,
    target: String,
    cap: u64,
    reserve: u64,
    _lock: File,
}

fn make_private(path: &Path) -> Result<(), SandboxError> {
    DirBuilder::new().mode(0o700).recursive(true).create(path).map_err(SandboxError::state(path, "create"))
}

/// Locks a checkpoint; `None` if a run uses it.
fn try_lock(place: &Path) -> io::Result<Option<File>> {
    let lock = File::options().create(true).truncate(false).write(true).open(place.join("lock"))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

impl Checkpoint {
    /// Opens or makes the job's checkpoint; `None` for a job without one.
    ///
    /// # Errors
    /// [`SandboxError::CheckpointBusy`] while another run of the job has it,
    /// [`SandboxError::NoRoom`] where the disk lacks what the job may fill.
    pub(crate) fn open(state: &Path, job: &JobFile) -> Result<Option<Self>, SandboxError> {
        let Some(wanted) = &job.checkpoint else { return Ok(None) };
        let all = state.join("checkpoints");
        make_private(&all)?;
        let place = all.join(hex::encode(job.digest()));
        let data = place.join("data");
        make_private(&data)?;
        let lock = try_lock(&place).map_err(SandboxError::state(&place, "lock"))?;
        let lock = lock.ok_or(SandboxError::CheckpointBusy)?;
        let dir = Dir::open(&data).map_err(|e| SandboxError::state(&data, "open")(e.into()))?;
        let (target, cap) = (wanted.target.clone(), wanted.bytes);
        let opened = Self { place, dir, target, cap, reserve: RESERVE, _lock: lock };
        opened.check_room(&data)?;
        prune(&all);
        Ok(Some(opened))
    }

    fn check_room(&self, data: &Path) -> Result<(), SandboxError> {
        let used = tree::disk_usage(&self.dir).unwrap_or(0);
        let needed = self.cap.saturating_sub(used).saturating_add(self.reserve);
        let left = available(data).map_err(SandboxError::state(data, "ask for room"))?;
        if left < needed {
            return Err(SandboxError::NoRoom { what: "the checkpoint", needed, left });
        }
        Ok(())
    }

    /// What the job sees.
    pub(crate) fn bind(&self) -> Bind {
        Bind { source: self.place.join("data"), target: self.target.clone(), writable: true }
    }

    /// True if it holds more than it may: bytes, entries or depth.
    pub(crate) fn is_over(&self) -> bool {
        tree::disk_usage(&self.dir).is_none_or(|bytes| bytes > self.cap)
    }

    /// True if the disk has less left than no checkpoint may take. Cheap.
    pub(crate) fn is_disk_full(&self) -> bool {
        available(&self.place).is_ok_and(|left| left < self.reserve)
    }

    /// The same checkpoint on a disk of which so much must be left, bytes.
    #[cfg(test)]
    pub(crate) fn with_reserve(self, reserve: u64) -> Self {
        Self { reserve, ..self }
    }

    /// Its tree hash. No process of the job is left.
    ///
    /// # Errors
    /// Those of [`tree::hash`].
    pub(crate) fn hash(&self) -> io::Result<[u8; 32]> {
        tree::hash(&self.dir, Others::Ignored)
    }

    /// Removes it.
    pub(crate) fn remove(self) {
        if let Err(error) = remove::tree(&self.place) {
            log::warn!("checkpoint {} stays: {error}", self.place.display());
        }
    }
}

/// Removes the oldest checkpoints that nobody uses.
fn prune(all: &Path) {
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    let aged = |entry: fs::DirEntry| {
        let age = entry.path().join("lock").metadata().and_then(|facts| facts.modified()).ok()?;
        Some((age, entry.path()))
    };
    let mut places: Vec<_> = entries.filter_map(aged).collect();
    places.sort();
    let excess = places.len().saturating_sub(KEPT_MAX);
    for (_, place) in places.into_iter().take(excess) {
        if let Ok(Some(_unused)) = try_lock(&place)
            && let Err(error) = remove::tree(&place)
        {
            log::warn!("checkpoint {} stays: {error}", place.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, cap: &str) -> JobFile {
        let text = format!(
            "[job]\nimage = \"oci:/l\"\ncommand = [\"{name}\"]\ncheckpoint = \"/c\"\ncheckpoint_bytes = \"{cap}\"\n"
        );
        JobFile::parse(text.as_bytes()).unwrap()
    }

    fn open(state: &Path, job: &JobFile) -> Checkpoint {
        Checkpoint::open(state, job).unwrap().unwrap()
    }

    #[test]
    fn one_per_job_and_one_run_at_a_time() {
        let state = tempfile::tempdir().unwrap();
        let (first, other) = (open(state.path(), &job("a", "1Mi")), open(state.path(), &job("b", "1Mi")));
        assert_ne!(first.place, other.place);
        let taken = Checkpoint::open(state.path(), &job("a", "1Mi"));
        assert!(matches!(taken, Err(SandboxError::CheckpointBusy)));
        fs::write(first.bind().source.join("step"), "7").unwrap();
        let hash = first.hash().unwrap();
        drop(first);
        let again = open(state.path(), &job("a", "1Mi"));
        assert_eq!(again.hash().unwrap(), hash);
        let place = again.place.clone();
        again.remove();
        assert!(!place.exists());
        let none = JobFile::parse(b"[job]\nimage = \"oci:/l\"\n").unwrap();
        assert!(Checkpoint::open(state.path(), &none).unwrap().is_none());
    }

    #[test]
    fn the_cap_counts_bytes_and_entries() {
        let state = tempfile::tempdir().unwrap();
        let checkpoint = open(state.path(), &job("a", "64Ki"));
        let data = checkpoint.bind().source;
        fs::write(data.join("a"), vec![1; 16 << 10]).unwrap();
        assert!(!checkpoint.is_over());
        for n in 0..16 {
            fs::write(data.join(format!("empty{n}")), "").unwrap();
        }
        assert!(checkpoint.is_over());
    }

    #[test]
    fn a_cap_larger_than_the_disk_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let refusal = Checkpoint::open(state.path(), &job("a", "64Ti")).unwrap_err();
        assert!(matches!(refusal, SandboxError::NoRoom { .. }), "{refusal}");
    }

    #[test]
    fn the_oldest_go() {
        let state = tempfile::tempdir().unwrap();
        let held = open(state.path(), &job("held", "1Mi"));
        let places: Vec<_> =
            (0..=KEPT_MAX).map(|n| open(state.path(), &job(&n.to_string(), "1Mi")).place.clone()).collect();
        let left = fs::read_dir(state.path().join("checkpoints")).unwrap().count();
        // The prune of each opening counts the one that is being opened.
        assert!(left <= KEPT_MAX + 1, "{left}");
        assert!(held.place.exists() && places[KEPT_MAX].exists() && !places[0].exists());
    }
}
