//! What core's tasks share. One thread: no borrow is held while anything is awaited.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assay_attester::Identity;
use assay_ledger::beacon::VerifiedBeacon;
use assay_wire::{Digest, Kind, Network};
use tokio::sync::{Notify, watch};

use super::client::Validator;
use super::error::chain;
use super::gpus::Gpus;
use super::jobs::Jobs;
use super::port::Port;
use super::session::Session;
use super::status::{Health, SCHEMA, Severity, Status, ValidatorStatus};
use super::tpm::{TpmFault, TpmHandle};
use crate::config::Config;
use crate::ledger::{Ledger, LedgerError};

/// The running node.
pub(super) struct Node {
    pub(super) config: Config,
    pub(super) network: Network,
    pub(super) ledger: RefCell<Ledger>,
    pub(super) health: RefCell<Health>,
    pub(super) port: Rc<Port>,
    /// The first one challenges and gives beacons; all of them enrol and get every record.
    pub(super) validators: Vec<Validator>,
    pub(super) tpm: TpmHandle,
    pub(super) gpus: Option<Gpus>,
    pub(super) jobs: RefCell<Jobs>,
    pub(super) identity: RefCell<Option<Arc<Identity>>>,
    /// The newest beacon.
    pub(super) beacon: Cell<Option<VerifiedBeacon>>,
    pub(super) session: RefCell<Option<Session>>,
    /// Something new is in the outbox.
    pub(super) stored: watch::Sender<()>,
    /// A validator took or refused something.
    pub(super) delivered: watch::Sender<()>,
    /// The open session cannot go on: the first validator wants nothing more of it, or `renewal` says why.
    pub(super) lost: Notify,
    /// Why the open session is to be ended in order and another one opened.
    pub(super) renewal: Cell<Option<&'static str>>,
    /// Validators, by index, that are being asked to enrol this node.
    pub(super) enrolling: RefCell<BTreeSet<usize>>,
    /// Where the endorsement key's certificate is from.
    pub(super) certificate: Cell<Option<&'static str>>,
    /// When the TPM's maker was last asked for a certificate.
    pub(super) asked_maker: Cell<Option<Instant>>,
}

impl Node {
    pub(super) fn new(config: &Config, ledger: Ledger, tpm: TpmHandle, gpus: Option<Gpus>) -> Self {
        let network = Network::new(&config.network.id);
        Self {
            validators: Validator::all(&config.validator, &network),
            config: config.clone(),
            network,
            ledger: RefCell::new(ledger),
            health: RefCell::default(),
            port: Rc::default(),
            tpm,
            gpus,
            jobs: RefCell::default(),
            identity: RefCell::default(),
            beacon: Cell::new(None),
            session: RefCell::default(),
            stored: watch::Sender::new(()),
            delivered: watch::Sender::new(()),
            lost: Notify::new(),
            renewal: Cell::new(None),
            enrolling: RefCell::default(),
            certificate: Cell::new(None),
            asked_maker: Cell::new(None),
        }
    }

    /// Raises a health item.
    pub(super) fn raise(&self, code: &'static str, severity: Severity, text: impl Into<String>) {
        self.health.borrow_mut().raise(code, severity, text);
    }

    /// Takes a health item back.
    pub(super) fn clear(&self, code: &'static str) {
        self.health.borrow_mut().clear(code);
    }

    /// Has the keeper end the open session in order and open another one.
    /// Whoever opens a session takes the wish back before it looks at what the session shows.
    pub(super) fn renew(&self, why: &'static str) {
        self.renewal.set(Some(why));
        self.lost.notify_one();
    }

    /// The TPM's keys, asked for once.
    pub(super) async fn identity(&self) -> Result<Arc<Identity>, TpmFault> {
        let known = self.identity.borrow().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let identity = Arc::new(self.tpm.call(|tpm| tpm.identity()).await?);
        *self.identity.borrow_mut() = Some(Arc::clone(&identity));
        Ok(identity)
    }

