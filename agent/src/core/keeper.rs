//! The keeper of sessions: opens one, beats, and opens the next when it is lost.
//!
//! A session is opened when the TPM answers, a validator challenges, and everything
//! of earlier sessions is delivered, so that the validator knows the head that the new
//! one continues. Once open it goes on without either.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use assay_attester::Identity;
use assay_ledger::session::{BootLogs, ImaQuote, SessionEnd, ima_extra_data};
use assay_wire::{Digest, Kind, VerifyingKey};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::client::Validator;
use super::devices::Reporters;
use super::enrol::{self, Enrolled, Ours};
use super::keys::SessionKeys;
use super::node::Node;
use super::open::{OpenFault, Opening};
use super::status::Severity;
use super::{anchors, beats, clock, devices, endorsement, further, jobs, machine};
use crate::ledger::NewSession;

/// Pauses between tries to open a session.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The same after a refusal: each refused session stays in the ledger with its logs.
const LONGEST_REFUSED: Duration = Duration::from_secs(300);
/// How long a new session waits for its validator's word before it beats without it.
const WORD: Duration = Duration::from_secs(5);
/// How long an orderly end waits for its delivery.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long an orderly end waits for jobs to be stopped and accounted for.
const JOBS_END: Duration = Duration::from_secs(10);

/// Keeps a session open until `stop` says otherwise, then ends it in order.
pub(super) async fn keep(node: Rc<Node>, mut stop: watch::Receiver<bool>) {
    let mut pause = FIRST_PAUSE;
    while !*stop.borrow_and_update() {
        let stopped = tokio::select! {
            _ = stop.changed() => true,
            attempted = attempt(&node) => {
                pause = attempted.pause(pause);
                false
            }
        };
        if stopped {
            break;
        }
        if node.session.borrow().is_some() {
            run(&node, &mut stop).await;
        }
        if !*stop.borrow() {
            // A refused session is not tried again at once.
            tokio::select! { () = sleep(pause) => {}, _ = stop.changed() => {} }
        }
    }
    end(&node).await;
}

/// What came of an attempt to open a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Open,
    Refused,
    Failed,
}

impl Attempt {
    /// The pause before the next attempt, after one of `last`.
    fn pause(self, last: Duration) -> Duration {
        match self {
            Self::Open => FIRST_PAUSE,
            Self::Refused => (last * 2).min(LONGEST_REFUSED),
            Self::Failed => (last * 2).min(LONGEST_PAUSE),
        }
    }
}

/// Tries once to open a session.
async fn attempt(node: &Rc<Node>) -> Attempt {
    match open(node).await {
        Ok(id) if accepted(node, &id).await => Attempt::Open,
        Ok(_) => Attempt::Refused,
        Err(fault) => {
            tell(node, &fault);
            Attempt::Failed
        }
    }
}

fn tell(node: &Node, fault: &OpenFault) {
    match fault {
        OpenFault::Tpm(fault) => node.raise(fault.code, Severity::Error, fault.text.clone()),
        OpenFault::Exchange(fault) => match fault.final_refusal() {
            Some(_) => node.raise("validator.refused", Severity::Error, fault.to_string()),
            None => log::debug!("no session yet: {fault}"),
        },
        OpenFault::Ledger(_) => {}
        OpenFault::Record(_) | OpenFault::Random(_) => {
            node.raise("session.none", Severity::Error, fault.to_string());
        }
    }
}

