//! What a validator must not forget, in SQLite.
//!
//! Purpose: enrolments and whose keys they are of, revocations, sessions with their chains
//! and what they were appraised with, offences, findings, firmware and beacons survive a
//! power cut the moment they are acknowledged: write-ahead log,
//! `synchronous=FULL`, and an answer leaves only after its transaction has
//! committed. One writer, the engine's thread; commands that only look read beside it.
//!
//! Trust boundary: the file is the validator's own. A file of a newer version, of
//! another program, network or validator is refused.
//!
//! Not here: nonces (memory only: a restart voids them), receipts (a function of
//! what is stored), and any check of what is stored.

mod appraisal;
mod firmware;
mod keys;
mod node;
mod offence;
mod overview;
mod power;
mod revocation;
mod schema;
mod session;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Params, Row};

pub use appraisal::StoredAppraisal;
pub use keys::{KeyHolder, Role};
pub use node::EnrolledNode;
pub use offence::Offence;
pub use overview::{NodeOverview, RecordOverview, SessionOverview};
pub use power::{FindingRow, Power, Running};
pub use session::{NewSession, SessionRow, State, StoredRecord};

/// The store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file could not be opened or prepared.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The file belongs to something else.
    #[error("{}: {detail}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// To what.
        detail: String,
    },
    /// An older version wrote the file, and it is only looked at.
    #[error("{}: schema {found}; serve the directory once, which brings it to {known}", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The one that this version reads.
        known: i64,
    },
    /// A newer version wrote the file.
    #[error("{}: schema {found}; this version reads up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest that this version knows.
        known: i64,
    },
    /// A statement failed.
    #[error("cannot {what}")]
    Query {
        /// What was attempted.
        what: &'static str,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A stored value does not read back.
    #[error("stored {what} does not read back")]
    Corrupt {
        /// The value.
        what: &'static str,
    },
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    db: Connection,
}

