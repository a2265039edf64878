//! The core process: holds the TPM, the session's keys, the ledger and the jobs, and has no network.
//!
//! One thread runs everything that decides; the TPM, the GPU library and each job have
//! a thread of their own, because they block. What goes out is signed here and stored
//! first; link carries it. A crash leaves a ledger that verifies, and the next start
//! opens a new session that continues it.
//!
//! With several validators the first one is where challenges and beacons come from. All
//! of them enrol the node, and a session's evidence carries their records. Every one gets
//! every record of a session, at its own pace; one that does not take a session that it
//! did not challenge gets nothing of it.
//!
//! Trust boundary: link and validators are outside; so is the disk. The control socket
//! is the owner's. Nobody here is believed by a verifier: what counts is what the TPM
//! signed.
//!
//! Not here: judging evidence (`assay-appraisal`), building jails (`assay-sandbox`),
//! carrying bytes ([`crate::link`]).

mod anchors;
pub mod answer;
mod audit;
mod beats;
mod boot_state;
mod client;
mod clock;
mod confine;
mod deliver;
mod devices;
mod endorsement;
mod enrol;
mod error;
mod export;
mod further;
mod gpus;
mod job_receipt;
mod jobs;
mod keeper;
mod keys;
mod local;
mod lock;
mod machine;
mod node;
mod open;
mod port;
mod serve;
mod session;
pub mod status;
#[cfg(test)]
mod tests;
mod tpm;

use std::rc::Rc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

use crate::config::Config;
use crate::control::{CONTROL_SOCKET, LINK_SOCKET};
use crate::ledger::{Ledger, Stored};
pub use error::CoreError;
use gpus::Gpus;
pub(crate) use jobs::NO_CGROUPS;
pub use local::job_without_daemon;
use node::Node;
use status::Severity;
pub use tpm::TpmFault;
use tpm::TpmHandle;

/// Runs core until SIGTERM or SIGINT, then ends the session in order.
///
/// A missing TPM, validator or GPU does not end it; it is told by `status` and tried again.
///
/// # Errors
/// [`CoreError`], when core cannot start.
pub fn run(config: &Config) -> Result<(), CoreError> {
    // The session's keys and opened secrets are in this memory.
    crate::no_dumps::start()
        .map_err(|errno| CoreError::Start { what: "without core dumps", source: errno.into() })?;
    let _lock = lock::take(&config.node.state_dir)?;
    let ledger = Ledger::open(&config.node.ledger())?;
    let tpm = TpmHandle::start(&config.tpm)?;
    // Threads and processes that are started from here on have no network either.
    confine::no_network().map_err(CoreError::Confine)?;
    let gpus = Gpus::start(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| CoreError::Start { what: "the event loop", source })?;
    let node = Rc::new(Node::new(config, ledger, tpm, gpus));
    runtime.block_on(LocalSet::new().run_until(serve(node)))
}

/// A stored job receipt as a line of a list; `None` when it does not decode.
#[must_use]
pub fn job_row(stored: &Stored) -> Option<answer::JobRow> {
    job_receipt::stored_row(stored)
}

/// Every job that has ended, newest first: those of the ledger, and those whose receipts are in their
/// directories alone.
#[must_use]
pub fn ended_jobs(config: &Config, stored: &[Stored]) -> Vec<answer::JobRow> {
    job_receipt::ended(config, stored)
}

async fn serve(node: Rc<Node>) -> Result<(), CoreError> {
    let runtime_dir = &node.config.node.runtime_dir;
    let listen = |name: &str, mode| serve::listen(&runtime_dir.join(name), mode);
    let made = std::fs::create_dir_all(runtime_dir);
    made.map_err(|source| CoreError::Listen { path: runtime_dir.clone(), source })?;
    let (link, control) = (listen(LINK_SOCKET, 0o660)?, listen(CONTROL_SOCKET, 0o600)?);
    let signals = |kind| signal(kind).map_err(|source| CoreError::Start { what: "signal handling", source });
    let (terminate, interrupt) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    if node.validators.is_empty() {
        node.raise(
            "validator.none",
            Severity::Error,
            "no validator is configured: nothing is proven to anyone",
        );
    }
    jobs::sweep(&node);
    spawn_local(Rc::clone(&node.port).serve(link));
    spawn_local(serve::control(Rc::clone(&node), control));
    spawn_local(anchors::follow(Rc::clone(&node)));
    (0..node.validators.len()).for_each(|index| drop(spawn_local(deliver::deliver(Rc::clone(&node), index))));
    spawn_local(watchdog());
    notify(NotifyState::Ready);
    let (stop, stopping) = watch::channel(false);
    spawn_local(until_told(terminate, interrupt, stop));
    keeper::keep(Rc::clone(&node), stopping).await;
    Ok(())
}

async fn until_told(mut terminate: Signal, mut interrupt: Signal, stop: watch::Sender<bool>) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    log::info!("ending the session");
    notify(NotifyState::Stopping);
    stop.send_replace(true);
    // The keeper waits on this channel until it has ended.
    std::future::pending::<()>().await;
}

/// Tells the service manager that the thread that decides is alive, when it asked for that.
async fn watchdog() {
    let mut micros = 0;
    if !sd_notify::watchdog_enabled(false, &mut micros) {
        return;
    }
    loop {
        notify(NotifyState::Watchdog);
        tokio::time::sleep(Duration::from_micros(micros / 2)).await;
    }
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        log::debug!("service manager: {error}");
    }
}