/// Opens a session and stores its evidence.
async fn open(node: &Rc<Node>) -> Result<Digest, OpenFault> {
    let identity = node.watch_tpm(node.identity().await)?;
    let validator = online(node).await;
    node.renewal.set(None);
    let identity = endorsement::complete(node, identity).await;
    let keys = SessionKeys::generate()?;
    let public = (keys.sign.verifying_key(), keys.sealing_public());
    let enrolled = enrolled(node, validator, &identity, public).await?;
    let further = further::records(node, &identity, public).await;
    let challenge = validator.challenge(&node.port, enrolled.node).await?;
    let (logs, ima) = logs(node, ima_extra_data(&challenge, &enrolled.node)).await;
    let gpus = match &node.gpus {
        Some(gpus) => gpus.open_session().await,
        None => Vec::new(),
    };
    let opening = Opening {
        config: &node.config,
        enrolled: &enrolled,
        challenge,
        beacon: node.beacon.get().map(|beacon| beacon.hash).unwrap_or_default(),
        previous: node.ledger.borrow().previous()?,
        gpus,
        reporters: node.gpus.as_ref().map(|gpus| Reporters { gpus, ak_public: &identity.ak_public }),
        logs,
        ima,
        further,
    };
    let (session, evidence) = node.watch_tpm(opening.attest(keys, &node.network, &node.tpm).await)?;
    devices::tell(node);
    let (id, key) = (session.id, session.start.key);
    let new = NewSession { id, key, evidence: &evidence, local: false, opened_ms: clock::unix_ms() };
    let stored = node.ledger.borrow_mut().add_session(&new);
    node.watch_ledger(stored)?;
    node.clear("session.none");
    *node.session.borrow_mut() = Some(session);
    node.stored.send_replace(());
    log::info!("opened session {id}");
    Ok(id)
}

/// What this boot logged, and the TPM's word on the log of IMA. What can't be taken is left out, and said.
async fn logs(node: &Node, over_ima: Digest) -> (BootLogs, Option<ImaQuote>) {
    let boot = &node.config.boot;
    let (mut logs, fault) = machine::boot_logs(boot);
    let ima = machine::add_ima_log(&mut logs, boot, &node.tpm, over_ima).await;
    let (ima, ima_fault) = match ima {
        Ok(ima) => (ima, None),
        Err(fault) => (None, Some(fault)),
    };
    for (code, fault) in [("boot.log", fault), ("boot.ima-log", ima_fault)] {
        match fault {
            Some(fault) => node.raise(code, Severity::Warning, fault.to_string()),
            None => node.clear(code),
        }
    }
    (logs, ima)
}

/// Waits for a beacon and for the first validator to have all of earlier sessions.
async fn online(node: &Node) -> &Validator {
    let mut delivered = node.delivered.subscribe();
    loop {
        if let Some(validator) = node.validators.first() {
            let empty = node.ledger.borrow().unsent(&validator.id).is_ok_and(|unsent| unsent == 0);
            if empty && node.beacon.get().is_some() {
                return validator;
            }
        }
        // Beacons do not notify; they come every second or so.
        let _ = timeout(Duration::from_millis(250), delivered.changed()).await;
    }
}

/// The enrolment record from the ledger, or a new one.
async fn enrolled(
    node: &Node,
    validator: &Validator,
    identity: &Arc<Identity>,
    keys: (VerifyingKey, Digest),
) -> Result<Enrolled, OpenFault> {
    let check = |bytes: &[u8]| enrol::check(bytes, &validator.key(), &Ours::of(node, identity));
    let known = node.ledger.borrow().enrolment(&validator.id)?;
    match known.as_deref().map(check) {
        Some(Ok(enrolled)) => return Ok(enrolled),
        Some(Err(why)) => log::info!("enrolling again: {why}"),
        None => log::info!("enrolling with validator {}", validator.name),
    }
    let request = enrol::request(node, identity, keys);
    let bytes = enrol::enrol(validator, &node.port, &node.tpm, &request).await?;
    let enrolled = check(&bytes).map_err(OpenFault::Record)?;
    let stored = node.ledger.borrow_mut().set_enrolment(&validator.id, &bytes);
    node.watch_ledger(stored)?;
    log::info!("enrolled as node {}", enrolled.node);
    Ok(enrolled)
}

