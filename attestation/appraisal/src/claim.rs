//! Claims: everything recomputed from the records, nothing taken from the node's sums.

use std::collections::{BTreeMap, BTreeSet};

use assay_ledger::anchor::{Anchor, TpmInstant};
use assay_ledger::beacon::{BeaconName, anchor_due};
use assay_ledger::chain::{Chain, VerifiedBeat};
use assay_ledger::claim::{Claim, SessionRecords};
use assay_ledger::receipt::Subject;
use assay_ledger::session::{Head, SessionEnd};
use assay_ledger::uptime::{AnchorTime, BeatTime, Credit, Gap, GapReason, powered, reachable};
use assay_wire::{Digest, Envelope, Kind, WireError};

use crate::appraise::{Appraisal, Basis};
use crate::axes::Axes;
use crate::facts::{Facts, GapFacts, UptimeFacts};
use crate::finding::{Check, Findings, Severity};
use crate::job::{job_facts, read_job};
use crate::measure::{
    Beacons, Receipt, anchor_time, beat_times, read_beacons, read_receipts, record_not_after,
};
use crate::policy::Policy;
use crate::session::{AppraisedSession, appraise_evidence};
use crate::state::State;
use crate::telemetry::{Totals, appraise_telemetry};
use crate::trust::Trust;

const FORM: Check = Check { id: "claim.form", spec: "DESIGN 4.6", checked: "the claim decodes" };
const SIGNATURE: Check =
    Check { id: "claim.signature", spec: "RFC 9052 4.4", checked: "the claim is signed by its last session" };
const BEACONS: Check = Check {
    id: "claim.beacons",
    spec: "DESIGN 4.4",
    checked: "every beacon is by a validator in the trust file",
};
const ONE_NODE: Check =
    Check { id: "claim.node", spec: "DESIGN 4.1", checked: "every session is of the claim's node" };
const ORDER: Check = Check {
    id: "claim.order",
    spec: "DESIGN 4.3",
    checked: "each session goes on where the one before it ended",
};
const CHAIN: Check =
    Check { id: "chain.unbroken", spec: "DESIGN 4.3", checked: "beats are one unbroken, signed chain" };
const RECEIPTS: Check = Check {
    id: "receipts.signature",
    spec: "DESIGN 4.4",
    checked: "receipts are by validators in the trust file",
};
const FORK: Check = Check {
    id: "receipts.match",
    spec: "DESIGN 4.3",
    checked: "validators saw these very records and no others",
};
const NAMED: Check =
    Check { id: "chain.beacon", spec: "DESIGN 4.4", checked: "each record names a beacon of the claim" };
const ANCHOR: Check = Check {
    id: "anchor.attested",
    spec: "TPM 2.0 Part 2 10.12",
    checked: "anchors are the TPM's word on this chain",
};
const SLOT: Check = Check {
    id: "anchor.slot",
    spec: "DESIGN 4.3",
    checked: "anchors fall in slots that their beacon picked",
};
const MISSED: Check =
    Check { id: "anchor.missed", spec: "DESIGN 4.3", checked: "every slot that asked for an anchor got one" };
const ANCHOR_ORDER: Check = Check {
    id: "anchor.order",
    spec: "TPM 2.0 Part 1 36",
    checked: "anchors come in the order of the TPM's time",
};
const ONCE: Check =
    Check { id: "claim.jobs", spec: "DESIGN 4.4", checked: "every job receipt is there once" };
const END: Check = Check { id: "session.end", spec: "DESIGN 4.3", checked: "the end names the chain's head" };
const STATED: Check =
    Check { id: "claim.stated", spec: "DESIGN 4.4", checked: "the records prove what the claim states" };
const OVERLAP: Check =
    Check { id: "claim.overlap", spec: "DESIGN 4.3", checked: "no two sessions ran at once" };

