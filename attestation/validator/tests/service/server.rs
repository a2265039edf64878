//! A validator in this process, on a free port, with a clock that tests move.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use assay_appraisal::Trust;
use assay_validator::config::{Home, Limits};
use assay_validator::init::{Options, init};
use assay_validator::server::Service;
use assay_validator::store::Store;
use assay_validator::{civil, trusted};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::client::Client;

/// Length of a round in the tests' network.
pub(crate) const PERIOD_MS: u64 = 5000;

pub(crate) struct Server {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) address: SocketAddr,
    clock: Arc<AtomicU64>,
    limits: Limits,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A fresh validator's directory.
pub(crate) fn fresh_dir() -> Arc<TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { beacon_period_ms: PERIOD_MS, ..Options::default() };
    init(&dir.path().join("v"), &options).unwrap();
    Arc::new(dir)
}

/// Runs a command on a validator's directory; exit code and JSON.
pub(crate) fn order(dir: &Path, args: &[&str]) -> (i32, serde_json::Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay-validator"));
    let output = command.args(args).arg("--json").arg("--dir").arg(dir).output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        // A whole round, so that a test doesn't begin just before the next.
        let now_ms = civil::now_ms() / PERIOD_MS * PERIOD_MS;
        Self::run(fresh_dir(), Arc::new(AtomicU64::new(now_ms)), limits)
    }

    fn run(dir: Arc<TempDir>, clock: Arc<AtomicU64>, limits: Limits) -> Self {
        let (told, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let home = Home::new(dir.path().join("v"));
        let time = Arc::clone(&clock);
        let service = Service::open(&home)
            .unwrap()
            .with_clock(Arc::new(move || time.load(Ordering::SeqCst)))
            .with_limits(limits.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                let stop = async { drop(stopped.await) };
                service.serve(listener, stop).await.unwrap();
            });
        });
        let address = address.recv().unwrap();
        Self { dir, address, clock, limits, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn home(&self) -> Home {
        Home::new(self.dir.path().join("v"))
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.home().certificate()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address, &self.certificate())
    }

    pub(crate) fn trust(&self) -> Trust {
        trusted::trust(&self.home().trust()).unwrap()
    }

    pub(crate) fn store(&self) -> Store {
        Store::open_read_only(&self.home().store()).unwrap()
    }

    /// Runs a command on the directory that must be carried out, while it is served.
    pub(crate) fn order(&self, args: &[&str]) {
        let (exit, _) = self.try_order(args);
        assert_eq!(exit, 0, "{args:?}");
    }

    /// Runs a command on the directory; exit code and JSON.
    pub(crate) fn try_order(&self, args: &[&str]) -> (i32, serde_json::Value) {
        order(self.home().dir(), args)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn go_back(&self, ms: u64) {
        self.clock.fetch_sub(ms, Ordering::SeqCst);
    }

    /// Stops it and serves the same directory again, at another port.
    pub(crate) fn restart(self) -> Self {
        self.restart_after(|| ())
    }

    /// As [`Server::restart`], with something done while nothing serves the directory.
    pub(crate) fn restart_after(mut self, between: impl FnOnce()) -> Self {
        self.end();
        between();
        Self::run(Arc::clone(&self.dir), Arc::clone(&self.clock), self.limits.clone())
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}
