//! Turning an OCI layer blob into a directory for overlayfs.
//!
//! Runs over bytes from strangers, so every operation is confined to the
//! directory by the kernel (`openat2(2)`), and the rules are few:
//!
//! - Absolute names, `..`, names of more than 255 bytes, paths deeper than 128
//!   and parents that are symbolic links are refused, as are hard links to
//!   anything but a file or link of the same layer.
//! - Device nodes and pipes are left out; `/dev` is the sandbox's own.
//! - Set-user-id, set-group-id and, on files, sticky bits are cleared; a
//!   directory's owner can always use it.
//! - No extended attribute is taken over.
//! - As root, owners are kept up to 65,535 and are "nobody" (65,534) beyond;
//!   without privilege everything belongs to the caller.
//! - Whiteouts (OCI image-spec 1.1, layer.md) become what overlayfs mounted
//!   with `userxattr` understands: a character device 0/0, which needs no
//!   privilege since Linux 5.8, and the attribute `user.overlay.opaque`.
//!
//! - No layer fills the disk: a reserve of bytes and inodes stays free.
//!
//! The agent does this in a process of its own ([`crate::unpack_process`]).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, chownat, fchmod, fchown, fstatvfs,
    futimens, linkat, mkdirat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::archive::{self, Item, Kind};
use crate::confined::Dir;
use crate::image::Compression;
use crate::stream::LayerStream;
pub use error::UnpackError;
use error::printable;
use whiteout::{WHITEOUT, is_whiteout, make_opaque, make_whiteout};

/// Deepest path.
const DEPTH_MAX: usize = 128;
/// Longest symbolic link target, `PATH_MAX` less its NUL.
const TARGET_MAX: usize = 4095;
/// Owner of whatever belongs to an id beyond the job's range.
const NOBODY: u32 = 65_534;
/// Latest modification time that is believed: the year 2242.
const MTIME_MAX: u64 = 1 << 33;
/// What an entry occupies beside its content, roughly: an inode and its name. A directory takes a block more.
const ENTRY_BYTES: u64 = 1 << 10;
/// Content is counted in blocks of this size.
const BLOCK: u64 = 4 << 10;
/// Bytes written, or as many in entries, between two looks at what is free.
const LOOK_EVERY: u64 = 16 << 20;
/// Inodes that no layer takes.
const INODE_RESERVE: u64 = 4096;
/// Most inodes that are taken between two looks.
const INODES_EVERY: u64 = LOOK_EVERY / ENTRY_BYTES;

/// How much a layer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnpackLimits {
    /// Uncompressed bytes, headers included.
    pub total_bytes: u64,
    /// Entries, and directories that they imply.
    pub entries: u64,
    /// Bytes of the disk that stay free.
    pub reserve_bytes: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self { total_bytes: 64 << 30, entries: 1_000_000, reserve_bytes: 256 << 20 }
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpacked {
    /// SHA-256 of the blob.
    pub blob_sha256: [u8; 32],
    /// Bytes of the blob.
    pub blob_bytes: u64,
    /// SHA-256 of the uncompressed archive: the layer's DiffID.
    pub diff_id: [u8; 32],
    /// Entries made, directories that they imply included.
    pub entries: u64,
    /// Device nodes and pipes left out.
    pub skipped: u64,
    /// Bytes that it takes on disk, roughly.
    pub disk_bytes: u64,
}

/// Unpacks a layer into an empty directory and hashes it on both sides.
///
/// The caller compares the hashes with what it expected before it uses the
/// directory, and removes the directory after an error.
///
/// # Errors
/// The first entry that is refused or cannot be made.
pub fn unpack(
    blob: impl Read,
    compression: Compression,
    into: &Path,
    limits: UnpackLimits,
) -> Result<Unpacked, UnpackError> {
    unpack_as(blob, compression, into, limits, rustix::process::geteuid().is_root())
}

/// [`unpack`], with owners as the layer has them or all of it the caller's.
pub(crate) fn unpack_as(
    blob: impl Read,
    compression: Compression,
    into: &Path,
    limits: UnpackLimits,
    keep_owners: bool,
) -> Result<Unpacked, UnpackError> {
    let read = |source| UnpackError::Read { entry: String::new(), source };
    let mut stream = LayerStream::new(blob, compression, limits.total_bytes).map_err(read)?;
    let root = Dir::open(into).map_err(UnpackError::Open)?;
    let mut layer = Layer { root, keep_owners, limits, entries: 0, skipped: 0, disk_bytes: 0, next_look: 0 };
    archive::for_each(&mut stream, |item, content| layer.apply(&item, content))?;
    stream.finish().map_err(read)?;
    Ok(Unpacked {
        blob_sha256: stream.blob.sha256(),
        blob_bytes: stream.blob.bytes(),
        diff_id: stream.content.sha256(),
        entries: layer.entries,
        skipped: layer.skipped,
        disk_bytes: layer.disk_bytes,
    })
}

