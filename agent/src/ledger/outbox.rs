//! What a validator has not acknowledged, in order.

use assay_ledger::protocol::{RECORDS_BYTES, RECORDS_COUNT};
use assay_wire::{Digest, Kind};
use rusqlite::{Row, params};

use super::read::digest;
use super::{Ledger, LedgerError};

/// The next things to send to one validator: an evidence envelope alone, or records of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The session.
    pub session: Digest,
    /// Whether it is the session's evidence.
    pub evidence: bool,
    /// The records, in ledger order.
    pub records: Vec<Pending>,
}

/// A record that waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its place in the ledger.
    pub ord: i64,
    /// Whether it is a beat: one receipt covers a run of them.
    pub beat: bool,
    /// Its envelope hash.
    pub hash: Digest,
    /// Its envelope.
    pub bytes: Vec<u8>,
}

/// Behind the cursor, of sessions that are delivered at all, and that this validator has not refused.
const PENDING: &str = "FROM records r JOIN sessions s ON s.id = r.session
    WHERE r.ord > coalesce((SELECT ord FROM cursors WHERE validator = ?1), 0) AND s.local = 0
    AND NOT EXISTS (SELECT 1 FROM refusals f WHERE f.validator = ?1 AND f.session = r.session)";

impl Ledger {
    /// The next delivery to a validator; `None` when it has everything.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn outbox(&self, validator: &Digest) -> Result<Option<Delivery>, LedgerError> {
        let read = LedgerError::read("the outbox");
        let select =
            format!("SELECT r.ord, r.session, r.kind, r.hash, r.bytes {PENDING} ORDER BY r.ord LIMIT ?2");
        let limit = i64::try_from(RECORDS_COUNT).unwrap_or(i64::MAX);
        let query = || {
            let mut statement = self.db.prepare_cached(&select)?;
            let mut rows = statement.query(params![validator.0, limit])?;
            let (mut delivery, mut size) = (None, 0);
            while let Some(row) = rows.next()? {
                let (session, kind, pending) = pending(row)?;
                size += pending.bytes.len();
                let evidence = kind == Kind::Evidence.name();
                let begun = delivery.get_or_insert(Delivery { session, evidence, records: Vec::new() });
                let other = session != begun.session || evidence || begun.evidence || size > RECORDS_BYTES;
                if other && !begun.records.is_empty() {
                    break;
                }
                begun.records.push(pending);
            }
            Ok(delivery)
        };
        query().map_err(read)
    }

    /// How many records a validator has not acknowledged.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn unsent(&self, validator: &Digest) -> Result<u64, LedgerError> {
        let select = format!("SELECT count(*) {PENDING}");
        self.db
            .query_row(&select, params![validator.0], |row| row.get(0))
            .map_err(LedgerError::read("the outbox"))
    }
}

fn pending(row: &Row<'_>) -> Result<(Digest, String, Pending), rusqlite::Error> {
    let kind: String = row.get(2)?;
    let beat = kind == Kind::Beat.name();
    let pending = Pending { ord: row.get(0)?, beat, hash: digest(row, 3)?, bytes: row.get(4)? };
    Ok((digest(row, 1)?, kind, pending))
}
