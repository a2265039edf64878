//! Whiteouts (OCI image-spec 1.1, layer.md) as overlayfs has them.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode, Stat, XattrFlags, fsetxattr, makedev, mknodat};

use super::{Failure, is_directory};
use crate::confined::Dir;

/// Marks an entry that removes one of a lower layer.
pub(super) const WHITEOUT: &[u8] = b".wh.";
/// Marks a directory of which nothing in lower layers shows.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Whether something is overlayfs's own mark for a removed entry.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == makedev(0, 0)
}

/// Hides what lower layers have in a directory.
pub(super) fn make_opaque(dir: &Dir) -> Result<(), Failure> {
    Ok(fsetxattr(dir.as_fd(), "user.overlay.opaque", b"y", XattrFlags::empty())?)
}

/// A whiteout removes what lower layers have; what this layer has stays.
pub(super) fn make_whiteout(parent: &Dir, name: &OsStr, hidden: &[u8]) -> Result<(), Failure> {
    if name.as_bytes() == OPAQUE {
        return make_opaque(parent);
    }
    if matches!(hidden, [] | b"." | b"..") || hidden.starts_with(WHITEOUT) {
        return Err(Failure::Rule("a whiteout of nothing"));
    }
    match parent.stat(OsStr::from_bytes(hidden))? {
        None => Ok(mknodat(parent, hidden, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))?),
        Some(stat) if is_directory(&stat) => make_opaque(&parent.dir(OsStr::from_bytes(hidden))?),
        Some(_) => Ok(()),
    }
}
