//! Deliveries: beats, anchors, job receipts and ends of one session, in ledger order.
//!
//! A delivery is taken from its first envelope to the first that can't be taken; what
//! came before stays. An envelope seen before is taken again, with the receipt of the
//! time when it first came. Another beat in a place that is taken is an offence, once
//! its signature holds: nobody can accuse a node without its key.

use assay_ledger::anchor::{Anchor, AttestationKey};
use assay_ledger::beat::Beat;
use assay_ledger::chain::{Chain, ChainFault};
use assay_ledger::job::JobReceipt;
use assay_ledger::protocol::{Accepted, Records, Refusal};
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_ledger::session::SessionEnd;
use assay_wire::{Domain, Envelope, Kind, Network, WireError, cbor, hash};

use super::session::closed;
use super::twins::power;
use super::{Engine, Refused, Reply};
use crate::store::{Offence, SessionRow, State, Store, StoreError};

/// Envelopes that cost about as much to verify as one session's opening.
const UNIT: usize = 32;

/// SQLite counts to here; no clock and no chain gets there.
const LARGEST: u64 = i64::MAX.unsigned_abs();

impl Engine {
    /// Takes what can be taken of a delivery.
    pub(super) fn deliver(&mut self, records: &Records) -> Result<Reply, StoreError> {
        let store = &self.parts.store;
        let Some(row) = store.session(&records.session)? else {
            let message = "this validator has no such session; open one";
            return Ok(Err(Refused::new(404, "session.unknown", message)).into());
        };
        if let Some(code) = &row.closed {
            return Ok(Err(closed(code)).into());
        }
        let now_ms = self.now_ms();
        let network = &self.parts.trust.network;
        let envelopes: Vec<&[u8]> = records.envelopes.iter().map(|bytes| bytes.as_slice()).collect();
        let (beats, others, times) = (Vec::new(), Vec::new(), Vec::new());
        let mut delivery = Delivery { store, network, now_ms, row, beats, others, times };
        let (count, refusal) = delivery.take_all(&envelopes)?;
        if count > 0 {
            store.update_session(&delivery.row, now_ms)?;
        }
        for time in &delivery.times {
            self.follow_power(&delivery.row, time, now_ms)?;
        }
        if let Some(refusal) = &refusal {
            let (session, node) = (delivery.row.id.short(), delivery.row.node.short());
            log::warn!("node {node}, session {session}: {}: {}", refusal.code, refusal.message);
        }
        let given = delivery.beats.iter().chain(&delivery.others);
        let receipts = given.map(|receipt| self.receipt(receipt).into()).collect();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let wasted = refusal.as_ref().map_or(0, |_| 1 + envelopes.len() / UNIT);
        let answer = Ok(cbor::to_vec(&Accepted { count, receipts, refusal }));
        Ok(Reply { answer, wasted: u32::try_from(wasted).unwrap_or(u32::MAX) })
    }

    /// A new anchor tells the TPM's time again. Its session is still receipted; the next record of one
    /// that is closed now is refused.
    fn follow_power(&self, row: &SessionRow, time: &[u8], now_ms: u64) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let Some(last) = store.power(row.number)? else { return Ok(()) };
        let Some(power) = power(time, now_ms, Some(&last)) else { return Ok(()) };
        store.set_power(row.number, &power)?;
        // A session that another took the place of delivers late: its anchors say when they came, not more.
        if row.state != State::Open {
            return Ok(());
        }
        if self.find_twins(&row.node, &power, now_ms)?.is_some_and(|found| found.this) {
            store.close_session(row.number, "session.twin")?;
        }
        Ok(())
    }
}

struct Delivery<'a> {
    store: &'a Store,
    network: &'a Network,
    now_ms: u64,
    row: SessionRow,
    /// One receipt for each time at which beats of this delivery came first.
    beats: Vec<BeatReceipt>,
    others: Vec<BeatReceipt>,
    /// GetTimes of new anchors.
    times: Vec<Vec<u8>>,
}

/// Looks at a new record: its place in the chain, or why it can't be taken.
type Check<D> = fn(&mut D, &Envelope) -> Result<Result<u64, Refusal>, StoreError>;
/// Envelopes taken, or why the first was not.
type Step = Result<Result<usize, Refusal>, StoreError>;

fn refuse(code: &str, message: impl ToString) -> Step {
    Ok(Err(Refusal { code: code.to_owned(), message: message.to_string() }))
}

