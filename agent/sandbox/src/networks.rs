//! A network namespace, made ahead of the job that it is for.
//!
//! To make one is the longest step of a job's start, and nothing in it depends on the job. It is for one job
//! and goes with that job's last process. One is kept, so that a job which follows another by some
//! milliseconds finds it; of jobs that start together, one does, and the others' jailers make theirs.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::RecvFlags;

use crate::rights;

/// How long the next one is put off, so that it is not made beside the start of the job that took the last.
const LEAD: Duration = Duration::from_millis(20);
/// What the jailer may take to make one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who makes it, and how far that is.
#[derive(Debug)]
pub(crate) struct Networks {
    jailer: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Making(JoinHandle<()>),
    Ready(OwnedFd),
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Networks {
    /// Begins to make the first one.
    pub(crate) fn new(jailer: &Path) -> Self {
        let networks = Self { jailer: jailer.to_owned(), state: Arc::default() };
        networks.prepare(&mut lock(&networks.state), Duration::ZERO);
        networks
    }

    /// The one that is ready, nobody else's from now on; another is begun. `None` where there is none.
    pub(crate) fn take(&self) -> Option<OwnedFd> {
        let mut state = lock(&self.state);
        match std::mem::take(&mut *state) {
            State::Ready(network) => {
                self.prepare(&mut state, LEAD);
                Some(network)
            }
            State::Idle => {
                self.prepare(&mut state, LEAD);
                None
            }
            making @ State::Making(_) => {
                *state = making;
                None
            }
        }
    }

    /// Begins to make one. Where it fails only a lead is lost: the jailer makes it for the job.
    fn prepare(&self, state: &mut State, lead: Duration) {
        let (jailer, shared) = (self.jailer.clone(), Arc::clone(&self.state));
        let make = move || {
            thread::sleep(lead);
            let made = new_network(&jailer);
            *lock(&shared) = made.map_or_else(
                |error| {
                    log::debug!("no network namespace ahead of its job: {error}");
                    State::Idle
                },
                State::Ready,
            );
        };
        match thread::Builder::new().name("network".to_owned()).spawn(make) {
            Ok(maker) => *state = State::Making(maker),
            Err(error) => log::debug!("no thread for a network namespace: {error}"),
        }
    }
}

impl Drop for Networks {
    /// Waits for what is being made: it outlives nobody.
    fn drop(&mut self) {
        let state = std::mem::take(&mut *lock(&self.state));
        if let State::Making(maker) = state {
            // It panics nowhere, and nothing is lost where it does.
            let _ = maker.join();
        }
    }
}

/// A new network namespace, in which loopback is up, made by the jailer.
///
/// # Errors
/// Where the jailer cannot be run or does not answer, or the kernel gives it none: its limits on namespaces, say.
pub fn new_network(jailer: &Path) -> io::Result<OwnedFd> {
    let (control, theirs) = UnixStream::pair()?;
    let mut child = Command::new(jailer)
        .arg("network")
        .env_clear()
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let received = receive(&control);
    if received.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let status = child.wait()?;
    received?.ok_or_else(|| io::Error::other(format!("the jailer made none: {status}")))
}

fn receive(control: &UnixStream) -> io::Result<Option<OwnedFd>> {
    // A jailer of another version may wait for a plan: it has to see that none comes.
    control.shutdown(std::net::Shutdown::Write)?;
    control.set_read_timeout(Some(PATIENCE))?;
    rights::receive(control, RecvFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::time::Instant;

    fn inode(network: &OwnedFd) -> u64 {
        File::from(network.try_clone().unwrap()).metadata().unwrap().ino()
    }

    /// Waits for the one that is being made.
    fn next(networks: &Networks) -> Option<OwnedFd> {
        for _ in 0..2000 {
            if !matches!(&*lock(&networks.state), State::Making(_)) {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        networks.take()
    }

    #[test]
    fn each_is_taken_once_and_is_nobody_elses() {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/jailer/assay-jailer");
        let jailer = std::env::var_os("ASSAY_JAILER").map_or(built, PathBuf::from);
        if !jailer.is_file() || !rustix::process::geteuid().is_root() {
            println!("SKIPPED: no jailer ({}), or not root", jailer.display());
            return;
        }
        let networks = Networks::new(&jailer);
        let host = fs::metadata("/proc/self/ns/net").unwrap().ino();
        let mut seen = BTreeSet::from([host]);
        let mut kept = vec![];
        for _ in 0..5 {
            let network = next(&networks).expect("none was made");
            assert!(seen.insert(inode(&network)));
            assert!(networks.take().is_none());
            kept.push(network);
        }
        assert_eq!(fs::metadata("/proc/self/ns/net").unwrap().ino(), host);
    }

    /// A program in the jailer's place.
    fn stand_in(script: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jailer");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_jailer_that_makes_none_costs_the_lead_alone() {
        let (_dir, jailer) = stand_in("exit 1");
        let networks = Networks::new(&jailer);
        assert!(next(&networks).is_none() && next(&networks).is_none());
    }

    #[test]
    fn a_jailer_that_waits_for_a_plan_sees_that_none_comes() {
        let (_dir, jailer) = stand_in("exec cat >/dev/null");
        let began = Instant::now();
        assert!(new_network(&jailer).is_err());
        assert!(began.elapsed() < PATIENCE);
    }

    #[test]
    fn one_that_hangs_is_ended() {
        let (_dir, jailer) = stand_in("exec sleep 1000");
        assert!(matches!(new_network(&jailer), Err(error) if error.kind() == io::ErrorKind::WouldBlock));
    }
}
