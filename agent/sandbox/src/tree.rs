//! Directory trees of strangers: walked within limits, copied, hashed ([`assay_job::tree`]).
//!
//! A tree is entered by confined operations only ([`Dir`]): links are seen and never followed,
//! nothing on another file system is entered, devices and pipes are never opened.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use assay_job::tree::TreeHash;
use rustix::fs::{FileType, Stat, readlinkat, symlinkat};
use sha2::{Digest, Sha256};

use crate::confined::Dir;
use crate::disk::Budget;

/// Most entries in a tree.
pub(crate) const ENTRIES_MAX: usize = 100_000;
/// Deepest directory below the top.
const DEPTH_MAX: usize = 64;

/// What lies under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Link,
    /// A device, pipe or socket.
    Other,
}

/// One entry of a tree.
pub(crate) struct Entry<'a> {
    /// The directory that it is in.
    pub(crate) dir: &'a Dir,
    pub(crate) name: &'a OsStr,
    /// Relative to the top.
    pub(crate) path: &'a [u8],
    pub(crate) kind: Kind,
    pub(crate) stat: Stat,
}

/// An error of the tree's own making, beside the kernel's.
fn broken(what: &str, path: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", String::from_utf8_lossy(path)))
}

/// Visits everything below a directory: names in byte order, a directory before what is in it.
pub(crate) fn walk(dir: &Dir, visit: &mut dyn FnMut(&Entry<'_>) -> io::Result<()>) -> io::Result<()> {
    walk_in(dir, &mut Vec::new(), 0, &mut Walk { left: ENTRIES_MAX, visit, unseen: &mut Err })
}

/// A walk under way.
struct Walk<'a> {
    /// Entries that it may still meet.
    left: usize,
    visit: &'a mut dyn FnMut(&Entry<'_>) -> io::Result<()>,
    /// What becomes of the kernel's error for an entry; an `Ok` goes on with the next.
    unseen: &'a mut dyn FnMut(io::Error) -> io::Result<()>,
}

fn walk_in(dir: &Dir, path: &mut Vec<u8>, depth: usize, walk: &mut Walk<'_>) -> io::Result<()> {
    let names = match dir.names(walk.left) {
        Err(error) => return (walk.unseen)(error.into()),
        Ok(names) => names.ok_or_else(|| broken("more than 100000 entries", path))?,
    };
    walk.left = walk.left.saturating_sub(names.len());
    for name in names {
        let length = path.len();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(name.as_bytes());
        walk_to(dir, &name, path, depth, walk)?;
        path.truncate(length);
    }
    Ok(())
}

fn walk_to(dir: &Dir, name: &OsStr, path: &mut Vec<u8>, depth: usize, walk: &mut Walk<'_>) -> io::Result<()> {
    let stat = match dir.stat(name) {
        Err(error) => return (walk.unseen)(error.into()),
        // What is gone meanwhile was never there.
        Ok(None) => return Ok(()),
        Ok(Some(stat)) => stat,
    };
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    };
    (walk.visit)(&Entry { dir, name, path, kind, stat })?;
    if kind != Kind::Directory {
        return Ok(());
    }
    if depth >= DEPTH_MAX {
        return Err(broken("more than 64 directories deep", path));
    }
    match dir.dir(name) {
        Ok(below) => walk_in(&below, path, depth.saturating_add(1), walk),
        Err(error) => (walk.unseen)(error.into()),
    }
}

/// Copies a tree into an empty directory: files, directories and links, nothing else, within the
/// budget. Everybody may read the copy.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] names the entry that breaks a rule; else the budget's or the kernel's.
pub(crate) fn copy(from: &Dir, to: &Dir, budget: &mut Budget<'_>) -> io::Result<()> {
    open_to_all(to, 0o755)?;
    walk(from, &mut |entry| {
        let (above, name) = split(entry.path);
        let parent = if above.is_empty() { to.dir(".")? } else { to.dir(OsStr::from_bytes(above))? };
        match entry.kind {
            Kind::Directory => open_to_all(&parent.dir_all([name])?, 0o755),
            Kind::Link => Ok(symlinkat(target(entry)?.as_os_str(), &parent, name)?),
            Kind::File => {
                let mode = if is_executable(entry.stat.st_mode) { 0o555 } else { 0o444 };
                copy_file(entry.dir.read(entry.name)?, parent.create(name, 0o600)?, mode, budget)
            }
            Kind::Other => Err(broken("is no file, directory or link", entry.path)),
        }
    })
}

