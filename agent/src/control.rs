//! What the command line asks of a running core, over its control socket.
//!
//! One request and one answer per connection, each a line of JSON. The socket is
//! readable by its owner only: whoever can open it may run jobs on this node.

use serde::{Deserialize, Serialize};

/// File name of the control socket inside the runtime directory.
pub const CONTROL_SOCKET: &str = "control.sock";
/// File name of the socket that link connects to, inside the runtime directory.
pub const LINK_SOCKET: &str = "link.sock";
/// Longest line, in bytes; a job file may be 64 KiB.
pub const MAX_LINE: usize = 1 << 20;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How are you?
    Status,
    /// Run this job file to its end.
    JobRun {
        /// The job file's text (TOML or JSON).
        file: String,
    },
    /// Stop a running job.
    JobStop {
        /// Its digest in hex, or a prefix of it that names one job.
        job: String,
    },
    /// Jobs of this ledger, newest first, without their outputs.
    JobList,
    /// The newest run of each job whose digest starts like this, with its outputs if it is the only one.
    JobShow {
        /// A digest in hex, or a prefix.
        job: String,
    },
    /// Keep this certificate of the endorsement key, and enrol anew with it.
    EkCertificate {
        /// The file in hex, DER or PEM.
        file: String,
    },
    /// Make an exported file, signed by the running session.
    Export {
        /// What to export.
        what: Export,
    },
}

/// What can be exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Export {
    /// The enrolment record, as the validator signed it.
    Enrolment,
    /// The running session's evidence.
    Evidence,
    /// Everything of the last sessions, as one claim.
    Claim,
    /// One job's receipt; the newest when no job is named.
    Receipt {
        /// Digest in hex, or a unique prefix.
        job: Option<String>,
    },
}
