//! The whole ledger checked again: every hash, every signature, every link.

use std::collections::{BTreeMap, BTreeSet};

use assay_ledger::chain::Chain;
use assay_ledger::receipt::BeatReceipt;
use assay_ledger::session::{Evidence, SessionEnd, SessionStart};
use assay_wire::{Digest, Domain, Envelope, Kind, Network, VerifyingKey, hash};
use rusqlite::params;

use super::read::digest;
use super::{Ledger, LedgerError};

/// Beats that are checked together: one batch of signatures, and not more memory than that.
const BATCH: usize = 512;

/// What was checked and what was wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Sessions.
    pub sessions: u64,
    /// Beats.
    pub beats: u64,
    /// Anchors, whose TPM attestations are not looked at here.
    pub anchors: u64,
    /// Job receipts.
    pub jobs: u64,
    /// Beat receipts by validators whose key was given.
    pub receipts: u64,
    /// Beat receipts by other validators, whose signatures were not checked.
    pub unknown_receipts: u64,
    /// What is wrong; empty for a good ledger.
    pub faults: Vec<LedgerFault>,
}

/// Something wrong in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerFault {
    /// The session.
    pub session: Digest,
    /// What.
    pub text: String,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.faults.is_empty()
    }
}

impl Ledger {
    /// Checks everything. `keys` are the validators whose receipts are checked, by id.
    ///
    /// # Errors
    /// [`LedgerError::Read`] when the file cannot be read; what it says wrongly is in the report.
    pub fn verify(
        &self,
        network: &Network,
        keys: &BTreeMap<Digest, VerifyingKey>,
    ) -> Result<VerifyReport, LedgerError> {
        let mut report = VerifyReport::default();
        for row in self.sessions()?.iter().rev() {
            report.sessions += 1;
            let mut walk = Walk { ledger: self, network, session: row.id, report: &mut report };
            walk.session(keys)?;
        }
        Ok(report)
    }
}

/// One session being checked.
struct Walk<'a> {
    ledger: &'a Ledger,
    network: &'a Network,
    session: Digest,
    report: &'a mut VerifyReport,
}

/// One row of `records` as it is checked.
struct Record {
    kind: String,
    hash: Digest,
    bytes: Vec<u8>,
}

