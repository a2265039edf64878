//! The node's ledger: everything it signed and was told, in one SQLite file.
//!
//! A record is signed before it is stored and stored before it is sent, so the file
//! always holds at least what a validator holds. Each validator has a cursor of its
//! own; what lies behind it is the outbox. Commits are synchronous: what `add_*`
//! returned from survives a power cut.
//!
//! Trust boundary: the file lies on a disk that the node does not trust. Whatever is
//! read from it is decoded as outside bytes, and [`Ledger::verify`] checks every
//! hash and signature again. That a whole older file was put back is for validators
//! to notice, who remember the last head.
//!
//! Not here: making records, delivering them, judging them.

mod error;
mod outbox;
mod read;
mod schema;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verify;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use assay_wire::{Digest, VerifyingKey};
use rusqlite::{Connection, OpenFlags};

pub use error::LedgerError;
pub use outbox::{Delivery, Pending};
pub use verify::{LedgerFault, VerifyReport};

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    db: Connection,
    path: PathBuf,
}

/// What a new session leaves in the ledger.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    /// Its id.
    pub id: Digest,
    /// Its Ed25519 key.
    pub key: VerifyingKey,
    /// Its evidence envelope.
    pub evidence: &'a [u8],
    /// Opened without a validator's challenge: never delivered.
    pub local: bool,
    /// When, Unix time in ms by the node's clock; for people.
    pub opened_ms: u64,
}

/// One session as the ledger counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub id: Digest,
    /// Opened without a validator's challenge: never delivered.
    pub local: bool,
    /// The first validator took its evidence.
    pub accepted: bool,
    /// When it opened, Unix time in ms by the node's clock.
    pub opened_ms: u64,
    /// Beats.
    pub beats: u64,
    /// Anchors.
    pub anchors: u64,
    /// Job receipts.
    pub jobs: u64,
    /// Beat receipts by validators.
    pub receipts: u64,
    /// It ended in order.
    pub ended: bool,
}

/// One stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its session.
    pub session: Digest,
    /// Its place in the chain, where it has one.
    pub seq: u64,
    /// Its envelope hash.
    pub hash: Digest,
    /// Its envelope.
    pub bytes: Vec<u8>,
}

/// How long a reader or writer waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

impl Ledger {
    /// Opens a ledger for writing, and makes it when there is none.
    ///
    /// # Errors
    /// [`LedgerError::Open`], [`LedgerError::Schema`] for a file of another version.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let ledger = Self::connect(path, flags)?;
        schema::prepare(&ledger.db, path)?;
        Ok(ledger)
    }

    /// Opens a ledger for reading, while the agent runs or not.
    ///
    /// # Errors
    /// As [`Ledger::open`]; a missing file is [`LedgerError::Open`].
    pub fn open_read_only(path: &Path) -> Result<Self, LedgerError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let ledger = Self::connect(path, flags)?;
        schema::check(&ledger.db, path)?;
        Ok(ledger)
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, LedgerError> {
        let open = |source| LedgerError::Open { path: path.to_owned(), source };
        let db = Connection::open_with_flags(path, flags).map_err(open)?;
        db.busy_timeout(BUSY).map_err(open)?;
        // The schema may be hostile: no function of ours may run from a view or trigger in it.
        db.pragma_update(None, "trusted_schema", false).map_err(open)?;
        db.pragma_update(None, "cell_size_check", true).map_err(open)?;
        Ok(Self { db, path: path.to_owned() })
    }

    /// Makes the disk full, or not.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, more: i64) {
        let pages: i64 = self.db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        self.db.pragma_update(None, "max_page_count", pages + more).unwrap();
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
