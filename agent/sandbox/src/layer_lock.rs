//! Locks on layers, in files beside them: `flock(2)`, so that whatever holds one
//! lets go of it when it dies.
//!
//! A lock's file also keeps what is known of its layer: its size as text, and in
//! its modification time when it was last asked for.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW, flock, futimens};
use rustix::io::Errno;

/// A held lock.
#[derive(Debug)]
pub(crate) struct LayerLock {
    file: File,
    path: PathBuf,
}

impl LayerLock {
    /// Takes the lock if nobody holds it the other way.
    pub(crate) fn attempt(path: &Path, operation: FlockOperation) -> io::Result<Option<Self>> {
        let lock = Self { file: open(path)?, path: path.to_owned() };
        match flock(&lock.file, operation) {
            Err(Errno::AGAIN) => Ok(None),
            other => {
                other?;
                Ok(lock.is_current().then_some(lock))
            }
        }
    }

    /// False if the file was removed between its opening and its locking.
    fn is_current(&self) -> bool {
        let key = |m: fs::Metadata| (m.dev(), m.ino());
        let (here, there) = (self.file.metadata().map(key), self.path.symlink_metadata().map(key));
        here.ok().zip(there.ok()).is_some_and(|(here, there)| here == there)
    }

    /// Says that the layer was asked for just now.
    pub(crate) fn touch(&self) -> io::Result<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        Ok(futimens(&self.file, &Timestamps { last_access: now, last_modification: now })?)
    }

    /// When the layer was last asked for.
    pub(crate) fn last_use(&self) -> SystemTime {
        self.file.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Notes the layer's size.
    pub(crate) fn set_bytes(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(bytes.to_string().as_bytes())
    }

    /// Removes the lock's file; whoever waits for it makes another.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

/// The size noted in a lock's file; 0 if it says none.
pub(crate) fn noted_bytes(path: &Path) -> u64 {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(20).read_to_string(&mut text));
    read.ok().and_then(|_| text.parse().ok()).unwrap_or(0)
}