/// Waits a moment for what the validator says of a new session; false when it refused.
async fn accepted(node: &Node, id: &Digest) -> bool {
    let Some(validator) = node.validators.first() else { return false };
    let mut delivered = node.delivered.subscribe();
    let word = async {
        loop {
            if node.ledger.borrow().session(id).ok().flatten().is_some_and(|row| row.accepted) {
                return true;
            }
            if matches!(node.ledger.borrow().refusal(&validator.id, id), Ok(Some(_))) {
                return false;
            }
            let _ = delivered.changed().await;
        }
    };
    // Silence is not a refusal: the session beats, and its evidence waits in the outbox.
    let accepted = timeout(WORD, word).await.unwrap_or(true);
    if !accepted {
        *node.session.borrow_mut() = None;
    }
    accepted
}

/// Beats until the session is lost or the node stops.
async fn run(node: &Rc<Node>, stop: &mut watch::Receiver<bool>) {
    // The beacon under which the session was opened may ask for an anchor itself.
    anchors::anchor_if_due(node);
    let mut ticks = interval(Duration::from_millis(node.config.cadence.beat_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                watch_gpus(node);
                beats::beat(node);
            }
            () = node.lost.notified() => {
                if let Some(why) = node.renewal.take() {
                    log::info!("{why}: ending the session and opening another one");
                    end_session(node);
                    return;
                }
                if is_lost(node) {
                    log::warn!("the session was lost; opening another one");
                    *node.session.borrow_mut() = None;
                    return;
                }
            }
            _ = stop.changed() => return,
        }
    }
}

/// Whether the first validator has refused the open session: a notice may be of an earlier one.
fn is_lost(node: &Node) -> bool {
    let session = node.session.borrow();
    let (Some(session), Some(validator)) = (session.as_ref(), node.validators.first()) else { return false };
    matches!(node.ledger.borrow().refusal(&validator.id, &session.id), Ok(Some(_)))
}

/// What the GPU library says of itself, as a health item.
fn watch_gpus(node: &Node) {
    use assay_inventory::nvml::GpuStatus;
    let Some(status) = node.gpus.as_ref().and_then(|gpus| gpus.library()) else { return };
    let severity = match status {
        GpuStatus::Ready => return node.health.borrow_mut().clear_area("gpu"),
        GpuStatus::LibraryMissing { .. } | GpuStatus::DriverNotLoaded => Severity::Info,
        _ => Severity::Warning,
    };
    let text = match status.hint() {
        Some(hint) => format!("{status}; {hint}"),
        None => status.to_string(),
    };
    let mut health = node.health.borrow_mut();
    health.clear_others("gpu", status.code());
    health.raise(status.code(), severity, text);
}

/// Stops jobs, says where the chain ends, and waits a moment for its delivery.
async fn end(node: &Node) {
    jobs::stop_all(node, JOBS_END).await;
    if end_session(node) {
        node.wait_delivered(FAREWELL).await;
    }
}

/// Says where the open session's chain ends; false when none is open.
fn end_session(node: &Node) -> bool {
    let Some(session) = node.session.borrow_mut().take() else { return false };
    let (seq, head) = (session.head.seq, session.head.head);
    let end = SessionEnd { seq, head, mono_ms: clock::boot_ms().max(session.mono_ms) };
    // A full disk: then the session ends where its last beat is.
    let _ = node.store(&session.id, Kind::SessionEnd, seq, &session.seal(Kind::SessionEnd, &end));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_bound_and_end_with_success() {
        let after = |attempt: Attempt, times: usize| {
            (0..times).fold(FIRST_PAUSE, |pause, _| attempt.pause(pause)).as_secs()
        };
        assert_eq!((after(Attempt::Failed, 3), after(Attempt::Failed, 20)), (8, 60));
        assert_eq!((after(Attempt::Refused, 3), after(Attempt::Refused, 20)), (8, 300));
        assert_eq!(Attempt::Open.pause(LONGEST_REFUSED), FIRST_PAUSE);
    }
}
