//! Sessions, their chains and records, and offences against them.

use assay_ledger::anchor::{AnchorContext, TpmInstant};
use assay_ledger::receipt::Subject;
use assay_ledger::session::Head;
use assay_wire::{Digest, VerifyingKey, cbor};
use minicbor::{Decode, Encode};
use rusqlite::{Row, params};

use super::{Store, StoreError};

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The node's newest.
    Open,
    /// A later session of the node took its place; what continues its chain is still taken.
    Superseded,
    /// It ended in order.
    Ended,
    /// The validator closed it: [`SessionRow::closed`] says why.
    Closed,
}

impl State {
    /// The word for people and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Superseded => "superseded",
            Self::Ended => "ended",
            Self::Closed => "closed",
        }
    }

    pub(super) fn code(self) -> i64 {
        match self {
            Self::Open => 0,
            Self::Superseded => 1,
            Self::Ended => 2,
            Self::Closed => 3,
        }
    }

    pub(super) fn from_code(code: i64) -> Option<Self> {
        [Self::Open, Self::Superseded, Self::Ended, Self::Closed]
            .into_iter()
            .find(|state| state.code() == code)
    }
}

/// A session that was accepted.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    /// Its id.
    pub id: Digest,
    /// Its node.
    pub node: Digest,
    /// Its Ed25519 key.
    pub key: VerifyingKey,
    /// TPMT_PUBLIC of the AK.
    pub ak_public: &'a [u8],
    /// What its anchors are checked against.
    pub context: &'a AnchorContext,
    /// Envelope hash of its evidence.
    pub evidence_hash: Digest,
    /// Envelope hash of its enrolment record.
    pub enrolment: Digest,
    /// The evidence.
    pub evidence: &'a [u8],
    /// Milliseconds since boot when it opened.
    pub mono_ms: u64,
    /// When it was accepted, Unix time in ms.
    pub opened_ms: u64,
}

/// A stored session, ready to be continued.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Order in which this validator opened sessions.
    pub number: i64,
    /// Its id.
    pub id: Digest,
    /// Its node.
    pub node: Digest,
    /// What became of it.
    pub state: State,
    /// When it was accepted, Unix time in ms.
    pub opened_ms: u64,
    /// Its Ed25519 key.
    pub key: VerifyingKey,
    /// TPMT_PUBLIC of the AK.
    pub ak_public: Vec<u8>,
    /// What its anchors are checked against.
    pub context: AnchorContext,
    /// Envelope hash of its evidence.
    pub evidence_hash: Digest,
    /// Sequence number of the chain's head.
    pub seq: u64,
    /// Envelope hash of the head, or the session's id.
    pub head: Digest,
    /// Milliseconds since boot of the head.
    pub mono_ms: u64,
    /// The code under which the validator closed it.
    pub closed: Option<String>,
}

/// A stored envelope and when it first came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Unix time in ms.
    pub received_ms: u64,
    /// The envelope.
    pub envelope: Vec<u8>,
}

/// [`AnchorContext`] without its session, as one value: a TPM's numbers may be any 64 bits,
/// SQLite's integers may not.
#[derive(Encode, Decode)]
#[cbor(map)]
struct ContextCell {
    #[cbor(n(0), with = "minicbor::bytes")]
    pcr_digest: Vec<u8>,
    #[n(1)]
    time_ms: u64,
    #[n(2)]
    reset_count: u32,
    #[n(3)]
    restart_count: u32,
    #[n(4)]
    firmware_version: u64,
}

impl ContextCell {
    fn write(context: &AnchorContext) -> Vec<u8> {
        let TpmInstant { time_ms, reset_count, restart_count, firmware_version } = context.opened;
        let pcr_digest = context.pcr_digest.clone();
        cbor::to_vec(&Self { pcr_digest, time_ms, reset_count, restart_count, firmware_version })
    }

    fn read(session: Digest, bytes: &[u8]) -> Option<AnchorContext> {
        let Self { pcr_digest, time_ms, reset_count, restart_count, firmware_version } =
            cbor::from_slice("context", bytes, 1024).ok()?;
        let opened = TpmInstant { time_ms, reset_count, restart_count, firmware_version };
        Some(AnchorContext { session, pcr_digest, opened })
    }
}

const COLUMNS: &str = "number, session, node, state, opened_ms, session_key, ak_public, context,
     evidence_hash, seq, head, mono_ms, closed";