impl Delivery<'_> {
    fn take_all(&mut self, envelopes: &[&[u8]]) -> Result<(usize, Option<Refusal>), StoreError> {
        let mut taken = 0;
        while let Some(rest) = envelopes.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.take(rest)? {
                Ok(count) => taken += count,
                Err(refusal) => return Ok((taken, Some(refusal))),
            }
        }
        Ok((taken, None))
    }

    /// Takes at least the first of `rest`.
    fn take(&mut self, rest: &[&[u8]]) -> Step {
        let Some(bytes) = rest.first().copied() else { return Ok(Ok(0)) };
        let envelope = match Envelope::decode(bytes) {
            Ok(envelope) => envelope,
            Err(error) => return refuse("ledger.malformed", error),
        };
        if envelope.kid != self.row.id {
            return refuse("ledger.session", "the record names another session");
        }
        match envelope.kind {
            Kind::Beat => self.beat(&envelope, rest),
            Kind::Anchor => self.other(Subject::Anchor, &envelope, bytes, Self::check_anchor),
            Kind::JobReceipt => self.other(Subject::Job, &envelope, bytes, Self::check_job),
            Kind::SessionEnd => self.other(Subject::End, &envelope, bytes, Self::check_end),
            kind => refuse("ledger.malformed", format!("{} is no record of a session", kind.name())),
        }
    }

    fn beat(&mut self, envelope: &Envelope, rest: &[&[u8]]) -> Step {
        let beat: Beat = match envelope.message() {
            Ok(beat) => beat,
            Err(error) => return refuse("ledger.malformed", error),
        };
        if beat.seq > self.row.seq {
            return self.new_beats(rest);
        }
        let bytes = rest.first().copied().unwrap_or_default();
        match self.store.beat(self.row.number, beat.seq)? {
            Some(stored) if stored.envelope == bytes => {
                self.receipt_beat(&beat, envelope, stored.received_ms);
                Ok(Ok(1))
            }
            Some(stored) => self.conflict(envelope, beat.seq, stored.envelope, bytes),
            None => refuse("ledger.gap", format!("there is no beat {}", beat.seq)),
        }
    }

    /// Continues the chain by as many beats as stand at the head of `rest` and hold.
    fn new_beats(&mut self, rest: &[&[u8]]) -> Step {
        if self.row.state == State::Ended {
            return refuse("session.ended", "the session has ended");
        }
        let is_beat = |bytes: &&[u8]| Envelope::decode(bytes).is_ok_and(|e| e.kind == Kind::Beat);
        let run: Vec<&[u8]> = rest.iter().copied().take_while(is_beat).collect();
        let row = &self.row;
        let mut chain = Chain::resume(row.id, row.key, row.seq, row.head, row.mono_ms);
        let fault = match chain.extend(&run, self.network) {
            Ok(_) => return self.store_beats(&chain, &run),
            Err(fault) => fault,
        };
        let good = usize::try_from(fault.seq().saturating_sub(self.row.seq + 1)).unwrap_or(0);
        match run.get(..good).filter(|good| !good.is_empty()) {
            // The beat that broke the chain is looked at again, by itself, when these are stored.
            Some(good) if chain.extend(good, self.network).is_ok() => self.store_beats(&chain, good),
            _ => refuse(chain_code(&fault), fault),
        }
    }

    fn store_beats(&mut self, chain: &Chain, beats: &[&[u8]]) -> Step {
        if chain.seq() > LARGEST || chain.mono_ms() > LARGEST {
            return refuse("ledger.malformed", "a time beyond all times");
        }
        for (seq, bytes) in (self.row.seq + 1..).zip(beats) {
            self.store.insert_beat(self.row.number, seq, self.now_ms, bytes)?;
        }
        (self.row.seq, self.row.head, self.row.mono_ms) = (chain.seq(), chain.head(), chain.mono_ms());
        let (session, seq, hash) = (self.row.id, chain.seq(), chain.head());
        let at_ms = self.now_ms;
        self.push_beats(BeatReceipt { session, subject: Subject::Beats, seq, hash, at_ms });
        Ok(Ok(beats.len()))
    }

    fn receipt_beat(&mut self, beat: &Beat, envelope: &Envelope, at_ms: u64) {
        let (session, seq, hash) = (self.row.id, beat.seq, envelope.hash());
        self.push_beats(BeatReceipt { session, subject: Subject::Beats, seq, hash, at_ms });
    }

    /// A receipt of a later beat of the same moment covers the earlier one.
    fn push_beats(&mut self, receipt: BeatReceipt) {
        match self.beats.last_mut() {
            Some(last) if last.at_ms == receipt.at_ms && last.seq <= receipt.seq => *last = receipt,
            _ => self.beats.push(receipt),
        }
    }

    fn conflict(&self, envelope: &Envelope, seq: u64, first: Vec<u8>, second: &[u8]) -> Step {
        if envelope.verify(&self.row.key, self.network).is_err() {
            return refuse("ledger.signature", format!("beat {seq}: signature does not hold"));
        }
        log::error!("node {} equivocated: two beats {seq} of session {}", self.row.node, self.row.id);
        self.store.insert_offence(&Offence {
            session: self.row.id,
            seq,
            node: self.row.node,
            seen_ms: self.now_ms,
            first,
            second: second.to_vec(),
        })?;
        refuse("ledger.equivocation", format!("another beat {seq} of this session is stored"))
    }

    /// An anchor, a job receipt or an end: the same envelope again, or a new one that holds.
    fn other(&mut self, subject: Subject, envelope: &Envelope, bytes: &[u8], check: Check<Self>) -> Step {
        let (session, hash) = (self.row.id, envelope.hash());
        let stored = self.store.record(self.row.number, &hash)?;
        if stored.is_none() {
            if self.row.state == State::Ended {
                return refuse("session.ended", "the session has ended");
            }
            if envelope.verify(&self.row.key, self.network).is_err() {
                return refuse(
                    "ledger.signature",
                    format!("{}: signature does not hold", envelope.kind.name()),
                );
            }
        }
        // The position is read from a stored record too: its checks held when it came first.
        let checked = match &stored {
            Some(_) => Ok(seq_of(envelope).unwrap_or_default()),
            None => check(self, envelope)?,
        };
        let seq = match checked {
            Ok(seq) => seq,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let at_ms = stored.as_ref().map_or(self.now_ms, |stored| stored.received_ms);
        if stored.is_none() {
            self.store.insert_record(self.row.number, (subject, seq, &hash), at_ms, bytes)?;
        }
        self.others.push(BeatReceipt { session, subject, seq, hash, at_ms });
        Ok(Ok(1))
    }

    fn check_anchor(&mut self, envelope: &Envelope) -> Result<Result<u64, Refusal>, StoreError> {
        let anchor: Anchor = match envelope.message() {
            Ok(anchor) => anchor,
            Err(error) => return Ok(Err(fault("ledger.malformed", error))),
        };
        if !self.holds(anchor.seq, &anchor.head)? {
            return Ok(Err(fault("ledger.anchor", "its head is not in the chain that is stored")));
        }
        let checked = AttestationKey::parse(&self.row.ak_public)
            .map_err(|error| error.to_string())
            .and_then(|ak| anchor.check(&ak, &self.row.context).map_err(|error| error.to_string()));
        if checked.is_ok() {
            self.times.push(anchor.time.attest.clone());
        }
        Ok(checked.map(|_| anchor.seq).map_err(|error| fault("ledger.anchor", error)))
    }

    /// Whether the stored chain has this beat in this place; place 0 is the session itself.
    fn holds(&self, seq: u64, head: &assay_wire::Digest) -> Result<bool, StoreError> {
        if seq == 0 || seq >= self.row.seq {
            let at = if seq == 0 { self.row.id } else { self.row.head };
            return Ok((seq == 0 || seq == self.row.seq) && at == *head);
        }
        let stored = self.store.beat(self.row.number, seq)?;
        Ok(stored.is_some_and(|beat| hash(Domain::Envelope, &[&beat.envelope]) == *head))
    }

    fn check_job(&mut self, envelope: &Envelope) -> Result<Result<u64, Refusal>, StoreError> {
        let receipt: JobReceipt = match envelope.message() {
            Ok(receipt) => receipt,
            Err(error) => return Ok(Err(fault("ledger.malformed", error))),
        };
        match receipt.seq <= self.row.seq {
            true => Ok(Ok(receipt.seq)),
            false => Ok(Err(fault("ledger.gap", "the job ended after a beat that has not come"))),
        }
    }

    fn check_end(&mut self, envelope: &Envelope) -> Result<Result<u64, Refusal>, StoreError> {
        let end: SessionEnd = match envelope.message() {
            Ok(end) => end,
            Err(error) => return Ok(Err(fault("ledger.malformed", error))),
        };
        if (end.seq, end.head) != (self.row.seq, self.row.head) {
            return Ok(Err(fault("ledger.gap", "the session ends at a beat that has not come")));
        }
        self.row.state = State::Ended;
        Ok(Ok(end.seq))
    }
}

fn fault(code: &str, message: impl ToString) -> Refusal {
    Refusal { code: code.to_owned(), message: message.to_string() }
}

fn seq_of(envelope: &Envelope) -> Result<u64, WireError> {
    match envelope.kind {
        Kind::Anchor => envelope.message::<Anchor>().map(|anchor| anchor.seq),
        Kind::JobReceipt => envelope.message::<JobReceipt>().map(|receipt| receipt.seq),
        _ => envelope.message::<SessionEnd>().map(|end| end.seq),
    }
}

fn chain_code(fault: &ChainFault) -> &'static str {
    match fault {
        ChainFault::Decode { .. } => "ledger.malformed",
        ChainFault::Session { .. } => "ledger.session",
        ChainFault::Sequence { .. } => "ledger.gap",
        ChainFault::Link { .. } => "ledger.link",
        ChainFault::Time { .. } => "ledger.time",
        ChainFault::Signature { .. } => "ledger.signature",
    }
}
