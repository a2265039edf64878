//! What core answers on the control socket: one line of JSON per connection.
//!
//! The questions are [`crate::control::Request`]. Answers go to the owner's own
//! command line; only [`Answer::Exported`] carries bytes that anyone else believes,
//! and those are signed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::status::Status;

/// Longest answer in bytes: an exported envelope of 4 MiB in hex, and its frame.
pub const MAX_ANSWER: usize = (8 << 20) + (64 << 10);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`crate::control::Request::Status`].
    Status(Box<Status>),
    /// To [`crate::control::Request::JobRun`]: the job has ended.
    Job(Box<JobAnswer>),
    /// To [`crate::control::Request::JobStop`]: told to stop; its receipt follows in the ledger.
    Stopping {
        /// Digest in hex.
        job: String,
    },
    /// To [`crate::control::Request::JobList`] and [`crate::control::Request::JobShow`], newest first.
    Jobs {
        /// The jobs.
        jobs: Vec<JobRow>,
    },
    /// To [`crate::control::Request::Export`].
    Exported {
        /// The envelope's kind, such as `claim`.
        kind: String,
        /// The envelope in hex.
        envelope: String,
    },
    /// To [`crate::control::Request::EkCertificate`]: kept, and the node enrols anew.
    Taken,
    /// It was not done.
    Refused {
        /// Stable code: `area.problem`.
        code: String,
        /// One line for people.
        text: String,
    },
}

/// How a job ended and what it left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobAnswer {
    /// The row as `job list` shows it.
    #[serde(flatten)]
    pub row: JobRow,
    /// Why it never started, in one line.
    pub refusal: Option<String>,
    /// Directory with the collected outputs and logs.
    pub directory: PathBuf,
    /// Collected files, by path.
    pub outputs: Vec<OutputRow>,
    /// Files that were not collected because they exceeded the job's `output_bytes`, the node's disk or
    /// what a receipt lists.
    pub outputs_over: u64,
    /// The job receipt's envelope in hex, signed by the session.
    pub receipt: String,
    /// Who can check the receipt: `session` when its session is known to a validator,
    /// `quote` when it is bound to an enrolled TPM but was never fresh to anyone,
    /// `nobody` when this node never enrolled.
    pub checkable: Checkable,
}

/// Who can check a job receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checkable {
    /// Everyone, with the session's evidence.
    Session,
    /// Everyone, but the session's freshness is unproven: no validator challenged it.
    Quote,
    /// Nobody: the key that signed is bound to nothing.
    Nobody,
}

/// One job of the ledger, or one that runs now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    /// Digest of the job file in hex.
    pub job: String,
    /// Session in hex.
    pub session: String,
    /// `running`, `exit 0`, `signal 9`, `out of memory`, `timed out`, `over quota`, `cancelled`,
    /// `not started`.
    pub state: String,
    /// Whether it ended with exit code 0.
    pub succeeded: bool,
    /// Milliseconds from start to exit, or so far.
    pub wall_ms: u64,
    /// CPU time in microseconds.
    pub cpu_us: u64,
    /// Peak resident memory in KiB.
    pub max_rss_kib: u64,
    /// `cgroup` or `rlimit`; empty while it runs.
    pub limits: String,
    /// `range` or `single`; empty while it runs.
    pub ids: String,
    /// `none` or `egress`; empty while it runs.
    pub network: String,
    /// The rest of its receipt; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<JobDetail>>,
}

impl JobRow {
    /// The row as a list of jobs has it: without the outputs, of which a job may have thousands.
    #[must_use]
    pub fn brief(mut self) -> Self {
        if let Some(detail) = &mut self.detail {
            detail.outputs = None;
        }
        self
    }
}

/// What a receipt says beyond a row. Digests are in hex.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDetail {
    /// SHA-256 of the image's manifest.
    pub image: String,
    /// SHA-256 of the image's configuration.
    pub config: String,
    /// Hash of what confined it.
    pub policy: String,
    /// Bytes read from disks.
    pub io_read: u64,
    /// Bytes written to disks.
    pub io_write: u64,
    /// How often it was started again.
    pub restarts: u32,
    /// Tree hash of its checkpoint, if it had one.
    pub checkpoint: Option<String>,
    /// Collected files, by path; absent in a list of jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Vec<OutputRow>>,
    /// Entries of the output directories that were not collected.
    pub outputs_skipped: u64,
    /// SHA-256 of what was kept of standard output.
    pub stdout: String,
    /// SHA-256 of what was kept of standard error.
    pub stderr: String,
    /// Milliseconds since boot when it started.
    pub started_mono_ms: u64,
    /// Sequence number of the chain's head when it ended.
    pub seq: u64,
}

/// One collected file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRow {
    /// Path inside the job.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}

impl Answer {
    /// A refusal.
    pub fn refused(code: &str, text: impl Into<String>) -> Self {
        Self::Refused { code: code.to_owned(), text: text.into() }
    }
}
