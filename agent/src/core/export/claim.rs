//! The uptime claim: the newest sessions of the ledger, with everything needed to check them.

use std::collections::{BTreeMap, BTreeSet};

use assay_appraisal::{Policy, Trust, TrustedValidator, claim_totals};
use assay_ledger::ByteVec;
use assay_ledger::anchor::Anchor;
use assay_ledger::beacon::BeaconName;
use assay_ledger::beat::Beat;
use assay_ledger::claim::{Claim, SessionRecords};
use assay_ledger::session::Evidence;
use assay_ledger::uptime::TimeRules;
use assay_wire::{Digest, Envelope, Kind, WireError};

use super::{ExportFault, Made, evidence_of};
use crate::core::clock;
use crate::core::node::Node;
use crate::ledger::{Ledger, Stored};

/// The records of a claim fill at most this much: an envelope holds 4 MiB.
const BUDGET: usize = 3_500 << 10;

/// One session's part of a claim.
struct Part {
    records: SessionRecords,
    /// The beacons that it names.
    beacons: BTreeMap<BeaconName, (u64, Vec<u8>)>,
}

impl Part {
    fn size(&self) -> usize {
        let records = &self.records;
        let lists = [&records.beats, &records.anchors, &records.receipts, &records.jobs];
        let listed = lists.into_iter().flatten().chain(&records.end).map(|bytes| bytes.len() + 3);
        let beacons = self.beacons.values().map(|(_, bytes)| bytes.len() + 3);
        records.evidence.len() + 64 + listed.sum::<usize>() + beacons.sum::<usize>()
    }
}

/// The claim of the running session and those before it.
pub(super) async fn claim(node: &Node) -> Made {
    let (id, mut claim) = gather(node)?;
    let (trust, policy) = (trust(node), policy());
    let now_ms = clock::unix_ms();
    // Thousands of signatures: not on the thread that beats.
    let sums = tokio::task::spawn_blocking(move || {
        let (powered_s, reachable_s) =
            policy.map_or((0, 0), |policy| claim_totals(&claim, &trust, &policy, now_ms));
        (claim.powered_s, claim.reachable_s) = (powered_s, reachable_s);
        claim
    });
    let claim = sums.await.map_err(|_| ExportFault::Sums)?;
    let session = node.session.borrow();
    let session = session.as_ref().filter(|session| session.id == id).ok_or(ExportFault::NoSession)?;
    Ok((Kind::Claim, session.seal(Kind::Claim, &claim)))
}

/// The sessions, newest first, as long as they fit; then turned into the order of time.
fn gather(node: &Node) -> Result<(Digest, Claim), ExportFault> {
    let session = node.session.borrow();
    let session = session.as_ref().ok_or(ExportFault::NoSession)?;
    let ledger = node.ledger.borrow();
    let newest = newest(&ledger, &session.id)?;
    let mut left = BUDGET.saturating_sub(newest.size());
    let mut parts = vec![newest];
    let earlier = ledger.sessions()?.into_iter().filter(|row| row.accepted && row.id != session.id);
    for row in earlier {
        let stored = usize::try_from(ledger.size(&row.id)?).unwrap_or(usize::MAX);
        if stored > left {
            break;
        }
        let part = part(&ledger, &row.id, usize::MAX)?;
        match left.checked_sub(part.size()) {
            Some(rest) => left = rest,
            None => break,
        }
        parts.push(part);
    }
    parts.reverse();
    Ok((session.id, assemble(session.start.node, parts)))
}

/// The running session: all of it, or its beginning when it is too long by itself.
fn newest(ledger: &Ledger, id: &Digest) -> Result<Part, ExportFault> {
    let mut budget = BUDGET;
    loop {
        let part = part(ledger, id, budget)?;
        if part.size() <= BUDGET || budget < 1 << 10 {
            return Ok(part);
        }
        // Receipts and beacons come on top of beats; their share differs from node to node.
        budget = budget / 4 * 3;
    }
}

fn assemble(node: Digest, parts: Vec<Part>) -> Claim {
    let mut sessions = Vec::with_capacity(parts.len());
    let mut beacons = BTreeMap::new();
    for part in parts {
        sessions.push(part.records);
        beacons.extend(part.beacons.into_iter().map(|(name, (round, bytes))| ((round, name), bytes)));
    }
    let beacons = beacons.into_values().map(ByteVec::from).collect();
    Claim { node, beacons, sessions, powered_s: 0, reachable_s: 0 }
}

