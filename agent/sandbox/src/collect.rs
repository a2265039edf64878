//! Collecting what a job left behind, after all of its processes are gone.
//!
//! The writable layer is the job's to arrange as it likes, so it is walked by
//! confined operations only, regular files are copied and nothing else is
//! touched, and count, depth and size have limits.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use assay_jailer::ring;
use rustix::fs::FileType;
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::confined::Dir;
use crate::error::SandboxError;
use crate::outcome::{LogSummary, Output};

/// Deepest directory below an output directory.
const DEPTH_MAX: usize = 16;
/// Most entries looked at in one directory, and files collected in one job.
const ENTRIES_MAX: usize = 4096;
/// Bytes of a log that are shown.
const TAIL_BYTES: usize = 4096;

/// Files collected so far and the room that is left.
struct Collection {
    target: Dir,
    outputs: Vec<Output>,
    skipped: u64,
    over: u64,
    room: u64,
}

/// What was collected.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// The files, in byte order of their paths.
    pub(crate) outputs: Vec<Output>,
    /// Entries that were not taken.
    pub(crate) skipped: u64,
    /// Those of them for which there was no room.
    pub(crate) over: u64,
}

/// Copies the regular files below each of `paths` in the writable layer to `target`, at most
/// `bytes_max` of them together.
///
/// # Errors
/// Where our own side fails; what is wrong with the job's side is skipped and counted.
pub(crate) fn collect(
    upper: &Dir,
    paths: &[String],
    target: &Path,
    bytes_max: u64,
) -> Result<Collected, SandboxError> {
    let target = Dir::open(target).map_err(|e| SandboxError::state(target, "open")(e.into()))?;
    let mut collection = Collection { target, outputs: vec![], skipped: 0, over: 0, room: bytes_max };
    for path in paths {
        let inside = path.trim_start_matches('/');
        match upper.dir(inside) {
            Ok(dir) => collection.walk(&dir, inside, 0)?,
            // The job moved its directory away, or put something else there.
            Err(Errno::NOENT) => {}
            Err(_) => collection.skip(),
        }
    }
    collection.outputs.sort_by(|a, b| a.path.cmp(&b.path));
    let Collection { outputs, skipped, over, .. } = collection;
    Ok(Collected { outputs, skipped, over })
}

impl Collection {
    fn skip(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
    }

    fn walk(&mut self, dir: &Dir, inside: &str, depth: usize) -> Result<(), SandboxError> {
        let Ok(Some(names)) = dir.names(ENTRIES_MAX) else {
            self.skip();
            return Ok(());
        };
        for name in names {
            let Some(path) = name.to_str().map(|n| format!("{inside}/{n}")) else {
                self.skip();
                continue;
            };
            let kind = dir.stat(&name).ok().flatten().map(|s| FileType::from_raw_mode(s.st_mode));
            match kind {
                Some(FileType::Directory) if depth < DEPTH_MAX => match dir.dir(&name) {
                    Ok(below) => self.walk(&below, &path, depth.saturating_add(1))?,
                    Err(_) => self.skip(),
                },
                Some(FileType::RegularFile) => self.take(dir, &name, &path)?,
                _ => self.skip(),
            }
        }
        Ok(())
    }

    fn take(&mut self, dir: &Dir, name: &OsStr, path: &str) -> Result<(), SandboxError> {
        let source = dir.read(name).ok().and_then(|file| Some((file.metadata().ok()?, file)));
        match source {
            Some((meta, file))
                if meta.is_file() && meta.len() <= self.room && self.outputs.len() < ENTRIES_MAX =>
            {
                let error = |source| SandboxError::Collect { path: format!("/{path}"), source };
                let output = self.copy(file, path).map_err(error)?;
                self.room = self.room.saturating_sub(output.size);
                self.outputs.push(output);
            }
            Some((meta, _)) if meta.is_file() && meta.len() > self.room => {
                self.over = self.over.saturating_add(1);
                self.skip();
            }
            _ => self.skip(),
        }
        Ok(())
    }

    fn copy(&self, from: File, path: &str) -> io::Result<Output> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parents = parent.split('/').filter(|p| !p.is_empty()).map(OsStr::new);
        let mut to = self.target.dir_all(parents)?.create(name, 0o600)?;
        let mut hash = Sha256::new();
        let size = copy_hashing(from.take(self.room), &mut to, &mut hash)?;
        Ok(Output { path: format!("/{path}"), size, sha256: hash.finalize().into() })
    }
}

fn copy_hashing(mut from: impl Read, to: &mut impl Write, hash: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0u64;
    loop {
        let got = from.read(&mut buffer)?;
        if got == 0 {
            return Ok(size);
        }
        let bytes = buffer.get(..got).unwrap_or_default();
        hash.update(bytes);
        to.write_all(bytes)?;
        size = size.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
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
        let Collected { outputs, skipped, over } = collect(&dir, &paths, target.path(), 10).unwrap();
        let names: Vec<_> = outputs.iter().map(|o| (o.path.as_str(), o.size)).collect();
        assert_eq!(names, [("/out/a", 3), ("/out/sub/b", 3)]);
        assert_eq!((skipped, over), (3, 1));
        assert_eq!(std::fs::read(output_file(target.path(), &outputs[1])).unwrap(), b"two");
        assert_eq!(outputs[0].sha256, <[u8; 32]>::from(Sha256::digest(b"one")));
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