    /// Stores a record of a session, and tells those who deliver. A failure is a health item, too.
    pub(super) fn store(
        &self,
        session: &Digest,
        kind: Kind,
        seq: u64,
        bytes: &[u8],
    ) -> Result<(), LedgerError> {
        let outcome = self.ledger.borrow_mut().add_record(session, kind, seq, bytes);
        self.watch_ledger(outcome)?;
        self.stored.send_replace(());
        Ok(())
    }

    /// Turns what became of a write into health; a read may succeed on a full disk.
    pub(super) fn watch_ledger<T>(&self, outcome: Result<T, LedgerError>) -> Result<T, LedgerError> {
        match &outcome {
            Ok(_) => self.health.borrow_mut().clear_area("ledger"),
            Err(error @ LedgerError::Full) => {
                let text = format!("{error}; beats pause until there is room");
                self.raise("ledger.full", Severity::Error, text);
            }
            Err(error) => self.raise("ledger.failed", Severity::Error, chain(error)),
        }
        outcome
    }

    /// Raises what the TPM's thread said, or takes back what it said before.
    pub(super) fn watch_tpm<T>(&self, outcome: Result<T, TpmFault>) -> Result<T, TpmFault> {
        let mut health = self.health.borrow_mut();
        match &outcome {
            Ok(_) => health.clear_area("tpm"),
            Err(fault) => health.raise(fault.code, Severity::Error, fault.text.clone()),
        }
        outcome
    }

    /// Whether every record that the reachable validators can have is with them.
    pub(super) fn is_delivered(&self) -> bool {
        let ledger = self.ledger.borrow();
        let reachable = self.validators.iter().filter(|validator| validator.is_connected());
        reachable.map(|validator| ledger.unsent(&validator.id)).all(|unsent| matches!(unsent, Ok(0)))
    }

    /// Waits until [`Node::is_delivered`], at most this long.
    pub(super) async fn wait_delivered(&self, limit: Duration) {
        let mut delivered = self.delivered.subscribe();
        let wait = async { while !self.is_delivered() && delivered.changed().await.is_ok() {} };
        if tokio::time::timeout(limit, wait).await.is_err() {
            log::warn!("not everything was delivered; it will be by the next agent");
        }
    }

    /// How the node is.
    pub(super) fn status(&self) -> Result<Status, LedgerError> {
        let ledger = self.ledger.borrow();
        let mut validators = Vec::with_capacity(self.validators.len());
        for validator in &self.validators {
            let (name, connected) = (validator.name.clone(), validator.is_connected());
            let unsent = ledger.unsent(&validator.id)?;
            validators.push(ValidatorStatus { name, connected, unsent });
        }
        let session = self.session.borrow();
        let row = match session.as_ref() {
            Some(session) => ledger.session(&session.id)?,
            None => None,
        };
        let node = self.identity.borrow();
        let node = node.as_ref().map(|identity| assay_ledger::enrolment::node_id(&identity.ek_public));
        Ok(Status {
            schema: SCHEMA,
            node: node.map(|node| node.to_string()),
            owner: self.config.node.owner.map(|owner| hex::encode(owner.0)),
            certificate: self.certificate.get().map(str::to_owned),
            session: session.as_ref().map(|session| session.id.to_string()),
            seq: session.as_ref().map(|session| session.head.seq).unwrap_or_default(),
            unsent: validators.first().map(|validator| validator.unsent).unwrap_or_default(),
            last_receipt_ms: ledger.last_receipt_ms()?,
            anchors: row.as_ref().map(|row| row.anchors).unwrap_or_default(),
            receipts: row.as_ref().map(|row| row.receipts).unwrap_or_default(),
            validators,
            health: self.health.borrow().items(),
            gpus: self.gpus.as_ref().map(Gpus::status).unwrap_or_default(),
            jobs: self.jobs.borrow().running(),
        })
    }
}
