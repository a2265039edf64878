//! What `nodes` shows: one line per node, computed by SQLite.

use std::collections::BTreeMap;

use assay_ledger::receipt::Subject;
use assay_wire::Digest;
use rusqlite::params;
use serde::Serialize;

use super::session::subject_code;
use super::{State, Store, StoreError};

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
    /// The newest session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<SessionOverview>,
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
                    newest: self.newest_session(&id)?,
                })
            })
            .collect()
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
