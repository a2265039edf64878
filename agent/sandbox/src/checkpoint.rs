//! The checkpoint: a directory that outlives a job's restarts, and the agent's.
//!
//! One per job digest, below `checkpoints/` of the state directory, held by a lock while a run of
//! the job uses it. It is kept when a run fails, is stopped or runs out of time, so that the next
//! run of the same job goes on from there, and removed when one succeeds. What is out of use longest
//! goes when there are too many, or when another job needs the bytes ([`Retention`]); nothing goes for
//! a job that would be refused all the same.
//!
//! The job writes to the disk itself, so its cap is looked after while the job runs: a job that
//! exceeds it is killed, and loses the checkpoint. Between two looks a job can exceed it. What no name
//! leads to, a removed file that is still open, is not counted: a job with a checkpoint is killed likewise
//! when the disk is nearly full, whoever has filled it.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use assay_jailer::plan::Bind;

use crate::confined::Dir;
use crate::disk::{RESERVE, available};
use crate::error::SandboxError;
use crate::job::JobFile;
use crate::kept::{self, Kept, Retention};
use crate::remove;
use crate::tree::{self, Others};

/// A checkpoint in use.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    state: PathBuf,
    place: PathBuf,
    dir: Dir,
    target: String,
    cap: u64,
    reserve: u64,
    lock: File,
}

fn all(state: &Path) -> PathBuf {
    state.join("checkpoints")
}

fn lock_all(state: &Path) -> Result<File, SandboxError> {
    kept::lock_all(&state.join("checkpoints.lock"))
}

fn make_private(path: &Path) -> Result<(), SandboxError> {
    DirBuilder::new().mode(0o700).recursive(true).create(path).map_err(SandboxError::state(path, "create"))
}

/// Removes the checkpoint of a job, by the digest in hexadecimal, if no run uses it. True if there was one.
pub(crate) fn remove_unused(state: &Path, job: &str) -> Result<bool, SandboxError> {
    let _all = lock_all(state)?;
    let is_digest = job.len() == 64 && job.bytes().all(|b| b.is_ascii_hexdigit());
    let place = all(state).join(job);
    if !is_digest || !place.is_dir() {
        return Ok(false);
    }
    let lock = kept::try_lock(&place).map_err(SandboxError::state(&place, "lock"))?;
    if lock.is_some() {
        remove::tree(&place).map_err(SandboxError::state(&place, "remove"))?;
    }
    Ok(lock.is_some())
}

impl Checkpoint {
    /// Opens or makes the job's checkpoint; `None` for a job without one.
    ///
    /// # Errors
    /// [`SandboxError::CheckpointBusy`] while another run of the job has it,
    /// [`SandboxError::CheckpointRoom`] where the node's own limit leaves less than the job asks for,
    /// [`SandboxError::NoRoom`] where the disk lacks what the job may fill.
    pub(crate) fn open(
        state: &Path,
        job: &JobFile,
        retention: &Retention,
    ) -> Result<Option<Self>, SandboxError> {
        let Some(wanted) = &job.checkpoint else { return Ok(None) };
        make_private(&all(state))?;
        let _all = lock_all(state)?;
        let place = all(state).join(hex::encode(job.digest()));
        let (data, is_new) = (place.join("data"), !place.exists());
        make_private(&data)?;
        let lock = kept::try_lock(&place).map_err(SandboxError::state(&place, "lock"))?;
        let lock = lock.ok_or(SandboxError::CheckpointBusy)?;
        let dir = Dir::open(&data).map_err(|e| SandboxError::state(&data, "open")(e.into()))?;
        let (target, cap) = (wanted.target.clone(), wanted.bytes);
        let opened = Self { state: state.to_owned(), place, dir, target, cap, reserve: RESERVE, lock };
        match opened.claim(retention) {
            Err(refusal) if is_new => {
                opened.discard();
                Err(refusal)
            }
            other => other.map(|()| Some(opened)),
        }
    }

    /// Makes room, and counts for all that the job may fill.
    fn claim(&self, retention: &Retention) -> Result<(), SandboxError> {
        let mut others = kept::list(&all(&self.state), |_| true);
        others.retain(|one| one.path != self.place);
        self.make_room(others, retention)?;
        kept::note(&self.lock, self.cap).map_err(SandboxError::state(&self.place, "note size"))
    }

