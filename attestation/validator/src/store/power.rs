//! What sessions' TPMs said of their power cycle, their GPUs, and what was noticed across nodes.

use assay_wire::Digest;
use rusqlite::{Row, params};
use serde::Serialize;

use super::{State, Store, StoreError};

/// A session's TPM and its power cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Power {
    /// TPM resets so far.
    pub reset_count: u32,
    /// Restarts and resumes since.
    pub restart_count: u32,
    /// `firmwareVersion`.
    pub firmware_version: u64,
    /// The EK's public area without its key: two EKs of one TPM differ here.
    pub template: String,
    /// Identity axis of the session.
    pub identity: u8,
    /// Least upper bound of the power-on instant over all GetTimes of this cycle, Unix ms.
    pub first_on_ms: i64,
    /// Upper bound of the power-on instant by the newest GetTime, Unix ms.
    pub last_on_ms: i64,
    /// `clock` less `time` by the newest GetTime, in ms: what the TPM ran before this cycle.
    pub clock_lead_ms: i64,
}

/// A session that runs now, with its power cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub number: i64,
    /// Its id.
    pub session: Digest,
    /// Its node.
    pub node: Digest,
    /// Its TPM.
    pub power: Power,
}

/// Something noticed across nodes or sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FindingRow {
    /// When it was first noticed, Unix ms.
    pub at_ms: u64,
    /// Stable id.
    pub code: String,
    /// `fatal`, `warning` or `info`.
    pub severity: String,
    /// The other node, in hex; the node itself where there is no other.
    pub other: String,
    /// What was seen.
    pub detail: String,
}

const POWER: &str = "power.session, sessions.session, sessions.node, reset_count, restart_count, firmware,
     template, identity, first_on_ms, last_on_ms, clock_lead_ms";

fn running(row: &Row<'_>) -> rusqlite::Result<Running> {
    Ok(Running {
        number: row.get(0)?,
        session: Digest(row.get(1)?),
        node: Digest(row.get(2)?),
        power: Power {
            reset_count: row.get(3)?,
            restart_count: row.get(4)?,
            firmware_version: u64::from_be_bytes(row.get(5)?),
            template: row.get(6)?,
            identity: row.get(7)?,
            first_on_ms: row.get(8)?,
            last_on_ms: row.get(9)?,
            clock_lead_ms: row.get(10)?,
        },
    })
}

impl Store {
    /// Writes what a session's TPM says of its power cycle now.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn set_power(&self, session: i64, power: &Power) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO power (session, reset_count, restart_count, firmware, template,
                       identity, first_on_ms, last_on_ms, clock_lead_ms)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let row = params![
            session,
            power.reset_count,
            power.restart_count,
            power.firmware_version.to_be_bytes(),
            power.template,
            power.identity,
            power.first_on_ms,
            power.last_on_ms,
            power.clock_lead_ms,
        ];
        self.run("write a power cycle", sql, row).map(drop)
    }

    /// A session's power cycle; none for sessions of an older schema.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn power(&self, session: i64) -> Result<Option<Power>, StoreError> {
        let sql =
            format!("SELECT {POWER} FROM power JOIN sessions ON number = power.session WHERE number = ?1");
        Ok(self.one("read a power cycle", &sql, [session], running)?.map(|running| running.power))
    }

    /// The power cycle of a node's newest session.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn newest_power(&self, node: &Digest) -> Result<Option<Power>, StoreError> {
        let sql = format!(
            "SELECT {POWER} FROM power JOIN sessions ON number = power.session
             WHERE node = ?1 ORDER BY number DESC LIMIT 1"
        );
        Ok(self.one("read the newest power cycle", &sql, [node.0], running)?.map(|running| running.power))
    }

    /// Open sessions of other nodes, heard of since then, whose TPMs have the same counters.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn same_counters(
        &self,
        node: &Digest,
        of: &Power,
        since_ms: u64,
    ) -> Result<Vec<Running>, StoreError> {
        let sql = format!(
            "SELECT {POWER} FROM power JOIN sessions ON number = power.session
             WHERE reset_count = ?1 AND firmware = ?2 AND node != ?3 AND state = ?4 AND sessions.last_ms >= ?5
             ORDER BY number"
        );
        let firmware = of.firmware_version.to_be_bytes();
        let row = params![of.reset_count, firmware, node.0, State::Open.code(), since_ms];
        self.all("look for twins", &sql, row, running)
    }

    /// Remembers a session's GPU.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn insert_gpu(&self, session: i64, uuid: &str) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO session_gpus (uuid, session) VALUES (?1, ?2)";
        self.run("add a GPU", sql, params![uuid, session]).map(drop)
    }

    /// Other nodes with an open session, heard of since then, that has this GPU.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn gpu_elsewhere(&self, node: &Digest, uuid: &str, since_ms: u64) -> Result<Vec<Digest>, StoreError> {
        let sql = "SELECT DISTINCT node FROM session_gpus JOIN sessions ON number = session_gpus.session
                   WHERE uuid = ?1 AND node != ?2 AND state = ?3 AND last_ms >= ?4 ORDER BY node";
        let row = params![uuid, node.0, State::Open.code(), since_ms];
        self.all("look for a GPU", sql, row, |row| Ok(Digest(row.get(0)?)))
    }

    /// Flags a node; of one code and pair of nodes the first time is kept.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn insert_finding(
        &self,
        (node, other): (&Digest, &Digest),
        (code, severity): (&str, &str),
        detail: &str,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO findings (at_ms, code, severity, node, other, detail)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.run("add a finding", sql, params![now_ms, code, severity, node.0, other.0, detail]).map(drop)
    }

    /// What was noticed about a node, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub fn findings_of(&self, node: &Digest) -> Result<Vec<FindingRow>, StoreError> {
        let sql = "SELECT at_ms, code, severity, other, detail FROM findings WHERE node = ?1 ORDER BY number";
        self.all("list findings", sql, [node.0], |row| {
            Ok(FindingRow {
                at_ms: row.get(0)?,
                code: row.get(1)?,
                severity: row.get(2)?,
                other: Digest(row.get(3)?).to_string(),
                detail: row.get(4)?,
            })
        })
    }
}
