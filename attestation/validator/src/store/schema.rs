//! The store's tables and their version.

/// The version that this code reads and writes (`PRAGMA user_version`).
pub(super) const VERSION: i64 = 3;
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

/// Version 2, on top of version 1: who holds which TPM key, what was taken back, what a
/// session's TPM said of its power cycle, and everything that an appraisal depended on.
///
/// `sessions.enrolment` is the envelope hash of the session's record (NULL in sessions of
/// version 1), `sessions.closed` the code under which it was closed. A `tpm_keys.role` is that
/// of [`super::Role`]; `weight` is the identity axis of whoever brought the key.
/// Times are Unix ms by the validator's clock; `power` holds instants computed from it.
pub(super) const UPGRADE_2: &str = "
ALTER TABLE sessions ADD COLUMN enrolment BLOB;
ALTER TABLE sessions ADD COLUMN closed TEXT;
CREATE INDEX enrolments_of_node ON enrolments (node);
CREATE TABLE tpm_keys (
    key      BLOB PRIMARY KEY,
    node     BLOB NOT NULL,
    role     INTEGER NOT NULL,
    weight   INTEGER NOT NULL,
    first_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tpm_keys_of_node ON tpm_keys (node);
CREATE TABLE transfers (
    node  BLOB PRIMARY KEY,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE seen_records (
    node       BLOB NOT NULL,
    validator  BLOB NOT NULL,
    hash       BLOB NOT NULL,
    issued_ms  INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (node, validator)
) STRICT, WITHOUT ROWID;
CREATE TABLE revocations (
    number INTEGER PRIMARY KEY,
    kind   INTEGER NOT NULL,
    digest BLOB NOT NULL,
    at_ms  INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX revocations_of ON revocations (digest);
CREATE TABLE imports (
    validator BLOB NOT NULL,
    kind      INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    envelope  BLOB NOT NULL,
    PRIMARY KEY (validator, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE imported_revocations (
    validator BLOB NOT NULL,
    place     INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    digest    BLOB NOT NULL,
    at_ms     INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    PRIMARY KEY (validator, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX imported_revocations_of ON imported_revocations (digest);
CREATE TABLE imported_firmware (
    validator BLOB NOT NULL,
    pcr0      BLOB NOT NULL,
    owners    INTEGER NOT NULL,
    first_ms  INTEGER NOT NULL,
    name      TEXT NOT NULL,
    PRIMARY KEY (pcr0, validator)
) STRICT, WITHOUT ROWID;
CREATE TABLE allowed (
    node  BLOB PRIMARY KEY,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE pins (
    node  BLOB PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    note  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE power (
    session       INTEGER PRIMARY KEY REFERENCES sessions (number),
    reset_count   INTEGER NOT NULL,
    restart_count INTEGER NOT NULL,
    firmware      BLOB NOT NULL,
    template      TEXT NOT NULL,
    identity      INTEGER NOT NULL,
    first_on_ms   INTEGER NOT NULL,
    last_on_ms    INTEGER NOT NULL,
    clock_lead_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX power_cycles ON power (reset_count, firmware);
CREATE TABLE session_gpus (
    uuid    TEXT NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions (number),
    PRIMARY KEY (uuid, session)
) STRICT, WITHOUT ROWID;
CREATE TABLE findings (
    number   INTEGER PRIMARY KEY,
    at_ms    INTEGER NOT NULL,
    code     TEXT NOT NULL,
    severity TEXT NOT NULL,
    node     BLOB NOT NULL,
    other    BLOB NOT NULL,
    detail   TEXT NOT NULL,
    UNIQUE (code, severity, node, other)
) STRICT;
CREATE INDEX findings_of ON findings (node);
CREATE TABLE firmware_seen (
    pcr0     BLOB NOT NULL,
    owner    BLOB NOT NULL,
    first_ms INTEGER NOT NULL,
    name     TEXT NOT NULL,
    PRIMARY KEY (pcr0, owner)
) STRICT, WITHOUT ROWID;
CREATE TABLE firmware_approved (
    node  BLOB NOT NULL,
    pcr0  BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (node, pcr0)
) STRICT, WITHOUT ROWID;
CREATE TABLE inputs (
    hash  BLOB PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE appraisals (
    session   INTEGER PRIMARY KEY REFERENCES sessions (number),
    at_ms     INTEGER NOT NULL,
    trust     BLOB NOT NULL,
    policy    BLOB NOT NULL,
    challenge BLOB NOT NULL,
    state     BLOB NOT NULL,
    result    BLOB NOT NULL
) STRICT;
";

/// Version 3, on top of version 2: firmware counts by node.
///
/// Of a node its first owner counts, whoever owns it later. Rows of version 2 name no node and count for nobody;
/// a node's next session brings its row.
pub(super) const UPGRADE_3: &str = "
DROP TABLE firmware_seen;
CREATE TABLE firmware_seen (
    pcr0     BLOB NOT NULL,
    node     BLOB NOT NULL,
    owner    BLOB NOT NULL,
    first_ms INTEGER NOT NULL,
    name     TEXT NOT NULL,
    PRIMARY KEY (pcr0, node)
) STRICT, WITHOUT ROWID;
";
