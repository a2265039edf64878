//! Why a command ended badly: one line, an exit code, and what to do next.

use std::{error::Error, io, path::PathBuf};

use assay_wire::Digest;

use crate::{config::ConfigError, ledger::LedgerError};

/// Exit code: a check or a job failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code: wrong arguments or configuration; clap uses the same.
pub(crate) const WRONG: u8 = 2;
/// Exit code: it could not be done.
pub(crate) const UNABLE: u8 = 3;

/// Why a command ended badly. Messages do not repeat their source; [`CliError::line`] prints the chain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The configuration was refused.
    #[error("configuration {}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ConfigError,
    },
    /// The arguments do not go together.
    #[error("{0}")]
    Usage(&'static str),
    /// Nothing listens on the control socket.
    #[error("the agent is not running (nothing answers at {})", socket.display())]
    NoDaemon {
        /// The control socket.
        socket: PathBuf,
    },
    /// The control socket could not be opened.
    #[error("cannot connect to the agent at {}", socket.display())]
    Connect {
        /// The control socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The agent did not answer, or not what was asked.
    #[error("the agent at {} gave no answer", socket.display())]
    Exchange {
        /// The control socket.
        socket: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The agent refused.
    #[error("{text} ({code})")]
    Refused {
        /// Stable code.
        code: String,
        /// One line for people.
        text: String,
    },
    /// The node is not enrolled yet.
    #[error("not enrolled after {seconds} s")]
    NotEnrolled {
        /// How long it was waited for.
        seconds: u64,
    },
    /// A key file could not be read, or is none.
    #[error("cannot read the key {}", path.display())]
    ReadKey {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read a key file.
    #[error("the key {} can be read by others", path.display())]
    OpenKey {
        /// The file.
        path: PathBuf,
    },
    /// A certificate file could not be read, or holds none.
    #[error("cannot read the certificate {}", path.display())]
    ReadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// The job file could not be read.
    #[error("cannot read the job file {}", path.display())]
    ReadJob {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The job file is neither TOML nor JSON.
    #[error("the job file {}: {message}", path.display())]
    ParseJob {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        message: String,
    },
    /// A job that is not there, or more than one.
    #[error("{matches} jobs start with {given:?}")]
    WhichJob {
        /// What was given.
        given: String,
        /// How many there are.
        matches: usize,
    },
    /// A log of a job could not be read.
    #[error("cannot read {}", path.display())]
    ReadLog {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Binary output would have gone to a terminal.
    #[error("the exported file is binary, and standard output is a terminal")]
    Terminal,
    /// An output file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Standard output could not be written.
    #[error("cannot write to standard output")]
    Print(#[source] io::Error),
    /// Processes could not be started or watched.
    #[error("cannot supervise core and link")]
    Supervise(#[source] io::Error),
    /// The process that asked for this one is gone, or the kernel would not say.
    #[error("cannot be tied to process {parent}")]
    Orphan {
        /// The parent's id.
        parent: i32,
        /// What the system said, if it did.
        #[source]
        source: Option<io::Error>,
    },
    /// The ledger could not be opened.
    #[error("no ledger to read")]
    OpenLedger {
        /// Why.
        #[source]
        source: LedgerError,
    },
    /// The ledger's file is damaged.
    #[error("the ledger is damaged")]
    ReadLedger {
        /// What could not be read.
        #[source]
        source: LedgerError,
    },
    /// A job receipt of the ledger does not decode.
    #[error("the ledger is damaged: its job receipt {hash} does not decode")]
    ForeignReceipt {
        /// The envelope hash it is stored under.
        hash: Digest,
    },
    /// A part of the agent failed.
    #[error("{doing}")]
    Part {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl CliError {
    /// A part that failed; `doctor` knows more about it.
    pub(crate) fn part(doing: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Part { doing, source: source.into() }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Config { .. } | Self::Usage(_) | Self::ParseJob { .. } | Self::WhichJob { .. } => WRONG,
            Self::Terminal => WRONG,
            Self::ReadLedger { .. } | Self::ForeignReceipt { .. } => FAILED,
            _ => UNABLE,
        }
    }

    /// A stable word for programs.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Config { .. } => "config.refused",
            Self::Usage(_) => "arguments.wrong",
            Self::NoDaemon { .. } => "agent.not-running",
            Self::Connect { .. } => "agent.closed",
            Self::Exchange { .. } => "agent.no-answer",
            Self::Refused { code, .. } => code,
            Self::NotEnrolled { .. } => "enrol.timeout",
            Self::ReadKey { .. } | Self::OpenKey { .. } => "owner.key",
            Self::ReadCertificate { .. } => "certificate.unreadable",
            Self::ReadJob { .. } => "job.unreadable",
            Self::ParseJob { .. } => "job.malformed",
            Self::WhichJob { .. } => "job.which",
            Self::ReadLog { .. } => "job.no-log",
            Self::Terminal => "output.terminal",
            Self::Write { .. } => "output.unwritable",
            Self::Print(_) => "output.closed",
            Self::Supervise(_) => "run.failed",
            Self::Orphan { .. } => "run.orphan",
            Self::OpenLedger { .. } => "ledger.unopened",
            Self::ReadLedger { .. } | Self::ForeignReceipt { .. } => "ledger.damaged",
            Self::Part { .. } => "agent.failed",
        }
    }

    /// The message and its whole chain of causes on one line.
    pub(crate) fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        super::print::plain(&line)
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Config { source: ConfigError::Read { .. }, .. } => {
                "name another file with --config, or write one with: assay-agent --print-config"
            }
            Self::Config { .. } => "every key and its range: assay-agent --print-config",
            Self::NoDaemon { .. } => {
                "start it with: systemctl start assay-core assay-link, or for a try: assay-agent run"
            }
            Self::Connect { .. } => "run this as the user that the agent runs as (often root)",
            Self::Exchange { .. } => "look into its log with: journalctl -u assay-core",
            Self::NotEnrolled { .. } => "see what keeps it with: assay-agent status",
            Self::OpenKey { .. } => "close it with: chmod 600 FILE",
            Self::WhichJob { .. } => "see all of them with: assay-agent job list",
            Self::Terminal => "name a file: -o FILE, or redirect standard output",
            Self::Orphan { .. } => "run core and link by: assay-agent run",
            Self::OpenLedger { .. } => {
                "it is made by the first run of the agent; another user's may need root to read"
            }
            Self::ReadLedger { .. } | Self::ForeignReceipt { .. } => {
                "keep a copy of the file; what validators received of it is safe with them"
            }
            Self::Part { .. } => "see what is missing with: assay-agent doctor",
            Self::Refused { code, .. } => return refused(code).map(str::to_owned),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// What to do about a refusal of the agent's.
fn refused(code: &str) -> Option<&'static str> {
    Some(match code {
        "job.file" => "every field of a job file: assay-agent job schema",
        "job.busy" => "see them with: assay-agent job list, and end one with: assay-agent job stop JOB",
        "job.sandbox" | "job.unable" => "see what this machine lacks with: assay-agent doctor",
        "sandbox.audit" => "see each attempt with: assay-agent doctor --sandbox",
        "job.secrets" => "seal them to the session that is open, with: assay-validator seal",
        "job.unsigned" => "see what is wrong with: assay-agent status",
        "job.unknown" | "job.ambiguous" => "see all of them with: assay-agent job list",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_job_is_told_what_comes_next() {
        let codes = ["file", "busy", "sandbox", "unable", "secrets", "unsigned", "unknown", "ambiguous"];
        for code in codes.map(|code| format!("job.{code}")).into_iter().chain(["sandbox.audit".into()]) {
            let error = CliError::Refused { code: code.clone(), text: "no".into() };
            assert!(error.hint().is_some(), "{code}");
        }
    }

    #[test]
    fn the_chain_is_one_line() {
        let source = ConfigError::Read { path: "/x".into(), source: io::Error::other("a\nb") };
        let error = CliError::Config { path: "/x".into(), source };
        assert_eq!(error.line(), "configuration /x: cannot read /x: a\u{fffd}b");
        assert_eq!(error.code(), 2);
        assert!(error.hint().is_some());
    }
}
