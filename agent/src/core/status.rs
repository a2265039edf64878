//! How a node is: what `status`, `doctor`, metrics and the console show alike.
//!
//! Every value here is the node's own word for its owner; nothing of it is evidence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of [`Status`] as JSON.
pub const SCHEMA: u32 = 1;

/// The running core.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Node id in hex; absent until the TPM answered.
    pub node: Option<String>,
    /// The owner's public key in hex, when the configuration names one.
    pub owner: Option<String>,
    /// Where the endorsement key's certificate is from: `tpm`, `file` or `maker`; absent without one.
    pub certificate: Option<String>,
    /// The open session's id in hex.
    pub session: Option<String>,
    /// Sequence number of its last beat.
    pub seq: u64,
    /// Records of the ledger that the first validator has not acknowledged.
    pub unsent: u64,
    /// When a validator last said that it had something of ours, Unix time in ms by its clock.
    pub last_receipt_ms: Option<u64>,
    /// Anchors of the open session.
    pub anchors: u64,
    /// Beat receipts of the open session, of all validators.
    pub receipts: u64,
    /// The configured validators.
    pub validators: Vec<ValidatorStatus>,
    /// What is wrong now, worst first.
    pub health: Vec<HealthItem>,
    /// The session's GPUs.
    pub gpus: Vec<GpuStatus>,
    /// Digests in hex of the jobs that run now.
    pub jobs: Vec<String>,
}

/// One configured validator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Whether the last exchange got an answer.
    pub connected: bool,
    /// Records that it has not acknowledged.
    pub unsent: u64,
}

/// One GPU, as of the last beat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuStatus {
    /// Index in the session's table.
    pub index: u8,
    /// Product name.
    pub name: String,
    /// The driver's identifier.
    pub uuid: String,
    /// The library says that it is a simulation.
    pub simulated: bool,
    /// Mean utilization over the last beat.
    pub utilization_per_mille: Option<u16>,
    /// Mean power over the last beat, in watts.
    pub power_w: Option<u16>,
    /// Temperature in degrees Celsius.
    pub temperature_c: Option<u8>,
    /// The driver says that the device is gone.
    pub lost: bool,
    /// Why the session has no report signed by this GPU; absent where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unattested: Option<String>,
}

/// How bad a [`HealthItem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The node earns nothing until it is mended.
    Error,
    /// The node works with less than it could.
    Warning,
    /// Worth knowing.
    Info,
}

/// Something that the owner should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthItem {
    /// Stable code: `area.problem`.
    pub code: String,
    /// How bad.
    pub severity: Severity,
    /// One line for people: what is wrong, and where there is one the next step.
    pub text: String,
}

/// The standing health items, at most one per code.
#[derive(Debug, Default)]
pub struct Health {
    items: BTreeMap<&'static str, (Severity, String)>,
}

impl Health {
    /// Raises an item, or renews its text. Logged when it is new.
    pub fn raise(&mut self, code: &'static str, severity: Severity, text: impl Into<String>) {
        let text = text.into();
        if self.items.insert(code, (severity, text.clone())).is_none() {
            log::warn!("{code}: {text}");
        }
    }

    /// Takes an item back. Logged when it stood.
    pub fn clear(&mut self, code: &'static str) {
        if self.items.remove(code).is_some() {
            log::info!("{code}: over");
        }
    }

    /// Takes back every item of an area, such as `tpm`.
    pub fn clear_area(&mut self, area: &str) {
        self.clear_others(area, "");
    }

    /// Takes back every item of an area but one.
    pub fn clear_others(&mut self, area: &str, but: &str) {
        let of_area = |code: &&'static str| code.split('.').next() == Some(area) && *code != but;
        let codes: Vec<_> = self.items.keys().copied().filter(of_area).collect();
        codes.into_iter().for_each(|code| self.clear(code));
    }

    /// The items, worst first, then by code.
    pub fn items(&self) -> Vec<HealthItem> {
        let item = |(code, (severity, text)): (&&str, &(Severity, String))| HealthItem {
            code: (*code).to_owned(),
            severity: *severity,
            text: text.clone(),
        };
        let mut items: Vec<_> = self.items.iter().map(item).collect();
        items.sort_by_key(|item| item.severity);
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(health: &Health) -> Vec<String> {
        health.items().into_iter().map(|item| item.code).collect()
    }

    #[test]
    fn items_stand_once_per_code_and_worst_first() {
        let mut health = Health::default();
        health.raise("gpu.hung", Severity::Warning, "a");
        health.raise("ledger.full", Severity::Error, "b");
        health.raise("gpu.hung", Severity::Warning, "c");
        assert_eq!(codes(&health), ["ledger.full", "gpu.hung"]);
        assert_eq!(health.items()[1].text, "c");
    }

    #[test]
    fn an_area_is_cleared_without_its_neighbours() {
        let mut health = Health::default();
        health.raise("tpm.missing", Severity::Error, "");
        health.raise("tpm.lost", Severity::Error, "");
        health.raise("tpmx.other", Severity::Error, "");
        health.clear_area("tpm");
        assert_eq!(codes(&health), ["tpmx.other"]);
        health.clear("tpmx.other");
        assert!(codes(&health).is_empty());
    }
}
