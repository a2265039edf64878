//! Collecting what a job left behind, after all of its processes are gone.
//!
//! The writable layer is the job's to arrange as it likes, so it is walked by
//! confined operations only, regular files are copied and nothing else is
//! touched, and count, depth and size have limits. A file may claim terabytes
//! that it does not hold: the node's disk keeps its reserve, and a stop ends
//! the copying. Whatever a job left, there is an account of it.
//!
//! What is kept is what the receipt lists, and its list has a length: files beyond it are counted
//! and stay behind.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use assay_jailer::ring;
use rustix::fs::{AtFlags, FileType, unlinkat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::confined::Dir;
use crate::disk::{Budget, is_out_of_room};
use crate::error::SandboxError;
use crate::outcome::{LogSummary, Output};

/// Deepest directory below an output directory.
const DEPTH_MAX: usize = 16;
/// Most entries looked at in one directory, and files collected in one job.
const ENTRIES_MAX: usize = 4096;
/// For how long the results of a job that was told to stop are copied.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of a log that are shown.
const TAIL_BYTES: usize = 4096;

/// Files collected so far and the room that is left.
struct Collection<'a> {
    target: Dir,
    outputs: Vec<Output>,
    skipped: u64,
    over: u64,
    /// Bytes that are left of the receipt's list.
    list_room: usize,
    budget: Budget<'a>,
}

/// What was collected.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// The files, in byte order of their paths.
    pub(crate) outputs: Vec<Output>,
    /// Entries that were not taken.
    pub(crate) skipped: u64,
    /// Those of them for which there was no room, here or in a receipt, or no time once the job was
    /// told to stop.
    pub(crate) over: u64,
}

/// Copies the regular files below each of `paths` in the writable layer to `target`, at most
/// `bytes_max` of them together.
///
/// # Errors
/// If `target` cannot be opened; what cannot be collected is skipped and counted.
pub(crate) fn collect(
    upper: &Dir,
    paths: &[String],
    target: &Path,
    bytes_max: u64,
    cancel: &AtomicBool,
) -> Result<Collected, SandboxError> {
    collect_within(upper, paths, target, Budget::new(bytes_max, target, cancel, GRACE))
}

fn collect_within(
    upper: &Dir,
    paths: &[String],
    target: &Path,
    budget: Budget<'_>,
) -> Result<Collected, SandboxError> {
    let target = Dir::open(target).map_err(|e| SandboxError::state(target, "open")(e.into()))?;
    let mut collection = Collection::new(target, budget);
    for path in paths {
        let inside = path.trim_start_matches('/');
        match upper.dir(inside) {
            Ok(dir) => collection.walk(&dir, inside, 0),
            // The job moved its directory away, or put something else there.
            Err(Errno::NOENT) => {}
            Err(_) => collection.skip(),
        }
    }
    collection.outputs.sort_by(|a, b| a.path.cmp(&b.path));
    let Collection { outputs, skipped, over, .. } = collection;
    Ok(Collected { outputs, skipped, over })
}

impl<'a> Collection<'a> {
    fn new(target: Dir, budget: Budget<'a>) -> Self {
        Self { target, outputs: vec![], skipped: 0, over: 0, list_room: Output::LIST_BYTES, budget }
    }

    fn skip(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
    }

    fn walk(&mut self, dir: &Dir, inside: &str, depth: usize) {
        let Ok(Some(names)) = dir.names(ENTRIES_MAX) else {
            return self.skip();
        };
        for name in names {
            let Some(path) = name.to_str().map(|n| format!("{inside}/{n}")) else {
                self.skip();
                continue;
            };
            let kind = dir.stat(&name).ok().flatten().map(|s| FileType::from_raw_mode(s.st_mode));
            match kind {
                Some(FileType::Directory) if depth < DEPTH_MAX => match dir.dir(&name) {
                    Ok(below) => self.walk(&below, &path, depth.saturating_add(1)),
                    Err(_) => self.skip(),
                },
                Some(FileType::RegularFile) => self.take(dir, &name, &path),
                _ => self.skip(),
            }
        }
    }

