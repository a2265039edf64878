//! Removing a tree that a stranger arranged: however deep, however long its paths, whatever its modes.
//!
//! A directory is moved to the top before it is emptied, so that no path and no stack grows with
//! the tree. Nothing else may write to the tree meanwhile.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, RawMode, chmodat, renameat, unlinkat};
use rustix::io::Errno;

use crate::confined::Dir;

/// What the owner of a directory needs to empty it.
const OWN: RawMode = 0o700;

/// Removes a directory and everything below it.
///
/// # Errors
/// The kernel's.
pub(crate) fn tree(path: &Path) -> io::Result<()> {
    let top = Dir::open(path)?;
    let mut moved = 0u64;
    loop {
        let names = names(&top)?;
        if names.is_empty() {
            return std::fs::remove_dir(path);
        }
        for name in names {
            if is_directory(&top, &name)? {
                chmodat(&top, &*name, Mode::from_raw_mode(OWN), AtFlags::empty())?;
                empty(&top, &name, &mut moved)?;
                unlinkat(&top, &*name, AtFlags::REMOVEDIR)?;
            } else {
                unlinkat(&top, &*name, AtFlags::empty())?;
            }
        }
    }
}

/// Removes the files of a directory of `top`, and moves its directories into `top`.
fn empty(top: &Dir, name: &OsStr, moved: &mut u64) -> io::Result<()> {
    let dir = top.dir(name)?;
    for below in names(&dir)? {
        if !is_directory(&dir, &below)? {
            unlinkat(&dir, &*below, AtFlags::empty())?;
            continue;
        }
        // Its entry for its parent changes with the move.
        chmodat(&dir, &*below, Mode::from_raw_mode(OWN), AtFlags::empty())?;
        loop {
            *moved = moved.saturating_add(1);
            // An empty directory of that name is replaced, and nothing is lost by it.
            match renameat(&dir, &*below, top, format!("{moved}")) {
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                other => break other?,
            }
        }
    }
    Ok(())
}

fn names(dir: &Dir) -> io::Result<Vec<OsString>> {
    Ok(dir.names(usize::MAX)?.unwrap_or_default())
}

fn is_directory(dir: &Dir, name: &OsStr) -> io::Result<bool> {
    let stat = dir.stat(name)?.ok_or(Errno::NOENT)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// Directories in each other, made one by one: their path is longer than any system call takes.
    fn deep(top: &Path, count: usize, name: &str) {
        let mut at = Dir::open(top).unwrap();
        for _ in 0..count {
            at = at.dir_all([OsStr::new(name)]).unwrap();
        }
        drop(at.create("file", 0o600).unwrap());
    }

    #[test]
    fn depth_and_length_and_modes_keep_nothing() {
        let place = tempfile::tempdir().unwrap();
        let (outside, top) = (place.path().join("outside"), place.path().join("top"));
        fs::create_dir_all(&outside).unwrap();
        fs::create_dir(&top).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        deep(&top, 17, &"n".repeat(255));
        deep(&top, 1100, "d");
        // Names that a moved directory would get.
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        fs::create_dir_all(top.join("2/full")).unwrap();
        fs::write(top.join("3"), "").unwrap();
        fs::write(top.join("a/b/file"), "").unwrap();
        symlink(&outside, top.join("a/link")).unwrap();
        fs::set_permissions(top.join("a/b"), Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(top.join("2/full"), Permissions::from_mode(0o100)).unwrap();
        tree(&top).unwrap();
        assert!(!top.exists() && outside.join("kept").exists());
        assert!(tree(&top).is_err());
    }
}
