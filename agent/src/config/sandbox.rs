//! `[sandbox]`: how jobs are confined, and how much of what they leave is kept.

use std::path::PathBuf;

use assay_sandbox::pull::Puller;
use assay_sandbox::unpack_process::Unpacker;
use assay_sandbox::{Retention, SandboxConfig};
use serde::Deserialize;

use super::{ImageSettings, Node};

/// How jobs are confined, and how much of what they leave is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxSettings {
    /// The jailer; beside the agent, then in `/usr/lib/assay`, when not given.
    pub jailer: Option<PathBuf>,
    /// First host user and group id given to jobs; 65,536 for each job that runs. The default starts
    /// above what systemd hands to containers.
    pub id_base: u32,
    /// Processors that no job may use, a list like `0-1,4`; empty for none.
    pub reserved_cpus: String,
    /// Most ended jobs whose outputs and logs are kept.
    pub jobs_kept: u32,
    /// What those may take together, GiB. The job that ended last stays, however much it takes.
    pub jobs_gib: u64,
    /// Most checkpoints that are kept, those of running jobs included.
    pub checkpoints_kept: u32,
    /// What all checkpoints may take together, GiB; those of running jobs count with all they may hold.
    pub checkpoints_gib: u64,
    /// Where images may come from and how much room they get.
    pub images: ImageSettings,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            jailer: None,
            id_base: 0x7000_0000,
            reserved_cpus: String::new(),
            jobs_kept: 256,
            jobs_gib: 64,
            checkpoints_kept: 32,
            checkpoints_gib: 64,
            images: ImageSettings::default(),
        }
    }
}

impl SandboxSettings {
    /// What the sandbox of a node makes of these settings.
    #[must_use]
    pub fn sandbox(&self, node: &Node, unpacker: Unpacker, puller: Puller) -> SandboxConfig {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let gib = |number: u64| number.saturating_mul(1 << 30);
        SandboxConfig {
            jailer: self.jailer.clone(),
            id_base: self.id_base,
            reserved_cpus: self.reserved_cpus.clone(),
            retention: Retention {
                jobs: count(self.jobs_kept),
                job_bytes: gib(self.jobs_gib),
                checkpoints: count(self.checkpoints_kept),
                checkpoint_bytes: gib(self.checkpoints_gib),
            },
            images: self.images.sandbox(unpacker, puller),
            ..SandboxConfig::new(node.sandbox_dir())
        }
    }
}
