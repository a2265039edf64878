//! The job receipt: a node's signed account of what a job used and produced.

use assay_wire::Digest;
use minicbor::{Decode, Encode};

use crate::ByteVec;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum JobExit {
    /// It exited with this code.
    #[n(0)]
    Code(#[n(0)] u8),
    /// A signal killed it.
    #[n(1)]
    Signal(#[n(0)] u8),
    /// It ran past its wall-clock limit and was killed.
    #[n(2)]
    TimedOut,
    /// It was stopped on request.
    #[n(3)]
    Cancelled,
    /// It never started.
    #[n(4)]
    NotStarted,
    /// It exceeded its memory, and the kernel killed it.
    #[n(5)]
    OutOfMemory,
    /// It exceeded a cap on what it may keep, and was killed.
    #[n(6)]
    Quota,
}

impl JobExit {
    /// Whether the job did what it was asked: exit code 0.
    pub fn succeeded(self) -> bool {
        self == Self::Code(0)
    }
}

/// One collected file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JobOutput {
    /// Path inside the job.
    #[n(0)]
    pub path: String,
    /// Bytes.
    #[n(1)]
    pub size: u64,
    /// SHA-256 of the content.
    #[n(2)]
    pub sha256: Digest,
}

/// The payload of an envelope of kind `job-receipt`; `kid` is the session's id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JobReceipt {
    /// Digest of the job file in canonical form.
    #[n(0)]
    pub job: Digest,
    /// SHA-256 of the image's manifest.
    #[n(1)]
    pub image: Digest,
    /// Milliseconds since boot when it started.
    #[n(2)]
    pub started_mono_ms: u64,
    /// Milliseconds from start to exit, restarts and the pauses before them included.
    #[n(3)]
    pub wall_ms: u64,
    /// How its last run ended.
    #[n(4)]
    pub exit: JobExit,
    /// CPU time of all runs in microseconds, user and system.
    #[n(5)]
    pub cpu_us: u64,
    /// Peak resident memory in KiB.
    #[n(6)]
    pub max_rss_kib: u64,
    /// `cgroup` or `rlimit`: what held the limits.
    #[n(7)]
    pub limits: String,
    /// `range` or `single`: how ids inside map to ids outside.
    #[n(8)]
    pub ids: String,
    /// `none` or `egress`.
    #[n(9)]
    pub network: String,
    /// Collected files, by path.
    #[n(10)]
    pub outputs: Vec<JobOutput>,
    /// SHA-256 of what was kept of the last run's standard output.
    #[n(11)]
    pub stdout: Digest,
    /// SHA-256 of what was kept of the last run's standard error.
    #[n(12)]
    pub stderr: Digest,
    /// Sequence number of the chain's head when it ended.
    #[n(13)]
    pub seq: u64,
    /// SHA-256 of the image's configuration.
    #[n(14)]
    pub config: Digest,
    /// Hash of what confined it: limits, mounts, and the walls that the jailer built.
    #[n(15)]
    pub policy: Digest,
    /// Bytes that all runs read from disks.
    #[n(16)]
    pub io_read: u64,
    /// Bytes that all runs wrote to disks.
    #[n(17)]
    pub io_write: u64,
    /// Tree hash of the checkpoint directory after the last run; absent without one.
    #[n(18)]
    pub checkpoint: Option<Digest>,
    /// How often it was started again.
    #[n(19)]
    pub restarts: u32,
    /// Entries of the output directories that were not collected.
    #[n(20)]
    pub outputs_skipped: u64,
}

/// An exported job receipt; the payload of an envelope of kind `receipt`, signed by the
/// session that exports it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReceiptBundle {
    /// Evidence envelopes: of the session that ran the job and, when it is another, of the one that exports.
    #[n(0)]
    pub evidence: Vec<ByteVec>,
    /// The job receipt's envelope.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub receipt: Vec<u8>,
    /// Beat-receipt envelopes whose subject is this job receipt.
    #[n(2)]
    pub seen: Vec<ByteVec>,
}
