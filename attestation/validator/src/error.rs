//! What can go wrong outside a verdict, and which exit code it means.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use assay_appraisal::{ReleaseError, StateError, TrustError};
use assay_boot::BootError;
use assay_wire::limits;

/// An operation of the service or of a command failed.
///
/// Verdicts and refusals are values and never come this way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is larger than anything of its kind may be.
    #[error("{}: more than {limit} bytes", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
    /// More answers about one certificate than are judged.
    #[error("more than {limit} OCSP answers about certificate {position} of a chain")]
    TooManyAnswers {
        /// The certificate's place in the chain, the leaf's being 0.
        position: usize,
        /// The limit.
        limit: usize,
    },
    /// A file or directory could not be written.
    #[error("cannot write {}", path.display())]
    WriteFile {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `init` found a file of its own and left it alone.
    #[error("{} is there already; nothing was changed", path.display())]
    AlreadyThere {
        /// The file.
        path: PathBuf,
    },
    /// The configuration cannot be used.
    #[error("{}: {detail}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key or the line.
        detail: String,
    },
    /// The trust file or a policy cannot be used.
    #[error("cannot use {}", path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TrustError,
    },
    /// A release manifest does not count, or is none.
    #[error("cannot use {}", path.display())]
    Release {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ReleaseError,
    },
    /// A release description cannot be signed.
    #[error("{}: {detail}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key or the line.
        detail: String,
    },
    /// A file is no release in CoRIM, or a release cannot be written as one.
    #[error("cannot use {}", path.display())]
    Corim {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: BootError,
    },
    /// A validator's statement cannot be taken into account.
    #[error("cannot use {}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StateError,
    },
    /// There is no policy of this name, neither beside the trust file nor built in.
    #[error("no policy named {name:?}")]
    Policy {
        /// The name.
        name: String,
    },
    /// An argument makes no sense.
    #[error("{0}")]
    Argument(String),
    /// A TLS key or certificate could not be made.
    #[error("cannot make a TLS certificate")]
    MakeCertificate(#[source] rcgen::Error),
    /// A TLS key or certificate file cannot be used.
    #[error("{}: {detail}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// Another process serves this directory.
    #[error("{} is locked: another assay-validator serves this directory", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The store failed.
    #[error("store")]
    Store(#[from] crate::store::StoreError),
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system: {0}")]
    Randomness(getrandom::Error),
    /// The address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The process that serves the directory could not be asked.
    #[error("cannot ask the service at {}", path.display())]
    Admin {
        /// Its socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread, the runtime or a signal handler could not be started.
    #[error("cannot start {what}")]
    Start {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The engine's thread ended before it was told to.
    #[error("the engine stopped")]
    Engine,
    /// Output could not be written.
    #[error("cannot write output")]
    Output(#[source] io::Error),
}

impl Error {
    /// 2 for wrong arguments, configuration or trust file; 3 for what could not be done.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::AlreadyThere { .. }
            | Self::Config { .. }
            | Self::Trust { .. }
            | Self::Release { .. }
            | Self::Description { .. }
            | Self::Corim { .. }
            | Self::State { .. }
            | Self::Policy { .. }
            | Self::Argument(_)
            | Self::MakeCertificate(_)
            | Self::TlsFile { .. } => 2,
            _ => 3,
        }
    }

    /// What to do next, where that can be known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::AlreadyThere { .. } => Some("choose an empty directory; keys are never overwritten"),
            Self::Policy { .. } => Some("built-in policies are development, open and strict"),
            Self::State { .. } => Some("name a statement that a validator in the trust file made"),
            Self::Release { source: ReleaseError::Signer(_), .. } => {
                Some("add the signer's key to the trust file as a [[release_signer]] if you believe it")
            }
            Self::Description { .. } => Some("`assay-validator release template` prints what it may hold"),
            Self::Locked { .. } => Some("stop the other process first"),
            Self::Listen { .. } => Some("name a free address with --listen or in validator.toml"),
            Self::ReadFile { path, .. } if path.ends_with("validator.toml") => {
                Some("make the directory with assay-validator init")
            }
            _ => None,
        }
    }
}

/// The error and its sources on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// A whole file of at most an envelope's size.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    read_up_to(path, limits::ENVELOPE)
}

/// A whole file of at most `limit` bytes.
pub(crate) fn read_up_to(path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::ReadFile { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(failed)?;
    match bytes.len() > limit {
        true => Err(Error::FileTooLarge { path: path.to_owned(), limit }),
        false => Ok(bytes),
    }
}

/// As [`read_file`], as text.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    String::from_utf8(read_file(path)?).map_err(|_| Error::ReadFile {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_their_codes_and_the_chain_is_one_line() {
        let source = io::Error::new(io::ErrorKind::NotFound, "gone");
        let error = Error::ReadFile { path: "/x/validator.toml".into(), source };
        assert_eq!(error.exit_code(), 3);
        assert_eq!(chain(&error), "cannot read /x/validator.toml: gone");
        assert!(error.hint().unwrap().contains("init"));
        assert_eq!(Error::Policy { name: "x".into() }.exit_code(), 2);
    }

    #[test]
    fn a_file_over_the_limit_is_not_read_into_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(read_file(&path), Err(Error::FileTooLarge { .. })));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(matches!(read_text(&path), Err(Error::ReadFile { .. })));
    }
}
