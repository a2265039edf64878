//! Firmware seen at accepted nodes, and firmware that an administrator approved.

use assay_ledger::firmware::{FirmwareSet, FirmwareTable};
use assay_wire::{Digest, VerifyingKey};
use rusqlite::params;

use super::{Store, StoreError};

impl Store {
    /// Remembers firmware at an owner's node. A node speaks once, for the owner that it had then: however often it
    /// is handed on, one TPM is not several owners.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn saw_firmware(
        &self,
        pcr0: &Digest,
        (node, owner): (&Digest, &VerifyingKey),
        name: &str,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO firmware_seen (pcr0, node, owner, first_ms, name) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT DO NOTHING";
        self.run("remember firmware", sql, params![pcr0.0, node.0, owner.0, now_ms, name]).map(drop)
    }

    /// What this validator has seen, by rising PCR 0; its time is that of the newest row.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn firmware_table(&self) -> Result<FirmwareTable, StoreError> {
        let sql = "SELECT pcr0, count(DISTINCT owner), min(first_ms), max(name) FROM firmware_seen
                   GROUP BY pcr0 ORDER BY pcr0";
        let sets = self.all("list firmware", sql, [], |row| {
            let (pcr0, owners) = (Digest(row.get(0)?), row.get(1)?);
            Ok(FirmwareSet { pcr0, owners, first_ms: row.get(2)?, name: row.get(3)? })
        })?;
        let newest = "SELECT coalesce(max(first_ms), 0) FROM firmware_seen";
        let issued_ms = self.one("date firmware", newest, [], |row| row.get(0))?.unwrap_or_default();
        Ok(FirmwareTable { issued_ms, sets })
    }

    /// One firmware as this validator and those it imported from know it.
    ///
    /// Owners of different validators may be the same ones, so the largest count stands, not the sum.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn firmware(&self, pcr0: &Digest) -> Result<Option<FirmwareSet>, StoreError> {
        let sql = "SELECT max(owners), min(first_ms), max(name) FROM (
                       SELECT count(DISTINCT owner) AS owners, min(first_ms) AS first_ms, max(name) AS name
                       FROM firmware_seen WHERE pcr0 = ?1 HAVING count(*) > 0
                       UNION ALL SELECT owners, first_ms, name FROM imported_firmware WHERE pcr0 = ?1)
                   HAVING count(*) > 0";
        self.one("look for firmware", sql, [pcr0.0], |row| {
            Ok(FirmwareSet { pcr0: *pcr0, owners: row.get(0)?, first_ms: row.get(1)?, name: row.get(2)? })
        })
    }

    /// Takes this firmware as a node's, by an administrator's word.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn approve_firmware(&self, node: &Digest, pcr0: &Digest, now_ms: u64) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO firmware_approved (node, pcr0, at_ms) VALUES (?1, ?2, ?3)";
        self.run("approve firmware", sql, params![node.0, pcr0.0, now_ms]).map(drop)
    }

    /// Firmware that was approved for a node, ascending.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn approved_firmware(&self, node: &Digest) -> Result<Vec<Digest>, StoreError> {
        let sql = "SELECT pcr0 FROM firmware_approved WHERE node = ?1 ORDER BY pcr0";
        self.all("list approved firmware", sql, [node.0], |row| Ok(Digest(row.get(0)?)))
    }
}
