//! Beats: signed, stored, and only then the business of whoever delivers.

use assay_ledger::beat::{Beat, flags};
use assay_wire::{Domain, Kind, hash};

use super::gpus::Gpus;
use super::node::Node;
use super::{clock, machine};

/// Adds one beat to the open session's chain; nothing when no session is open.
///
/// A beat that could not be stored was not made: the next one takes its place and its samples.
pub(super) fn beat(node: &Node) {
    machine::watch_pressure(node);
    let mut slot = node.session.borrow_mut();
    let Some(session) = slot.as_mut() else { return };
    let gathered = || node.gpus.as_ref().map(Gpus::beat).unwrap_or_default();
    let part = session.unstored.take().unwrap_or_else(gathered);
    let online = node.validators.first().is_some_and(|validator| validator.is_connected());
    let mono_ms = clock::boot_ms().max(session.mono_ms);
    let beat = Beat {
        seq: session.head.seq + 1,
        prev: session.head.head,
        mono_ms,
        beacon: node.beacon.get().map_or(session.start.beacon, |beacon| beacon.hash).into(),
        samples: part.samples,
        gpus: part.lines.clone(),
        jobs: node.jobs.borrow().since_beat(),
        flags: part.flags | if online { 0 } else { flags::OFFLINE },
    };
    let bytes = session.seal(Kind::Beat, &beat);
    if node.store(&session.id, Kind::Beat, beat.seq, &bytes).is_ok() {
        session.head.seq = beat.seq;
        session.head.head = hash(Domain::Envelope, &[&bytes]);
        session.mono_ms = mono_ms;
        node.jobs.borrow_mut().beat_stored();
        return;
    }
    session.unstored = Some(part);
    // A commit that failed late may have reached the disk after all; the ledger knows.
    match node.ledger.borrow().head(&session.id) {
        Ok(head) if head.seq > session.head.seq => {
            (session.head, session.mono_ms, session.unstored) = (head, mono_ms, None);
        }
        Ok(_) | Err(_) => {}
    }
}
