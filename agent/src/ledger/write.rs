//! What is added to the ledger; each call is one durable transaction.

use assay_ledger::protocol::RECORDS_BYTES;
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_wire::{Digest, Domain, Kind, hash};
use rusqlite::{Transaction, TransactionBehavior, params};

use super::{Ledger, LedgerError, NewSession};

impl Ledger {
    /// Adds a session with its evidence, which is its first record.
    ///
    /// # Errors
    /// [`LedgerError::Full`] or [`LedgerError::Write`]; then nothing was added.
    pub fn add_session(&mut self, session: &NewSession<'_>) -> Result<(), LedgerError> {
        let what = LedgerError::write("a session");
        self.transaction(what, |tx| {
            tx.prepare_cached("INSERT INTO sessions(id, key, local, opened_ms) VALUES(?, ?, ?, ?)")?
                .execute(params![session.id.0, session.key.0, session.local, session.opened_ms])?;
            insert_record(tx, &session.id, Kind::Evidence, 0, session.evidence)
        })
    }

    /// Adds a record of a session.
    ///
    /// # Errors
    /// As [`Ledger::add_session`]; a second beat in one place is [`LedgerError::Write`], and what no
    /// delivery could carry is [`LedgerError::TooLong`].
    pub fn add_record(
        &mut self,
        session: &Digest,
        kind: Kind,
        seq: u64,
        bytes: &[u8],
    ) -> Result<(), LedgerError> {
        if bytes.len() > RECORDS_BYTES {
            return Err(LedgerError::TooLong { kind: kind.name(), len: bytes.len() });
        }
        self.transaction(LedgerError::write("a record"), |tx| insert_record(tx, session, kind, seq, bytes))
    }

    /// Adds a beacon; one that is there already stays.
    ///
    /// # Errors
    /// As [`Ledger::add_session`].
    pub fn add_beacon(&mut self, hash: &Digest, round: u64, bytes: &[u8]) -> Result<(), LedgerError> {
        self.transaction(LedgerError::write("a beacon"), |tx| {
            tx.prepare_cached("INSERT OR IGNORE INTO beacons VALUES(?, ?, ?)")?
                .execute(params![hash.0, round, bytes])
                .map(drop)
        })
    }

    /// Sets the enrolment record that a validator signed for this node.
    ///
    /// # Errors
    /// As [`Ledger::add_session`].
    pub fn set_enrolment(&mut self, validator: &Digest, bytes: &[u8]) -> Result<(), LedgerError> {
        self.transaction(LedgerError::write("an enrolment record"), |tx| {
            tx.execute("INSERT OR REPLACE INTO enrolment VALUES(?, ?)", params![validator.0, bytes]).map(drop)
        })
    }

    /// Forgets a validator's enrolment record, so that the node enrols again.
    ///
    /// # Errors
    /// As [`Ledger::add_session`].
    pub fn forget_enrolment(&mut self, validator: &Digest) -> Result<(), LedgerError> {
        self.transaction(LedgerError::write("an enrolment record"), |tx| {
            tx.execute("DELETE FROM enrolment WHERE validator = ?", params![validator.0]).map(drop)
        })
    }

    /// Moves a validator's cursor behind record `ord` and keeps its receipts.
    ///
    /// The earliest receipt of a record stays. `first` says that this is the validator whose word
    /// opens sessions.
    ///
    /// # Errors
    /// As [`Ledger::add_session`].
    pub fn acknowledge(
        &mut self,
        validator: &Digest,
        first: bool,
        ord: i64,
        receipts: &[(BeatReceipt, Vec<u8>)],
    ) -> Result<(), LedgerError> {
        self.transaction(LedgerError::write("a delivery"), |tx| {
            set_cursor(tx, validator, ord)?;
            receipts
                .iter()
                .try_for_each(|(receipt, bytes)| insert_receipt(tx, validator, first, receipt, bytes))
        })
    }

    /// Remembers that a validator wants nothing more of a session, and why.
    ///
    /// # Errors
    /// As [`Ledger::add_session`].
    pub fn refuse_session(
        &mut self,
        validator: &Digest,
        session: &Digest,
        code: &str,
        message: &str,
    ) -> Result<(), LedgerError> {
        self.transaction(LedgerError::write("a refusal"), |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO refusals VALUES(?, ?, ?, ?)",
                params![validator.0, session.0, code, message],
            )
            .map(drop)
        })
    }

    fn transaction(
        &mut self,
        failed: impl FnOnce(rusqlite::Error) -> LedgerError,
        body: impl FnOnce(&Transaction<'_>) -> Result<(), rusqlite::Error>,
    ) -> Result<(), LedgerError> {
        let outcome = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|tx| body(&tx).and_then(|()| tx.commit()));
        outcome.map_err(failed)
    }
}

fn insert_record(
    tx: &Transaction<'_>,
    session: &Digest,
    kind: Kind,
    seq: u64,
    bytes: &[u8],
) -> Result<(), rusqlite::Error> {
    let hash = hash(Domain::Envelope, &[bytes]);
    tx.prepare_cached("INSERT INTO records(session, kind, seq, hash, bytes) VALUES(?, ?, ?, ?, ?)")?
        .execute(params![session.0, kind.name(), seq, hash.0, bytes])
        .map(drop)
}

fn set_cursor(tx: &Transaction<'_>, validator: &Digest, ord: i64) -> Result<(), rusqlite::Error> {
    // A cursor never moves back: a late answer to an earlier delivery changes nothing.
    tx.prepare_cached(
        "INSERT INTO cursors VALUES(?1, ?2) ON CONFLICT(validator) DO UPDATE SET ord = max(ord, ?2)",
    )?
    .execute(params![validator.0, ord])
    .map(drop)
}

fn insert_receipt(
    tx: &Transaction<'_>,
    validator: &Digest,
    first: bool,
    receipt: &BeatReceipt,
    bytes: &[u8],
) -> Result<(), rusqlite::Error> {
    if first && receipt.subject == Subject::Session {
        tx.execute("UPDATE sessions SET accepted = 1 WHERE id = ?", params![receipt.session.0])?;
    }
    tx.prepare_cached(
        "INSERT OR IGNORE INTO receipts(validator, session, seq, hash, at_ms, bytes)
         VALUES(?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![validator.0, receipt.session.0, receipt.seq, receipt.hash.0, receipt.at_ms, bytes])
    .map(drop)
}
