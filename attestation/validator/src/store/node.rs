//! Nodes, their enrolment records, and beacons.

use assay_ledger::enrolment::EnrolmentRecord;
use assay_wire::Digest;
use rusqlite::params;

use super::{Store, StoreError};

/// A node as its newest enrolment record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolledNode {
    /// The node.
    pub node: Digest,
    /// What stands behind its EK.
    pub class: String,
    /// TPM manufacturer and model; empty when unknown.
    pub model: String,
    /// When the record was issued, Unix time in ms.
    pub issued_ms: u64,
    /// When it ends, Unix time in ms.
    pub expires_ms: u64,
}

impl Store {
    /// Adds an enrolment record and makes it its node's newest.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn insert_enrolment(
        &self,
        record: &EnrolmentRecord,
        hash: &Digest,
        envelope: &[u8],
    ) -> Result<(), StoreError> {
        self.run(
            "add an enrolment record",
            "INSERT INTO enrolments (hash, node, issued_ms, envelope) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
            params![hash.0, record.node.0, record.issued_ms, envelope],
        )?;
        self.run(
            "add a node",
            "INSERT OR REPLACE INTO nodes (node, ek_public, class, model, issued_ms, expires_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                record.node.0,
                record.ek_public,
                record.class.name(),
                record.model,
                record.issued_ms,
                record.expires_ms,
            ],
        )?;
        Ok(())
    }

    /// All enrolled nodes, by id.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn enrolled_nodes(&self) -> Result<Vec<EnrolledNode>, StoreError> {
        let sql = "SELECT node, class, model, issued_ms, expires_ms FROM nodes ORDER BY node";
        self.all("list nodes", sql, [], |row| {
            Ok(EnrolledNode {
                node: Digest(row.get(0)?),
                class: row.get(1)?,
                model: row.get(2)?,
                issued_ms: row.get(3)?,
                expires_ms: row.get(4)?,
            })
        })
    }

    /// The beacon of a round, once it was made.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn beacon(&self, round: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("read a beacon", "SELECT envelope FROM beacons WHERE round = ?1", [round], |row| row.get(0))
    }

    /// The newest beacon: round and envelope.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn newest_beacon(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let sql = "SELECT round, envelope FROM beacons ORDER BY round DESC LIMIT 1";
        self.one("read the newest beacon", sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Adds the beacon of a round; there is never a second one.
    ///
    /// # Errors
    /// [`StoreError::Query`], also when the round has one.
    pub fn insert_beacon(&self, round: u64, envelope: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO beacons (round, envelope) VALUES (?1, ?2)";
        self.run("add a beacon", sql, params![round, envelope]).map(drop)
    }
}
