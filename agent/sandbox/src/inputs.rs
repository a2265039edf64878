//! Inputs: files and directories of the node, known by their content.
//!
//! A copy is made in the job's directory, which nobody but the agent can reach, and the copy is
//! hashed: what was verified is what the job reads, whatever becomes of the original. A job file
//! may name any path; that it names the hash too keeps it from being a way to read the node's
//! files. Nothing of the sandbox's own is an input, because receipts publish hashes of outputs.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use assay_jailer::plan::Bind;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

use crate::confined::Dir;
use crate::disk::{Budget, is_cancelled};
use crate::error::SandboxError;
use crate::job::JobFile;
use crate::tree::{self, Others};

/// A directory of the job's directory.
const PLACE: &str = "in";

/// What a path leads to.
enum Source {
    File(File),
    Tree(Dir),
}

/// The hash by which a job file names an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputHash {
    /// SHA-256 of a file, tree hash ([`assay_job::tree`]) of a directory.
    pub sha256: [u8; 32],
    /// Whether it is a directory.
    pub is_directory: bool,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> SandboxError {
    let path = path.to_owned();
    move |source| SandboxError::ReadInput { path: path.clone(), source }
}

/// Opens a file or directory through no link; anything else is seen, and never opened.
fn open(path: &Path) -> io::Result<Source> {
    let through_no_link = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let seen = openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), through_no_link)?;
    match FileType::from_raw_mode(fstat(&seen)?.st_mode) {
        FileType::Directory => Ok(Source::Tree(Dir::from_fd(seen).dir(".")?)),
        FileType::RegularFile => {
            let seen = File::from(seen);
            let opened = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&seen)))?;
            match tree::is_same(&seen, &opened)? {
                true => Ok(Source::File(opened)),
                false => Err(io::ErrorKind::NotFound.into()),
            }
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a file nor a directory")),
    }
}

/// The hash that names a file or directory as an input.
///
/// # Errors
/// [`SandboxError::ReadInput`].
pub fn hash(path: &Path) -> Result<InputHash, SandboxError> {
    let path = path.canonicalize().map_err(failed(path))?;
    let hashed = open(&path).and_then(|source| match source {
        Source::File(file) => Ok((tree::hash_file(file)?.1, false)),
        Source::Tree(dir) => Ok((tree::hash(&dir, Others::Refused)?, true)),
    });
    let (sha256, is_directory) = hashed.map_err(failed(&path))?;
    Ok(InputHash { sha256, is_directory })
}

/// Copies and verifies all inputs of a job; at most `room` bytes, the disk's reserve stays, and nothing
/// below `state` is one.
///
/// # Errors
/// [`SandboxError::ReadInput`], [`SandboxError::Input`] for one that is not what the job file says,
/// [`SandboxError::Cancelled`] once `cancel` is set.
pub(crate) fn bring(
    job: &JobFile,
    job_dir: &Path,
    state: &Path,
    room: u64,
    cancel: &AtomicBool,
) -> Result<Vec<Bind>, SandboxError> {
    if job.inputs.is_empty() {
        return Ok(vec![]);
    }
    let place = job_dir.join(PLACE);
    fs::create_dir(&place).map_err(SandboxError::state(&place, "create"))?;
    let mut budget = Budget::new(room, &place, cancel, Duration::ZERO);
    let mut binds = Vec::new();
    for (number, input) in job.inputs.iter().enumerate() {
        let (source, copy) = (Path::new(&input.source), place.join(number.to_string()));
        let refused = |rule| SandboxError::Input { path: source.to_owned(), rule };
        if is_below(source, state) {
            return Err(refused("is the sandbox's own"));
        }
        let found = bring_one(source, &copy, &mut budget).map_err(|error| match is_cancelled(&error) {
            true => SandboxError::Cancelled,
            false => failed(source)(error),
        })?;
        // The hash that was found stays here: a job file is no way to ask for one.
        if found != input.sha256 {
            return Err(refused("does not have the hash that the job file states"));
        }
        binds.push(Bind { source: copy, target: input.target.clone(), writable: false });
    }
    Ok(binds)
}

fn is_below(path: &Path, state: &Path) -> bool {
    let real = state.canonicalize().unwrap_or_else(|_| state.to_owned());
    [state, &real].iter().any(|state| path.starts_with(state) || state.starts_with(path))
}

fn bring_one(source: &Path, copy: &Path, budget: &mut Budget<'_>) -> io::Result<[u8; 32]> {
    match open(source)? {
        Source::File(file) => {
            let mode =
                file.metadata().map(|facts| std::os::unix::fs::PermissionsExt::mode(&facts.permissions()))?;
            let to = File::options().write(true).create_new(true).open(copy)?;
            tree::copy_file(file, to, if mode & 0o100 != 0 { 0o555 } else { 0o444 }, budget)?;
            Ok(tree::hash_file(File::open(copy)?)?.1)
        }
        Source::Tree(dir) => {
            fs::create_dir(copy)?;
            let to = Dir::open(copy)?;
            tree::copy(&dir, &to, budget)?;
            tree::hash(&to, Others::Refused)
        }
    }
}

