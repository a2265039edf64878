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

use crate::confined::Dir;
use crate::error::SandboxError;
use crate::kept::{self, Kept, Retention};
use crate::{remove, tree};

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
    lock: File,
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

    /// A state directory that is there already, as it is.
    pub(crate) fn existing(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// Keeps a job directory from being taken for a leftover between its making and its locking.
    fn lock_jobs(&self) -> Result<File, SandboxError> {
        kept::lock_all(&self.root.join("jobs.lock"))
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

    /// Makes a directory for a new job, named after its digest and a number above its earlier runs'.
    pub(crate) fn new_job(&self, digest: &[u8; 32]) -> Result<JobDir, SandboxError> {
        let _lock = self.lock_jobs()?;
        let prefix = prefix(&hex::encode(digest));
        let runs = self.runs(&prefix)?;
        let last = runs.iter().map(|(number, _)| *number).max();
        let number = last.map_or(Some(0), |last| last.checked_add(1));
        let number = number.ok_or(SandboxError::Busy { slots: u32::MAX })?;
        let id = format!("{prefix}-{number}");
        let path = self.jobs().join(&id);
        DirBuilder::new().mode(0o700).create(&path).map_err(SandboxError::state(&path, "create"))?;
        JobDir::new(id, path)
    }

    /// Numbers and directories of the runs of jobs whose digests start like this.
    fn runs(&self, prefix: &str) -> Result<Vec<(u32, PathBuf)>, SandboxError> {
        let jobs = self.jobs();
        let run = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix(prefix)?.strip_prefix('-')?.parse().ok()?;
            Some((number, entry.path()))
        };
        let entries = fs::read_dir(&jobs).map_err(SandboxError::state(&jobs, "list"))?;
        Ok(entries.flatten().filter_map(run).collect())
    }

    /// Removes the oldest directories of ended jobs, as far as they are more than may stay.
    pub(crate) fn prune_jobs(&self, retention: &Retention) -> Result<(), SandboxError> {
        let _lock = self.lock_jobs()?;
        let ended = kept::list(&self.jobs(), |path| path.join(OUTCOME).exists());
        let is_over = |rest: &[Kept]| rest.len() > retention.jobs || kept::bytes(rest) > retention.job_bytes;
        kept::evict(ended, is_over);
        Ok(())
    }

    /// Removes the directories of a job's ended runs. How many there were.
    pub(crate) fn remove_ended(&self, job: &str) -> Result<u64, SandboxError> {
        let _lock = self.lock_jobs()?;
        let mut removed = 0;
        for (_, path) in self.runs(&prefix(job))? {
            let lock = kept::try_lock(&path).map_err(SandboxError::state(&path, "lock"))?;
            if lock.is_some() {
                remove::tree(&path).map_err(SandboxError::state(&path, "remove"))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// What a job's directories are named after: the first 16 digits of its digest.
fn prefix(job: &str) -> String {
    job.chars().take(16).collect()
}

impl JobDir {
    fn new(id: String, path: PathBuf) -> Result<Self, SandboxError> {
        let lock = try_lock(&path.join("lock")).map_err(SandboxError::state(&path, "lock"))?;
        let taken = || SandboxError::state(&path, "lock")(io::ErrorKind::ResourceBusy.into());
        let lock = lock.ok_or_else(taken)?;
        let out = path.join("out");
        DirBuilder::new().mode(0o700).create(&out).map_err(SandboxError::state(&out, "create"))?;
        Ok(Self { id, path, finished: false, lock })
    }

    /// Records the outcome; from then on the directory outlives this value.
    pub(crate) fn finish(&mut self, outcome: &[u8]) -> Result<(), SandboxError> {
        let (new, path) = (self.path.join("outcome.new"), self.path.join(OUTCOME));
        fs::write(&new, outcome).map_err(SandboxError::state(&new, "write"))?;
        fs::rename(&new, &path).map_err(SandboxError::state(&path, "rename"))?;
        self.finished = true;
        // Without the note it is measured each time that somebody asks.
        self.note_size().unwrap_or_else(|error| log::warn!("{}: {error}", self.path.display()));
        Ok(())
    }

    fn note_size(&self) -> io::Result<()> {
        let bytes = tree::disk_usage(&Dir::open(&self.path)?);
        kept::note(&self.lock, bytes.unwrap_or(u64::MAX))
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
    }

    /// A job that ran and left so many bytes, this long after the others.
    fn ended(store: &Store, digest: u8, bytes: usize, second: u64) -> JobDir {
        let mut dir = store.new_job(&[digest; 32]).unwrap();
        fs::write(dir.path.join("out/file"), vec![1; bytes]).unwrap();
        dir.finish(b"{}").unwrap();
        dir.lock.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(second)).unwrap();
        dir
    }

    fn names(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root.join("jobs")).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.iter().map(|name| name[14..].to_owned()).collect()
    }

    #[test]
    fn the_oldest_ended_jobs_go_by_number_and_by_bytes() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let running = store.new_job(&[9; 32]).unwrap();
        (1..=4).for_each(|n| drop(ended(&store, n, 1 << 20, n.into())));
        let keep = |jobs, job_bytes| {
            store.prune_jobs(&Retention { jobs, job_bytes, ..Retention::default() }).unwrap();
        };
        keep(4, 1 << 30);
        assert_eq!(names(root.path()), ["01-0", "02-0", "03-0", "04-0", "09-0"]);
        keep(3, 1 << 30);
        assert_eq!(names(root.path()), ["02-0", "03-0", "04-0", "09-0"]);
        keep(3, (2 << 20) + (1 << 19));
        assert_eq!(names(root.path()), ["03-0", "04-0", "09-0"]);
        // The run that has just ended holds its own directory still.
        let last = ended(&store, 5, 8 << 20, 9);
        keep(3, 1 << 20);
        assert_eq!(names(root.path()), ["05-0", "09-0"]);
        drop((last, running));
    }

    #[test]
    fn a_job_is_removed_with_all_of_its_ended_runs() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        ended(&store, 1, 1, 1);
        ended(&store, 2, 1, 1);
        let running = store.new_job(&[1; 32]).unwrap();
        let job = hex::encode([1; 32]);
        assert_eq!(store.remove_ended(&job).unwrap(), 1);
        assert_eq!(names(root.path()), ["01-1", "02-0"]);
        // The newest run has the highest number, whatever was removed.
        let newest = store.new_job(&[1; 32]).unwrap();
        assert!(newest.id.ends_with("-2"));
        drop((running, newest));
        assert_eq!(store.remove_ended(&job).unwrap(), 0);
        assert!(Store::existing(&root.path().join("none")).remove_ended(&job).is_err());
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