impl Store {
    /// Opens the store for writing; makes it when it isn't there.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::Newer`] or [`StoreError::Foreign`].
    pub fn open(path: &Path, network: &str, validator: &str) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open { path: path.to_owned(), source };
        let db = Connection::open(path).map_err(open)?;
        db.set_prepared_statement_cache_capacity(64);
        db.busy_timeout(std::time::Duration::from_secs(5)).map_err(open)?;
        let store = Self { db };
        match store.version(path)? {
            0 => store.create(network, validator).map_err(open)?,
            found => {
                store.check_owner(path, network, validator)?;
                store.upgrade(found).map_err(open)?;
            }
        }
        store
            .db
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            .map_err(open)?;
        Ok(store)
    }

    /// Opens an existing store to look at it, beside a process that serves.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)
            .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        let store = Self { db };
        match store.version(path)? {
            0 => Err(StoreError::Foreign {
                path: path.to_owned(),
                detail: "not a validator's store".to_owned(),
            }),
            schema::VERSION => Ok(store),
            found => Err(StoreError::Older { path: path.to_owned(), found, known: schema::VERSION }),
        }
    }

    /// The schema version; 0 for an empty file.
    fn version(&self, path: &Path) -> Result<i64, StoreError> {
        let pragma = |name: &str| self.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let open = |source| StoreError::Open { path: path.to_owned(), source };
        let (application, found) =
            (pragma("application_id").map_err(open)?, pragma("user_version").map_err(open)?);
        let tables = "SELECT count(*) FROM sqlite_schema";
        let tables: i64 = self.db.query_row(tables, [], |row| row.get(0)).map_err(open)?;
        if tables == 0 {
            return Ok(0);
        }
        if application != schema::APPLICATION || found < 1 {
            let detail = "an SQLite file of another program".to_owned();
            return Err(StoreError::Foreign { path: path.to_owned(), detail });
        }
        match found > schema::VERSION {
            true => Err(StoreError::Newer { path: path.to_owned(), found, known: schema::VERSION }),
            false => Ok(found),
        }
    }

    fn create(&self, network: &str, validator: &str) -> Result<(), rusqlite::Error> {
        // In one transaction: a file that was cut off here is an empty one.
        let transaction = self.db.unchecked_transaction()?;
        transaction.execute_batch(schema::CREATE)?;
        transaction.execute_batch(schema::UPGRADE_2)?;
        transaction.execute_batch(schema::UPGRADE_3)?;
        transaction.pragma_update(None, "application_id", schema::APPLICATION)?;
        transaction.pragma_update(None, "user_version", schema::VERSION)?;
        let insert = "INSERT INTO meta (key, value) VALUES ('network', ?1), ('validator', ?2)";
        transaction.execute(insert, [network, validator])?;
        transaction.commit()
    }

    /// Brings an older schema to this version's, all of it or nothing.
    fn upgrade(&self, found: i64) -> Result<(), rusqlite::Error> {
        if found >= schema::VERSION {
            return Ok(());
        }
        let transaction = self.db.unchecked_transaction()?;
        for (version, step) in [(2, schema::UPGRADE_2), (3, schema::UPGRADE_3)] {
            if found < version {
                transaction.execute_batch(step)?;
            }
        }
        transaction.pragma_update(None, "user_version", schema::VERSION)?;
        transaction.commit()
    }

    fn check_owner(&self, path: &Path, network: &str, validator: &str) -> Result<(), StoreError> {
        for (key, expected) in [("network", network), ("validator", validator)] {
            let seen: Option<String> =
                self.one("read the owner", "SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))?;
            if seen.as_deref() != Some(expected) {
                let detail =
                    format!("store of {key} {}, not of {expected}", seen.as_deref().unwrap_or("unknown"));
                return Err(StoreError::Foreign { path: path.to_owned(), detail });
            }
        }
        Ok(())
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn begin(&self) -> Result<(), StoreError> {
        self.batch("begin a transaction", "BEGIN IMMEDIATE")
    }

    /// Ends a transaction: committed and on disk when this returns `Ok`, or undone.
    ///
    /// # Errors
    /// That of `worked`, or [`StoreError::Query`].
    pub fn finish<T>(&self, worked: Result<T, StoreError>) -> Result<T, StoreError> {
        let done = worked.and_then(|value| self.batch("commit", "COMMIT").map(|()| value));
        if done.is_err() {
            // After some failures SQLite has rolled back by itself, and then this one fails.
            let _ = self.db.execute_batch("ROLLBACK");
        }
        done
    }

    fn batch(&self, what: &'static str, sql: &str) -> Result<(), StoreError> {
        self.db.execute_batch(sql).map_err(|source| StoreError::Query { what, source })
    }

    fn run(&self, what: &'static str, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(|source| StoreError::Query { what, source })
    }

    fn one<T>(
        &self,
        what: &'static str,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(params, read).optional())
            .map_err(|source| StoreError::Query { what, source })
    }

    fn all<T>(
        &self,
        what: &'static str,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(params, read)?.collect())
            .map_err(|source| StoreError::Query { what, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("validator.db")
    }

    #[test]
    fn a_store_opens_again_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(&path(&dir), "net", "v").unwrap());
        Store::open(&path(&dir), "net", "v").unwrap();
        assert!(matches!(Store::open(&path(&dir), "other", "v"), Err(StoreError::Foreign { .. })));
        assert!(matches!(Store::open(&path(&dir), "net", "w"), Err(StoreError::Foreign { .. })));
        Store::open_read_only(&path(&dir)).unwrap();
    }

    #[test]
    fn it_is_durable_by_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&path(&dir), "net", "v").unwrap();
        let mode: String = store.db.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        let synchronous: i64 = store.db.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
    }

    #[test]
    fn newer_and_foreign_files_are_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&path(&dir), "net", "v").unwrap();
        store.db.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
        drop(store);
        let newer = Store::open(&path(&dir), "net", "v").unwrap_err();
        assert!(
            matches!(newer, StoreError::Newer { found, known: schema::VERSION, .. } if found == schema::VERSION + 1)
        );
        assert!(Store::open_read_only(&path(&dir)).is_err());

        let foreign = dir.path().join("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(matches!(Store::open(&foreign, "net", "v"), Err(StoreError::Foreign { .. })));
        let garbage = dir.path().join("garbage.db");
        std::fs::write(&garbage, vec![7; 8192]).unwrap();
        assert!(matches!(Store::open(&garbage, "net", "v"), Err(StoreError::Open { .. })));
        let missing = dir.path().join("missing.db");
        assert!(matches!(Store::open_read_only(&missing), Err(StoreError::Open { .. })));
    }

    #[test]
    fn a_store_of_version_1_is_brought_up_when_it_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let old = Connection::open(path(&dir)).unwrap();
        old.execute_batch(schema::CREATE).unwrap();
        old.pragma_update(None, "application_id", schema::APPLICATION).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute("INSERT INTO meta (key, value) VALUES ('network', 'net'), ('validator', 'v')", [])
            .unwrap();
        old.execute("INSERT INTO beacons (round, envelope) VALUES (7, x'01')", []).unwrap();
        drop(old);
        let looked_at = Store::open_read_only(&path(&dir)).unwrap_err();
        assert!(matches!(looked_at, StoreError::Older { found: 1, known: schema::VERSION, .. }));
        let store = Store::open(&path(&dir), "net", "v").unwrap();
        assert_eq!(store.beacon(7).unwrap(), Some(vec![1]));
        assert_eq!(store.newest_revocation().unwrap(), 0);
        drop(store);
        Store::open(&path(&dir), "net", "v").unwrap();
        Store::open_read_only(&path(&dir)).unwrap();
    }

    #[test]
    fn firmware_that_version_2_counted_without_nodes_counts_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let old = Connection::open(path(&dir)).unwrap();
        old.execute_batch(schema::CREATE).unwrap();
        old.execute_batch(schema::UPGRADE_2).unwrap();
        old.pragma_update(None, "application_id", schema::APPLICATION).unwrap();
        old.pragma_update(None, "user_version", 2).unwrap();
        old.execute("INSERT INTO meta (key, value) VALUES ('network', 'net'), ('validator', 'v')", [])
            .unwrap();
        old.execute("INSERT INTO firmware_seen VALUES (zeroblob(32), zeroblob(32), 1, 'f')", []).unwrap();
        old.execute("INSERT INTO beacons (round, envelope) VALUES (7, x'01')", []).unwrap();
        drop(old);
        let store = Store::open(&path(&dir), "net", "v").unwrap();
        assert_eq!(store.beacon(7).unwrap(), Some(vec![1]));
        let (pcr0, node) = (assay_wire::Digest::default(), assay_wire::Digest([1; 32]));
        assert_eq!(store.firmware(&pcr0).unwrap(), None);
        store.saw_firmware(&pcr0, (&node, &assay_wire::VerifyingKey([2; 32])), "f", 1).unwrap();
        assert_eq!(store.firmware(&pcr0).unwrap().map(|set| set.owners), Some(1));
    }

    #[test]
    fn a_failed_transaction_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&path(&dir), "net", "v").unwrap();
        store.begin().unwrap();
        store.insert_beacon(1, b"x").unwrap();
        store.finish::<()>(Err(StoreError::Corrupt { what: "test" })).unwrap_err();
        assert_eq!(store.beacon(1).unwrap(), None);
        store.begin().unwrap();
        store.finish(store.insert_beacon(1, b"x")).unwrap();
        assert_eq!(store.beacon(1).unwrap().as_deref(), Some(&b"x"[..]));
    }
}
