//! A job's receipt when no session is open.
//!
//! An enrolled node opens a session that no validator challenged: the TPM binds the
//! receipt to the node, and nothing proves when. A node that never enrolled signs with
//! a key that is bound to nothing, and says so.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use assay_ledger::session::{SessionEnd, ima_extra_data};
use assay_sandbox::pull::Puller;
use assay_sandbox::{Event, JobFile, JobOutcome, SandboxError};
use assay_wire::{Digest, Domain, Envelope, Kind, Network, hash};
use tokio::signal::unix::{SignalKind, signal};

use super::answer::{Checkable, JobAnswer};
use super::keys::SessionKeys;
use super::open::Opening;
use super::session::Session;
use super::tpm::TpmHandle;
use super::{CoreError, clock, enrol, job_receipt, jobs, lock, machine};
use crate::config::Config;
use crate::ledger::{Ledger, LedgerError, NewSession};

/// Runs one job without a daemon, and signs for it. `events` is told what goes on.
///
/// From here on SIGINT and SIGTERM stop the job, which is accounted for.
///
/// # Errors
/// [`CoreError::Locked`] when an agent holds the state directory, [`CoreError::Job`] when the job
/// could not be run, and those of the ledger.
pub fn job_without_daemon(
    config: &Config,
    file: &str,
    events: &dyn Fn(Event),
) -> Result<JobAnswer, CoreError> {
    let _lock = lock::take(&config.node.state_dir)?;
    let job = JobFile::parse(file.as_bytes()).map_err(|error| CoreError::Job(error.into()))?;
    if !job.secrets.is_empty() {
        return Err(CoreError::Job(SandboxError::Secrets));
    }
    let puller = Puller::Program(jobs::own_program(), config.sandbox.images.pull_arguments());
    let sandbox = jobs::open_sandbox(config, puller).map_err(CoreError::Job)?;
    let ledger = RefCell::new(Ledger::open(&config.node.ledger())?);
    let cancel = cancel_by_signal().map_err(|source| CoreError::Start { what: "signal handling", source })?;
    let outcome = sandbox.run(&job, &[], &cancel, events).map_err(CoreError::Job)?;
    let tpm = TpmHandle::start(&config.tpm)?;
    let network = Network::new(&config.network.id);
    let place = Place { config, network: &network, ledger: &ledger, tpm: &tpm };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| CoreError::Start { what: "the event loop", source })?;
    runtime.block_on(place.sign(&outcome))
}

/// A flag that SIGINT and SIGTERM set. The terminal's do not reach the jailer, which is in a group of
/// its own: stopping the job is its supervisor's part.
fn cancel_by_signal() -> io::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancel);
    let wait = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        log::info!("stopping the job");
        flag.store(true, Ordering::Relaxed);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait))?;
    Ok(cancel)
}

/// Where a receipt without a session is signed and kept.
pub(super) struct Place<'a> {
    pub(super) config: &'a Config,
    pub(super) network: &'a Network,
    pub(super) ledger: &'a RefCell<Ledger>,
    pub(super) tpm: &'a TpmHandle,
}

impl Place<'_> {
    /// Signs for a job: in a session of its own, or in nobody's name.
    ///
    /// # Errors
    /// [`CoreError::Ledger`], [`CoreError::Tpm`] or [`CoreError::Random`].
    pub(super) async fn sign(&self, outcome: &JobOutcome) -> Result<JobAnswer, CoreError> {
        let receipt = job_receipt::receipt(outcome, 0);
        if let Some(session) = self.open().await? {
            let bytes = session.seal(Kind::JobReceipt, &receipt);
            job_receipt::keep(outcome, &bytes);
            self.close(&session, &bytes)?;
            return Ok(job_receipt::answer(outcome, &receipt, &session.id, bytes, Checkable::Quote));
        }
        let keys = SessionKeys::generate().map_err(CoreError::Random)?;
        let nobody = hash(Domain::SessionId, &[&keys.sign.verifying_key().0]);
        let bytes = Envelope::seal(Kind::JobReceipt, nobody, &receipt, &keys.sign, self.network);
        job_receipt::keep(outcome, &bytes);
        Ok(job_receipt::answer(outcome, &receipt, &nobody, bytes, Checkable::Nobody))
    }

    /// A session that no validator asked for; `None` on a node that is not enrolled.
    async fn open(&self) -> Result<Option<Session>, CoreError> {
        let Some(validator) = self.config.validator.first() else { return Ok(None) };
        let record = self.ledger.borrow().enrolment(&validator.key.validator_id())?;
        let Some(record) = record else { return Ok(None) };
        let identity = self.tpm.call(|tpm| tpm.identity()).await.map_err(CoreError::Tpm)?;
        let now_ms = clock::unix_ms();
        let ours = enrol::Ours { network: self.network, identity: &identity, owner: None, now_ms };
        let enrolled = enrol::check(&record, &validator.key, &ours);
        let enrolled = match enrolled {
            Ok(enrolled) => enrolled,
            Err(why) => {
                log::warn!("nobody will be able to check this job's receipt: {why}");
                return Ok(None);
            }
        };
        let challenge = Digest::default();
        let (mut logs, _) = machine::boot_logs(&self.config.boot);
        let over = ima_extra_data(&challenge, &enrolled.node);
        let ima = machine::add_ima_log(&mut logs, &self.config.boot, self.tpm, over).await;
        let opening = Opening {
            config: self.config,
            enrolled: &enrolled,
            challenge,
            beacon: self.ledger.borrow().newest_beacon()?.unwrap_or_default(),
            previous: self.ledger.borrow().previous()?,
            gpus: Vec::new(),
            reporters: None,
            further: Vec::new(),
            logs,
            ima: ima.unwrap_or_default(),
        };
        let keys = SessionKeys::generate().map_err(CoreError::Random)?;
        let (session, evidence) =
            opening.attest(keys, self.network, self.tpm).await.map_err(CoreError::Tpm)?;
        let (id, key) = (session.id, session.start.key);
        let new = NewSession { id, key, evidence: &evidence, local: true, opened_ms: clock::unix_ms() };
        self.ledger.borrow_mut().add_session(&new)?;
        Ok(Some(session))
    }

    /// Stores the receipt and the session's end.
    fn close(&self, session: &Session, receipt: &[u8]) -> Result<(), LedgerError> {
        let end = SessionEnd { seq: 0, head: session.id, mono_ms: clock::boot_ms() };
        let end = session.seal(Kind::SessionEnd, &end);
        let mut ledger = self.ledger.borrow_mut();
        ledger.add_record(&session.id, Kind::JobReceipt, 0, receipt)?;
        ledger.add_record(&session.id, Kind::SessionEnd, 0, &end)
    }
}