/// Appraises an uptime claim.
pub(crate) fn appraise_claim(bytes: &[u8], basis: Basis<'_>) -> Result<Appraisal, WireError> {
    let envelope = Envelope::decode_as(Kind::Claim, bytes)?;
    let mut findings = Findings::default();
    let claim: Result<Claim, _> = envelope.message();
    let measured = match findings.result(FORM, format!("{} bytes", bytes.len()), claim) {
        Some(claim) => measure(&claim, Some(&envelope), basis, &mut findings),
        None => None,
    };
    let axes = measured.as_ref().map(|m| m.axes);
    let facts = measured.map(|m| m.facts).unwrap_or_default();
    let dated_ms = facts.uptime.as_ref().map(|uptime| uptime.to_ms);
    Ok(Appraisal::conclude((Kind::Claim, dated_ms), axes, findings, facts, basis))
}

/// Powered and reachable seconds that a claim's records prove: what its exporter states.
///
/// Zero for a claim that would be rejected.
pub fn claim_totals(claim: &Claim, trust: &Trust, policy: &Policy, now_ms: u64) -> (u64, u64) {
    let mut findings = Findings::default();
    let basis = Basis { trust, policy, state: &State::default(), now_ms };
    let measured = measure(claim, None, basis, &mut findings);
    let findings = findings.under(policy);
    let uptime = measured.and_then(|m| m.facts.uptime).filter(|_| !findings.is_fatal());
    uptime.map_or((0, 0), |uptime| (uptime.powered_s, uptime.reachable_s))
}

struct Measured {
    axes: Axes,
    facts: Facts,
}

/// Everything shared by a claim's sessions while they are appraised.
struct Context<'a> {
    trust: &'a Trust,
    policy: &'a Policy,
    beacons: &'a Beacons,
}

/// One session, appraised and measured.
struct MeasuredSession {
    session: AppraisedSession,
    head: Head,
    first_ms: u64,
    last_ms: u64,
    opened_by_ms: Option<u64>,
    last_beacon_ms: u64,
    last_tpm_ms: u64,
    powered: Credit,
    reachable: Credit,
    missed: u64,
    beat_bytes: u64,
}

fn measure(
    claim: &Claim,
    signed: Option<&Envelope>,
    basis: Basis<'_>,
    findings: &mut Findings,
) -> Option<Measured> {
    let Basis { trust, policy, .. } = basis;
    // Who first, then when and what.
    let mut evidence = Vec::with_capacity(claim.sessions.len());
    for records in &claim.sessions {
        let session = appraise_evidence(&records.evidence, basis, findings)?;
        findings.equal(ONE_NODE, claim.node, session.open.node).then_some(())?;
        evidence.push(session);
    }
    let beacons = read_beacons(&claim.beacons, trust);
    let beacons = findings.result(BEACONS, format!("{} beacons", claim.beacons.len()), beacons)?;
    let context = Context { trust, policy, beacons: &beacons };
    let mut totals = BTreeMap::new();
    let mut facts = Facts::default();
    let mut sessions: Vec<MeasuredSession> = Vec::with_capacity(claim.sessions.len());
    for (records, session) in claim.sessions.iter().zip(evidence) {
        let from_ms = sessions.last().map_or(0, |before| before.reachable.until_ms);
        let measured = context.session(records, session, from_ms, &mut totals, &mut facts, findings)?;
        if let Some(before) = sessions.last() {
            follows(before, &measured, findings)?;
        }
        sessions.push(measured);
    }
    let last =
        findings.result(FORM, format!("{} sessions", sessions.len()), sessions.last().ok_or("no session"))?;
    if let Some(envelope) = signed {
        findings.equal(SIGNATURE, last.session.open.id, envelope.kid).then_some(())?;
        let verified = envelope.verify(&last.session.open.start.key, &trust.network);
        findings.result(SIGNATURE, "holds", verified)?;
    }
    let uptime = uptime_facts(&sessions, trust);
    if signed.is_some() {
        stated(claim, &uptime, findings);
    }
    facts.uptime = Some(uptime);
    facts.gpus = totals.iter().map(|(index, total)| total.facts(*index)).collect();
    facts.node = Some(last.session.node.clone());
    // A claim is worth no more than its weakest session.
    let least =
        |axis: fn(&Axes) -> u8| sessions.iter().map(|s| axis(&s.session.axes)).min().unwrap_or_default();
    let axes =
        Axes { identity: least(|a| a.identity), platform: least(|a| a.platform), gpu: least(|a| a.gpu) };
    facts.sessions = sessions.into_iter().map(|s| s.session.facts).collect();
    Some(Measured { axes, facts })
}

