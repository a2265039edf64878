//! What is read from the ledger.

use assay_ledger::beacon::BeaconName;
use assay_ledger::session::Head;
use assay_wire::{Digest, Kind};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Params, Row, params};

use super::{Ledger, LedgerError, SessionRow, Stored};

/// A column that holds 32 bytes.
pub(super) fn digest(row: &Row<'_>, column: usize) -> Result<Digest, rusqlite::Error> {
    let bytes = row.get_ref(column)?.as_blob()?;
    let wrong = |e| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(e));
    Digest::try_from(bytes).map_err(wrong)
}

fn stored(row: &Row<'_>) -> Result<Stored, rusqlite::Error> {
    Ok(Stored { session: digest(row, 0)?, seq: row.get(1)?, hash: digest(row, 2)?, bytes: row.get(3)? })
}

fn session(row: &Row<'_>) -> Result<SessionRow, rusqlite::Error> {
    Ok(SessionRow {
        id: digest(row, 0)?,
        local: row.get(1)?,
        accepted: row.get(2)?,
        opened_ms: row.get(3)?,
        beats: row.get(4)?,
        anchors: row.get(5)?,
        jobs: row.get(6)?,
        receipts: row.get(7)?,
        ended: row.get(8)?,
    })
}

const SESSIONS: &str = "SELECT id, local, accepted, opened_ms,
    (SELECT count(*) FROM records WHERE session = id AND kind = 'beat'),
    (SELECT count(*) FROM records WHERE session = id AND kind = 'anchor'),
    (SELECT count(*) FROM records WHERE session = id AND kind = 'job-receipt'),
    (SELECT count(*) FROM receipts r WHERE r.session = id),
    EXISTS (SELECT 1 FROM records WHERE session = id AND kind = 'session-end')
    FROM sessions";

const RECORDS: &str = "SELECT session, seq, hash, bytes FROM records";