    fn make_room(&self, others: Vec<Kept>, retention: &Retention) -> Result<(), SandboxError> {
        let (held, unused): (Vec<&Kept>, Vec<&Kept>) = others.iter().partition(|one| one.held);
        let left = retention.checkpoint_bytes.saturating_sub(kept::bytes(held));
        if self.cap > left {
            return Err(SandboxError::CheckpointRoom { wanted: self.cap, left });
        }
        let used = tree::disk_usage(&self.dir).unwrap_or(0);
        let needed = self.cap.saturating_sub(used).saturating_add(self.reserve);
        let free = || available(&self.place).map_err(SandboxError::state(&self.place, "ask for room"));
        let refuse = |left| Err(SandboxError::NoRoom { what: "the checkpoint", needed, left });
        let reachable = free()?.saturating_add(kept::bytes(unused));
        if reachable < needed {
            return refuse(reachable);
        }
        kept::evict(others, |rest| {
            rest.len() >= retention.checkpoints
                || kept::bytes(rest).saturating_add(self.cap) > retention.checkpoint_bytes
                || free().is_ok_and(|left| left < needed)
        });
        match free()? {
            left if left < needed => refuse(left),
            _ => Ok(()),
        }
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

    /// Leaves it to the job's next run: from here on it counts for what it holds.
    pub(crate) fn keep(self) {
        let bytes = tree::disk_usage(&self.dir).unwrap_or(self.cap);
        let noted = kept::note(&self.lock, bytes);
        noted.unwrap_or_else(|error| log::warn!("checkpoint {}: {error}", self.place.display()));
    }

    /// Removes it.
    pub(crate) fn remove(self) {
        match lock_all(&self.state) {
            Ok(_all) => self.discard(),
            Err(error) => log::warn!("checkpoint {} stays: {error}", self.place.display()),
        }
    }

    /// Removes it; the caller holds the lock on all of them.
    fn discard(&self) {
        if let Err(error) = remove::tree(&self.place) {
            log::warn!("checkpoint {} stays: {error}", self.place.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn job(name: &str, cap: &str) -> JobFile {
        let text = format!(
            "[job]\nimage = \"oci:/l\"\ncommand = [\"{name}\"]\ncheckpoint = \"/c\"\ncheckpoint_bytes = \"{cap}\"\n"
        );
        JobFile::parse(text.as_bytes()).unwrap()
    }

    /// Opens it on a node that keeps so many, of so many bytes.
    fn on(
        state: &Path,
        job: &JobFile,
        checkpoints: usize,
        bytes: u64,
    ) -> Result<Option<Checkpoint>, SandboxError> {
        let retention = Retention { checkpoints, checkpoint_bytes: bytes, ..Retention::default() };
        Checkpoint::open(state, job, &retention)
    }

    fn open(state: &Path, job: &JobFile) -> Checkpoint {
        on(state, job, 32, 1 << 30).unwrap().unwrap()
    }

    /// A checkpoint of so many bytes that a run has left, last used at that second.
    fn left(state: &Path, name: &str, bytes: usize, second: u64) -> PathBuf {
        let checkpoint = open(state, &job(name, "1Mi"));
        fs::write(checkpoint.bind().source.join("file"), vec![1; bytes]).unwrap();
        let (place, lock) = (checkpoint.place.clone(), checkpoint.lock.try_clone().unwrap());
        checkpoint.keep();
        lock.set_modified(at(second)).unwrap();
        place
    }

    fn at(second: u64) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + std::time::Duration::from_secs(second)
    }

    #[test]
    fn one_per_job_and_one_run_at_a_time() {
        let state = tempfile::tempdir().unwrap();
        let (first, other) = (open(state.path(), &job("a", "1Mi")), open(state.path(), &job("b", "1Mi")));
        assert_ne!(first.place, other.place);
        let taken = on(state.path(), &job("a", "1Mi"), 32, 1 << 30);
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
        assert!(on(state.path(), &none, 32, 1 << 30).unwrap().is_none());
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
    fn a_cap_larger_than_the_disk_is_refused_and_takes_nothing_from_others() {
        let state = tempfile::tempdir().unwrap();
        let kept = left(state.path(), "kept", 1 << 20, 1);
        let refusal = on(state.path(), &job("a", "64Ti"), 32, u64::MAX).unwrap_err();
        assert!(matches!(refusal, SandboxError::NoRoom { .. }), "{refusal}");
        assert_eq!(fs::read_dir(all(state.path())).unwrap().count(), 1);
        assert!(kept.exists());
    }

    #[test]
    fn a_cap_larger_than_the_node_allows_is_refused_and_takes_nothing_from_others() {
        let state = tempfile::tempdir().unwrap();
        let kept = left(state.path(), "kept", 1 << 20, 1);
        let node = (4 << 20) + (1 << 19);
        let refusal = on(state.path(), &job("a", "5Mi"), 32, node).unwrap_err();
        assert!(matches!(refusal, SandboxError::CheckpointRoom { .. }), "{refusal}");
        // What running jobs may still fill counts.
        let _running = on(state.path(), &job("b", "3Mi"), 32, node).unwrap();
        let refusal = on(state.path(), &job("c", "2Mi"), 32, node).unwrap_err();
        let unclaimed = node - (3 << 20);
        assert!(matches!(refusal, SandboxError::CheckpointRoom { left, .. } if left == unclaimed));
        assert!(kept.exists());
    }

    #[test]
    fn what_is_out_of_use_longest_makes_room() {
        let state = tempfile::tempdir().unwrap();
        let [old, newer] =
            [("old", 1), ("newer", 2)].map(|(n, second)| left(state.path(), n, 1 << 20, second));
        let _new = on(state.path(), &job("new", "1Mi"), 32, (2 << 20) + (1 << 19)).unwrap();
        assert!(!old.exists() && newer.exists());
        let _next = on(state.path(), &job("next", "4Ki"), 2, 1 << 30).unwrap();
        assert!(!newer.exists());
    }

    #[test]
    fn the_oldest_go() {
        const MOST: usize = 4;
        let state = tempfile::tempdir().unwrap();
        let held = open(state.path(), &job("held", "1Mi"));
        let each = |n: u32| {
            let opened = on(state.path(), &job(&n.to_string(), "1Mi"), MOST, 1 << 30).unwrap().unwrap();
            opened.lock.set_modified(at(n.into())).unwrap();
            opened.place.clone()
        };
        let places: Vec<_> = (0..=4).map(each).collect();
        assert_eq!(fs::read_dir(all(state.path())).unwrap().count(), MOST);
        assert!(held.place.exists() && places[MOST].exists() && !places[0].exists());
    }

    #[test]
    fn a_checkpoint_in_use_is_not_removed_by_name() {
        let state = tempfile::tempdir().unwrap();
        let used = open(state.path(), &job("a", "1Mi"));
        let digest = hex::encode(job("a", "1Mi").digest());
        assert!(!remove_unused(state.path(), &digest).unwrap() && used.place.exists());
        let place = used.place.clone();
        used.keep();
        assert!(!remove_unused(state.path(), "../layers").unwrap());
        assert!(remove_unused(state.path(), &digest).unwrap() && !place.exists());
    }
}
