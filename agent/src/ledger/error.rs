//! What can go wrong with the ledger, by the operation that failed.

use std::path::PathBuf;

use assay_ledger::protocol::RECORDS_BYTES;
use rusqlite::ErrorCode;

/// Why the ledger did not do what it was asked. Messages do not repeat their source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The file could not be opened or made.
    #[error("cannot open the ledger {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is of another version of the agent, or no ledger.
    #[error("{} is a ledger of version {found}, this agent reads version {expected}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its version; 0 for a file that is no ledger.
        found: i64,
        /// Ours.
        expected: i64,
    },
    /// The disk is full: nothing was changed.
    #[error("the disk is full: nothing was added to the ledger")]
    Full,
    /// A record is longer than any validator takes: nothing was changed.
    #[error("a {kind} of {len} bytes is longer than a validator takes ({RECORDS_BYTES})")]
    TooLong {
        /// The record's kind.
        kind: &'static str,
        /// Its length.
        len: usize,
    },
    /// A transaction failed: nothing was changed.
    #[error("cannot add {what} to the ledger")]
    Write {
        /// What was to be added.
        what: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A query failed.
    #[error("cannot read {what} from the ledger")]
    Read {
        /// What was asked for.
        what: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}

impl LedgerError {
    /// For `map_err` on a write; a full disk has its own variant.
    pub(super) fn write(what: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Write { what, source },
        }
    }

    /// For `map_err` on a query.
    pub(super) fn read(what: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Read { what, source }
    }
}
