//! What jobs leave on the disk: how much of it stays, and that the oldest goes.
//!
//! Directories of ended jobs and checkpoints are alike here: each has a file `lock`, which a run holds
//! while it uses the directory, whose text says how many bytes the directory counts for, and whose
//! modification time says when it was last used.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};

use crate::checkpoint;
use crate::confined::Dir;
use crate::error::SandboxError;
use crate::store::Store;
use crate::{remove, tree};

/// File of a directory that says who uses it.
pub(crate) const LOCK: &str = "lock";
/// Longest text of a size that is read.
const SIZE_CHARS: u64 = 32;

/// How much stays of what jobs leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Most directories of ended jobs.
    pub jobs: usize,
    /// Most bytes in them together; the job that ended last stays, however many it has.
    pub job_bytes: u64,
    /// Most checkpoints, those of running jobs included; these are never removed.
    pub checkpoints: usize,
    /// Most bytes of checkpoints together. One that a run uses counts with its whole cap; a job that
    /// would exceed the bytes is refused.
    pub checkpoint_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { jobs: 256, job_bytes: 64 << 30, checkpoints: 32, checkpoint_bytes: 64 << 30 }
    }
}

/// What was removed of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Directories of ended runs.
    pub runs: u64,
    /// Whether there was a checkpoint, and no run used it.
    pub checkpoint: bool,
}

/// Removes what the ended runs of a job have left in the state directory `state`, and its checkpoint if
/// no run uses it. `job` is its digest in lower-case hexadecimal; a running job's files stay.
///
/// # Errors
/// If there is no such state directory, or something cannot be removed.
pub fn remove_job(state: &Path, job: &str) -> Result<Removed, SandboxError> {
    let runs = Store::existing(state).remove_ended(job)?;
    let checkpoint = checkpoint::remove_unused(state, job)?;
    Ok(Removed { runs, checkpoint })
}

/// One directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// A run uses it.
    pub(crate) held: bool,
    used: SystemTime,
}

/// Takes a directory's lock; `None` if a run has it.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let lock = File::options().create(true).truncate(false).read(true).write(true).open(path.join(LOCK))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// Waits for a lock on everything of one kind: nothing is made, taken or removed without it.
pub(crate) fn lock_all(path: &Path) -> Result<File, SandboxError> {
    let file = File::create(path).map_err(SandboxError::state(path, "create"))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|e| SandboxError::state(path, "lock")(e.into()))?;
    Ok(file)
}

/// Notes for how many bytes a directory counts, as used just now.
pub(crate) fn note(lock: &File, bytes: u64) -> io::Result<()> {
    lock.set_len(0)?;
    lock.write_all_at(bytes.to_string().as_bytes(), 0)
}

/// Those of the directories below `all` that `counts` takes. The caller holds the lock on all of them.
pub(crate) fn list(all: &Path, counts: impl Fn(&Path) -> bool) -> Vec<Kept> {
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| counts(path)).filter_map(|path| look(path).ok()).collect()
}

fn look(path: PathBuf) -> io::Result<Kept> {
    let used = path.join(LOCK).metadata()?.modified()?;
    let held = try_lock(&path)?.is_none();
    let mut text = String::new();
    File::open(path.join(LOCK))?.take(SIZE_CHARS).read_to_string(&mut text)?;
    let bytes = match text.parse() {
        Ok(noted) => noted,
        // What cannot be measured is the first to go.
        Err(_) => tree::disk_usage(&Dir::open(&path)?).unwrap_or(u64::MAX),
    };
    Ok(Kept { path, bytes, held, used })
}

/// Bytes of all of them.
pub(crate) fn bytes<'a>(all: impl IntoIterator<Item = &'a Kept>) -> u64 {
    all.into_iter().fold(0, |sum, one| sum.saturating_add(one.bytes))
}

/// Removes what nobody uses, oldest first, as long as `is_over` says so of the rest, which it returns.
pub(crate) fn evict(mut rest: Vec<Kept>, is_over: impl Fn(&[Kept]) -> bool) -> Vec<Kept> {
    rest.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
    let mut next = 0;
    while is_over(&rest) {
        match rest.get(next) {
            None => break,
            Some(one) if one.held || !gone(&one.path) => next += 1,
            Some(_) => drop(rest.remove(next)),
        }
    }
    rest
}

fn gone(path: &Path) -> bool {
    let removed = remove::tree(path).inspect_err(|error| log::warn!("{} stays: {error}", path.display()));
    removed.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::time::Duration;

    /// A directory that counts for so many bytes and was used at that second.
    fn kept(all: &Path, name: &str, bytes: &str, second: u64) -> File {
        let path = all.join(name);
        fs::create_dir(&path).unwrap();
        let mut lock = File::options().create_new(true).write(true).open(path.join(LOCK)).unwrap();
        lock.write_all(bytes.as_bytes()).unwrap();
        lock.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        lock
    }

    fn names(rest: &[Kept]) -> Vec<&str> {
        rest.iter().map(|one| one.path.file_name().unwrap().to_str().unwrap()).collect()
    }

    #[test]
    fn the_oldest_go_and_what_is_used_stays() {
        let all = tempfile::tempdir().unwrap();
        let used = kept(all.path(), "used", "5", 1);
        flock(&used, FlockOperation::LockExclusive).unwrap();
        for (name, second) in [("c", 4), ("a", 2), ("b", 3)] {
            kept(all.path(), name, "10", second);
        }
        let found = list(all.path(), |_| true);
        assert_eq!((found.len(), bytes(&found)), (4, 35));
        let rest = evict(found.clone(), |rest| bytes(rest) > 20);
        assert_eq!(names(&rest), ["used", "c"]);
        assert!(!all.path().join("a").exists() && all.path().join("used").exists());
        assert_eq!(names(&evict(list(all.path(), |_| true), |_| true)), ["used"]);
        assert!(list(all.path(), |path| !path.ends_with("used")).is_empty());
    }

    #[test]
    fn what_has_no_size_is_measured() {
        let all = tempfile::tempdir().unwrap();
        let lock = kept(all.path(), "a", "", 1);
        fs::write(all.path().join("a/file"), vec![1; 1 << 16]).unwrap();
        assert!(bytes(&list(all.path(), |_| true)) >= 1 << 16);
        note(&lock, 7).unwrap();
        assert_eq!(bytes(&list(all.path(), |_| true)), 7);
    }
}