    fn take(&mut self, dir: &Dir, name: &OsStr, path: &str) {
        let listed = Output::line_bytes(&format!("/{path}"));
        if self.outputs.len() >= ENTRIES_MAX || self.list_room < listed {
            return self.no_room();
        }
        let source = dir.read(name).ok().and_then(|file| Some((file.metadata().ok()?, file)));
        match source {
            Some((meta, file)) if meta.is_file() => {
                match self.budget.fits(meta.len()).and_then(|()| self.copy(file, path)) {
                    Ok(output) => {
                        self.list_room = self.list_room.saturating_sub(listed);
                        self.outputs.push(output);
                    }
                    Err(error) if is_out_of_room(&error) => self.no_room(),
                    Err(error) => {
                        log::warn!("an output was not collected: {error}");
                        self.skip();
                    }
                }
            }
            _ => self.skip(),
        }
    }

    fn no_room(&mut self) {
        self.over = self.over.saturating_add(1);
        self.skip();
    }

    /// Leaves nothing of a file that could not be copied whole.
    fn copy(&mut self, mut from: File, path: &str) -> io::Result<Output> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parents = parent.split('/').filter(|p| !p.is_empty()).map(OsStr::new);
        let parent = self.target.dir_all(parents)?;
        let mut to = parent.create(name, 0o600)?;
        let (mut hash, room) = (Sha256::new(), self.budget.room);
        let copied = self.budget.copy(&mut from, &mut to, &mut |part| hash.update(part));
        let size = copied.inspect_err(|_| {
            // The room counts what is kept.
            self.budget.room = room;
            let _ = unlinkat(&parent, name, AtFlags::empty());
        })?;
        Ok(Output { path: format!("/{path}"), size, sha256: hash.finalize().into() })
    }
}

/// Hash, length and end of a log that the jailer kept.
pub(crate) fn summarize_log(path: &Path, written: u64) -> Result<LogSummary, SandboxError> {
    let kept =
        File::open(path).and_then(|file| ring::read(&file)).map_err(SandboxError::state(path, "read log"))?;
    let shown = kept.bytes.len().saturating_sub(TAIL_BYTES);
    let tail = String::from_utf8_lossy(kept.bytes.get(shown..).unwrap_or_default()).into_owned();
    Ok(LogSummary {
        written,
        kept: u64::try_from(kept.bytes.len()).unwrap_or(u64::MAX),
        sha256: Sha256::digest(&kept.bytes).into(),
        tail,
    })
}