impl Context<'_> {
    fn session(
        &self,
        records: &SessionRecords,
        mut session: AppraisedSession,
        from_ms: u64,
        totals: &mut BTreeMap<u8, Totals>,
        facts: &mut Facts,
        findings: &mut Findings,
    ) -> Option<MeasuredSession> {
        let id = session.open.id;
        let mut chain = Chain::new(id, session.open.start.key, session.open.start.mono_ms);
        let envelopes: Vec<&[u8]> = records.beats.iter().map(|beat| beat.as_slice()).collect();
        let extended = chain.extend(&envelopes, &self.trust.network);
        let beats = findings.result(CHAIN, format!("{} beats", records.beats.len()), extended)?;
        let receipts = read_receipts(&records.receipts, &id, self.trust);
        let receipts = findings.result(RECEIPTS, format!("{} receipts", records.receipts.len()), receipts)?;
        self.matches(&receipts, &session, &beats, findings)?;
        let threshold = self.trust.receipt_threshold;
        let times =
            beat_times(&beats, self.beacons, &receipts, threshold).ok_or("a beat's beacon is missing");
        let times = findings.result(NAMED, format!("{} beats", beats.len()), times)?;
        let (instants, slots) = self.anchors(records, &session, &beats, &receipts, findings)?;
        let missed = self.missed(&session, &beats, &slots, findings);
        self.end(records, &session, &chain, findings)?;
        appraise_telemetry(&session.open.start, &beats, totals, findings);
        self.jobs(records, &session, facts, findings)?;
        let (first_ms, last_ms) = bounds(&instants, &times);
        session.facts.beats = chain.seq();
        session.facts.anchors = u64::try_from(slots.len()).unwrap_or(u64::MAX);
        session.facts.ended = records.end.is_some();
        Some(MeasuredSession {
            head: Head { session: id, seq: chain.seq(), head: chain.head() },
            first_ms,
            last_ms,
            opened_by_ms: upper(&instants, &times).min(),
            last_beacon_ms: lower(&instants, &times).max().unwrap_or_default(),
            last_tpm_ms: instants.iter().map(|i| i.tpm_ms).max().unwrap_or_default(),
            powered: powered(&instants, last_ms, &self.policy.time),
            reachable: reachable(&times, from_ms, &self.policy.time),
            missed,
            beat_bytes: records.beats.iter().map(|b| b.len() as u64).sum(),
            session,
        })
    }

    /// A receipt for a beat that is not in the chain, or is another one, shows a second history.
    fn matches(
        &self,
        receipts: &[Receipt<'_>],
        session: &AppraisedSession,
        beats: &[VerifiedBeat],
        findings: &mut Findings,
    ) -> Option<()> {
        for receipt in receipts {
            let expected = match receipt.content.subject {
                Subject::Session => Some(session.open.evidence_hash),
                Subject::Beats => {
                    let at = receipt.content.seq.checked_sub(1).and_then(|at| usize::try_from(at).ok());
                    at.and_then(|at| beats.get(at)).map(|beat| beat.hash)
                }
                Subject::Anchor | Subject::Job | Subject::End => continue,
            };
            if expected != Some(receipt.content.hash) {
                let expected =
                    expected.map_or_else(|| "no such beat in the claim".to_owned(), |hash| hash.short());
                let seen = format!(
                    "{} received beat {} as {}",
                    receipt.operator,
                    receipt.content.seq,
                    receipt.content.hash.short()
                );
                findings.fail(FORK, Severity::Fatal, expected, seen);
                return None;
            }
        }
        findings.pass(FORK, format!("{} receipts", receipts.len()));
        Some(())
    }

    /// The jobs, each once.
    fn jobs(
        &self,
        records: &SessionRecords,
        session: &AppraisedSession,
        facts: &mut Facts,
        findings: &mut Findings,
    ) -> Option<()> {
        for job in &records.jobs {
            let receipt = read_job(job, &session.open, self.trust, findings)?;
            facts.jobs.push(job_facts(&receipt));
        }
        let distinct: BTreeSet<&[u8]> = records.jobs.iter().map(|job| job.as_slice()).collect();
        if distinct.len() != records.jobs.len() {
            findings.fail(ONCE, Severity::Fatal, distinct.len(), records.jobs.len());
            return None;
        }
        Some(())
    }

    /// TPM instants: the opening, then each anchor; and the beacons whose slots were served in time.
    fn anchors(
        &self,
        records: &SessionRecords,
        session: &AppraisedSession,
        beats: &[VerifiedBeat],
        receipts: &[Receipt<'_>],
        findings: &mut Findings,
    ) -> Option<(Vec<AnchorTime>, Vec<BeaconName>)> {
        let threshold = self.trust.receipt_threshold;
        let mut instants = vec![self.opening(session, receipts, findings)?];
        let mut slots = Vec::new();
        for bytes in &records.anchors {
            let checked = self.anchor(bytes, session, beats);
            let (anchor, hash, instant) = findings.result(ANCHOR, "an anchor", checked)?;
            let beacon = findings.result(
                NAMED,
                "an anchor",
                self.beacons.hashed(&anchor.beacon).ok_or("an anchor's beacon is missing"),
            )?;
            if !anchor_due(&beacon.randomness, &session.open.node, self.trust.anchor_per_mille) {
                findings.fail(
                    SLOT,
                    Severity::Fatal,
                    "a slot that the beacon picked",
                    format!("round {}", beacon.round),
                );
                return None;
            }
            let at = anchor_time(&anchor, &hash, instant.time_ms, self.beacons, receipts, threshold)?;
            in_order(instants.last()?, &at, findings)?;
            let width = at.not_after_ms.map(|not_after| not_after.saturating_sub(at.not_before_ms));
            if width.is_some_and(|width| width <= self.policy.time.anchor_delay_ms) {
                slots.push(anchor.beacon.into());
            }
            instants.push(at);
        }
        findings.pass(SLOT, format!("{} anchors", records.anchors.len()));
        Some((instants, slots))
    }

    /// The session's own GetTime, which counts like an anchor.
    fn opening(
        &self,
        session: &AppraisedSession,
        receipts: &[Receipt<'_>],
        findings: &mut Findings,
    ) -> Option<AnchorTime> {
        let open = &session.open;
        let beacon = self.beacons.hashed(&open.start.beacon).ok_or("the session's beacon is missing");
        let beacon = findings.result(NAMED, "the session", beacon)?;
        Some(AnchorTime {
            mono_ms: open.start.mono_ms,
            tpm_ms: open.context.opened.time_ms,
            not_before_ms: beacon.time_ms,
            not_after_ms: record_not_after(
                Subject::Session,
                &open.evidence_hash,
                receipts,
                self.trust.receipt_threshold,
            ),
        })
    }

    fn anchor(
        &self,
        bytes: &[u8],
        session: &AppraisedSession,
        beats: &[VerifiedBeat],
    ) -> Result<(Anchor, Digest, TpmInstant), String> {
        let envelope = Envelope::decode_as(Kind::Anchor, bytes).map_err(|e| e.to_string())?;
        if envelope.kid != session.open.id {
            return Err(format!("of session {}", envelope.kid.short()));
        }
        envelope.verify(&session.open.start.key, &self.trust.network).map_err(|e| e.to_string())?;
        let anchor: Anchor = envelope.message().map_err(|e| e.to_string())?;
        if head_at(anchor.seq, session, beats) != Some(anchor.head) {
            return Err(format!("its head at beat {} is not in the chain", anchor.seq));
        }
        let instant = anchor.check(&session.open.ak, &session.open.context).map_err(|e| e.to_string())?;
        Ok((anchor, envelope.hash(), instant))
    }

    /// Counts the beacons that the chain named, that asked for an anchor, and that got none.
    fn missed(
        &self,
        session: &AppraisedSession,
        beats: &[VerifiedBeat],
        slots: &[BeaconName],
        findings: &mut Findings,
    ) -> u64 {
        let named: BTreeSet<BeaconName> = beats.iter().map(|b| b.beat.beacon).collect();
        let due = |name: &&BeaconName| {
            let beacon = self.beacons.named(name);
            beacon.is_some_and(|b| anchor_due(&b.randomness, &session.open.node, self.trust.anchor_per_mille))
        };
        let asked: Vec<&BeaconName> = named.iter().filter(due).collect();
        let missed = asked.iter().filter(|name| !slots.contains(name)).count();
        match missed {
            0 => findings.pass(MISSED, format!("{} slots", asked.len())),
            _ => findings.fail(
                MISSED,
                Severity::Warning,
                format!("{} slots", asked.len()),
                format!("{missed} missed"),
            ),
        }
        u64::try_from(missed).unwrap_or(u64::MAX)
    }

    fn end(
        &self,
        records: &SessionRecords,
        session: &AppraisedSession,
        chain: &Chain,
        findings: &mut Findings,
    ) -> Option<()> {
        let Some(bytes) = &records.end else { return Some(()) };
        let read = || {
            let envelope = Envelope::decode_as(Kind::SessionEnd, bytes).map_err(|e| e.to_string())?;
            envelope.verify(&session.open.start.key, &self.trust.network).map_err(|e| e.to_string())?;
            let end: SessionEnd = envelope.message().map_err(|e| e.to_string())?;
            let holds = envelope.kid == session.open.id && (end.seq, end.head) == (chain.seq(), chain.head());
            if holds { Ok(()) } else { Err(format!("names beat {}", end.seq)) }
        };
        findings.result(END, format!("beat {}", chain.seq()), read())
    }
}

/// The TPM's time runs forward: an anchor that is told twice or moved would earn twice.
fn in_order(before: &AnchorTime, after: &AnchorTime, findings: &mut Findings) -> Option<()> {
    let holds = before.tpm_ms < after.tpm_ms && before.mono_ms <= after.mono_ms;
    if !holds {
        let after = format!("TPM time {} ms after {} ms", after.tpm_ms, before.tpm_ms);
        findings.fail(ANCHOR_ORDER, Severity::Fatal, "each later than the one before", after);
    }
    holds.then_some(())
}

fn head_at(seq: u64, session: &AppraisedSession, beats: &[VerifiedBeat]) -> Option<Digest> {
    match seq.checked_sub(1) {
        None => Some(session.open.id),
        Some(at) => beats.get(usize::try_from(at).ok()?).map(|beat| beat.hash),
    }
}

/// From the earliest lower to the latest upper bound, in Unix ms.
fn bounds(instants: &[AnchorTime], times: &[BeatTime]) -> (u64, u64) {
    let first = lower(instants, times).min().unwrap_or_default();
    (first, upper(instants, times).max().unwrap_or(first))
}

fn lower(instants: &[AnchorTime], times: &[BeatTime]) -> impl Iterator<Item = u64> {
    instants.iter().map(|i| i.not_before_ms).chain(times.iter().map(|t| t.not_before_ms))
}

fn upper(instants: &[AnchorTime], times: &[BeatTime]) -> impl Iterator<Item = u64> {
    instants.iter().filter_map(|i| i.not_after_ms).chain(times.iter().filter_map(|t| t.not_after_ms))
}

/// The node's word on where it left off must be what this claim shows, and time must not overlap.
fn follows(before: &MeasuredSession, after: &MeasuredSession, findings: &mut Findings) -> Option<()> {
    let seen = after.session.open.start.previous;
    let text = |head: &Head| format!("{} at beat {}", head.session.short(), head.seq);
    let named = seen.as_ref().map_or_else(|| "none".to_owned(), text);
    if seen != Some(before.head) {
        findings.fail(ORDER, Severity::Fatal, text(&before.head), named);
        return None;
    }
    findings.pass(ORDER, named);
    disjoint(before, after, findings)
}

/// A record of the earlier session that names a beacon from after the later one was received, or
/// that holds a later time of the same TPM: both ran, and would be paid for the same time.
fn disjoint(before: &MeasuredSession, after: &MeasuredSession, findings: &mut Findings) -> Option<()> {
    let (was, opened) = (before.session.open.context.opened, after.session.open.context.opened);
    let counts = |i: TpmInstant| (i.reset_count, i.restart_count);
    if counts(was) == counts(opened) && opened.time_ms < before.last_tpm_ms {
        let expected = format!("TPM time after {} ms", before.last_tpm_ms);
        findings.fail(OVERLAP, Severity::Fatal, expected, format!("{} ms", opened.time_ms));
        return None;
    }
    if let Some(by) = after.opened_by_ms.filter(|by| *by < before.last_beacon_ms) {
        let expected = format!("after {} ms", before.last_beacon_ms);
        findings.fail(OVERLAP, Severity::Fatal, expected, format!("{by} ms"));
        return None;
    }
    findings.pass(OVERLAP, "one after the other");
    Some(())
}

fn stated(claim: &Claim, uptime: &UptimeFacts, findings: &mut Findings) {
    let proven = format!("{} s powered, {} s reachable", uptime.powered_s, uptime.reachable_s);
    let stated = format!("{} s powered, {} s reachable", claim.powered_s, claim.reachable_s);
    match claim.powered_s <= uptime.powered_s && claim.reachable_s <= uptime.reachable_s {
        true => findings.pass(STATED, stated),
        false => findings.fail(STATED, Severity::Fatal, format!("at most {proven}"), stated),
    }
}

fn uptime_facts(sessions: &[MeasuredSession], trust: &Trust) -> UptimeFacts {
    let sum = |part: fn(&MeasuredSession) -> u64| sessions.iter().map(part).fold(0, u64::saturating_add);
    let beats = sum(|s| s.head.seq);
    let first = sessions.iter().map(|s| s.first_ms).min().unwrap_or_default();
    let last = sessions.iter().map(|s| s.last_ms).max().unwrap_or_default();
    UptimeFacts {
        powered_s: sum(|s| s.powered.ms) / 1000,
        reachable_s: sum(|s| s.reachable.ms) / 1000,
        from_ms: first,
        to_ms: last,
        span_s: last.saturating_sub(first) / 1000,
        receipts_t: trust.receipt_threshold,
        receipts_n: trust.operators(),
        beats,
        beat_bytes: sum(|s| s.beat_bytes).checked_div(beats).unwrap_or_default(),
        anchors: sum(|s| s.session.facts.anchors),
        anchors_missed: sum(|s| s.missed),
        powered_gaps: gaps(sessions, |s| &s.powered),
        reachable_gaps: gaps(sessions, |s| &s.reachable),
    }
}

/// A track's gaps in order, with those between sessions.
fn gaps(sessions: &[MeasuredSession], track: fn(&MeasuredSession) -> &Credit) -> Vec<GapFacts> {
    let mut all = Vec::new();
    let mut last: Option<u64> = None;
    for session in sessions {
        if let Some(from_ms) = last.filter(|from| session.first_ms > *from) {
            all.push(Gap { from_ms, to_ms: session.first_ms, reason: GapReason::BetweenSessions });
        }
        all.extend(&track(session).gaps);
        last = Some(session.last_ms);
    }
    let facts = |gap: &Gap| GapFacts { from_ms: gap.from_ms, to_ms: gap.to_ms, reason: gap.reason.name() };
    all.iter().map(facts).collect()
}
