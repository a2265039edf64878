//! The engine: everything that decides or remembers, on one thread.
//!
//! Connections hand decoded requests to the engine and wait. It takes what has
//! queued up, answers each in order inside one transaction, commits, and only then
//! lets the answers go: what was acknowledged is on disk.
//!
//! Trust boundary: requests were decoded and bounded before they came here, and are
//! hostile all the same. A refusal is a value; a [`StoreError`] takes back the whole
//! batch and answers it with `validator.store`.
//!
//! Not here: sockets, limits on bytes and time of a connection.

mod challenge;
mod enrol;
mod keys;
mod owner;
mod records;
mod session;
mod state;
#[cfg(test)]
mod tests;
mod twins;

pub(crate) use keys::index_records;
pub(crate) use state::{appraise_opening, result_bytes};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use assay_appraisal::{Policy, Trust};
use assay_gpu::device::DeviceEvidence;
use assay_ledger::ByteVec;
use assay_ledger::beacon::Beacon;
use assay_ledger::enrolment::{EnrolAnswer, EnrolRequest};
use assay_ledger::protocol::{ChallengeRequest, Records, Refusal};
use assay_ledger::receipt::BeatReceipt;
use assay_ledger::session::Head;
use assay_wire::{Digest, Envelope, Kind, SigningKey, cbor};
use tokio::sync::{mpsc, oneshot};

use crate::admin::{self, Order};
use crate::beacon::BeaconSource;
use crate::config::Twins;
use crate::error::{Error, chain};
use crate::ocsp::Cache;
use crate::rim::Shelf;
use crate::store::{Store, StoreError};
use challenge::Challenges;

/// Requests that wait for the engine; further ones wait at their connections.
const QUEUE: usize = 256;
/// The most requests that share one transaction.
const GROUP: usize = 64;

/// Tells the time in Unix ms.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A decoded request.
#[derive(Debug)]
pub(crate) enum Request {
    Beacon,
    Enrol(Box<EnrolRequest>),
    Answer(Box<EnrolAnswer>),
    Challenge(ChallengeRequest),
    Session(Box<Opening>),
    Records(Records),
    /// This validator's revocation list.
    Revocations,
    /// From whoever holds the validator's directory; never from the node API.
    Admin(Box<Order>),
}

/// Evidence as it came, with what decides how it is handled.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) bytes: Vec<u8>,
    /// Its envelope hash.
    pub(crate) hash: Digest,
    pub(crate) id: Digest,
    pub(crate) node: Digest,
    pub(crate) challenge: Digest,
    pub(crate) previous: Option<Head>,
    pub(crate) mono_ms: u64,
    /// The enrolment record's envelope.
    pub(crate) enrolment: Vec<u8>,
    /// Envelopes of further records.
    pub(crate) further: Vec<ByteVec>,
    /// TPMS_ATTEST of the GetTime.
    pub(crate) time: Vec<u8>,
    /// PCR 0 as the evidence lists it.
    pub(crate) pcr0: Option<Digest>,
    /// What GPUs and switches are said to have signed.
    pub(crate) devices: Vec<DeviceEvidence>,
}

/// A refusal with its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) refusal: Refusal,
}

impl Refused {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, refusal: Refusal { code: code.to_owned(), message: message.into() } }
    }
}

/// A body, or why not.
pub(crate) type Answer = Result<Vec<u8>, Refused>;

/// What the engine works with.
pub(crate) struct Parts {
    /// Whom the validator believes; names itself too.
    pub(crate) trust: Trust,
    /// The policy that enrolments and sessions must meet.
    pub(crate) policy: Policy,
    /// The validator's key.
    pub(crate) key: SigningKey,
    /// The store.
    pub(crate) store: Store,
    /// Where beacons come from.
    pub(crate) beacons: Box<dyn BeaconSource>,
    /// The clock.
    pub(crate) clock: Clock,
    /// How long a nonce is good, in ms.
    pub(crate) challenge_ms: u64,
    /// How many may be outstanding.
    pub(crate) challenges: usize,
    /// The policy file's text.
    pub(crate) policy_text: String,
    /// The least time between two AKs of one node, in ms.
    pub(crate) ak_change_ms: u64,
    /// When two sessions are on one TPM.
    pub(crate) twins: Twins,
    /// Reference values of GPUs.
    pub(crate) rims: Shelf,
    /// Answers of responders about certificates of GPUs.
    pub(crate) ocsp: Cache,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("key", &self.key).finish_non_exhaustive()
    }
}

/// An answer, and what was done for nothing.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    /// Work on records that were refused, in units of about one session's opening; 0 when all were taken.
    pub(crate) wasted: u32,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, wasted: 0 }
    }
}

/// A request and where its answer goes.
type Job = (Request, oneshot::Sender<Reply>);

/// The way to a running engine; cheap to clone. The engine ends when the last one is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Handle(mpsc::Sender<Job>);

impl Handle {
    /// Asks the engine and waits for its answer.
    pub(crate) async fn ask(&self, request: Request) -> Reply {
        let gone = || Err(Refused::new(503, "validator.stopping", "the validator is shutting down")).into();
        let (sender, reply) = oneshot::channel();
        match self.0.send((request, sender)).await {
            Ok(()) => reply.await.unwrap_or_else(|_| gone()),
            Err(_) => gone(),
        }
    }
}

/// Starts the engine on a thread of its own.
pub(crate) fn start(parts: Parts) -> Result<(Handle, JoinHandle<()>), Error> {
    let (sender, inbox) = mpsc::channel(QUEUE);
    let mut engine = Engine::new(parts);
    engine.read_pins()?;
    let thread = Builder::new()
        .name("engine".to_owned())
        .spawn(move || engine.run(inbox))
        .map_err(|source| Error::Start { what: "the engine", source })?;
    Ok((Handle(sender), thread))
}

