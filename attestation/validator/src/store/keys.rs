//! Which node holds which TPM key: EKs, keys in EK certificates, AKs.

use assay_wire::Digest;
use rusqlite::params;

use super::{Store, StoreError};

/// How a key came to be a node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An EK that activated a credential.
    Ek,
    /// A key in an EK certificate that the node sent: its word.
    Certified,
    /// An AK that was activated.
    Ak,
}

impl Role {
    fn code(self) -> i64 {
        match self {
            Self::Ek => 0,
            Self::Certified => 1,
            Self::Ak => 2,
        }
    }

    fn from_code(code: i64) -> Option<Self> {
        [Self::Ek, Self::Certified, Self::Ak].into_iter().find(|role| role.code() == code)
    }
}

/// Who has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHolder {
    /// The node.
    pub node: Digest,
    /// How it came to have it.
    pub role: Role,
    /// Identity axis of the node when it came.
    pub weight: u8,
}

impl Store {
    /// Who has this key, in the form of the engine's index.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::Corrupt`].
    pub fn key_holder(&self, key: &[u8]) -> Result<Option<KeyHolder>, StoreError> {
        let sql = "SELECT node, role, weight FROM tpm_keys WHERE key = ?1";
        let found = self.one("look for a key", sql, [key], |row| {
            Ok((Digest(row.get(0)?), row.get::<_, i64>(1)?, row.get(2)?))
        })?;
        let Some((node, role, weight)) = found else { return Ok(None) };
        let role = Role::from_code(role).ok_or(StoreError::Corrupt { what: "key" })?;
        Ok(Some(KeyHolder { node, role, weight }))
    }

    /// Gives a key to a node, whoever had it; what was proven stays proven.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn set_key_holder(&self, key: &[u8], holder: &KeyHolder, now_ms: u64) -> Result<(), StoreError> {
        let sql = "INSERT INTO tpm_keys (key, node, role, weight, first_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT DO UPDATE SET node = ?2, weight = ?4,
                       role = CASE WHEN node = ?2 AND ?3 = 1 THEN role ELSE ?3 END";
        let (role, weight) = (holder.role.code(), holder.weight);
        self.run("index a key", sql, params![key, holder.node.0, role, weight, now_ms]).map(drop)
    }

    /// Envelopes of records whose nodes have no key in the index: those of an older schema.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn unindexed_enrolments(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let sql =
            "SELECT envelope FROM enrolments WHERE node NOT IN (SELECT node FROM tpm_keys) ORDER BY rowid";
        self.all("list records to index", sql, [], |row| row.get(0))
    }
}
