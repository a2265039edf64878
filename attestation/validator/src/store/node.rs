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
            // The same record again, of the same moment, is the newest again.
            "INSERT OR REPLACE INTO enrolments (hash, node, issued_ms, envelope) VALUES (?1, ?2, ?3, ?4)",
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

    /// The newest record that this validator issued for a node: envelope hash and envelope.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn newest_enrolment(&self, node: &Digest) -> Result<Option<(Digest, Vec<u8>)>, StoreError> {
        let sql = "SELECT hash, envelope FROM enrolments WHERE node = ?1 ORDER BY rowid DESC LIMIT 1";
        self.one("read the newest record", sql, [node.0], |row| Ok((Digest(row.get(0)?), row.get(1)?)))
    }

    /// Records that this validator issued for a node and has not taken back, in the order of their issue: envelope
    /// hashes. Some may be over.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn standing_records(&self, node: &Digest) -> Result<Vec<Digest>, StoreError> {
        let sql = "SELECT hash FROM enrolments WHERE node = ?1
                   AND NOT EXISTS (SELECT 1 FROM revocations WHERE digest = hash AND kind = 1)
                   ORDER BY enrolments.rowid";
        self.all("list records of a node", sql, [node.0], |row| Ok(Digest(row.get(0)?)))
    }

    /// The EK public area that a node enrolled with.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn ek_public(&self, node: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("read an EK", "SELECT ek_public FROM nodes WHERE node = ?1", [node.0], |row| row.get(0))
    }

    /// When the last transfer of a node's ownership that was taken says it was made, Unix ms; 0 for none.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn last_transfer(&self, node: &Digest) -> Result<u64, StoreError> {
        let sql = "SELECT at_ms FROM transfers WHERE node = ?1";
        Ok(self.one("read a transfer", sql, [node.0], |row| row.get(0))?.unwrap_or_default())
    }

    /// Remembers a transfer that was taken.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn set_transfer(&self, node: &Digest, at_ms: u64) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO transfers (node, at_ms) VALUES (?1, ?2)";
        self.run("add a transfer", sql, params![node.0, at_ms]).map(drop)
    }

    /// Remembers a record of a node by this or another validator, the newest of each.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn saw_record(
        &self,
        validator: &Digest,
        hash: &Digest,
        record: &EnrolmentRecord,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO seen_records (node, validator, hash, issued_ms, expires_ms)
                   VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT DO UPDATE SET hash = ?3, issued_ms = ?4, expires_ms = ?5
                   WHERE issued_ms < ?4";
        let (issued, expires) = (record.issued_ms, record.expires_ms);
        self.run("remember a record", sql, params![record.node.0, validator.0, hash.0, issued, expires])
            .map(drop)
    }

    /// When the newest record of a node by this validator that was seen here was issued, Unix ms.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn issued_by(&self, node: &Digest, validator: &Digest) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT issued_ms FROM seen_records WHERE node = ?1 AND validator = ?2";
        self.one("look for a record", sql, params![node.0, validator.0], |row| row.get(0))
    }

    /// Lets a node enrol once although something stands against it.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn allow(&self, node: &Digest, now_ms: u64) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO allowed (node, at_ms) VALUES (?1, ?2)";
        self.run("allow a node", sql, params![node.0, now_ms]).map(drop)
    }

    /// Whether an administrator let this node enrol.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn is_allowed(&self, node: &Digest) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM allowed WHERE node = ?1";
        Ok(self.one("look for a permission", sql, [node.0], |_| Ok(()))?.is_some())
    }

    /// Uses up a permission.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn use_permission(&self, node: &Digest) -> Result<(), StoreError> {
        self.run("use a permission", "DELETE FROM allowed WHERE node = ?1", [node.0]).map(drop)
    }

    /// Vouches for a node by hand.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn pin(&self, node: &Digest, note: &str, now_ms: u64) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO pins (node, at_ms, note) VALUES (?1, ?2, ?3)";
        self.run("pin a node", sql, params![node.0, now_ms, note]).map(drop)
    }

    /// Takes a pin back; whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn unpin(&self, node: &Digest) -> Result<bool, StoreError> {
        Ok(self.run("unpin a node", "DELETE FROM pins WHERE node = ?1", [node.0])? > 0)
    }

    /// All nodes that were pinned by hand.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn pins(&self) -> Result<Vec<Digest>, StoreError> {
        self.all("list pins", "SELECT node FROM pins ORDER BY node", [], |row| Ok(Digest(row.get(0)?)))
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