struct Engine {
    parts: Parts,
    challenges: Challenges,
    /// The newest beacon: round and envelope. Emptied when a transaction fails.
    beacon: Option<(u64, Vec<u8>)>,
    /// The revocation list's envelope. Emptied when the list or a transaction may have changed it.
    revocations: Option<Vec<u8>>,
    /// Nodes that the trust file pins; the trust in `parts` has those that were pinned by hand too.
    file_pins: BTreeSet<Digest>,
}

impl Engine {
    fn new(parts: Parts) -> Self {
        let challenges = Challenges::new(parts.challenge_ms, parts.challenges);
        let file_pins = parts.trust.pinned_nodes.clone();
        Self { parts, challenges, beacon: None, revocations: None, file_pins }
    }

    fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        while let Some(first) = inbox.blocking_recv() {
            let mut jobs = vec![first];
            while jobs.len() < GROUP
                && let Ok(job) = inbox.try_recv()
            {
                jobs.push(job);
            }
            self.group(jobs);
        }
    }

    /// Answers all jobs in one transaction.
    fn group(&mut self, jobs: Vec<Job>) {
        let (requests, replies): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        let answers = self.in_transaction(requests);
        let failed =
            || Err(Refused::new(500, "validator.store", "the validator could not store this")).into();
        let answers = answers.unwrap_or_else(|error| {
            log::error!("{}", chain(&error));
            self.forget();
            replies.iter().map(|_| failed()).collect()
        });
        for (reply, answer) in replies.into_iter().zip(answers) {
            // Whoever asked may have hung up; what it asked for is done all the same.
            let _ = reply.send(answer);
        }
    }

    fn in_transaction(&mut self, requests: Vec<Request>) -> Result<Vec<Reply>, StoreError> {
        self.parts.store.begin()?;
        let answers: Result<Vec<_>, _> = requests.into_iter().map(|request| self.answer(request)).collect();
        self.parts.store.finish(answers)
    }

    fn answer(&mut self, request: Request) -> Result<Reply, StoreError> {
        let answer = match request {
            Request::Beacon => self.newest_beacon(),
            Request::Enrol(request) => self.enrol(*request),
            Request::Answer(answer) => self.enrol_answer(&answer),
            Request::Challenge(request) => Ok(self.challenge(request)),
            Request::Session(opening) => self.open_session(&opening),
            Request::Records(records) => return self.deliver(&records),
            Request::Revocations => self.revocations().map(Ok),
            Request::Admin(order) => self.admin(&order),
        };
        answer.map(Reply::from)
    }

    /// Drops what was read before a transaction that was undone.
    fn forget(&mut self) {
        self.beacon = None;
        self.revocations = None;
        if let Err(error) = self.read_pins() {
            log::error!("{}", chain(&error));
        }
    }

    /// Trusts what the trust file pins and what was pinned by hand.
    fn read_pins(&mut self) -> Result<(), StoreError> {
        let by_hand = self.parts.store.pins()?;
        self.parts.trust.pinned_nodes = self.file_pins.iter().copied().chain(by_hand).collect();
        Ok(())
    }

    /// The revocation list, signed.
    fn revocations(&mut self) -> Result<Vec<u8>, StoreError> {
        if self.revocations.is_none() {
            let list = self.parts.store.revocations()?;
            self.revocations = Some(self.seal(Kind::Revocations, &list));
        }
        Ok(self.revocations.clone().unwrap_or_default())
    }

    /// Carries out an administrator's order.
    fn admin(&mut self, order: &Order) -> Result<Answer, StoreError> {
        let done = admin::apply(&self.parts.store, &self.parts.trust, order, self.now_ms())?;
        self.revocations = None;
        self.read_pins()?;
        Ok(Ok(cbor::to_vec(&done)))
    }

    fn now_ms(&self) -> u64 {
        (self.parts.clock)()
    }

    fn validator_id(&self) -> Digest {
        self.parts.key.verifying_key().validator_id()
    }

    /// Signs something that the validator says.
    fn seal<T: minicbor::Encode<()>>(&self, kind: Kind, message: &T) -> Vec<u8> {
        Envelope::seal(kind, self.validator_id(), message, &self.parts.key, &self.parts.trust.network)
    }

    /// The same record and time give the same receipt, byte for byte: Ed25519 is deterministic.
    fn receipt(&self, receipt: &BeatReceipt) -> Vec<u8> {
        self.seal(Kind::BeatReceipt, receipt)
    }

    /// This round's beacon, made and stored when it is first asked for.
    ///
    /// A clock that steps back doesn't bring back an old round: the newest stands.
    fn newest_beacon(&mut self) -> Result<Answer, StoreError> {
        let period = self.parts.trust.beacon_period_ms.max(1);
        let round = self.now_ms() / period;
        if self.beacon.is_none() {
            self.beacon = self.parts.store.newest_beacon()?;
        }
        if let Some((newest, bytes)) = &self.beacon
            && *newest >= round
        {
            return Ok(Ok(bytes.clone()));
        }
        let Ok(randomness) = self.parts.beacons.randomness(round) else {
            return Ok(Err(Refused::new(503, "beacon.source", "no randomness for this round")));
        };
        let beacon = Beacon { round, time_ms: round * period, randomness };
        let bytes = self.seal(Kind::Beacon, &beacon);
        self.parts.store.insert_beacon(round, &bytes)?;
        self.beacon = Some((round, bytes.clone()));
        Ok(Ok(bytes))
    }
}
