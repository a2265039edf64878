//! One cgroup v2 per run of a job: limits before birth, usage before removal, a
//! kill that nothing escapes (Linux `Documentation/admin-guide/cgroup-v2.rst`,
//! cited below by its section names).
//!
//! Where jobs may have cgroups is `tree`'s question, what is written into one
//! is `limits`'s, what is read from it is `usage`'s. Version 1 hierarchies are
//! not used.

mod cpus;
mod disk;
mod limits;
mod support;
mod tree;
mod usage;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno as PollErrno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub use cpus::is_cpu_list;
pub(crate) use cpus::parse as parse_cpus;
pub(crate) use disk::Disk;
pub use limits::IoLimits;
pub(crate) use limits::{Bounds, Share};
pub use support::{Support, pressure, support};
pub(crate) use tree::Tree;
pub use tree::own_place;
pub(crate) use usage::Account;

use crate::error::SandboxError;

/// How long killed processes may take to leave.
const EMPTY_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two tries to remove an empty cgroup whose last process is still being taken down.
const REMOVE_PAUSE: Duration = Duration::from_millis(2);

/// The cgroup of one run; removed with everything in it when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    disk: Option<Disk>,
}

fn error(path: &Path) -> impl FnOnce(io::Error) -> SandboxError {
    let path = path.to_owned();
    move |source| SandboxError::Cgroup { path, source }
}

/// Writes to a file that the kernel has made, in one call as it demands.
fn set(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

fn write(path: &Path, value: &str) -> Result<(), SandboxError> {
    set(path, value).map_err(error(path))
}

impl Cgroup {
    /// Makes a cgroup with all limits set, before anything is in it.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn limited(path: PathBuf, bounds: &Bounds<'_>) -> Result<Self, SandboxError> {
        let mut cgroup = Self::bare(path)?;
        cgroup.disk = bounds.disk;
        limits::apply(&cgroup.path, bounds)?;
        Ok(cgroup)
    }

    /// Makes a cgroup that only groups: for killing and accounting.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn bare(path: PathBuf) -> Result<Self, SandboxError> {
        fs::create_dir(&path).map_err(error(&path))?;
        let cgroup = Self { path, disk: None };
        limits::forbid_children(&cgroup.path)?;
        Ok(cgroup)
    }

    /// The cgroup's directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What everything that was ever in the cgroup has used and run into.
    pub(crate) fn account(&self) -> Account {
        Account::read(&self.path, self.disk)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Kills everything in a cgroup, waits until it is empty and removes it. True if it is gone.
pub(crate) fn remove(path: &Path) -> bool {
    let deadline = Instant::now().checked_add(EMPTY_WITHIN);
    let late = || deadline.is_none_or(|d| Instant::now() >= d);
    // Frozen processes die of it, too (Core Interface Files, cgroup.kill).
    let killed = set(&path.join("cgroup.kill"), "1");
    let emptied = wait_until_empty(path, late);
    loop {
        match fs::remove_dir(path) {
            Err(refusal) if refusal.kind() == io::ErrorKind::NotFound => return true,
            Ok(()) => return true,
            Err(refusal) if late() => {
                let path = path.display();
                log::error!("cgroup {path} stays: {refusal} (kill: {killed:?}, empty: {emptied:?})");
                return false;
            }
            Err(_) => std::thread::sleep(REMOVE_PAUSE),
        }
    }
}

/// Waits for `populated 0` of `cgroup.events`, whose changes wake a poller (Core Interface Files).
fn wait_until_empty(path: &Path, late: impl Fn() -> bool) -> io::Result<bool> {
    const STEP_MS: u16 = 1000;
    let mut events = File::open(path.join("cgroup.events"))?;
    loop {
        let mut text = String::new();
        events.rewind()?;
        events.read_to_string(&mut text)?;
        if usage::value(&text, "populated") == Some(0) {
            return Ok(true);
        }
        if late() {
            return Ok(false);
        }
        let mut polled = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut polled, PollTimeout::from(STEP_MS)) {
            Ok(_) | Err(PollErrno::EINTR) => {}
            Err(other) => return Err(other.into()),
        }
    }
}

#[cfg(test)]
mod tests;