/// The name under which an absolute path inside the job is found below `out/`.
#[must_use]
pub fn output_file(out: &Path, output: &Output) -> std::path::PathBuf {
    out.join(OsStr::from_bytes(output.path.trim_start_matches('/').as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;
    use std::os::unix::fs::symlink;

    #[test]
    fn takes_regular_files_only_and_within_limits() {
        let upper = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        let out = upper.path().join("out");
        std::fs::create_dir_all(out.join("sub")).unwrap();
        std::fs::write(out.join("a"), "one").unwrap();
        std::fs::write(out.join("sub/b"), "two").unwrap();
        std::fs::write(out.join("z-too-big"), "123456789").unwrap();
        symlink(outside.path(), out.join("link")).unwrap();
        symlink("/etc", upper.path().join("other")).unwrap();
        let target = tempfile::tempdir().unwrap();
        let dir = Dir::open(upper.path()).unwrap();
        let paths = ["/out".to_owned(), "/other".to_owned(), "/gone".to_owned()];
        let Collected { outputs, skipped, over } =
            collect(&dir, &paths, target.path(), 10, &AtomicBool::new(false)).unwrap();
        let names: Vec<_> = outputs.iter().map(|o| (o.path.as_str(), o.size)).collect();
        assert_eq!(names, [("/out/a", 3), ("/out/sub/b", 3)]);
        assert_eq!((skipped, over), (3, 1));
        assert_eq!(std::fs::read(output_file(target.path(), &outputs[1])).unwrap(), b"two");
        assert_eq!(outputs[0].sha256, <[u8; 32]>::from(Sha256::digest(b"one")));
    }

    /// A file of a terabyte that no block was ever written of costs the job nothing.
    #[test]
    fn what_has_no_room_is_counted_and_leaves_nothing() {
        let (upper, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(upper.path().join("out")).unwrap();
        File::create(upper.path().join("out/sparse")).unwrap().set_len(1 << 20).unwrap();
        std::fs::write(upper.path().join("out/z"), "small").unwrap();
        let dir = Dir::open(upper.path()).unwrap();
        let found = |reserve, stopped: bool| {
            let cancel = AtomicBool::new(stopped);
            let budget = Budget::new(1 << 40, target.path(), &cancel, Duration::ZERO).leaving(reserve);
            let found = collect_within(&dir, &["/out".to_owned()], target.path(), budget).unwrap();
            (found.outputs.len(), found.skipped, found.over)
        };
        assert_eq!(found(u64::MAX, false), (0, 2, 2));
        assert_eq!(found(0, true), (0, 2, 2));
        assert!(!target.path().join("out").exists());
        assert_eq!(found(0, false), (2, 0, 0));
    }

    /// Collects a directory `out` of as many files; how many were kept, and the bytes of their list.
    fn listed(upper: &Dir, count: usize) -> (usize, usize) {
        let target = tempfile::tempdir().unwrap();
        let go = AtomicBool::new(false);
        let budget = Budget::new(1 << 20, target.path(), &go, Duration::ZERO).leaving(0);
        let found = collect_within(upper, &["/out".to_owned()], target.path(), budget).unwrap();
        let left = u64::try_from(count - found.outputs.len()).unwrap();
        assert_eq!((found.skipped, found.over), (left, left));
        let kept = tree::disk_usage(&Dir::open(target.path()).unwrap()).unwrap();
        assert!(kept < u64::try_from(found.outputs.len() + 64).unwrap() * 8192, "{kept}");
        let lines = found.outputs.iter().map(|output| Output::line_bytes(&output.path));
        (found.outputs.len(), lines.sum())
    }

    #[test]
    fn many_files_are_kept_as_far_as_a_receipt_lists_them() {
        let upper = tempfile::tempdir().unwrap();
        let frames = upper.path().join("out/frames");
        std::fs::create_dir_all(&frames).unwrap();
        for n in 0..ENTRIES_MAX {
            std::fs::write(frames.join(format!("frame-{n:04}.png")), "x").unwrap();
        }
        let (kept, bytes) = listed(&Dir::open(upper.path()).unwrap(), ENTRIES_MAX);
        assert!((2000..ENTRIES_MAX).contains(&kept) && bytes <= Output::LIST_BYTES, "{kept} {bytes}");
    }

    #[test]
    fn long_names_fill_the_list_of_a_receipt() {
        let upper = tempfile::tempdir().unwrap();
        let (dir, name) = (Dir::open(upper.path()).unwrap(), "n".repeat(255));
        let above = std::iter::repeat_n(OsStr::new(&name), DEPTH_MAX);
        let deep = dir.dir_all([OsStr::new("out")].into_iter().chain(above)).unwrap();
        for n in 0..100 {
            deep.create(format!("{n:0>255}"), 0o600).unwrap();
        }
        let (kept, bytes) = listed(&dir, 100);
        assert!((1..100).contains(&kept) && bytes <= Output::LIST_BYTES, "{kept} {bytes}");
    }

    #[test]
    fn half_a_file_is_not_kept() {
        let (from, target) = (tempfile::NamedTempFile::new().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(from.path(), "12345").unwrap();
        let go = AtomicBool::new(false);
        let budget = Budget::new(2, target.path(), &go, Duration::ZERO).leaving(0);
        let dir = Dir::open(target.path()).unwrap();
        let mut half = Collection::new(dir, budget);
        assert!(is_out_of_room(&half.copy(from.reopen().unwrap(), "out/x").unwrap_err()));
        assert_eq!(half.budget.room, 2);
        assert_eq!(std::fs::read_dir(target.path().join("out")).unwrap().count(), 0);
    }

    #[test]
    fn what_is_in_the_way_is_no_failure() {
        let (upper, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(upper.path().join("out")).unwrap();
        std::fs::write(upper.path().join("out/a"), "one").unwrap();
        std::fs::write(target.path().join("out"), "a file").unwrap();
        let dir = Dir::open(upper.path()).unwrap();
        let found = collect(&dir, &["/out".to_owned()], target.path(), 10, &AtomicBool::new(false)).unwrap();
        assert_eq!((found.outputs.len(), found.skipped, found.over), (0, 1, 0));
    }

    #[test]
    fn a_tail_is_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut ring = ring::Writer::create(file.reopen().unwrap(), 10_000).unwrap();
        ring.write(format!("{}end", "x".repeat(19_997)).as_bytes()).unwrap();
        let log = summarize_log(file.path(), 20_000).unwrap();
        assert_eq!((log.kept, log.written, log.tail.len()), (10_000, 20_000, TAIL_BYTES));
        assert!(log.tail.ends_with("xend"));
        assert_eq!(log.sha256, <[u8; 32]>::from(Sha256::digest(format!("{}end", "x".repeat(9_997)))));
    }
}
