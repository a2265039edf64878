//! Copying what a stranger measured out: within bytes, within the disk, and not beyond a stop.

use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use rustix::io::Errno;

/// Bytes of the disk that nothing of a job may take.
pub(crate) const RESERVE: u64 = 256 << 20;
/// Bytes from one look at the disk and at the stop to the next.
const STEP: usize = 1 << 20;

/// Bytes left on the file system of a path.
pub(crate) fn available(path: &Path) -> io::Result<u64> {
    let facts = statvfs(path)?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// What may still be copied.
#[derive(Debug)]
pub(crate) struct Budget<'a> {
    /// Bytes that are left of the job's own cap.
    pub(crate) room: u64,
    disk: PathBuf,
    reserve: u64,
    cancel: &'a AtomicBool,
    /// For how long a stop leaves copying on.
    grace: Duration,
    stopped: Option<Instant>,
}

impl<'a> Budget<'a> {
    /// At most `room` bytes onto the file system of `disk`, [`RESERVE`] of which stays free, and
    /// until `grace` after `cancel` was seen.
    pub(crate) fn new(room: u64, disk: &Path, cancel: &'a AtomicBool, grace: Duration) -> Self {
        Self { room, disk: disk.to_owned(), reserve: RESERVE, cancel, grace, stopped: None }
    }

    /// The same with another reserve.
    #[cfg(test)]
    pub(crate) fn leaving(self, reserve: u64) -> Self {
        Self { reserve, ..self }
    }

    /// Whether a file that claims `bytes` may be copied: it may hold fewer, and is not tried.
    ///
    /// # Errors
    /// One that [`is_out_of_room`] knows, or that of asking.
    pub(crate) fn fits(&mut self, bytes: u64) -> io::Result<()> {
        match bytes > self.room {
            true => Err(ErrorKind::FileTooLarge.into()),
            false => self.allow(bytes),
        }
    }

    /// Whether `next` more bytes may be written.
    fn allow(&mut self, next: u64) -> io::Result<()> {
        if self.cancel.load(Ordering::Relaxed)
            && self.stopped.get_or_insert_with(Instant::now).elapsed() >= self.grace
        {
            return Err(Errno::CANCELED.into());
        }
        match available(&self.disk)? >= self.reserve.saturating_add(next) {
            true => Ok(()),
            false => Err(Errno::NOSPC.into()),
        }
    }

    /// Copies to the end of `from`, shows every part to `see`, and takes what it wrote from the room.
    ///
    /// # Errors
    /// One that [`is_out_of_room`] knows, or that of reading or writing.
    pub(crate) fn copy(
        &mut self,
        from: &mut impl Read,
        to: &mut impl Write,
        see: &mut dyn FnMut(&[u8]),
    ) -> io::Result<u64> {
        let (mut buffer, mut size) = (vec![0; STEP], 0u64);
        loop {
            let got = match from.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                got => got?,
            };
            if got == 0 {
                return Ok(size);
            }
            let part = buffer.get(..got).unwrap_or_default();
            let bytes = u64::try_from(got).unwrap_or(u64::MAX);
            self.room =
                self.room.checked_sub(bytes).ok_or_else(|| io::Error::from(ErrorKind::FileTooLarge))?;
            self.allow(bytes)?;
            see(part);
            to.write_all(part)?;
            size = size.saturating_add(bytes);
        }
    }
}

/// True for an error that says that there was no room or no time left for more.
pub(crate) fn is_out_of_room(error: &io::Error) -> bool {
    let kinds = [ErrorKind::FileTooLarge, ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
    kinds.contains(&error.kind()) || is_cancelled(error)
}

/// True for the error of a stop.
pub(crate) fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::CANCELED.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(budget: &mut Budget<'_>, to: &mut impl Write) -> Result<u64, ErrorKind> {
        let copied = budget.copy(&mut &b"0123456789"[..], to, &mut |_| {});
        copied.map_err(|error| if is_cancelled(&error) { ErrorKind::TimedOut } else { error.kind() })
    }

    #[test]
    fn stops_at_the_cap_the_reserve_and_a_stop() {
        let place = tempfile::tempdir().unwrap();
        let go = AtomicBool::new(false);
        let budget = |room| Budget::new(room, place.path(), &go, Duration::ZERO).leaving(0);
        let mut good = budget(11);
        assert_eq!((copied(&mut good, &mut vec![]), good.room), (Ok(10), 1));
        assert_eq!(copied(&mut good, &mut vec![]), Err(ErrorKind::FileTooLarge));
        assert!(budget(11).fits(11).is_ok() && budget(11).fits(12).is_err());
        // More than any disk holds is refused before a byte of it is read.
        assert!(is_out_of_room(&budget(u64::MAX).fits(1 << 60).unwrap_err()));
        assert_eq!(copied(&mut budget(99).leaving(u64::MAX), &mut vec![]), Err(ErrorKind::StorageFull));
        go.store(true, Ordering::Relaxed);
        assert_eq!(copied(&mut budget(99), &mut vec![]), Err(ErrorKind::TimedOut));
        let mut patient = Budget::new(99, place.path(), &go, Duration::from_secs(3600)).leaving(0);
        assert_eq!(copied(&mut patient, &mut vec![]), Ok(10));
    }

    #[test]
    fn a_full_disk_is_out_of_room() {
        let (place, go) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut budget = Budget::new(99, place.path(), &go, Duration::ZERO).leaving(0);
        let error = budget.copy(&mut &b"x"[..], &mut full, &mut |_| {}).unwrap_err();
        assert!(is_out_of_room(&error), "{error}");
        assert!(!is_out_of_room(&ErrorKind::PermissionDenied.into()));
    }
}
