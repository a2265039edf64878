//! A directory that nothing can be opened, made or linked outside of.
//!
//! Every path is resolved by the kernel below the directory, through no
//! symbolic link and onto no other file system (`openat2(2)`), so that even a
//! wrong check elsewhere cannot become an escape.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat, openat2, statat};
use rustix::io::Errno;

/// How every path is resolved.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// An open directory with confined operations.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Dir {
    /// Opens a directory by a path that we chose ourselves.
    pub(crate) fn open(path: &Path) -> rustix::io::Result<Self> {
        rustix::fs::openat(CWD, path, DIRECTORY | OFlags::RDONLY, Mode::empty()).map(Self)
    }

    /// Takes a descriptor that was handed to us.
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Opens a directory below this one.
    pub(crate) fn dir(&self, path: impl AsRef<OsStr>) -> rustix::io::Result<Self> {
        openat2(&self.0, path.as_ref().as_bytes(), DIRECTORY | OFlags::RDONLY, Mode::empty(), BENEATH)
            .map(Self)
    }

    /// Opens a directory below this one, making it and its parents where they are missing.
    pub(crate) fn dir_all<'a>(
        &self,
        components: impl IntoIterator<Item = &'a OsStr>,
    ) -> rustix::io::Result<Self> {
        let mut at = self.dir(".")?;
        for name in components {
            at = match at.dir(name) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&at, name.as_bytes(), Mode::from_raw_mode(0o755))?;
                    at.dir(name)?
                }
                other => other?,
            };
        }
        Ok(at)
    }

    /// Opens an existing file for reading; never blocks on a pipe.
    pub(crate) fn read(&self, path: impl AsRef<OsStr>) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        openat2(&self.0, path.as_ref().as_bytes(), flags, Mode::empty(), BENEATH).map(File::from)
    }

    /// Makes a file that must not exist.
    pub(crate) fn create(&self, name: impl AsRef<OsStr>, mode: u32) -> rustix::io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat2(&self.0, name.as_ref().as_bytes(), flags, Mode::from_raw_mode(mode), BENEATH).map(File::from)
    }

    /// What lies under a name, not following it; `None` if nothing does.
    pub(crate) fn stat(&self, name: impl AsRef<OsStr>) -> rustix::io::Result<Option<Stat>> {
        match statat(&self.0, name.as_ref().as_bytes(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Names in this directory, in byte order, at most `limit`; `None` if there are more.
    pub(crate) fn names(&self, limit: usize) -> rustix::io::Result<Option<Vec<std::ffi::OsString>>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if names.len() == limit {
                return Ok(None);
            }
            names.push(name.to_owned());
        }
        names.sort_unstable();
        Ok(Some(names))
    }
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_bounded(file: File, limit: u64) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()).is_ok_and(|n| n <= limit) {
        true => Ok(bytes),
        false => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_leads_out() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let inside = tempfile::tempdir().unwrap();
        symlink(outside.path(), inside.path().join("link")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("file")).unwrap();
        let dir = Dir::open(inside.path()).unwrap();
        assert!(dir.dir("link").is_err());
        assert!(dir.read("link/secret").is_err());
        assert!(dir.read("file").is_err());
        assert!(dir.dir("..").is_err());
        assert!(dir.read(outside.path().join("secret")).is_err());
        assert!(dir.create("link/new", 0o600).is_err());
        assert!(dir.dir_all(["link".as_ref(), "new".as_ref()]).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn listings_are_bounded() {
        let place = tempfile::tempdir().unwrap();
        for name in ["b", "a", "c"] {
            std::fs::write(place.path().join(name), "").unwrap();
        }
        let dir = Dir::open(place.path()).unwrap();
        assert_eq!(dir.names(3).unwrap().unwrap(), ["a", "b", "c"]);
        assert_eq!(dir.names(2).unwrap(), None);
    }
}
