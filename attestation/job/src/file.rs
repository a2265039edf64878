//! Job files: what a tenant wants run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use assay_wire::{Digest, Domain, hash};
use serde::{Deserialize, Serialize, Serializer};

use crate::registry_ref::{RefError, RegistryRef};
use crate::{check, raw};

/// Most bytes in a job file.
pub const JOB_FILE_MAX: usize = 64 << 10;

/// Why bytes are not a job file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// Longer than [`JOB_FILE_MAX`].
    #[error("longer than 65536 bytes")]
    TooLong,
    /// Not TOML or JSON of this schema.
    #[error("at byte {offset}: {message}")]
    Syntax {
        /// Where the parser stopped, counted from 0.
        offset: usize,
        /// What it expected, naming the key.
        message: String,
    },
    /// The image is neither a layout nor a registry's.
    #[error("job.image: neither oci:/path/to/layout:tag nor a registry's image: {0}")]
    Image(RefError),
    /// A value outside of its range.
    #[error("{field}: {rule}")]
    Field {
        /// Dotted path of the key.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

/// Where the image is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageRef {
    /// An OCI image layout directory and a tag in its index: `oci:/path:tag`.
    Layout {
        /// The directory.
        path: PathBuf,
        /// `org.opencontainers.image.ref.name` of the manifest.
        tag: String,
    },
    /// An image in a registry: `HOST[:PORT]/NAME@sha256:DIGEST`.
    Registry(RegistryRef),
}

/// What may be reached over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing but the job's own loopback interface.
    #[default]
    None,
    /// The internet, but no private address. Refused for now.
    Egress,
}

impl Network {
    /// The word in job files and receipts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Egress => "egress",
        }
    }
}

/// How limits are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Limits {
    /// By a cgroup around the whole job.
    #[default]
    Cgroup,
    /// By `setrlimit(2)` on each process, for development: a job of many
    /// processes can exceed them together, and `cpu` is not enforced at all.
    Rlimit,
}

impl Limits {
    /// The word in job files and receipts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Rlimit => "rlimit",
        }
    }
}

/// What the job may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Processor time, thousandths of a processor.
    pub cpu_milli: u64,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Writable space, bytes.
    pub disk_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
    /// GPUs.
    pub gpus: u32,
    /// How all this is enforced.
    pub limits: Limits,
}

/// A file or directory of the node that the job reads, known by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// Where it is on the node: a plain absolute path.
    pub source: String,
    /// SHA-256 of a file, [`tree`](crate::tree) hash of a directory.
    #[serde(serialize_with = "hex_digest")]
    pub sha256: [u8; 32],
    /// Where the job sees it, read-only.
    pub target: String,
}

/// What follows a failure: an exit code other than 0, a signal, or the memory limit.
///
/// A job that ran out of time, was stopped, exceeded a quota or never started is not started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Restart {
    /// Most starts after the first.
    pub max: u32,
    /// Pause before the first restart, milliseconds; twice as long before each further one, at
    /// most ten minutes.
    pub backoff_ms: u64,
}

impl Restart {
    /// Longest pause, milliseconds.
    pub const BACKOFF_MAX_MS: u64 = 600_000;

    /// Pause before restart `number`, counted from 1; `None` when there is no such restart.
    #[must_use]
    pub fn pause_ms(&self, number: u32) -> Option<u64> {
        let doublings = number.checked_sub(1).filter(|_| number <= self.max)?;
        let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
        Some(self.backoff_ms.saturating_mul(factor).min(Self::BACKOFF_MAX_MS.max(self.backoff_ms)))
    }
}

/// A directory that outlives the job's restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// Where the job sees it.
    pub target: String,
    /// Most bytes in it; a job that exceeds them is killed.
    pub bytes: u64,
}

/// A secret as it travels: [`crate::seal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// A job, every default filled in and every quantity in its base unit.
///
/// ```toml
/// [job]
/// image = "oci:/path/to/layout:tag"
/// command = ["/bin/sh", "-c", "..."]   # else the image's own
/// env = { KEY = "value" }
/// timeout = "10m"                      # 100ms to 168h, restarts and pauses included
/// network = "none"
/// outputs = ["/out"]                   # directories, made for the job
/// output_bytes = "256Mi"               # of all outputs together; else as many as `disk`
/// restart = { on = "failure", max = 3, backoff = "5s" }
/// checkpoint = "/ckpt"                 # kept between the runs of this job until one succeeds
/// checkpoint_bytes = "1Gi"             # else as many as `disk`
/// [[job.inputs]]
/// source = "/data/model.bin"           # on the node
/// sha256 = "..."                       # `assay-agent job hash /data/model.bin`
/// target = "/in/model.bin"             # in the job, read-only
/// [job.secrets]
/// TOKEN = "..."                        # `assay-validator seal`; the job reads /run/secrets/TOKEN
/// [job.resources]
/// cpu = "500m"                         # 10m to 1024
/// memory = "512Mi"                     # 16Mi to 64Ti
/// disk = "1Gi"                         # 1Mi to 64Ti
/// pids = 128                           # 1 to 65536
/// gpus = 0
/// limits = "cgroup"                    # or "rlimit"
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobFile {
    /// The image.
    pub image: ImageRef,
    /// Program and arguments; empty for the image's own.
    pub command: Vec<String>,
    /// Environment on top of the image's.
    pub env: BTreeMap<String, String>,
    /// Wall clock of all starts and pauses together, milliseconds.
    pub timeout_ms: u64,
    /// Network.
    pub network: Network,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// Directories whose regular files are the job's results, as many as its receipt can list: at most
    /// 4,096, and 224 KiB with 56 bytes for each beside its path.
    pub outputs: Vec<String>,
    /// Most bytes of all results together.
    pub output_bytes: u64,
    /// What follows a failure; nothing without it.
    pub restart: Option<Restart>,
    /// What outlives a restart.
    pub checkpoint: Option<Checkpoint>,
    /// Secrets by name.
    #[serde(serialize_with = "names")]
    pub secrets: BTreeMap<String, Sealed>,
    /// Limits.
    pub resources: Resources,
}

impl JobFile {
    /// Reads a job file: JSON if it starts with `{`, else TOML.
    ///
    /// # Errors
    /// [`JobError`], naming the key or the offset.
    pub fn parse(bytes: &[u8]) -> Result<Self, JobError> {
        check::job(raw::parse(bytes)?)
    }

    /// Hash over the canonical form, equal for the TOML and the JSON text of
    /// one job, whatever their layout.
    ///
    /// Of secrets it covers the names alone: a job stays the same job when its secrets are sealed
    /// to another session, and a seal can bind the digest of the job that it is part of.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        // Fields in declaration order, maps sorted, integers in base units: one
        // form per value. Serializing to memory cannot fail for such types.
        let canonical = serde_json::to_vec(self).unwrap_or_default();
        let Digest(digest) = hash(Domain::JobFile, &[&canonical]);
        digest
    }
}

fn hex_digest<S: Serializer>(digest: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&hex::encode(digest))
}

fn names<S: Serializer>(secrets: &BTreeMap<String, Sealed>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(secrets.keys())
}
