//! What a session writes: beats, anchors, job receipts, its end; and what a node exports of it.

use assay_appraisal::claim_totals;
use assay_ledger::anchor::{Anchor, AnchorPoint, extra_data};
use assay_ledger::beat::Beat;
use assay_ledger::claim::Claim;
use assay_ledger::job::{JobExit, JobReceipt, ReceiptBundle};
use assay_ledger::receipt::Subject;
use assay_ledger::session::{SESSION_PCRS, SessionEnd};
use assay_wire::{Digest, Domain, Kind, hash};

use crate::{Attester, Lab, Node, Session};

fn envelope_hash(bytes: &[u8]) -> Digest {
    hash(Domain::Envelope, &[bytes])
}

impl Lab {
    /// An honest beat, now.
    pub fn beat(&mut self, session: &mut Session) {
        self.beat_with(session, |_| {});
    }

    /// A beat that is changed before it is signed; the chain goes on from it.
    pub fn beat_with(&mut self, session: &mut Session, change: impl FnOnce(&mut Beat)) {
        let mut beat = self.next_beat(session);
        change(&mut beat);
        let bytes = session.seal(Kind::Beat, &beat);
        (session.seq, session.head) = (beat.seq, envelope_hash(&bytes));
        session.records.beats.push(bytes.into());
        if self.online {
            self.receive(session, Subject::Beats, session.seq, session.head);
        }
    }

    /// The beat that is due now, not signed yet.
    pub fn next_beat(&mut self, session: &Session) -> Beat {
        Beat {
            seq: session.seq + 1,
            prev: session.head,
            mono_ms: self.mono_ms,
            beacon: self.beacon().into(),
            samples: Digest::default(),
            gpus: vec![],
            jobs: vec![],
            flags: 0,
        }
    }

    /// An honest anchor in this round's slot.
    pub fn anchor<T: Attester>(&mut self, node: &mut Node<T>, session: &mut Session) {
        self.anchor_with(node, session, |_| {}, |_, _| {});
    }

    /// An anchor whose place in the chain is changed before the TPM attests to it, or that is changed
    /// before it is signed.
    pub fn anchor_with<T: Attester>(
        &mut self,
        node: &mut Node<T>,
        session: &mut Session,
        before_quote: impl FnOnce(&mut AnchorPoint),
        before_signature: impl FnOnce(&mut Anchor, &mut T),
    ) {
        let beacon = self.beacon();
        let mut point = AnchorPoint { seq: session.seq, head: session.head, beacon, mono_ms: self.mono_ms };
        before_quote(&mut point);
        let over = |domain| extra_data(domain, &session.id, &point);
        let time = node.attester.time(&over(Domain::AnchorTime), self.mono_ms);
        let (quote, _) = node.attester.quote(&over(Domain::AnchorQuote), &SESSION_PCRS);
        let AnchorPoint { seq, head, beacon, mono_ms } = point;
        let mut anchor = Anchor { seq, head, beacon, mono_ms, time, quote };
        before_signature(&mut anchor, &mut node.attester);
        let bytes = session.seal(Kind::Anchor, &anchor);
        let hash = envelope_hash(&bytes);
        session.records.anchors.push(bytes.into());
        if self.online {
            self.receive(session, Subject::Anchor, seq, hash);
        }
    }

    /// Honest beats, one every `step_ms`, with an anchor in every slot that asks for one.
    pub fn run<T: Attester>(&mut self, node: &mut Node<T>, session: &mut Session, beats: u64, step_ms: u64) {
        let mut anchored = self.beacon();
        for _ in 0..beats {
            self.advance(step_ms);
            self.beat(session);
            let beacon = self.beacon();
            if beacon != anchored && self.is_due(&beacon, &node.id) {
                self.anchor(node, session);
                anchored = beacon;
            }
        }
    }

    /// Runs to the next slot that asks for an anchor, and serves it: a claim's time has two ends then.
    pub fn serve_slot<T: Attester>(&mut self, node: &mut Node<T>, session: &mut Session) {
        self.advance_to_slot(&node.id, true);
        self.beat(session);
        self.anchor(node, session);
    }

    /// Anchors in the next slot that asks for it, without a beat.
    pub fn serve_slot_of<T: Attester>(&mut self, node: &mut Node<T>, session: &mut Session) {
        self.advance_to_slot(&node.id, true);
        self.anchor(node, session);
    }

    /// An honest job receipt.
    pub fn job(&mut self, session: &mut Session) {
        self.job_with(session, |_| {});
    }

    /// A job receipt that is changed before it is signed.
    pub fn job_with(&mut self, session: &mut Session, change: impl FnOnce(&mut JobReceipt)) {
        let mut receipt = JobReceipt {
            job: Digest([1; 32]),
            image: Digest([2; 32]),
            started_mono_ms: self.mono_ms,
            wall_ms: 10,
            exit: JobExit::Code(0),
            cpu_us: 9_000,
            max_rss_kib: 2_000,
            limits: "cgroup".into(),
            ids: "range".into(),
            network: "none".into(),
            outputs: vec![],
            stdout: Digest([3; 32]),
            stderr: Digest([4; 32]),
            seq: session.seq,
            config: Digest([5; 32]),
            policy: Digest([6; 32]),
            io_read: 0,
            io_write: 0,
            checkpoint: None,
            restarts: 0,
            outputs_skipped: 0,
        };
        change(&mut receipt);
        let bytes = session.seal(Kind::JobReceipt, &receipt);
        let hash = envelope_hash(&bytes);
        session.records.jobs.push(bytes.into());
        if self.online {
            self.receive(session, Subject::Job, session.seq, hash);
        }
    }

    /// An orderly end; the node's ledger remembers where it stands.
    pub fn end<T>(&mut self, node: &mut Node<T>, session: &mut Session) {
        let end = SessionEnd { seq: session.seq, head: session.head, mono_ms: self.mono_ms };
        session.records.end = Some(session.seal(Kind::SessionEnd, &end).into());
        node.previous = Some(session.head());
    }

    /// The claim over these sessions of one node, stating what its records prove.
    pub fn claim(&self, sessions: &[&Session]) -> Claim {
        let mut claim = Claim {
            node: sessions[0].evidence.session.node,
            beacons: self.beacons.values().map(|(bytes, _)| bytes.clone().into()).collect(),
            sessions: sessions.iter().map(|session| session.records.clone()).collect(),
            powered_s: 0,
            reachable_s: 0,
        };
        (claim.powered_s, claim.reachable_s) = claim_totals(&claim, &self.trust, &self.policy, self.unix_ms);
        claim
    }

    /// The claim over these sessions as the last of them exports it.
    pub fn export(&self, sessions: &[&Session]) -> Vec<u8> {
        self.export_with(sessions, |_| {})
    }

    /// A claim that is changed before it is signed.
    pub fn export_with(&self, sessions: &[&Session], change: impl FnOnce(&mut Claim)) -> Vec<u8> {
        let mut claim = self.claim(sessions);
        change(&mut claim);
        sessions[sessions.len() - 1].seal(Kind::Claim, &claim)
    }

    /// The session's first job receipt as it exports it.
    pub fn bundle(&self, session: &Session) -> Vec<u8> {
        session.seal(Kind::Receipt, &self.bundle_of(session))
    }

    /// What [`Lab::bundle`] exports, not signed yet.
    pub fn bundle_of(&self, session: &Session) -> ReceiptBundle {
        ReceiptBundle {
            evidence: vec![session.records.evidence.clone().into()],
            receipt: session.records.jobs[0].to_vec(),
            seen: session.records.receipts.clone(),
        }
    }
}
