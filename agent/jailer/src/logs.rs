//! The job's standard output and error: pipes read here, files with a limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};

/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// Pause after each chunk that is thrown away: a job that floods its output
/// costs the node a fraction of a core at most.
const FLOOD_PAUSE: Duration = Duration::from_millis(2);

/// One of the two streams.
pub(crate) struct Log {
    /// Read end; `None` once every writer is gone.
    pipe: Option<File>,
    file: File,
    room: u64,
    /// Bytes seen, kept or not.
    pub(crate) seen: u64,
}

impl Log {
    /// Creates the file and the pipe; the write end is the job's.
    pub(crate) fn create(path: &Path, limit: u64) -> io::Result<(Self, OwnedFd)> {
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC).bits();
        let flags = i32::try_from(flags).map_err(io::Error::other)?;
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Self { pipe: Some(File::from(read)), file, room: limit, seen: 0 }, write))
    }

    /// The pipe, while it has writers.
    pub(crate) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads once what the pipe holds; the end of the pipe or of the disk ends the log.
    pub(crate) fn pump(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut chunk = [0; CHUNK];
        let got = pipe.read(&mut chunk)?;
        if got == 0 {
            self.pipe = None;
            return Ok(());
        }
        self.seen = self.seen.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
        let kept = got.min(usize::try_from(self.room).unwrap_or(usize::MAX));
        if kept == 0 {
            std::thread::sleep(FLOOD_PAUSE);
            return Ok(());
        }
        self.room = self.room.saturating_sub(u64::try_from(kept).unwrap_or(u64::MAX));
        self.file.write_all(chunk.get(..kept).unwrap_or_default())
    }
}
