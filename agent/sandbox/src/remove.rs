//! Removing directory trees that a job has made.
//!
//! A tree may be deeper than a process can have descriptors, or stack. So nothing here recurses: what is in
//! a subdirectory is moved up to the top, until the top is empty. Three descriptors are open at most.
//!
//! No process of the job may be left: names are not expected to change meanwhile.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmodat, open, openat, renameat, rmdir, unlinkat};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes a directory and everything below it, through no link.
///
/// # Errors
/// The kernel's; [`io::ErrorKind::NotFound`] if there is none.
pub(crate) fn tree(path: &Path) -> io::Result<()> {
    let _ = chmodat(CWD, path, Mode::RWXU, AtFlags::empty());
    let top = open(path, DIRECTORY, Mode::empty())?;
    let mut moved = 0;
    while empty_once(&top, &mut moved)? {}
    Ok(rmdir(path)?)
}

/// One pass over the top: files go, and of each subdirectory one level. False if there was nothing.
fn empty_once(top: &OwnedFd, moved: &mut u64) -> rustix::io::Result<bool> {
    let mut found = false;
    each(top, |name| {
        found = true;
        if !remove(top, name)? {
            raise(top, name, moved)?;
        }
        Ok(())
    })?;
    Ok(found)
}

/// Calls `act` with every name in a directory.
fn each(dir: &OwnedFd, mut act: impl FnMut(&CStr) -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            act(entry.file_name())?;
        }
    }
    Ok(())
}

/// Removes a file or an empty directory; false for a directory that is not empty.
fn remove(dir: impl AsFd, name: &CStr) -> rustix::io::Result<bool> {
    match unlinkat(&dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Err(Errno::NOENT) => return Ok(true),
        other => return other.map(|()| true),
    }
    match unlinkat(&dir, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        other => other.map(|()| true),
    }
}

/// Removes a directory of the top; its own directories that are not empty become the top's.
fn raise(top: &OwnedFd, name: &CStr, moved: &mut u64) -> rustix::io::Result<()> {
    // Without privilege, one's own directories may be closed to oneself.
    let _ = chmodat(top, name, Mode::RWXU, AtFlags::empty());
    let dir = openat(top, name, DIRECTORY, Mode::empty())?;
    // What is renamed while a directory is listed may be left out of the list.
    loop {
        each(&dir, |inner| {
            if !remove(&dir, inner)? {
                let _ = chmodat(&dir, inner, Mode::RWXU, AtFlags::empty());
                lift(&dir, inner, top, moved)?;
            }
            Ok(())
        })?;
        if remove(top, name)? {
            return Ok(());
        }
    }
}

/// Gives a directory a name in the top that nothing there has.
fn lift(dir: &OwnedFd, name: &CStr, top: &OwnedFd, moved: &mut u64) -> rustix::io::Result<()> {
    loop {
        *moved = moved.saturating_add(1);
        match renameat(dir, name, top, format!("{moved:x}").as_str()) {
            // It has, unless it is an empty directory, which this replaces.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::mkdirat;

    #[test]
    fn a_tree_deeper_than_descriptors_and_stack_goes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("job");
        fs::create_dir(&path).unwrap();
        let mut at = open(&path, DIRECTORY, Mode::empty()).unwrap();
        for depth in 0..20_000 {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            if depth % 100 == 0 {
                mkdirat(&at, "1", Mode::RWXU).unwrap();
            }
            at = openat(&at, "d", DIRECTORY, Mode::empty()).unwrap();
        }
        drop(at);
        tree(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn links_closed_directories_and_taken_names_are_no_obstacle() {
        let place = tempfile::tempdir().unwrap();
        let (path, outside) = (place.path().join("job"), place.path().join("outside"));
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        fs::create_dir_all(path.join("a/b/c/d")).unwrap();
        fs::create_dir_all(path.join("a/2/3")).unwrap();
        fs::create_dir_all(path.join("2/4")).unwrap();
        fs::write(path.join("1"), "").unwrap();
        fs::write(path.join("a/b/c/file"), "").unwrap();
        symlink(&outside, path.join("a/b/link")).unwrap();
        symlink(&outside, path.join("link")).unwrap();
        for closed in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(path.join(closed), std::os::unix::fs::PermissionsExt::from_mode(0o0))
                .unwrap();
        }
        tree(&path).unwrap();
        assert!(!path.exists() && outside.join("kept").exists());
        assert_eq!(tree(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        symlink(&outside, &path).unwrap();
        assert!(tree(&path).is_err() && outside.join("kept").exists());
    }
}