impl Ledger {
    /// Every session, newest first.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn sessions(&self) -> Result<Vec<SessionRow>, LedgerError> {
        self.list("sessions", &format!("{SESSIONS} ORDER BY ord DESC"), [], session)
    }

    /// One session.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn session(&self, id: &Digest) -> Result<Option<SessionRow>, LedgerError> {
        let rows = self.list("a session", &format!("{SESSIONS} WHERE id = ?"), params![id.0], session)?;
        Ok(rows.into_iter().next())
    }

    /// Where a session's chain ends.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn head(&self, session: &Digest) -> Result<Head, LedgerError> {
        let select = "SELECT seq, hash FROM records WHERE session = ? AND kind = 'beat'
            ORDER BY seq DESC LIMIT 1";
        let head = self
            .db
            .query_row(select, params![session.0], |row| Ok((row.get(0)?, digest(row, 1)?)))
            .optional()
            .map_err(LedgerError::read("a chain's head"))?;
        let (seq, head) = head.unwrap_or((0, *session));
        Ok(Head { session: *session, seq, head })
    }

    /// Where the newest session that the first validator took ends: what the next one continues.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn previous(&self) -> Result<Option<Head>, LedgerError> {
        let newest = self
            .db
            .query_row("SELECT id FROM sessions WHERE accepted = 1 ORDER BY ord DESC LIMIT 1", [], |row| {
                digest(row, 0)
            })
            .optional()
            .map_err(LedgerError::read("the newest session"))?;
        newest.map(|id| self.head(&id)).transpose()
    }

    /// A session's records of one kind, in ledger order.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn records(&self, session: &Digest, kind: Kind) -> Result<Vec<Stored>, LedgerError> {
        let select = format!("{RECORDS} WHERE session = ? AND kind = ? ORDER BY ord");
        self.list("records", &select, params![session.0, kind.name()], stored)
    }

    /// A session's beats from the first, as many as fit in `budget` bytes.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn beats(&self, session: &Digest, budget: usize) -> Result<Vec<Stored>, LedgerError> {
        let select = format!("{RECORDS} WHERE session = ? AND kind = 'beat' ORDER BY seq");
        let mut left = budget;
        let mut query = || {
            let mut statement = self.db.prepare_cached(&select)?;
            let rows = statement.query_map(params![session.0], stored)?;
            let fits = |row: &Result<Stored, rusqlite::Error>| match row {
                Ok(stored) => left.checked_sub(stored.bytes.len()).map(|rest| left = rest).is_some(),
                Err(_) => true,
            };
            rows.take_while(fits).collect::<Result<_, _>>()
        };
        query().map_err(LedgerError::read("beats"))
    }

    /// Bytes of a session's records and receipts.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn size(&self, session: &Digest) -> Result<u64, LedgerError> {
        let select = "SELECT
            (SELECT coalesce(sum(length(bytes)), 0) FROM records WHERE session = ?1) +
            (SELECT coalesce(sum(length(bytes)), 0) FROM receipts WHERE session = ?1)";
        self.db.query_row(select, params![session.0], |row| row.get(0)).map_err(LedgerError::read("a size"))
    }

    /// Every job receipt, newest first.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn jobs(&self) -> Result<Vec<Stored>, LedgerError> {
        let select = format!("{RECORDS} WHERE kind = ? ORDER BY ord DESC");
        self.list("job receipts", &select, params![Kind::JobReceipt.name()], stored)
    }

    /// A session's beat receipts up to beat `seq`, in the order they came; `hash` picks those of one record.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn receipts(
        &self,
        session: &Digest,
        seq: u64,
        hash: Option<&Digest>,
    ) -> Result<Vec<Vec<u8>>, LedgerError> {
        let select = "SELECT bytes FROM receipts WHERE session = ? AND seq <= ?
            AND (?3 IS NULL OR hash = ?3) ORDER BY ord";
        let hash = hash.map(|hash| hash.0);
        self.list("receipts", select, params![session.0, seq, hash], |row| row.get(0))
    }

    /// When a validator last said that it had something, Unix time in ms by its clock.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn last_receipt_ms(&self) -> Result<Option<u64>, LedgerError> {
        let select = "SELECT at_ms FROM receipts ORDER BY ord DESC LIMIT 1";
        self.db.query_row(select, [], |row| row.get(0)).optional().map_err(LedgerError::read("receipts"))
    }

    /// A beacon's round and envelope. Whoever named it by its whole hash asks for the name too.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn beacon(&self, name: &BeaconName) -> Result<Option<(u64, Vec<u8>)>, LedgerError> {
        // A range, so that the primary key's index serves it.
        let select = "SELECT round, bytes FROM beacons WHERE hash BETWEEN ? AND ? LIMIT 1";
        let [first, last] = [0, u8::MAX].map(|rest| [name.0, [rest; 16]].concat());
        self.db
            .query_row(select, params![first, last], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(LedgerError::read("a beacon"))
    }

    /// The hash of the newest beacon.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn newest_beacon(&self) -> Result<Option<Digest>, LedgerError> {
        let select = "SELECT hash FROM beacons ORDER BY round DESC LIMIT 1";
        self.db
            .query_row(select, [], |row| digest(row, 0))
            .optional()
            .map_err(LedgerError::read("the newest beacon"))
    }

    /// The enrolment record that a validator signed.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn enrolment(&self, validator: &Digest) -> Result<Option<Vec<u8>>, LedgerError> {
        let select = "SELECT bytes FROM enrolment WHERE validator = ?";
        self.db
            .query_row(select, params![validator.0], |row| row.get(0))
            .optional()
            .map_err(LedgerError::read("an enrolment record"))
    }

    /// Why a validator refused a session: code and message.
    ///
    /// # Errors
    /// [`LedgerError::Read`].
    pub fn refusal(
        &self,
        validator: &Digest,
        session: &Digest,
    ) -> Result<Option<(String, String)>, LedgerError> {
        let select = "SELECT code, message FROM refusals WHERE validator = ? AND session = ?";
        self.db
            .query_row(select, params![validator.0, session.0], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(LedgerError::read("a refusal"))
    }

    fn list<T>(
        &self,
        what: &'static str,
        select: &str,
        params: impl Params,
        read: fn(&Row<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<Vec<T>, LedgerError> {
        let query = || self.db.prepare_cached(select)?.query_map(params, read)?.collect::<Result<_, _>>();
        query().map_err(LedgerError::read(what))
    }
}