/// Removes the copies: the job is over.
pub(crate) fn remove(job_dir: &Path) {
    let place: PathBuf = job_dir.join(PLACE);
    match fs::remove_dir_all(&place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!("inputs {} stay: {error}", place.display());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::os::unix::fs::symlink;

    /// A state directory, a job's directory in it, and a place for sources.
    struct Place {
        dir: tempfile::TempDir,
        /// Whether the job was told to stop.
        stopped: bool,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("state/job")).unwrap();
            fs::create_dir(dir.path().join("set")).unwrap();
            fs::write(dir.path().join("set/one"), "1").unwrap();
            fs::write(dir.path().join("file"), "content").unwrap();
            Self { dir, stopped: false }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().canonicalize().unwrap().join(name)
        }

        fn bring(&self, source: &Path, sha256: [u8; 32], room: u64) -> Result<Vec<Bind>, SandboxError> {
            let text = format!(
                "[job]\nimage = \"oci:/l\"\n[[job.inputs]]\nsource = {source:?}\nsha256 = \"{}\"\ntarget = \"/in\"\n",
                hex::encode(sha256)
            );
            let job = JobFile::parse(text.as_bytes()).unwrap();
            let _ = fs::remove_dir_all(self.path("state/job/in"));
            bring(&job, &self.path("state/job"), &self.path("state"), room, &AtomicBool::new(self.stopped))
        }
    }

    #[test]
    fn a_copy_is_verified_and_stays_as_it_was() {
        let place = Place::new();
        let hash = hash(&place.path("file")).unwrap();
        assert_eq!((hash.sha256, hash.is_directory), (Sha256::digest("content").into(), false));
        let binds = place.bring(&place.path("file"), hash.sha256, 7).unwrap();
        assert_eq!((binds[0].target.as_str(), binds[0].writable), ("/in", false));
        fs::write(place.path("file"), "changed").unwrap();
        assert_eq!(fs::read(&binds[0].source).unwrap(), b"content");
        let refusal = place.bring(&place.path("file"), hash.sha256, 100).unwrap_err();
        assert!(matches!(&refusal, SandboxError::Input { .. }), "{refusal}");
        let found = hex::encode(Sha256::digest("changed"));
        assert!(!refusal.to_string().contains(&found));
        remove(&place.path("state/job"));
        assert!(!binds[0].source.exists());
    }

    #[test]
    fn a_stop_ends_the_copying() {
        let mut place = Place::new();
        let (file, set) = (place.path("file"), place.path("set"));
        let hashes = [hash(&file).unwrap().sha256, hash(&set).unwrap().sha256];
        place.stopped = true;
        for (source, hash) in [&file, &set].into_iter().zip(hashes) {
            assert!(matches!(place.bring(source, hash, 100), Err(SandboxError::Cancelled)));
        }
    }

    #[test]
    fn the_disk_keeps_its_reserve() {
        let place = Place::new();
        let sparse = place.path("sparse");
        // More than any disk of a test has; reading it would take hours.
        if File::create(&sparse).unwrap().set_len(15 << 40).is_err() {
            return eprintln!("SKIPPED: no file of 15 TiB here");
        }
        let refusal = place.bring(&sparse, [0; 32], u64::MAX).unwrap_err();
        let SandboxError::ReadInput { source, .. } = &refusal else { panic!("{refusal}") };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn directories_are_known_by_their_trees() {
        let place = Place::new();
        let set = hash(&place.path("set")).unwrap();
        assert!(set.is_directory);
        let binds = place.bring(&place.path("set"), set.sha256, 100).unwrap();
        assert_eq!(fs::read(binds[0].source.join("one")).unwrap(), b"1");
        fs::write(place.path("set/two"), "2").unwrap();
        assert!(matches!(place.bring(&place.path("set"), set.sha256, 100), Err(SandboxError::Input { .. })));
    }

    #[test]
    fn only_files_and_directories_that_are_not_ours() {
        let place = Place::new();
        let content = hash(&place.path("file")).unwrap().sha256;
        symlink(place.path("file"), place.path("link")).unwrap();
        symlink(place.path("set"), place.path("way")).unwrap();
        nix::unistd::mkfifo(&place.path("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        fs::write(place.path("state/other"), "content").unwrap();
        for name in ["link", "way/one", "pipe", "gone"] {
            let refusal = place.bring(&place.path(name), content, 100).unwrap_err();
            assert!(matches!(refusal, SandboxError::ReadInput { .. }), "{name}: {refusal}");
        }
        for name in ["state/other", "state", ""] {
            let path = place.path(name);
            let path = Path::new(path.to_str().unwrap().trim_end_matches('/'));
            let refusal = place.bring(path, content, 100).unwrap_err();
            assert!(matches!(refusal, SandboxError::Input { .. }), "{name}: {refusal}");
        }
        let too_large = place.bring(&place.path("file"), content, 6).unwrap_err();
        assert!(matches!(too_large, SandboxError::ReadInput { .. }));
    }
}
