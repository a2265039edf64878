//! What the probe has to be told of its host, to know it when it meets it.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};

use super::NAMESPACES;

/// The host as the probe could meet it: its namespaces, and an abstract socket that listens while this lives.
#[derive(Debug)]
pub struct Host {
    name: String,
    namespaces: Vec<String>,
    _listener: UnixListener,
}

impl Host {
    /// Of this process.
    ///
    /// # Errors
    /// If the socket cannot be made, or `/proc` does not tell the namespaces. Those that the kernel does not
    /// have are left out.
    pub fn here() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("assay-probe-{}-{number}", std::process::id());
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        let mut namespaces = vec![];
        for namespace in NAMESPACES {
            match std::fs::read_link(format!("/proc/self/ns/{namespace}")) {
                Ok(link) => namespaces.push(link.to_string_lossy().into_owned()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { name, namespaces, _listener: listener })
    }

    /// Arguments of the probe that tries [`super::ATTEMPTS`], its own name first.
    #[must_use]
    pub fn command(&self, probe: &str) -> Vec<String> {
        let words = [probe, "attempts", &self.name].map(str::to_owned);
        words.into_iter().chain(self.namespaces.iter().cloned()).collect()
    }
}
