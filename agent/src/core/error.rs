//! Why core could not start or go on.

use std::io;
use std::path::PathBuf;

use assay_sandbox::SandboxError;

use super::tpm::TpmFault;
use crate::ledger::LedgerError;

/// Why core could not start or go on. A TPM, validator or GPU that is away is a health item instead.
///
/// Messages do not repeat their source; print the chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// The state directory could not be made or locked.
    #[error("cannot use the state directory {}", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another agent holds the state directory.
    #[error("another agent is using {}: stop it, or give this one a state_dir of its own", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A socket could not be made.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process answers on a socket of ours.
    #[error("another agent is listening on {}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The filter that keeps core off the network could not be installed.
    #[error("cannot give up the network")]
    Confine(#[source] seccompiler::Error),
    /// A thread or the event loop could not be started.
    #[error("cannot start {what}")]
    Start {
        /// What.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The ledger cannot be used.
    #[error("the ledger cannot be used")]
    Ledger(#[from] LedgerError),
    /// The system has no random numbers.
    #[error("no random numbers for a key: {0}")]
    Random(getrandom::Error),
    /// The TPM did not do what it was asked.
    #[error("{0}")]
    Tpm(TpmFault),
    /// The job could not be run, or is none.
    #[error("the job could not be run")]
    Job(#[source] SandboxError),
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