/// A session's records up to the last beat that fits, and what was said of them.
fn part(ledger: &Ledger, id: &Digest, budget: usize) -> Result<Part, ExportFault> {
    let beats = ledger.beats(id, budget)?;
    let last = beats.last().map(|beat| beat.seq).unwrap_or_default();
    let whole = ledger.head(id)?.seq == last;
    let until = |kind| -> Result<Vec<Stored>, ExportFault> {
        let records = ledger.records(id, kind)?;
        Ok(records.into_iter().filter(|record| record.seq <= last).collect())
    };
    let (anchors, jobs) = (until(Kind::Anchor)?, distinct(until(Kind::JobReceipt)?));
    let end = if whole { until(Kind::SessionEnd)?.pop() } else { None };
    let evidence = evidence_of(ledger, id)?;
    let beacons = beacons(ledger, &named(&evidence, &beats, &anchors)?)?;
    let bytes = |records: Vec<Stored>| records.into_iter().map(|record| record.bytes.into()).collect();
    let receipts = ledger.receipts(id, last, None)?.into_iter().map(ByteVec::from).collect();
    let records = SessionRecords {
        evidence,
        beats: bytes(beats),
        anchors: bytes(anchors),
        receipts,
        end: end.map(|end| end.bytes.into()),
        jobs: bytes(jobs),
    };
    Ok(Part { records, beacons })
}

/// Two runs of one job leave two receipts; one receipt stored twice is one.
fn distinct(jobs: Vec<Stored>) -> Vec<Stored> {
    let mut seen = BTreeSet::new();
    jobs.into_iter().filter(|job| seen.insert(job.hash)).collect()
}

/// The beacons that a session's records name.
fn named(evidence: &[u8], beats: &[Stored], anchors: &[Stored]) -> Result<BTreeSet<BeaconName>, WireError> {
    let evidence: Evidence = Envelope::decode_as(Kind::Evidence, evidence)?.message()?;
    let mut named = BTreeSet::from([evidence.session.beacon.into()]);
    for beat in beats {
        let beat: Beat = Envelope::decode_as(Kind::Beat, &beat.bytes)?.message()?;
        named.insert(beat.beacon);
    }
    for anchor in anchors {
        let anchor: Anchor = Envelope::decode_as(Kind::Anchor, &anchor.bytes)?.message()?;
        named.insert(anchor.beacon.into());
    }
    Ok(named)
}

fn beacons(
    ledger: &Ledger,
    named: &BTreeSet<BeaconName>,
) -> Result<BTreeMap<BeaconName, (u64, Vec<u8>)>, ExportFault> {
    let beacon = |name: &BeaconName| {
        let stored = ledger.beacon(name)?.ok_or(ExportFault::Missing("beacon that a record names"))?;
        Ok((*name, stored))
    };
    named.iter().map(beacon).collect()
}

/// Whom this node reports to, as a trust file that asks the most: a claim must not state more than its
/// strictest reader finds.
fn trust(node: &Node) -> Trust {
    let trusted = |validator: &crate::core::client::Validator| {
        let name = validator.name.clone();
        (validator.id, TrustedValidator { operator: name.clone(), name, key: validator.key() })
    };
    Trust {
        validators: node.validators.iter().map(trusted).collect(),
        receipt_threshold: node.validators.len(),
        beacon_period_ms: 1,
        anchor_per_mille: node.config.network.anchor_per_mille,
        ..Trust::of(node.network.clone())
    }
}

/// Takes every node, and counts time by the tightest of the shipped rules.
fn policy() -> Option<Policy> {
    let shipped: Vec<Policy> = Policy::BUILTIN.iter().filter_map(|(name, _)| Policy::builtin(name)).collect();
    let least = |rule: fn(&TimeRules) -> u64| shipped.iter().map(|policy| rule(&policy.time)).min();
    let time = TimeRules {
        max_gap_ms: least(|time| time.max_gap_ms)?,
        window_ms: least(|time| time.window_ms)?,
        anchor_delay_ms: least(|time| time.anchor_delay_ms)?,
    };
    Some(Policy { time, ..Policy::builtin("development")? })
}