fn split(path: &[u8]) -> (&[u8], &OsStr) {
    let at = path.iter().rposition(|b| *b == b'/');
    let (above, name) = match at.and_then(|at| path.split_at_checked(at)) {
        Some((above, rest)) => (above, rest.get(1..).unwrap_or_default()),
        None => (&[][..], path),
    };
    (above, OsStr::from_bytes(name))
}

/// The file-mode creation mask is whatever the agent was started with.
fn open_to_all(dir: &Dir, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(dir, rustix::fs::Mode::from_raw_mode(mode))?)
}

fn is_executable(mode: u32) -> bool {
    mode & 0o100 != 0
}

fn target(entry: &Entry<'_>) -> io::Result<OsString> {
    let target = readlinkat(entry.dir, entry.name, Vec::new())?;
    Ok(OsStr::from_bytes(target.to_bytes()).to_owned())
}

/// Copies a regular file, sharing its blocks where the file system can.
///
/// # Errors
/// The budget's or the kernel's.
pub(crate) fn copy_file(mut from: File, mut to: File, mode: u32, budget: &mut Budget<'_>) -> io::Result<()> {
    let facts = from.metadata()?;
    if !facts.is_file() {
        return Err(broken("is no file", b"entry"));
    }
    budget.fits(facts.len())?;
    match rustix::fs::ioctl_ficlone(&to, &from) {
        // It may have grown since it was asked.
        Ok(()) => {
            let left = budget.room.checked_sub(to.metadata()?.len());
            budget.room = left.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        }
        Err(_) => {
            budget.copy(&mut from, &mut to, &mut |_| {})?;
        }
    }
    to.set_permissions(Permissions::from_mode(mode))
}

/// The tree hash of a directory.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] names the entry that breaks a rule; else the kernel's.
pub(crate) fn hash(dir: &Dir, others: Others) -> io::Result<[u8; 32]> {
    let mut tree = TreeHash::new();
    walk(dir, &mut |entry| {
        let hashed = match entry.kind {
            Kind::Directory => tree.directory(entry.path),
            Kind::Link => tree.link(entry.path, target(entry)?.as_bytes()),
            Kind::File => {
                let (size, sha256) = hash_file(entry.dir.read(entry.name)?)?;
                tree.file(entry.path, is_executable(entry.stat.st_mode), size, &sha256)
            }
            Kind::Other if others == Others::Ignored => Ok(()),
            Kind::Other => return Err(broken("is no file, directory or link", entry.path)),
        };
        hashed.map_err(|error| broken(&error.to_string(), entry.path))
    })?;
    Ok(tree.finish())
}

/// What becomes of devices, pipes and sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    Refused,
    Ignored,
}

/// Size and SHA-256 of a file's content.
pub(crate) fn hash_file(mut file: File) -> io::Result<(u64, [u8; 32])> {
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0u64;
    loop {
        let got = file.read(&mut buffer)?;
        if got == 0 {
            return Ok((size, sha.finalize().into()));
        }
        sha.update(buffer.get(..got).unwrap_or_default());
        size = size.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
    }
}

/// Bytes of a tree: of an entry what it takes on its disk or claims to hold, and a block at least;
/// `None` where it breaks a limit or shuts us out.
pub(crate) fn disk_usage(dir: &Dir) -> Option<u64> {
    let mut bytes = 0u64;
    let mut visit = |entry: &Entry<'_>| {
        let blocks = u64::try_from(entry.stat.st_blocks).unwrap_or(u64::MAX).saturating_mul(512);
        let claimed = if entry.kind == Kind::File { entry.stat.st_size } else { 0 };
        let claimed = u64::try_from(claimed).unwrap_or(u64::MAX);
        bytes = bytes.saturating_add(blocks.max(claimed).max(4096));
        Ok(())
    };
    // A live tree changes under the walk; what was moved away is seen the next time.
    let mut unseen = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    };
    let mut walk = Walk { left: ENTRIES_MAX, visit: &mut visit, unseen: &mut unseen };
    walk_in(dir, &mut Vec::new(), 0, &mut walk).is_ok().then_some(bytes)
}

