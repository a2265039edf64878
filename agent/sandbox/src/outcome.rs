//! What became of a job: the facts that a job receipt is made of.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::job::{Limits, Network};

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Its program returned this code.
    Code(u8),
    /// Its program was killed by this signal; 31 (`SIGSYS`) is the system call
    /// filter.
    Signal(i32),
    /// The kernel killed all of it for exceeding its memory.
    OutOfMemory,
    /// Its time ran out.
    TimedOut,
    /// It exceeded the cap of its checkpoint and was killed, or left one that cannot be read back.
    Quota,
    /// Its caller cancelled it.
    Cancelled,
    /// Its program could not be started, by the job's own fault.
    Refused {
        /// What could not be done, and why.
        reason: String,
    },
}

impl Exit {
    /// True for exit code 0 only.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }
}

/// What the job used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Processor time of all processes, microseconds. From the cgroup where
    /// there is one; else of those processes that were waited for, which a job
    /// can keep low.
    pub cpu_us: u64,
    /// Largest resident set of one process, KiB; with a memory cgroup, the
    /// whole job's peak.
    pub max_rss_kib: u64,
    /// Bytes read from the state directory's disk. Like all figures below: from
    /// the cgroup, zero where none counts it.
    pub io_read_bytes: u64,
    /// Bytes written to that disk.
    pub io_write_bytes: u64,
    /// Processes that the kernel killed for the job's memory.
    pub oom_kills: u64,
    /// Processes and threads that the limit on them refused.
    pub pids_refused: u64,
    /// Time for which some process waited for a processor, microseconds
    /// (`Documentation/accounting/psi.rst`, "some").
    pub cpu_stall_us: u64,
    /// The same for memory.
    pub memory_stall_us: u64,
    /// The same for disks.
    pub io_stall_us: u64,
}

/// Whose ids the job had outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdMode {
    /// A range of 65,536 that no other job had at the same time.
    Range,
    /// The caller's own and no other: jobs are not separated from the caller
    /// by ids. For development without root.
    Single,
}

/// One collected file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Absolute path inside the job.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the content.
    #[serde(with = "hex_digest")]
    pub sha256: [u8; 32],
}

impl Output {
    /// Most bytes that one job's outputs may take in its receipt, which travels as one record: a
    /// validator takes 256 KiB of records at a time.
    pub const LIST_BYTES: usize = 224 << 10;
    /// Bytes of a receipt for one output beside its path: size, hash, and the heads of CBOR items.
    const LINE_BYTES: usize = 56;

    /// Bytes that an output of this path takes of [`Output::LIST_BYTES`].
    #[must_use]
    pub fn line_bytes(path: &str) -> usize {
        path.len().saturating_add(Self::LINE_BYTES)
    }
}

/// One of the job's two streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSummary {
    /// Bytes that the job wrote.
    pub written: u64,
    /// Bytes of them that were kept: the last.
    pub kept: u64,
    /// SHA-256 of the bytes that were kept.
    #[serde(with = "hex_digest")]
    pub sha256: [u8; 32],
    /// The last bytes of those, as text, for display.
    pub tail: String,
}

/// The account of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOutcome {
    /// Name of the job's directory below `jobs/` in the state directory.
    pub id: String,
    /// [`JobFile::digest`](crate::job::JobFile::digest).
    #[serde(with = "hex_digest")]
    pub job_digest: [u8; 32],
    /// SHA-256 of the image's manifest.
    #[serde(with = "hex_digest")]
    pub image_digest: [u8; 32],
    /// SHA-256 of the image's configuration.
    #[serde(with = "hex_digest")]
    pub config_digest: [u8; 32],
    /// [`Confinement::digest`](assay_job::confinement::Confinement::digest) of the last run.
    #[serde(with = "hex_digest")]
    pub policy_digest: [u8; 32],
    /// `CLOCK_MONOTONIC` when the jailer was first started, milliseconds.
    pub started_ms: u64,
    /// `CLOCK_MONOTONIC` when every process of the job was gone, milliseconds.
    pub ended_ms: u64,
    /// Wall clock between the two, milliseconds.
    pub wall_ms: u64,
    /// How its last run ended.
    pub exit: Exit,
    /// How often it was started again.
    pub restarts: u32,
    /// What all runs used.
    pub usage: Usage,
    /// How limits were enforced.
    pub limits: Limits,
    /// Whose ids it had.
    pub ids: IdMode,
    /// What it could reach.
    pub network: Network,
    /// Tree hash of its checkpoint after the last run.
    #[serde(with = "optional_hex_digest")]
    pub checkpoint: Option<[u8; 32]>,
    /// Its collected files, in byte order of their paths: of the last run.
    pub outputs: Vec<Output>,
    /// Entries below its output directories that were not collected: links,
    /// devices, pipes, names that are not UTF-8, and what exceeded the limits.
    pub outputs_skipped: u64,
    /// Those of them that exceeded the job's `output_bytes`, what the node's disk had free or what a
    /// receipt lists, or came too late once the job was told to stop.
    pub outputs_over: u64,
    /// Standard output.
    pub stdout: LogSummary,
    /// Standard error.
    pub stderr: LogSummary,
    /// Directory with `out/`, `stdout` and `stderr`.
    #[serde(skip)]
    pub dir: PathBuf,
}

/// Digests as lower-case hexadecimal in JSON.
mod hex_digest {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(digest: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(digest))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        let mut digest = [0; 32];
        hex::decode_to_slice(&text, &mut digest)
            .map_err(|_| D::Error::custom("not 32 bytes of hexadecimal"))?;
        Ok(digest)
    }
}

/// The same, or null.
mod optional_hex_digest {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Hex(#[serde(with = "super::hex_digest")] [u8; 32]);

    pub(super) fn serialize<S: Serializer>(digest: &Option<[u8; 32]>, to: S) -> Result<S::Ok, S::Error> {
        digest.map(Hex).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[u8; 32]>, D::Error> {
        Ok(Option::<Hex>::deserialize(from)?.map(|hex| hex.0))
    }
}
