//! The job's standard output and error: pipes read here, kept in rings.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use assay_jailer::ring::{CHUNK, Writer};
use rustix::buffer::spare_capacity;
use rustix::fs::{Gid, OFlags, Uid, fchown, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// Pause after each chunk that overwrites an older one: a job that floods its
/// output costs the node a fraction of a core at most.
const FLOOD_PAUSE: Duration = Duration::from_millis(2);

/// A pipe, read end first; the write end is the job's. Who owns the pipe may open it again by
/// `/dev/stdout` or `/dev/stderr`.
pub(crate) fn pipe(owner: Option<(Uid, Gid)>) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    // A job that opens the pipe for reading may take what a poll has announced.
    fcntl_setfl(&read, OFlags::NONBLOCK)?;
    if let Some((uid, gid)) = owner {
        fchown(&write, Some(uid), Some(gid))?;
    }
    Ok((read, write))
}

/// One of the two streams.
pub(crate) struct Log {
    /// Read end; `None` once every writer is gone.
    pipe: Option<OwnedFd>,
    ring: Writer,
}

impl Log {
    /// Creates the file that keeps what comes out of `pipe`.
    pub(crate) fn create(pipe: OwnedFd, path: &Path, capacity: u64) -> io::Result<Self> {
        let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits();
        let flags = i32::try_from(flags).map_err(io::Error::other)?;
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)?;
        Ok(Self { pipe: Some(pipe), ring: Writer::create(file, capacity)? })
    }

    /// The pipe, while it has writers.
    pub(crate) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Bytes seen, kept or not.
    pub(crate) fn seen(&self) -> u64 {
        self.ring.written()
    }

    /// Reads once what the pipe holds, if anything; the end of the pipe ends the log.
    pub(crate) fn pump(&mut self) -> io::Result<()> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        // Not cleared: most jobs say less than a page, and pages that are not touched cost nothing.
        let mut chunk = Vec::with_capacity(CHUNK);
        match rustix::io::read(pipe, spare_capacity(&mut chunk)) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            other => other?,
        };
        if chunk.is_empty() {
            self.pipe = None;
            return Ok(());
        }
        self.ring.write(&chunk)?;
        if self.ring.is_full() {
            std::thread::sleep(FLOOD_PAUSE);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_pipe_blocks_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let (read, write) = pipe(None).unwrap();
        let mut log = Log::create(read, &dir.path().join("log"), 100).unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let pumped = log.pump().map_err(|e| e.kind());
            said.send((pumped, log.pipe().is_some())).unwrap();
        });
        let answer = heard.recv_timeout(Duration::from_secs(60));
        assert_eq!(answer, Ok((Ok(()), true)));
        drop(write);
    }
}
