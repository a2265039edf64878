//! Why a layer was not unpacked.

use std::io;

use rustix::io::Errno;

use crate::archive::Fault;

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The target directory could not be opened.
    #[error("open the layer's directory")]
    Open(#[source] Errno),
    /// The blob cannot be read, decompressed, or parsed as an archive.
    #[error("read the archive near {entry:?}")]
    Read {
        /// Name of the entry, empty between entries.
        entry: String,
        /// The cause.
        source: io::Error,
    },
    /// An entry is refused.
    #[error("entry {entry:?}: {rule}")]
    Refused {
        /// Its name.
        entry: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// An entry could not be made.
    #[error("make entry {entry:?}")]
    Make {
        /// Its name.
        entry: String,
        /// The cause.
        source: io::Error,
    },
    /// The process that unpacks could not be started, confined, or understood.
    #[error("unpack process: {action}")]
    Process {
        /// What was being done.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// Whoever wanted the layer wants it no more.
    #[error("cancelled")]
    Cancelled,
    /// It took too long.
    #[error("not done within its time")]
    TimedOut,
}

/// A name for a message, of bounded length.
pub(super) fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(256).collect()
}

impl From<(Vec<u8>, Fault)> for UnpackError {
    fn from((name, fault): (Vec<u8>, Fault)) -> Self {
        let entry = printable(&name);
        match fault {
            Fault::Read(source) => Self::Read { entry, source },
            Fault::Rule(rule) => Self::Refused { entry, rule: rule.to_owned() },
        }
    }
}
