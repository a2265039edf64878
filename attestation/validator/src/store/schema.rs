//! The store's tables and their version.

/// The version that this code reads and writes (`PRAGMA user_version`).
pub(super) const VERSION: i64 = 1;
/// `ASYV`: tells our files from other SQLite files (`PRAGMA application_id`).
pub(super) const APPLICATION: i64 = 0x4153_5956;

/// Version 1.
///
/// Envelopes are stored as they came; their hashes and the receipts given for them
/// are functions of the rows and not stored a second time. `received_ms` is the
/// validator's clock at the first delivery and never changes.
pub(super) const CREATE: &str = "
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE nodes (
    node       BLOB PRIMARY KEY,
    ek_public  BLOB NOT NULL,
    class      TEXT NOT NULL,
    model      TEXT NOT NULL,
    issued_ms  INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE enrolments (
    hash      BLOB PRIMARY KEY,
    node      BLOB NOT NULL,
    issued_ms INTEGER NOT NULL,
    envelope  BLOB NOT NULL
) STRICT;
CREATE TABLE sessions (
    number        INTEGER PRIMARY KEY,
    session       BLOB NOT NULL UNIQUE,
    node          BLOB NOT NULL,
    state         INTEGER NOT NULL,
    opened_ms     INTEGER NOT NULL,
    last_ms       INTEGER NOT NULL,
    session_key   BLOB NOT NULL,
    ak_public     BLOB NOT NULL,
    context       BLOB NOT NULL,
    evidence_hash BLOB NOT NULL,
    seq           INTEGER NOT NULL,
    head          BLOB NOT NULL,
    mono_ms       INTEGER NOT NULL,
    evidence      BLOB NOT NULL
) STRICT;
CREATE INDEX sessions_of_node ON sessions (node, number);
CREATE TABLE beats (
    session     INTEGER NOT NULL REFERENCES sessions (number),
    seq         INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    envelope    BLOB NOT NULL,
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE records (
    session     INTEGER NOT NULL REFERENCES sessions (number),
    hash        BLOB NOT NULL,
    subject     INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    envelope    BLOB NOT NULL,
    PRIMARY KEY (session, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE offences (
    session BLOB NOT NULL,
    seq     INTEGER NOT NULL,
    node    BLOB NOT NULL,
    seen_ms INTEGER NOT NULL,
    first   BLOB NOT NULL,
    second  BLOB NOT NULL,
    PRIMARY KEY (session, seq)
) STRICT;
CREATE TABLE beacons (
    round    INTEGER PRIMARY KEY,
    envelope BLOB NOT NULL
) STRICT;
";