impl Store {
    /// Adds a session as its node's open one, and gives its number.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn insert_session(&self, new: &NewSession<'_>) -> Result<i64, StoreError> {
        self.run(
            "close the node's earlier session",
            "UPDATE sessions SET state = ?2 WHERE node = ?1 AND state = ?3",
            params![new.node.0, State::Superseded.code(), State::Open.code()],
        )?;
        self.run(
            "add a session",
            "INSERT INTO sessions (session, node, state, opened_ms, last_ms, session_key, ak_public,
                 context, evidence_hash, seq, head, mono_ms, evidence, enrolment)
             VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7, ?8, 0, ?1, ?9, ?10, ?11)",
            params![
                new.id.0,
                new.node.0,
                State::Open.code(),
                new.opened_ms,
                new.key.0,
                new.ak_public,
                ContextCell::write(new.context),
                new.evidence_hash.0,
                new.mono_ms,
                new.evidence,
                new.enrolment.0,
            ],
        )?;
        Ok(self.db.last_insert_rowid())
    }

    /// Closes sessions of this node, or those under this enrolment record, that could still go on.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn close_sessions(&self, of: &Digest, code: &str) -> Result<usize, StoreError> {
        let sql = "UPDATE sessions SET state = ?2, closed = ?3
                   WHERE (node = ?1 OR enrolment = ?1) AND state IN (?4, ?5)";
        let (open, superseded) = (State::Open.code(), State::Superseded.code());
        self.run("close sessions", sql, params![of.0, State::Closed.code(), code, open, superseded])
    }

    /// Closes one session.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn close_session(&self, number: i64, code: &str) -> Result<(), StoreError> {
        let sql = "UPDATE sessions SET state = ?2, closed = ?3 WHERE number = ?1";
        self.run("close a session", sql, params![number, State::Closed.code(), code]).map(drop)
    }

    /// The session with this id.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::Corrupt`].
    pub fn session(&self, id: &Digest) -> Result<Option<SessionRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE session = ?1");
        self.one("read a session", &sql, [id.0], session_row)?.transpose()
    }

    /// Where the newest session of the node that has a beat stands, and its number.
    ///
    /// One without a beat is passed over: its opening may never have been answered, and
    /// then the node doesn't know that it exists.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn newest_head(&self, node: &Digest) -> Result<Option<(i64, Head)>, StoreError> {
        let sql = "SELECT number, session, seq, head FROM sessions WHERE node = ?1 AND seq > 0
                   ORDER BY number DESC LIMIT 1";
        self.one("read the node's head", sql, [node.0], |row| {
            let head = Head { session: Digest(row.get(1)?), seq: row.get(2)?, head: Digest(row.get(3)?) };
            Ok((row.get(0)?, head))
        })
    }

    /// Writes where a session's chain stands now.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn update_session(&self, row: &SessionRow, now_ms: u64) -> Result<(), StoreError> {
        self.run(
            "advance a session",
            "UPDATE sessions SET state = ?2, seq = ?3, head = ?4, mono_ms = ?5, last_ms = ?6
             WHERE number = ?1",
            params![row.number, row.state.code(), row.seq, row.head.0, row.mono_ms, now_ms],
        )
        .map(drop)
    }

    /// The evidence of a session.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn evidence(&self, id: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT evidence FROM sessions WHERE session = ?1";
        self.one("read evidence", sql, [id.0], |row| row.get(0))
    }

    /// The beat at this place of a session.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn beat(&self, session: i64, seq: u64) -> Result<Option<StoredRecord>, StoreError> {
        // A place beyond what SQLite can count to is not in the store.
        let Ok(seq) = i64::try_from(seq) else { return Ok(None) };
        let sql = "SELECT received_ms, envelope FROM beats WHERE session = ?1 AND seq = ?2";
        self.one("read a beat", sql, params![session, seq], stored_record)
    }

    /// All beats of a session in order.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn beats(&self, session: i64) -> Result<Vec<StoredRecord>, StoreError> {
        let sql = "SELECT received_ms, envelope FROM beats WHERE session = ?1 ORDER BY seq";
        self.all("read beats", sql, [session], stored_record)
    }

    /// Adds a beat.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn insert_beat(
        &self,
        session: i64,
        seq: u64,
        now_ms: u64,
        envelope: &[u8],
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO beats (session, seq, received_ms, envelope) VALUES (?1, ?2, ?3, ?4)";
        self.run("add a beat", sql, params![session, seq, now_ms, envelope]).map(drop)
    }

    /// The anchor, job receipt or end with this envelope hash.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn record(&self, session: i64, hash: &Digest) -> Result<Option<StoredRecord>, StoreError> {
        let sql = "SELECT received_ms, envelope FROM records WHERE session = ?1 AND hash = ?2";
        self.one("read a record", sql, params![session, hash.0], stored_record)
    }

    /// Adds an anchor, a job receipt or an end.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn insert_record(
        &self,
        session: i64,
        (subject, seq, hash): (Subject, u64, &Digest),
        now_ms: u64,
        envelope: &[u8],
    ) -> Result<(), StoreError> {
        self.run(
            "add a record",
            "INSERT INTO records (session, hash, subject, seq, received_ms, envelope)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![session, hash.0, subject_code(subject), seq, now_ms, envelope],
        )
        .map(drop)
    }
}

/// The number of a subject in the store; that of the wire.
pub(super) fn subject_code(subject: Subject) -> i64 {
    match subject {
        Subject::Session => 0,
        Subject::Beats => 1,
        Subject::Anchor => 2,
        Subject::Job => 3,
        Subject::End => 4,
    }
}

fn stored_record(row: &Row<'_>) -> rusqlite::Result<StoredRecord> {
    Ok(StoredRecord { received_ms: row.get(0)?, envelope: row.get(1)? })
}

fn session_row(row: &Row<'_>) -> rusqlite::Result<Result<SessionRow, StoreError>> {
    let id = Digest(row.get(1)?);
    let state = State::from_code(row.get(3)?);
    let context = ContextCell::read(id, &row.get::<_, Vec<u8>>(7)?);
    let (Some(state), Some(context)) = (state, context) else {
        return Ok(Err(StoreError::Corrupt { what: "session" }));
    };
    Ok(Ok(SessionRow {
        number: row.get(0)?,
        id,
        node: Digest(row.get(2)?),
        state,
        opened_ms: row.get(4)?,
        key: VerifyingKey(row.get(5)?),
        ak_public: row.get(6)?,
        context,
        evidence_hash: Digest(row.get(8)?),
        seq: row.get(9)?,
        head: Digest(row.get(10)?),
        mono_ms: row.get(11)?,
        closed: row.get(12)?,
    }))
}
