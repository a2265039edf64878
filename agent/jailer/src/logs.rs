//! The job's standard output and error: pipes read here, kept in rings.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use assay_jailer::ring::{CHUNK, Writer};
use rustix::pipe::{PipeFlags, pipe_with};

/// Pause after each chunk that overwrites an older one: a job that floods its
/// output costs the node a fraction of a core at most.
const FLOOD_PAUSE: Duration = Duration::from_millis(2);

/// One of the two streams.
pub(crate) struct Log {
    /// Read end; `None` once every writer is gone.
    pipe: Option<File>,
    ring: Writer,
}

impl Log {
    /// Creates the file and the pipe; the write end is the job's.
    pub(crate) fn create(path: &Path, capacity: u64) -> io::Result<(Self, OwnedFd)> {
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC).bits();
        let flags = i32::try_from(flags).map_err(io::Error::other)?;
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)?;
        let ring = Writer::create(file, capacity)?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Self { pipe: Some(File::from(read)), ring }, write))
    }

    /// The pipe, while it has writers.
    pub(crate) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Bytes seen, kept or not.
    pub(crate) fn seen(&self) -> u64 {
        self.ring.written()
    }

    /// Reads once what the pipe holds; the end of the pipe ends the log.
    pub(crate) fn pump(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut chunk = [0; CHUNK];
        let got = pipe.read(&mut chunk)?;
        if got == 0 {
            self.pipe = None;
            return Ok(());
        }
        self.ring.write(chunk.get(..got).unwrap_or_default())?;
        if self.ring.is_full() {
            std::thread::sleep(FLOOD_PAUSE);
        }
        Ok(())
    }
}
