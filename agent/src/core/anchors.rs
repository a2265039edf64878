//! Beacons, and the anchors that they ask for.

use std::rc::Rc;
use std::time::Duration;

use assay_ledger::anchor::{Anchor, AnchorPoint, extra_data};
use assay_ledger::beacon::{Beacon, VerifiedBeacon, anchor_due};
use assay_wire::{Domain, Kind};
use tokio::time::{sleep, timeout};

use super::boot_state::BootState;
use super::client::ExchangeFault;
use super::clock;
use super::node::Node;
use super::open::{attest, attested, attested_quote};
use super::status::Severity;
use super::tpm::TpmFault;

/// Bounds of the pause between two questions for a beacon, in ms.
const POLL_MS: (u64, u64) = (1000, 10_000);

/// How long link may take to connect before its absence is a health item.
const LINK_GRACE: Duration = Duration::from_secs(3);
const LINK_POLL: Duration = Duration::from_millis(20);

/// Asks for beacons forever, and anchors where one picks this node.
pub(super) async fn follow(node: Rc<Node>) {
    let connect = async {
        while !node.port.is_connected() {
            sleep(LINK_POLL).await;
        }
    };
    // Link starts beside core: its absence is worth a word only after a moment.
    let _ = timeout(LINK_GRACE, connect).await;
    loop {
        poll(&node).await;
        anchor_if_due(&node);
        sleep(pause(node.beacon.get().map(|verified| verified.beacon))).await;
    }
}

/// A quarter of a round, which a beacon tells by its number and its time, within [`POLL_MS`].
fn pause(beacon: Option<Beacon>) -> Duration {
    let round_ms = beacon.and_then(|beacon| beacon.time_ms.checked_div(beacon.round)).unwrap_or_default();
    Duration::from_millis((round_ms / 4).clamp(POLL_MS.0, POLL_MS.1))
}

async fn poll(node: &Node) {
    let Some(validator) = node.validators.first() else { return };
    let outcome = validator.beacon(&node.port).await;
    node.watch_link(&outcome);
    let Ok((beacon, bytes)) = outcome else { return };
    let newer = node.beacon.get().is_none_or(|known| beacon.beacon.round > known.beacon.round);
    if !newer {
        return;
    }
    let stored = node.ledger.borrow_mut().add_beacon(&beacon.hash, beacon.beacon.round, &bytes);
    // A beat names only a beacon that the ledger has, or no claim could show it.
    if node.watch_ledger(stored).is_ok() {
        node.beacon.set(Some(beacon));
    }
}

impl Node {
    /// Whether the way to the first validator is open, as health items.
    fn watch_link<T>(&self, outcome: &Result<T, ExchangeFault>) {
        match self.port.is_connected() {
            true => self.clear("link.offline"),
            false => {
                self.raise("link.offline", Severity::Error, "link is not running; start assay-agent link")
            }
        }
        match outcome {
            Ok(_) => self.clear("validator.offline"),
            Err(error) => {
                let name = self.validators.first().map(|v| v.name.as_str()).unwrap_or_default();
                let text = format!("validator {name}: {error}");
                self.raise("validator.offline", Severity::Warning, text);
            }
        }
    }
}

/// Starts an anchor when the newest beacon picks this node and the session has none in its slot.
pub(super) fn anchor_if_due(node: &Rc<Node>) {
    let Some(beacon) = node.beacon.get() else { return };
    let mut slot = node.session.borrow_mut();
    let Some(session) = slot.as_mut().filter(|session| session.anchored != Some(beacon.hash)) else { return };
    let per_mille = node.config.network.anchor_per_mille;
    if !anchor_due(&beacon.beacon.randomness, &session.start.node, per_mille) {
        return;
    }
    session.anchored = Some(beacon.hash);
    let node = Rc::clone(node);
    tokio::task::spawn_local(async move { anchor(&node, beacon).await });
}

async fn anchor(node: &Node, beacon: VerifiedBeacon) {
    let outcome = node.watch_tpm(make(node, beacon).await);
    if outcome.is_err() {
        // The slot is still open: the next poll tries again.
        let mut slot = node.session.borrow_mut();
        if let Some(session) = slot.as_mut().filter(|session| session.anchored == Some(beacon.hash)) {
            session.anchored = None;
        }
    }
}

pub(super) async fn make(node: &Node, beacon: VerifiedBeacon) -> Result<(), TpmFault> {
    let Some((id, point)) = point(node, beacon) else { return Ok(()) };
    let over = |domain| extra_data(domain, &id, &point);
    let (time, quote) = attest(&node.tpm, over(Domain::AnchorTime), over(Domain::AnchorQuote)).await?;
    let slot = node.session.borrow();
    // The session may have ended meanwhile, and its anchor with it.
    let Some(session) = slot.as_ref().filter(|session| session.id == id) else { return Ok(()) };
    let AnchorPoint { seq, head, beacon, mono_ms } = point;
    let now = BootState::of(&time.attest, &quote.attest);
    if let Some(why) = session.boot.as_ref().zip(now.as_ref()).and_then(|(then, now)| then.ended_by(now)) {
        drop(slot);
        node.renew(why);
        return Ok(());
    }
    let anchor = Anchor { seq, head, beacon, mono_ms, time: attested(time), quote: attested_quote(quote) };
    // A ledger that takes nothing is a health item already.
    if node.store(&id, Kind::Anchor, seq, &session.seal(Kind::Anchor, &anchor)).is_ok() {
        log::info!("anchored at beat {seq}");
    }
    Ok(())
}

/// Where the chain stands now.
fn point(node: &Node, beacon: VerifiedBeacon) -> Option<(assay_wire::Digest, AnchorPoint)> {
    let slot = node.session.borrow();
    let session = slot.as_ref()?;
    let point = AnchorPoint {
        seq: session.head.seq,
        head: session.head.head,
        beacon: beacon.hash,
        mono_ms: clock::boot_ms(),
    };
    Some((session.id, point))
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_wire::Digest;

    #[test]
    fn a_round_is_asked_for_four_times_within_bounds() {
        let every = |round_ms: u64| {
            let beacon = Beacon { round: 1000, time_ms: 1000 * round_ms, randomness: Digest([0; 32]) };
            pause(Some(beacon)).as_millis()
        };
        assert_eq!([every(60_000), every(8_000), every(100), every(600_000)], [10_000, 2_000, 1000, 10_000]);
        assert_eq!(pause(None).as_millis(), 1000);
        let first = Beacon { round: 0, time_ms: 5, randomness: Digest([0; 32]) };
        assert_eq!(pause(Some(first)).as_millis(), 1000);
    }
}
