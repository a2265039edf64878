//! Network namespaces, made ahead of the jobs that they are for.
//!
//! To make one takes the kernel a fifth of the time in which a whole job starts, and nothing in it depends on
//! the job. Each is for one job: it goes with the job's last process.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::net::RecvFlags;

use crate::rights;

/// The one that is ready.
#[derive(Debug)]
pub(crate) struct Networks {
    jailer: PathBuf,
    ready: Arc<Mutex<Option<OwnedFd>>>,
}

impl Networks {
    /// Begins to make the first one, by the jailer. To join one takes root; others' jailers make it anew.
    pub(crate) fn new(jailer: &Path) -> Self {
        let networks = Self { jailer: jailer.to_owned(), ready: Arc::default() };
        networks.prepare();
        networks
    }

    /// The one that is ready, and nobody else's from now on. Where there is none the jailer makes it.
    pub(crate) fn take(&self) -> Option<OwnedFd> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Makes the next one, beside the caller, if none is ready.
    pub(crate) fn prepare(&self) {
        if !rustix::process::geteuid().is_root()
            || self.ready.lock().unwrap_or_else(PoisonError::into_inner).is_some()
        {
            return;
        }
        let (jailer, ready) = (self.jailer.clone(), Arc::clone(&self.ready));
        let made =
            thread::Builder::new().name("network".to_owned()).spawn(move || match new_network(&jailer) {
                Ok(network) => *ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(network),
                Err(error) => log::debug!("no network namespace ahead of its job: {error}"),
            });
        // Only its lead is lost.
        made.map(drop).unwrap_or_else(|error| log::debug!("no thread for a network namespace: {error}"));
    }
}

/// A new network namespace, in which loopback is up and there is nothing else.
///
/// # Errors
/// Where the jailer cannot be run, or the kernel gives it none: its limits on namespaces, say.
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
    let network = rights::receive(&control, RecvFlags::empty());
    let status = child.wait()?;
    network?.ok_or_else(|| io::Error::other(format!("the jailer made none: {status}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt as _;
    use std::time::Duration;

    fn inode(network: &OwnedFd) -> u64 {
        File::from(network.try_clone().unwrap()).metadata().unwrap().ino()
    }

    #[test]
    fn each_is_taken_once_and_is_nobody_elses() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: only root makes network namespaces ahead");
            return;
        }
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/jailer/assay-jailer");
        let jailer = std::env::var_os("ASSAY_JAILER").map_or(built, PathBuf::from);
        if !jailer.is_file() {
            println!("SKIPPED: no jailer ({})", jailer.display());
            return;
        }
        let networks = Networks::new(&jailer);
        let host = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
        let mut seen = BTreeSet::from([host]);
        let mut kept = vec![];
        for _ in 0..5 {
            networks.prepare();
            let network = (0..1000).find_map(|_| {
                thread::sleep(Duration::from_millis(5));
                networks.take()
            });
            let network = network.expect("none was made");
            assert!(seen.insert(inode(&network)));
            assert!(networks.take().is_none());
            kept.push(network);
        }
        assert_eq!(std::fs::metadata("/proc/self/ns/net").unwrap().ino(), host);
    }
}
