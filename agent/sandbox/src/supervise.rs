//! Starting the jailer, feeding it, and waiting for its report.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno as PollErrno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::RecvFlags;

use zeroize::Zeroizing;

use assay_jailer::plan::Plan;
use assay_jailer::report::Report;

use crate::confined::{Dir, read_bounded};
use crate::error::SandboxError;
use crate::rights;

/// How often a cancellation is looked for, milliseconds.
const CANCEL_POLL_MS: u16 = 50;
/// What the jailer may take beyond the job's time, or a cancellation, before it is killed itself.
const GRACE: Duration = Duration::from_secs(20);
/// Most bytes of a report.
const REPORT_MAX: u64 = 64 << 10;

/// What came back.
pub(crate) struct Finished {
    /// The jailer's account.
    pub(crate) report: Report,
    /// The writable layer's top, if the job got that far.
    pub(crate) upper: Option<Dir>,
}

/// A jailer at work. Dropping it kills it, and with it the job.
struct Jailer {
    child: Child,
    control: UnixStream,
    report: File,
}

/// Runs one plan, in `network` if that is given. Has to be called from a thread that lives until it
/// returns, because the jailer dies with the thread that started it.
///
/// # Errors
/// [`SandboxError::Jailer`] if the jailer could not be started or understood.
pub(crate) fn run(
    jailer: &Path,
    plan: &Plan,
    network: Option<OwnedFd>,
    job: &Path,
    cancel: &AtomicBool,
) -> Result<Finished, SandboxError> {
    let deadline = Instant::now().checked_add(Duration::from_millis(plan.timeout_ms).saturating_add(GRACE));
    let mut jailer = Jailer::start(jailer, &job.join("jailer.log"))?;
    jailer.send(plan, network).map_err(SandboxError::jailer("send the plan"))?;
    jailer.wait(cancel, deadline, GRACE).map_err(SandboxError::jailer("wait"))?;
    jailer.finish()
}

/// Counts what is written.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Jailer {
    fn start(path: &Path, log: &Path) -> Result<Self, SandboxError> {
        let log = File::create(log).map_err(SandboxError::state(log, "create"))?;
        let (control, theirs) = UnixStream::pair().map_err(SandboxError::jailer("make a socket"))?;
        let mut child = Command::new(path)
            .env_clear()
            .current_dir("/")
            // An interrupt from the terminal is for the supervisor, which then cancels.
            .process_group(0)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(SandboxError::jailer("start"))?;
        let report = child.stdout.take().ok_or_else(|| io::ErrorKind::BrokenPipe.into());
        let report = report.map_err(SandboxError::jailer("take its output"))?;
        Ok(Self { child, control, report: File::from(OwnedFd::from(report)) })
    }

    fn send(&mut self, plan: &Plan, network: Option<OwnedFd>) -> io::Result<()> {
        // The plan may hold secrets: its text is wiped, and is not moved while it is written.
        let mut length = Counter(0);
        serde_json::to_writer(&mut length, plan)?;
        let mut text = Zeroizing::new(Vec::with_capacity(length.0));
        serde_json::to_writer(&mut *text, plan)?;
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        rights::send(&self.control, &length.to_le_bytes(), network.as_ref().map(AsFd::as_fd))?;
        self.control.write_all(&text)
    }

    /// Returns when the report has begun or the jailer is gone.
    fn wait(
        &mut self,
        cancel: &AtomicBool,
        mut deadline: Option<Instant>,
        grace: Duration,
    ) -> io::Result<()> {
        let mut cancelled = false;
        while !self.is_reporting()? {
            if cancel.load(Ordering::Relaxed) && !cancelled {
                cancelled = true;
                // The jailer takes the end of the socket as the order to stop.
                self.control.shutdown(std::net::Shutdown::Write)?;
                deadline = [deadline, Instant::now().checked_add(grace)].into_iter().flatten().min();
            }
            if deadline.is_some_and(|d| Instant::now() >= d) {
                self.child.kill()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    fn is_reporting(&self) -> io::Result<bool> {
        let mut polled = [PollFd::new(self.report.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::from(CANCEL_POLL_MS)) {
            Ok(ready) => Ok(ready > 0),
            Err(PollErrno::EINTR) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    fn finish(mut self) -> Result<Finished, SandboxError> {
        let mut text = Vec::new();
        let mut limited = Read::take(&mut self.report, REPORT_MAX);
        limited.read_to_end(&mut text).map_err(SandboxError::jailer("read its report"))?;
        self.child.wait().map_err(SandboxError::jailer("wait for its end"))?;
        let report = serde_json::from_slice(&text)
            .map_err(|e| SandboxError::jailer("understand its report")(io::Error::other(e)))?;
        let upper = self.receive_scratch().map_err(SandboxError::jailer("take the writable layer"))?;
        Ok(Finished { report, upper })
    }

    /// The one descriptor that the jailer sends; nothing if the job was refused before.
    fn receive_scratch(&self) -> io::Result<Option<Dir>> {
        let scratch = rights::receive(&self.control, RecvFlags::DONTWAIT)?;
        Ok(scratch.map(|fd| Dir::from_fd(fd).dir("upper")).transpose()?)
    }
}

impl Drop for Jailer {
    fn drop(&mut self) {
        // Both fail harmlessly once the jailer has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// First lines of what the jailer said on standard error, which is nothing unless it is broken.
pub(crate) fn last_words(job: &Path) -> String {
    let text = File::open(job.join("jailer.log")).and_then(|f| read_bounded(f, 4096)).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_jailer_that_does_not_end_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let mut jailer = Jailer::start(Path::new("/bin/sh"), &dir.path().join("log")).unwrap();
        jailer.control.write_all(b"exec /bin/sleep 1000\n").unwrap();
        let began = Instant::now();
        let late = began.checked_add(Duration::from_secs(120));
        let refusal = jailer.wait(&AtomicBool::new(true), late, Duration::from_millis(100)).unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
