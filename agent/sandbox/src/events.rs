//! What goes on while a job is run, for whoever waits for it.

use std::path::PathBuf;

use crate::images;
use crate::outcome::Exit;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The image is on its way.
    Image(images::Event),
    /// The job has a directory: its logs appear there as it runs.
    Started {
        /// [`JobOutcome::id`](crate::outcome::JobOutcome::id).
        id: String,
        /// The directory.
        dir: PathBuf,
    },
    /// The job failed and is started again.
    Restarting {
        /// Which restart, from 1.
        number: u32,
        /// How the run before it ended.
        exit: Exit,
        /// Pause until then, milliseconds.
        pause_ms: u64,
    },
}