impl Walk<'_> {
    fn fault(&mut self, text: impl ToString) {
        self.report.faults.push(LedgerFault { session: self.session, text: text.to_string() });
    }

    fn session(&mut self, keys: &BTreeMap<Digest, VerifyingKey>) -> Result<(), LedgerError> {
        let evidence = self.ledger.records(&self.session, Kind::Evidence)?;
        let start = match evidence.as_slice() {
            [one] => evidence_start(&self.session, &one.bytes, self.network),
            _ => Err(format!("{} evidence records, expected one", evidence.len())),
        };
        let start = match start {
            Ok(start) => start,
            Err(text) => {
                self.fault(format!("evidence: {text}"));
                return Ok(());
            }
        };
        let known = self.records(&start)?;
        self.receipts(keys, &known)
    }

    /// Walks the records in order; returns their hashes.
    fn records(&mut self, start: &SessionStart) -> Result<BTreeSet<Digest>, LedgerError> {
        let mut chain = Chain::new(self.session, start.key, start.mono_ms);
        let mut beats: Vec<Vec<u8>> = Vec::new();
        let mut known = BTreeSet::new();
        let read = LedgerError::read("records");
        let select = "SELECT kind, hash, bytes FROM records WHERE session = ? ORDER BY ord";
        let mut walk = || {
            let mut statement = self.ledger.db.prepare(select)?;
            let mut rows = statement.query(params![self.session.0])?;
            while let Some(row) = rows.next()? {
                let record = Record { kind: row.get(0)?, hash: digest(row, 1)?, bytes: row.get(2)? };
                known.insert(record.hash);
                self.record(record, &mut chain, &mut beats, start);
            }
            self.extend(&mut chain, &mut beats);
            Ok(())
        };
        walk().map_err(read)?;
        Ok(known)
    }

    fn record(&mut self, record: Record, chain: &mut Chain, beats: &mut Vec<Vec<u8>>, start: &SessionStart) {
        if hash(Domain::Envelope, &[&record.bytes]) != record.hash {
            return self.fault(format!("a {} record does not have its hash", record.kind));
        }
        if record.kind == Kind::Beat.name() {
            self.report.beats += 1;
            beats.push(record.bytes);
            if beats.len() >= BATCH {
                self.extend(chain, beats);
            }
            return;
        }
        self.extend(chain, beats);
        match record.kind.as_str() {
            "anchor" => self.report.anchors += 1,
            "job-receipt" => self.report.jobs += 1,
            _ => {}
        }
        if let Err(text) = self.signed(&record, chain, start) {
            self.fault(format!("{}: {text}", record.kind));
        }
    }

    fn extend(&mut self, chain: &mut Chain, beats: &mut Vec<Vec<u8>>) {
        if let Err(fault) = chain.extend(beats, self.network) {
            self.fault(fault);
        }
        beats.clear();
    }

    fn signed(&self, record: &Record, chain: &Chain, start: &SessionStart) -> Result<(), String> {
        let envelope = Envelope::decode(&record.bytes).map_err(|e| e.to_string())?;
        if envelope.kind.name() != record.kind || envelope.kid != self.session {
            return Err("of another kind or session than its row says".to_owned());
        }
        envelope.verify(&start.key, self.network).map_err(|e| e.to_string())?;
        if envelope.kind == Kind::SessionEnd {
            let end: SessionEnd = envelope.message().map_err(|e| e.to_string())?;
            if (end.seq, end.head) != (chain.seq(), chain.head()) {
                return Err("names another head than the chain has".to_owned());
            }
        }
        Ok(())
    }

    fn receipts(
        &mut self,
        keys: &BTreeMap<Digest, VerifyingKey>,
        known: &BTreeSet<Digest>,
    ) -> Result<(), LedgerError> {
        let largest = i64::MAX.unsigned_abs();
        for bytes in self.ledger.receipts(&self.session, largest, None)? {
            match receipt(&bytes, self.network, keys) {
                Ok((receipt, checked)) => {
                    let count =
                        if checked { &mut self.report.receipts } else { &mut self.report.unknown_receipts };
                    *count += 1;
                    if receipt.session != self.session || !known.contains(&receipt.hash) {
                        self.fault("a receipt is for a record that is not here");
                    }
                }
                Err(text) => self.fault(format!("receipt: {text}")),
            }
        }
        Ok(())
    }
}

fn evidence_start(session: &Digest, bytes: &[u8], network: &Network) -> Result<SessionStart, String> {
    let envelope = Envelope::decode_as(Kind::Evidence, bytes).map_err(|e| e.to_string())?;
    let evidence: Evidence = envelope.message().map_err(|e| e.to_string())?;
    if envelope.kid != *session || evidence.session.id() != *session {
        return Err("of another session".to_owned());
    }
    envelope.verify(&evidence.session.key, network).map_err(|e| e.to_string())?;
    Ok(evidence.session)
}

/// A receipt, and whether its signature could be checked.
fn receipt(
    bytes: &[u8],
    network: &Network,
    keys: &BTreeMap<Digest, VerifyingKey>,
) -> Result<(BeatReceipt, bool), String> {
    let envelope = Envelope::decode_as(Kind::BeatReceipt, bytes).map_err(|e| e.to_string())?;
    let key = keys.get(&envelope.kid);
    if let Some(key) = key {
        envelope.verify(key, network).map_err(|e| e.to_string())?;
    }
    Ok((envelope.message().map_err(|e| e.to_string())?, key.is_some()))
}
