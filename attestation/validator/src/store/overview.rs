//! What `nodes` shows: one line per node, computed by SQLite.

use std::collections::BTreeMap;

use assay_ledger::enrolment::EnrolmentRecord;
use assay_ledger::receipt::Subject;
use assay_ledger::revocation::{Revocation, RevokedKind};
use assay_wire::{Digest, Envelope, Kind};
use rusqlite::params;
use serde::Serialize;

use super::session::subject_code;
use super::{FindingRow, State, Store, StoreError};

/// A node at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeOverview {
    /// Node id in hex.
    pub node: String,
    /// `discrete`, `firmware`, `virtual` or `unknown`; absent when another validator enrolled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm_class: Option<String>,
    /// TPM manufacturer and model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm_model: Option<String>,
    /// When its newest record ends, Unix time in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Sessions so far.
    pub sessions: u64,
    /// Beats of all sessions.
    pub beats: u64,
    /// Anchors of all sessions.
    pub anchors: u64,
    /// Job receipts of all sessions.
    pub jobs: u64,
    /// Places at which it was caught equivocating.
    pub offences: u64,
    /// Its owner's key in hex, by its newest record here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether it was pinned by hand, here.
    pub pinned: bool,
    /// Whether its newest record, or the node, was taken back.
    pub revoked: bool,
    /// Its newest record of each validator: a verifier counts them against its k of n.
    pub records: Vec<RecordOverview>,
    /// What was noticed about it, oldest first.
    pub findings: Vec<FindingRow>,
    /// The newest session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<SessionOverview>,
}

/// A validator's newest record of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordOverview {
    /// Id of the validator, in hex.
    pub validator: String,
    /// Envelope hash of the record, in hex.
    pub hash: String,
    /// When it was issued, Unix time in ms.
    pub issued_ms: u64,
    /// When it ends, Unix time in ms.
    pub expires_ms: u64,
}

/// A session at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionOverview {
    /// Session id in hex.
    pub session: String,
    /// `open`, `superseded` or `ended`.
    pub state: &'static str,
    /// Sequence number of the head.
    pub seq: u64,
    /// When it was accepted, Unix time in ms.
    pub opened_ms: u64,
    /// When something of it last came, Unix time in ms.
    pub last_ms: u64,
}

impl Store {
    /// All nodes that enrolled here or opened a session here, by id.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::Corrupt`].
    pub fn overview(&self) -> Result<Vec<NodeOverview>, StoreError> {
        let sql = "SELECT node FROM nodes UNION SELECT node FROM sessions ORDER BY node";
        let ids: Vec<Digest> = self.all("list nodes", sql, [], |row| Ok(Digest(row.get(0)?)))?;
        let pins = self.pins()?;
        let enrolled: BTreeMap<_, _> = self.enrolled_nodes()?.into_iter().map(|n| (n.node, n)).collect();
        ids.into_iter()
            .map(|id| {
                let record = enrolled.get(&id);
                Ok(NodeOverview {
                    node: id.to_string(),
                    tpm_class: record.map(|r| r.class.clone()),
                    tpm_model: record.map(|r| r.model.clone()).filter(|model| !model.is_empty()),
                    expires_ms: record.map(|r| r.expires_ms),
                    sessions: self.count("SELECT count(*) FROM sessions WHERE node = ?1", &id)?,
                    // A chain has no holes, so its head counts its beats.
                    beats: self.count("SELECT coalesce(sum(seq), 0) FROM sessions WHERE node = ?1", &id)?,
                    anchors: self.count_records(&id, Subject::Anchor)?,
                    jobs: self.count_records(&id, Subject::Job)?,
                    offences: self.count("SELECT count(*) FROM offences WHERE node = ?1", &id)?,
                    owner: self.newest_record(&id)?.and_then(|(_, r)| r.owner).map(|key| hex::encode(key.0)),
                    pinned: pins.contains(&id),
                    revoked: self.is_revoked_now(&id)?,
                    records: self.records_of(&id)?,
                    findings: self.findings_of(&id)?,
                    newest: self.newest_session(&id)?,
                })
            })
            .collect()
    }

    /// The newest record that this validator issued for a node, with its envelope hash.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::Corrupt`].
    pub fn newest_record(&self, node: &Digest) -> Result<Option<(Digest, EnrolmentRecord)>, StoreError> {
        let Some((hash, bytes)) = self.newest_enrolment(node)? else { return Ok(None) };
        let record = Envelope::decode_as(Kind::Enrolment, &bytes).and_then(|envelope| envelope.message());
        match record {
            Ok(record) => Ok(Some((hash, record))),
            Err(_) => Err(StoreError::Corrupt { what: "enrolment record" }),
        }
    }

    /// What stands against a record of this node: its own revocations, and those of the node.
    ///
    /// A validator that issues a record after it revoked the node has allowed it again, for its own
    /// records; nobody else's record does that.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::Corrupt`].
    pub fn standing(
        &self,
        node: &Digest,
        record: &Digest,
        (issuer, issued_ms): (&Digest, u64),
    ) -> Result<Vec<(Digest, u64, Revocation)>, StoreError> {
        let mut found = self.revocations_of(node, record)?;
        found.retain(|(validator, _, one)| {
            one.kind == RevokedKind::Record || validator != issuer || issued_ms <= one.at_ms
        });
        Ok(found)
    }

    fn is_revoked_now(&self, node: &Digest) -> Result<bool, StoreError> {
        let this = self.validator()?;
        let standing = match self.newest_record(node)? {
            Some((hash, record)) => self.standing(node, &hash, (&this, record.issued_ms))?,
            None => self.standing(node, &Digest::default(), (&this, 0))?,
        };
        Ok(!standing.is_empty())
    }

    fn records_of(&self, node: &Digest) -> Result<Vec<RecordOverview>, StoreError> {
        let sql = "SELECT validator, hash, issued_ms, expires_ms FROM seen_records
                   WHERE node = ?1 ORDER BY validator";
        self.all("list records", sql, [node.0], |row| {
            Ok(RecordOverview {
                validator: Digest(row.get(0)?).to_string(),
                hash: Digest(row.get(1)?).to_string(),
                issued_ms: row.get(2)?,
                expires_ms: row.get(3)?,
            })
        })
    }

    fn count(&self, sql: &str, node: &Digest) -> Result<u64, StoreError> {
        Ok(self.one("count", sql, [node.0], |row| row.get(0))?.unwrap_or_default())
    }

    fn count_records(&self, node: &Digest, subject: Subject) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM records JOIN sessions ON records.session = sessions.number
                   WHERE sessions.node = ?1 AND records.subject = ?2";
        let found =
            self.one("count records", sql, params![node.0, subject_code(subject)], |row| row.get(0))?;
        Ok(found.unwrap_or_default())
    }

    fn newest_session(&self, node: &Digest) -> Result<Option<SessionOverview>, StoreError> {
        let sql = "SELECT session, state, seq, opened_ms, last_ms FROM sessions
                   WHERE node = ?1 ORDER BY number DESC LIMIT 1";
        self.one("read the newest session", sql, [node.0], |row| {
            Ok(SessionOverview {
                session: Digest(row.get(0)?).to_string(),
                state: State::from_code(row.get(1)?).map_or("unknown", State::name),
                seq: row.get(2)?,
                opened_ms: row.get(3)?,
                last_ms: row.get(4)?,
            })
        })
    }
}
