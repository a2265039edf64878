//! One agent per state directory.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::CoreError;

/// Holds the state directory while it lives; the kernel lets go of it if we are killed.
#[derive(Debug)]
pub(super) struct StateLock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

/// Makes the state directory where it is missing, and takes it for this process alone.
pub(super) fn take(state_dir: &Path) -> Result<StateLock, CoreError> {
    let failed = |source| CoreError::StateDir { path: state_dir.to_owned(), source };
    make_private(state_dir).map_err(failed)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    let file = options.open(state_dir.join("lock")).map_err(failed)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(StateLock(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Err(CoreError::Locked { path: state_dir.to_owned() }),
        Err((_, errno)) => Err(failed(errno.into())),
    }
}

/// A directory that nobody else can read: job outputs and the ledger are the owner's.
fn make_private(dir: &Path) -> io::Result<()> {
    if !dir.is_dir() {
        return fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    }
    let mode = fs::metadata(dir)?.permissions().mode();
    match mode & 0o007 {
        0 => Ok(()),
        _ => fs::set_permissions(dir, Permissions::from_mode(mode & 0o770)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("deep/state");
        let first = take(&state).unwrap();
        assert!(matches!(take(&state), Err(CoreError::Locked { path }) if path == state));
        drop(first);
        take(&state).unwrap();
    }

    #[test]
    fn strangers_cannot_look_in() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let made = dir.path().join("made");
        let _lock = take(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let _lock = take(dir.path()).unwrap();
        assert_eq!(mode(dir.path()) & 0o007, 0);
        assert!(matches!(take(Path::new("/proc/none")), Err(CoreError::StateDir { .. })));
    }
}
