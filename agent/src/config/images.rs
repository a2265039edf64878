//! `[sandbox.images]`: where images may come from and how much room they get.

use std::path::PathBuf;
use std::time::Duration;

use assay_sandbox::images::ImagesConfig;
use assay_sandbox::pull::Puller;
use assay_sandbox::unpack::UnpackLimits;
use assay_sandbox::unpack_process::Unpacker;
use serde::{Deserialize, Serialize};

/// Where images may come from and how much room they get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageSettings {
    /// What all kept layers may take, GiB. Layers in use are never removed, however much they take.
    pub disk_gib: u64,
    /// What no layer may take of the disk, MiB.
    pub reserve_mib: u64,
    /// What one layer may unpack to, GiB.
    pub layer_gib: u64,
    /// Longest time for one image, minutes.
    pub minutes: u64,
    /// Whether a job may name an image in a registry by its tag alone.
    pub tags: bool,
    /// Whether registries may be at private addresses, this machine's own included.
    pub allow_private: bool,
    /// Registries that are reached without TLS, wherever they are: `HOST[:PORT]`.
    pub insecure_registries: Vec<String>,
    /// The authorities that registries' certificates must come from, PEM; the system's when not given.
    pub ca_file: Option<PathBuf>,
    /// Credentials for registries, in the format of container tools.
    pub credentials: Option<PathBuf>,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            disk_gib: 100,
            reserve_mib: 2048,
            layer_gib: 64,
            minutes: 60,
            tags: false,
            allow_private: false,
            insecure_registries: vec![],
            ca_file: None,
            credentials: None,
        }
    }
}

impl ImageSettings {
    /// Name of the pull service's socket inside the runtime directory.
    pub const PULL_SOCKET: &str = "pull.sock";

    /// Most images on their way from registries at a time: as many as jobs run, and as many whose jobs just ended.
    pub const PULLS_MAX: usize = 32;

    /// What the sandbox makes of these settings.
    #[must_use]
    pub fn sandbox(&self, unpacker: Unpacker, puller: Puller) -> ImagesConfig {
        ImagesConfig {
            unpack: UnpackLimits {
                total_bytes: self.layer_gib.saturating_mul(1 << 30),
                reserve_bytes: self.reserve_mib.saturating_mul(1 << 20),
                ..UnpackLimits::default()
            },
            budget_bytes: self.disk_gib.saturating_mul(1 << 30),
            unpacker,
            puller: Some(puller),
            allow_tags: self.tags,
            time_limit: Duration::from_secs(self.minutes.saturating_mul(60)),
        }
    }

    /// Arguments by which the pull process is given these settings.
    #[must_use]
    pub fn pull_arguments(&self) -> Vec<std::ffi::OsString> {
        let text = serde_json::to_string(self).unwrap_or_default();
        vec!["pull".into(), "--settings".into(), text.into()]
    }
}