/// Whether two descriptors are of one file.
pub(crate) fn is_same(a: &File, b: &File) -> io::Result<bool> {
    let (a, b) = (a.metadata()?, b.metadata()?);
    Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    fn tree(at: &Path) {
        fs::create_dir_all(at.join("a/b")).unwrap();
        fs::write(at.join("a/b/file"), "content").unwrap();
        fs::write(at.join("a-"), "run").unwrap();
        fs::set_permissions(at.join("a-"), Permissions::from_mode(0o700)).unwrap();
        symlink("/etc/passwd", at.join("link")).unwrap();
    }

    /// Copies with so much room; what of it is left.
    fn copied(from: &Dir, to: &Path, room: u64) -> io::Result<u64> {
        let go = AtomicBool::new(false);
        let mut budget = Budget::new(room, to, &go, Duration::ZERO).leaving(0);
        copy(from, &Dir::open(to)?, &mut budget).map(|()| budget.room)
    }

    #[test]
    fn a_copy_has_the_hash_of_its_original() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tree(from.path());
        let (from, into) = (Dir::open(from.path()).unwrap(), Dir::open(to.path()).unwrap());
        assert_eq!(copied(&from, to.path(), 100).unwrap(), 90);
        assert_eq!(hash(&from, Others::Refused).unwrap(), hash(&into, Others::Refused).unwrap());
        let mode = |name: &str| to.path().join(name).symlink_metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a-"), mode("a/b/file"), mode("a")), (0o555, 0o444, 0o755));
        assert_eq!(fs::read_link(to.path().join("link")).unwrap(), Path::new("/etc/passwd"));
        let full = tempfile::tempdir().unwrap();
        let refusal = copied(&from, full.path(), 9).unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn pipes_are_refused_or_ignored_and_never_opened() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = Dir::open(from.path()).unwrap();
        let empty = hash(&dir, Others::Refused).unwrap();
        nix::unistd::mkfifo(&from.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(hash(&dir, Others::Refused).unwrap_err().to_string().contains("pipe"));
        assert_eq!(hash(&dir, Others::Ignored).unwrap(), empty);
        assert!(copied(&dir, to.path(), 9).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let from = tempfile::tempdir().unwrap();
        fs::create_dir_all(from.path().join("d/".repeat(70))).unwrap();
        let dir = Dir::open(from.path()).unwrap();
        assert_eq!(hash(&dir, Others::Ignored).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(disk_usage(&dir), None);
    }

    #[test]
    fn usage_counts_blocks_and_entries() {
        let from = tempfile::tempdir().unwrap();
        tree(from.path());
        let dir = Dir::open(from.path()).unwrap();
        assert!(disk_usage(&dir).unwrap() >= 5 * 4096);
        let before = disk_usage(&dir).unwrap();
        fs::write(from.path().join("big"), vec![1; 1 << 20]).unwrap();
        File::open(from.path().join("big")).unwrap().sync_all().unwrap();
        assert!(disk_usage(&dir).unwrap() >= before + (1 << 20));
    }

    /// One entry that cannot be seen does not hide what comes after it.
    #[test]
    fn usage_goes_on_behind_what_is_gone() {
        let from = tempfile::tempdir().unwrap();
        tree(from.path());
        let dir = Dir::open(from.path()).unwrap();
        let mut seen = vec![];
        let mut visit = |entry: &Entry<'_>| {
            // The job removes the directory between two looks at it.
            let _ = (entry.name == "a").then(|| fs::remove_dir_all(from.path().join("a")));
            seen.push(entry.name.to_owned());
            Ok(())
        };
        let mut walk = Walk { left: 9, visit: &mut visit, unseen: &mut |_| Ok(()) };
        walk_in(&dir, &mut vec![], 0, &mut walk).unwrap();
        assert_eq!(seen, ["a", "a-", "link"]);
    }

    /// A directory that shuts us out could hold anything. Root is never shut out.
    #[test]
    fn usage_cannot_be_hidden() {
        if rustix::process::geteuid().is_root() {
            return eprintln!("SKIPPED: root reads every directory");
        }
        let from = tempfile::tempdir().unwrap();
        tree(from.path());
        fs::set_permissions(from.path().join("a"), Permissions::from_mode(0o000)).unwrap();
        assert_eq!(disk_usage(&Dir::open(from.path()).unwrap()), None);
        fs::set_permissions(from.path().join("a"), Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn a_hole_counts_as_what_it_claims() {
        let from = tempfile::tempdir().unwrap();
        File::create(from.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
        assert!(disk_usage(&Dir::open(from.path()).unwrap()).unwrap() >= 1 << 40);
    }
}
