//! The tables, and their version.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use super::LedgerError;

/// Version of the tables below.
pub(super) const VERSION: i64 = 1;

/// `ord` is the order of everything: of delivery, of verification, of export.
const TABLES: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE enrolment(validator BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE sessions(
    ord INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    key BLOB NOT NULL,
    local INTEGER NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0,
    opened_ms INTEGER NOT NULL) STRICT;
CREATE TABLE records(
    ord INTEGER PRIMARY KEY AUTOINCREMENT,
    session BLOB NOT NULL,
    kind TEXT NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    bytes BLOB NOT NULL) STRICT;
CREATE INDEX records_of_session ON records(session, kind, seq);
CREATE UNIQUE INDEX one_beat_per_place ON records(session, seq) WHERE kind = 'beat';
CREATE TABLE receipts(
    ord INTEGER PRIMARY KEY AUTOINCREMENT,
    validator BLOB NOT NULL,
    session BLOB NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    UNIQUE(session, hash, validator)) STRICT;
CREATE TABLE beacons(hash BLOB PRIMARY KEY, round INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;
CREATE TABLE cursors(validator BLOB PRIMARY KEY, ord INTEGER NOT NULL) STRICT;
CREATE TABLE refusals(
    validator BLOB NOT NULL,
    session BLOB NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY(validator, session)) STRICT;
";

/// Makes the tables in an empty file, and sets how commits reach the disk.
pub(super) fn prepare(db: &Connection, path: &Path) -> Result<(), LedgerError> {
    let open = |source| LedgerError::Open { path: path.to_owned(), source };
    db.pragma_update(None, "journal_mode", "wal").map_err(open)?;
    db.pragma_update(None, "synchronous", "full").map_err(open)?;
    if version(db).map_err(open)?.is_none() {
        let first = format!("INSERT INTO meta VALUES('schema', {VERSION});");
        db.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} {first} COMMIT;")).map_err(open)?;
    }
    check(db, path)
}

/// Refuses a file of another version.
pub(super) fn check(db: &Connection, path: &Path) -> Result<(), LedgerError> {
    let found = version(db).map_err(|source| LedgerError::Open { path: path.to_owned(), source })?;
    match found.unwrap_or_default() {
        VERSION => Ok(()),
        found => Err(LedgerError::Schema { path: path.to_owned(), found, expected: VERSION }),
    }
}

/// The version of a file; `None` for one without tables.
fn version(db: &Connection) -> Result<Option<i64>, rusqlite::Error> {
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(None);
    }
    let is_ours: i64 = db.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'meta'",
        [],
        |row| row.get(0),
    )?;
    if is_ours == 0 {
        return Ok(Some(0));
    }
    let version = db.query_row("SELECT value FROM meta WHERE key = 'schema'", [], |row| row.get(0));
    Ok(Some(version.optional()?.unwrap_or(0)))
}
