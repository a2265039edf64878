//! Offences: two different beats in one place.

use assay_wire::Digest;
use rusqlite::params;

use super::{Store, StoreError};

/// Two different beats with one place in one chain: the proof that a node equivocated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offence {
    /// The session.
    pub session: Digest,
    /// The place.
    pub seq: u64,
    /// The node.
    pub node: Digest,
    /// When the second came, Unix time in ms.
    pub seen_ms: u64,
    /// The beat that came first.
    pub first: Vec<u8>,
    /// The other one.
    pub second: Vec<u8>,
}

impl Store {
    /// Adds an offence; of one place the first pair is enough.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn insert_offence(&self, offence: &Offence) -> Result<(), StoreError> {
        self.run(
            "add an offence",
            "INSERT OR IGNORE INTO offences (session, seq, node, seen_ms, first, second)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                offence.session.0,
                offence.seq,
                offence.node.0,
                offence.seen_ms,
                offence.first,
                offence.second,
            ],
        )
        .map(drop)
    }

    /// All offences, in order of time.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn offences(&self) -> Result<Vec<Offence>, StoreError> {
        let sql = "SELECT session, seq, node, seen_ms, first, second FROM offences ORDER BY seen_ms, seq";
        self.all("list offences", sql, [], |row| {
            Ok(Offence {
                session: Digest(row.get(0)?),
                seq: row.get(1)?,
                node: Digest(row.get(2)?),
                seen_ms: row.get(3)?,
                first: row.get(4)?,
                second: row.get(5)?,
            })
        })
    }
}
