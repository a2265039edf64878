//! The state directory: layers, jobs, and the slots that keep their ids apart.
//!
//! Everything that belongs to a running job is held by a lock that dies with
//! its supervisor; what is found unlocked and unfinished at the next start is
//! left over from a crash and removed. Several processes may share a directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::SandboxError;
use crate::remove;

/// Job directories of one digest; far more than anyone keeps.
const REPEATS_MAX: u32 = 1_000_000;
/// File whose presence says that a job was accounted for.
const OUTCOME: &str = "outcome.json";

/// The state directory.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

/// A slot: the lock on one id range and on the cgroups of one number.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Number from 0.
    pub(crate) number: u32,
    lock: File,
}

/// What the file of a slot says once nothing of its last job is left.
const CLEAN: &[u8] = b"clean";

impl Slot {
    /// True if its last holder saw to it that nothing of its job was left.
    pub(crate) fn is_clean(&self) -> bool {
        let mut word = [0; CLEAN.len()];
        self.lock.read_exact_at(&mut word, 0).is_ok() && word == CLEAN
    }

    /// Says whether anything may be left of a job in this slot.
    pub(crate) fn mark(&self, clean: bool) -> io::Result<()> {
        self.lock.set_len(0)?;
        if clean { self.lock.write_all_at(CLEAN, 0) } else { Ok(()) }
    }
}

/// The directory of a job that is running.
#[derive(Debug)]
pub(crate) struct JobDir {
    /// Its name.
    pub(crate) id: String,
    /// Its path.
    pub(crate) path: PathBuf,
    finished: bool,
    _lock: File,
}

fn make_private(path: &Path) -> Result<(), SandboxError> {
    DirBuilder::new().mode(0o700).recursive(true).create(path).map_err(SandboxError::state(path, "create"))
}

/// Locks a file, making it if needed; `None` if somebody else holds it.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

impl Store {
    /// Opens or makes the state directory and clears what a crash has left.
    pub(crate) fn open(root: &Path) -> Result<Self, SandboxError> {
        let root = std::path::absolute(root).map_err(SandboxError::state(root, "make absolute"))?;
        for part in ["", "layers", "jobs", "slots"] {
            make_private(&root.join(part))?;
        }
        let store = Self { root };
        store.clear_leftovers()?;
        Ok(store)
    }

    /// The state directory itself, absolute.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of the layer cache.
    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// Keeps a job directory from being taken for a leftover between its making and its locking.
    fn lock_jobs(&self) -> Result<File, SandboxError> {
        let path = self.root.join("jobs.lock");
        let file = File::create(&path).map_err(SandboxError::state(&path, "create"))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|e| SandboxError::state(&path, "lock")(e.into()))?;
        Ok(file)
    }

    fn clear_leftovers(&self) -> Result<(), SandboxError> {
        let _lock = self.lock_jobs()?;
        let jobs = self.jobs();
        for entry in fs::read_dir(&jobs).map_err(SandboxError::state(&jobs, "list"))? {
            let path = entry.map_err(SandboxError::state(&jobs, "list"))?.path();
            let lock = match try_lock(&path.join("lock")) {
                // Its supervisor has just removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(SandboxError::state(&path, "lock"))?,
            };
            if lock.is_some() && !path.join(OUTCOME).exists() {
                log::warn!("removing job directory {}, left over from a crash", path.display());
                remove::tree(&path).map_err(SandboxError::state(&path, "remove"))?;
            }
        }
        Ok(())
    }

    /// Takes one slot, if it is free.
    pub(crate) fn try_slot(&self, number: u32) -> Result<Option<Slot>, SandboxError> {
        let path = self.root.join("slots").join(number.to_string());
        let lock = try_lock(&path).map_err(SandboxError::state(&path, "lock"))?;
        Ok(lock.map(|lock| Slot { number, lock }))
    }

    /// Makes a directory for a new job, named after its digest and how often it was run.
    pub(crate) fn new_job(&self, digest: &[u8; 32]) -> Result<JobDir, SandboxError> {
        let _lock = self.lock_jobs()?;
        let prefix: String = hex::encode(digest).chars().take(16).collect();
        for repeat in 0..REPEATS_MAX {
            let id = format!("{prefix}-{repeat}");
            let path = self.jobs().join(&id);
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    made.map_err(SandboxError::state(&path, "create"))?;
                    return JobDir::new(id, path);
                }
            }
        }
        Err(SandboxError::Busy { slots: REPEATS_MAX })
    }

    /// Removes an accounted job's directory.
    pub(crate) fn remove_job(&self, id: &str) -> Result<(), SandboxError> {
        let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let path = self.jobs().join(if plain { id } else { "no such job" });
        remove::tree(&path).map_err(SandboxError::state(path, "remove"))
    }
}

impl JobDir {
    fn new(id: String, path: PathBuf) -> Result<Self, SandboxError> {
        let lock = try_lock(&path.join("lock")).map_err(SandboxError::state(&path, "lock"))?;
        let taken = || SandboxError::state(&path, "lock")(io::ErrorKind::ResourceBusy.into());
        let lock = lock.ok_or_else(taken)?;
        let out = path.join("out");
        DirBuilder::new().mode(0o700).create(&out).map_err(SandboxError::state(&out, "create"))?;
        Ok(Self { id, path, finished: false, _lock: lock })
    }

    /// Records the outcome; from then on the directory outlives this value.
    pub(crate) fn finish(&mut self, outcome: &[u8]) -> Result<(), SandboxError> {
        let (new, path) = (self.path.join("outcome.new"), self.path.join(OUTCOME));
        fs::write(&new, outcome).map_err(SandboxError::state(&new, "write"))?;
        fs::rename(&new, &path).map_err(SandboxError::state(&path, "rename"))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for JobDir {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = remove::tree(&self.path)
        {
            log::warn!("job directory {} stays: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_and_finished_and_running_jobs_stay() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let mut finished = store.new_job(&[1; 32]).unwrap();
        finished.finish(b"{}").unwrap();
        let running = store.new_job(&[1; 32]).unwrap();
        let crashed = root.path().join("jobs/0303030303030303-0");
        fs::create_dir(&crashed).unwrap();
        fs::write(crashed.join("stdout"), "half").unwrap();
        Store::open(root.path()).unwrap();
        assert!(finished.path.exists() && running.path.exists() && !crashed.exists());
        assert_eq!(running.id, "0101010101010101-1");
        let (kept, gone) = (finished.path.clone(), running.path.clone());
        drop((finished, running));
        assert!(kept.exists() && !gone.exists());
        store.remove_job("0101010101010101-0").unwrap();
        assert!(!kept.exists());
        assert!(store.remove_job("../layers").is_err());
    }

    #[test]
    fn slots_are_exclusive() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let first = store.try_slot(0).unwrap().unwrap();
        assert!(Store::open(root.path()).unwrap().try_slot(0).unwrap().is_none());
        assert_eq!(store.try_slot(1).unwrap().unwrap().number, 1);
        drop(first);
        assert!(store.try_slot(0).unwrap().is_some());
    }

    #[test]
    fn a_slot_is_clean_only_when_its_last_holder_said_so() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let slot = || store.try_slot(0).unwrap().unwrap();
        assert!(!slot().is_clean());
        slot().mark(true).unwrap();
        assert!(slot().is_clean());
        slot().mark(false).unwrap();
        assert!(!slot().is_clean());
    }
}