/// A layer in the making.
struct Layer {
    root: Dir,
    keep_owners: bool,
    limits: UnpackLimits,
    entries: u64,
    skipped: u64,
    disk_bytes: u64,
    /// `disk_bytes` at which to look again at what is free.
    next_look: u64,
}

/// Why one entry was not made; the name is added by the caller.
enum Failure {
    Rule(&'static str),
    Io(io::Error),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        match errno {
            // What `RESOLVE_NO_SYMLINKS` answers.
            Errno::LOOP => Self::Rule("its path leads through a symbolic link"),
            Errno::NOTDIR => Self::Rule("its path leads through a file"),
            other => Self::Io(other.into()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Splits an entry's name into its components, none of which leads upwards.
fn components(path: &[u8]) -> Result<Vec<&OsStr>, Failure> {
    let rule = |broken: bool, rule| if broken { Err(Failure::Rule(rule)) } else { Ok(()) };
    rule(path.starts_with(b"/"), "an absolute path")?;
    let parts: Vec<_> = path.split(|b| *b == b'/').filter(|p| !matches!(p, [] | [b'.'])).collect();
    rule(parts.contains(&b"..".as_slice()), "a path with ..")?;
    rule(parts.iter().any(|p| p.len() > 255 || p.contains(&0)), "an impossible name")?;
    rule(parts.len() > DEPTH_MAX, "deeper than 128 directories")?;
    let parents = parts.split_last().map_or(&[][..], |(_, parents)| parents);
    rule(parents.iter().any(|p| p.starts_with(WHITEOUT)), "a path through a whiteout")?;
    Ok(parts.into_iter().map(OsStr::from_bytes).collect())
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

impl Layer {
    fn apply(&mut self, item: &Item, content: &mut dyn Read) -> Result<(), UnpackError> {
        self.count(ENTRY_BYTES).and_then(|()| self.make(item, content)).map_err(|failure| match failure {
            Failure::Rule(rule) => {
                UnpackError::Refused { entry: printable(&item.path), rule: rule.to_owned() }
            }
            Failure::Io(source) => UnpackError::Make { entry: printable(&item.path), source },
        })
    }

    /// Counts an entry that occupies this much before its content comes.
    fn count(&mut self, bytes: u64) -> Result<(), Failure> {
        self.entries = self.entries.saturating_add(1);
        match self.entries > self.limits.entries {
            true => Err(Failure::Rule("more entries than the limit")),
            false => self.occupy(bytes),
        }
    }

    /// Counts bytes on disk, and looks now and then whether the reserve is still free.
    fn occupy(&mut self, bytes: u64) -> Result<(), Failure> {
        self.disk_bytes = self.disk_bytes.saturating_add(bytes);
        if self.disk_bytes < self.next_look {
            return Ok(());
        }
        self.next_look = self.disk_bytes.saturating_add(LOOK_EVERY);
        let disk = fstatvfs(&self.root)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        // A file system without inode numbers to run out of says 0 of 0.
        let inodes = disk.f_files == 0 || disk.f_favail > INODE_RESERVE.saturating_add(INODES_EVERY);
        match inodes && free > self.limits.reserve_bytes.saturating_add(LOOK_EVERY) {
            true => Ok(()),
            false => Err(Failure::Rule("the disk's reserve would be used")),
        }
    }

    fn make(&mut self, item: &Item, content: &mut dyn Read) -> Result<(), Failure> {
        let mut path = components(&item.path)?;
        let Some(name) = path.pop() else {
            return self.make_root(item);
        };
        let parent = self.parent(path)?;
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            return make_whiteout(&parent, name, hidden);
        }
        match &item.kind {
            Kind::Special => {
                self.skipped = self.skipped.saturating_add(1);
                Ok(())
            }
            Kind::Directory => self.make_directory(&parent, name, item),
            Kind::File => self.make_file(&parent, name, item, content),
            Kind::Symlink(target) => self.make_symlink(&parent, name, target, item),
            Kind::Hardlink(target) => self.make_hardlink(&parent, name, target),
        }
    }

    /// Opens the directory of an entry. One that no entry made is made, and counts as an entry.
    fn parent(&mut self, path: Vec<&OsStr>) -> Result<Dir, Failure> {
        let mut at = self.root.dir(".")?;
        for name in path {
            at = match at.dir(name) {
                Err(Errno::NOENT) => {
                    self.count(ENTRY_BYTES.saturating_add(BLOCK))?;
                    mkdirat(&at, name.as_bytes(), Mode::from_raw_mode(0o755))?;
                    at.dir(name)?
                }
                other => other?,
            };
        }
        Ok(at)
    }

    fn make_root(&self, item: &Item) -> Result<(), Failure> {
        match item.kind {
            Kind::Directory => self.finish_directory(&self.root, item),
            _ => Err(Failure::Rule("an empty name")),
        }
    }

    fn finish_directory(&self, dir: &Dir, item: &Item) -> Result<(), Failure> {
        if self.keep_owners {
            fchown(dir, Some(owner(item.uid)), Some(group(item.gid)))?;
        }
        fchmod(dir, Mode::from_raw_mode(item.mode & 0o1777 | 0o700))?;
        Ok(())
    }

    fn make_directory(&mut self, parent: &Dir, name: &OsStr, item: &Item) -> Result<(), Failure> {
        let before = parent.stat(name)?;
        if !before.as_ref().is_some_and(is_directory) {
            self.occupy(BLOCK)?;
            let covers = remove_entry(parent, name, before.as_ref())?;
            mkdirat(parent, name.as_bytes(), Mode::from_raw_mode(0o700))?;
            if covers {
                make_opaque(&parent.dir(name)?)?;
            }
        }
        self.finish_directory(&parent.dir(name)?, item)
    }

    fn make_file(
        &mut self,
        parent: &Dir,
        name: &OsStr,
        item: &Item,
        content: &mut dyn Read,
    ) -> Result<(), Failure> {
        replace(parent, name)?;
        let mut file = parent.create(name, 0o600)?;
        self.copy(content, &mut file, item.size)?;
        if self.keep_owners {
            fchown(&file, Some(owner(item.uid)), Some(group(item.gid)))?;
        }
        fchmod(&file, Mode::from_raw_mode(item.mode & 0o777))?;
        let time = Timespec { tv_sec: i64::try_from(item.mtime.min(MTIME_MAX)).unwrap_or(0), tv_nsec: 0 };
        futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
        Ok(())
    }

    fn copy(&mut self, content: &mut dyn Read, file: &mut File, size: u64) -> Result<(), Failure> {
        let mut buffer = [0; 64 << 10];
        let mut copied = 0u64;
        loop {
            let got = content.read(&mut buffer)?;
            let bytes = buffer.get(..got).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            let length = u64::try_from(got).unwrap_or(u64::MAX);
            copied = copied.saturating_add(length);
            self.occupy(length)?;
            file.write_all(bytes)?;
        }
        self.occupy(copied.next_multiple_of(BLOCK).saturating_sub(copied))?;
        if copied == size { Ok(()) } else { Err(Failure::Rule("content that ends early")) }
    }

    fn make_symlink(&self, parent: &Dir, name: &OsStr, target: &[u8], item: &Item) -> Result<(), Failure> {
        if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) {
            return Err(Failure::Rule("an impossible link target"));
        }
        replace(parent, name)?;
        symlinkat(target, parent, name.as_bytes())?;
        if self.keep_owners {
            let (uid, gid) = (owner(item.uid), group(item.gid));
            chownat(parent, name.as_bytes(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    fn make_hardlink(&self, parent: &Dir, name: &OsStr, target: &[u8]) -> Result<(), Failure> {
        const RULE: Failure = Failure::Rule("a hard link to what is no file of this layer");
        let mut path = components(target)?;
        let file = path.pop().ok_or(RULE)?;
        let mut from = self.root.dir(".")?;
        for part in path {
            from = from.dir(part)?;
        }
        let stat = from.stat(file)?.ok_or(RULE)?;
        if !matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Symlink) {
            return Err(RULE);
        }
        let same = parent.stat(name)?.is_some_and(|s| (s.st_dev, s.st_ino) == (stat.st_dev, stat.st_ino));
        if same {
            return Ok(());
        }
        replace(parent, name)?;
        linkat(&from, file.as_bytes(), parent, name.as_bytes(), AtFlags::empty())?;
        Ok(())
    }
}

fn mapped(id: u64) -> u32 {
    u32::try_from(id).ok().filter(|id| *id < assay_jailer::plan::ID_RANGE).unwrap_or(NOBODY)
}

fn owner(id: u64) -> Uid {
    Uid::from_raw(mapped(id))
}

fn group(id: u64) -> Gid {
    Gid::from_raw(mapped(id))
}

/// Makes room for an entry that is not a directory.
fn replace(parent: &Dir, name: &OsStr) -> Result<(), Failure> {
    let before = parent.stat(name)?;
    remove_entry(parent, name, before.as_ref()).map(|_| ())
}

/// Removes what an earlier entry made; true if that was a whiteout.
fn remove_entry(parent: &Dir, name: &OsStr, before: Option<&Stat>) -> Result<bool, Failure> {
    match before {
        None => Ok(false),
        Some(stat) if is_directory(stat) => Err(Failure::Rule("replaces a directory of the same layer")),
        Some(stat) => {
            unlinkat(parent, name.as_bytes(), AtFlags::empty())?;
            Ok(is_whiteout(stat))
        }
    }
}

mod error;
mod whiteout;

#[cfg(test)]
mod tests;
