//! What was taken back: this validator's list, and the lists of others.

use assay_ledger::firmware::FirmwareTable;
use assay_ledger::revocation::{Revocation, RevocationList, RevokedKind};
use assay_wire::{Digest, Kind};
use rusqlite::{Row, params};

use super::{Store, StoreError};

/// The number of a kind in the store; that of the wire.
fn revoked_kind_code(kind: RevokedKind) -> i64 {
    match kind {
        RevokedKind::Node => 0,
        RevokedKind::Record => 1,
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Revocation> {
    let kind = match row.get::<_, i64>(0)? {
        0 => RevokedKind::Node,
        _ => RevokedKind::Record,
    };
    Ok(Revocation { kind, digest: Digest(row.get(1)?), at_ms: row.get(2)?, reason: row.get(3)? })
}

/// Kinds of files that other validators' imports are told apart by.
fn import_code(kind: Kind) -> i64 {
    match kind {
        Kind::Revocations => 0,
        _ => 1,
    }
}

impl Store {
    /// Number of this validator's list; 0 before its first entry.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn newest_revocation(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(max(number), 0) FROM revocations";
        Ok(self.one("count revocations", sql, [], |row| row.get(0))?.unwrap_or_default())
    }

    /// Adds an entry behind the last; there is no way to take one out.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn insert_revocation(&self, entry: &Revocation) -> Result<(), StoreError> {
        let sql = "INSERT INTO revocations (number, kind, digest, at_ms, reason)
                   SELECT coalesce(max(number), 0) + 1, ?1, ?2, ?3, ?4 FROM revocations";
        let kind = revoked_kind_code(entry.kind);
        self.run("revoke", sql, params![kind, entry.digest.0, entry.at_ms, entry.reason]).map(drop)
    }

    /// This validator's whole list. Its time is that of its last change: the same list, the same bytes.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn revocations(&self) -> Result<RevocationList, StoreError> {
        let sql = "SELECT kind, digest, at_ms, reason FROM revocations ORDER BY number";
        let entries = self.all("list revocations", sql, [], entry)?;
        let issued_ms = entries.last().map_or(0, |last| last.at_ms);
        Ok(RevocationList { number: self.newest_revocation()?, issued_ms, entries })
    }

    /// Everything that anyone has taken back of this node or this record: who, the number of his list,
    /// and the entry; by validator and then by time.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::Corrupt`].
    pub fn revocations_of(
        &self,
        node: &Digest,
        record: &Digest,
    ) -> Result<Vec<(Digest, u64, Revocation)>, StoreError> {
        let sql = "SELECT kind, digest, at_ms, reason FROM revocations
                   WHERE (digest = ?1 AND kind = 0) OR (digest = ?2 AND kind = 1) ORDER BY number";
        let own = self.all("look for revocations", sql, params![node.0, record.0], entry)?;
        let (this, number) = (self.validator()?, self.newest_revocation()?);
        let sql = "SELECT i.kind, digest, at_ms, reason, i.validator, number
                   FROM imported_revocations i JOIN imports ON imports.validator = i.validator AND imports.kind = 0
                   WHERE (digest = ?1 AND i.kind = 0) OR (digest = ?2 AND i.kind = 1)
                   ORDER BY i.validator, place";
        let others = self.all("look for others' revocations", sql, params![node.0, record.0], |row| {
            Ok((Digest(row.get(4)?), row.get(5)?, entry(row)?))
        })?;
        Ok(own.into_iter().map(|one| (this, number, one)).chain(others).collect())
    }

    /// The validator whose store this is.
    pub(super) fn validator(&self) -> Result<Digest, StoreError> {
        let sql = "SELECT value FROM meta WHERE key = 'validator'";
        let id: Option<String> = self.one("read the validator's id", sql, [], |row| row.get(0))?;
        id.as_deref().and_then(Digest::from_hex).ok_or(StoreError::Corrupt { what: "validator id" })
    }

    /// The newest file of this kind by another validator: its number (or time) and envelope.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn imported(&self, validator: &Digest, kind: Kind) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let sql = "SELECT number, envelope FROM imports WHERE validator = ?1 AND kind = ?2";
        self.one("read an import", sql, params![validator.0, import_code(kind)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    /// Keeps another validator's list in the place of its last one.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn import_revocations(
        &self,
        validator: &Digest,
        list: &RevocationList,
        envelope: &[u8],
    ) -> Result<(), StoreError> {
        self.import(validator, Kind::Revocations, list.number, envelope)?;
        let delete = "DELETE FROM imported_revocations WHERE validator = ?1";
        self.run("replace a list", delete, [validator.0])?;
        let sql = "INSERT INTO imported_revocations (validator, place, kind, digest, at_ms, reason)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        for (place, one) in (0i64..).zip(&list.entries) {
            let kind = revoked_kind_code(one.kind);
            let row = params![validator.0, place, kind, one.digest.0, one.at_ms, one.reason];
            self.run("add an entry of a list", sql, row)?;
        }
        Ok(())
    }

    /// Keeps another validator's firmware table in the place of its last one.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn import_firmware(
        &self,
        validator: &Digest,
        table: &FirmwareTable,
        envelope: &[u8],
    ) -> Result<(), StoreError> {
        self.import(validator, Kind::Firmware, table.issued_ms, envelope)?;
        let delete = "DELETE FROM imported_firmware WHERE validator = ?1";
        self.run("replace a firmware table", delete, [validator.0])?;
        let sql = "INSERT INTO imported_firmware (validator, pcr0, owners, first_ms, name)
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        for set in &table.sets {
            let row = params![validator.0, set.pcr0.0, set.owners, set.first_ms, set.name];
            self.run("add a firmware set", sql, row)?;
        }
        Ok(())
    }

    fn import(&self, validator: &Digest, kind: Kind, number: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let sql =
            "INSERT OR REPLACE INTO imports (validator, kind, number, envelope) VALUES (?1, ?2, ?3, ?4)";
        self.run("keep an import", sql, params![validator.0, import_code(kind), number, bytes]).map(drop)
    }
}
