//! What an accepted session was appraised with, so that anyone with the store can do it again.

use assay_wire::Digest;
use rusqlite::params;
use sha2::{Digest as _, Sha256};

use super::{Store, StoreError};

/// The inputs of one appraisal beside the evidence, and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAppraisal {
    /// The time it was made for, Unix ms.
    pub at_ms: u64,
    /// The trust file's text.
    pub trust: Vec<u8>,
    /// The policy file's text.
    pub policy: Vec<u8>,
    /// The nonce that the session answered.
    pub challenge: Digest,
    /// The validator's state, in its CBOR form.
    pub state: Vec<u8>,
    /// The result's JSON.
    pub result: Vec<u8>,
}

impl Store {
    /// Keeps a session's appraisal. Equal inputs are kept once, by their SHA-256.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn insert_appraisal(&self, session: i64, kept: &StoredAppraisal) -> Result<(), StoreError> {
        let (trust, policy) = (self.input(&kept.trust)?, self.input(&kept.policy)?);
        let sql = "INSERT INTO appraisals (session, at_ms, trust, policy, challenge, state, result)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let row = params![session, kept.at_ms, trust, policy, kept.challenge.0, kept.state, kept.result];
        self.run("keep an appraisal", sql, row).map(drop)
    }

    fn input(&self, bytes: &[u8]) -> Result<[u8; 32], StoreError> {
        let hash: [u8; 32] = Sha256::digest(bytes).into();
        let sql = "INSERT OR IGNORE INTO inputs (hash, bytes) VALUES (?1, ?2)";
        self.run("keep an input", sql, params![hash, bytes])?;
        Ok(hash)
    }

    /// The appraisal of a session that was opened under this schema.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn appraisal(&self, session: &Digest) -> Result<Option<StoredAppraisal>, StoreError> {
        let sql = "SELECT at_ms, t.bytes, p.bytes, challenge, appraisals.state, result
                   FROM appraisals JOIN sessions ON number = appraisals.session
                   JOIN inputs t ON t.hash = trust JOIN inputs p ON p.hash = policy
                   WHERE sessions.session = ?1";
        self.one("read an appraisal", sql, [session.0], |row| {
            Ok(StoredAppraisal {
                at_ms: row.get(0)?,
                trust: row.get(1)?,
                policy: row.get(2)?,
                challenge: Digest(row.get(3)?),
                state: row.get(4)?,
                result: row.get(5)?,
            })
        })
    }
}
