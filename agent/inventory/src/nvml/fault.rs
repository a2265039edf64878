//! What can go wrong between us and the library's process.

use super::GpuStatus;
use std::time::Duration;
use thiserror::Error;

/// A failure to get an answer from the library's process.
#[derive(Debug, Error)]
pub enum NvmlFault {
    /// The library or its process can't be used now.
    #[error("GPUs can't be asked: {0}")]
    Unavailable(GpuStatus),
    /// No socket pair for the child.
    #[error("opening a socket pair")]
    OpenSocket(#[source] std::io::Error),
    /// The child could not be started.
    #[error("starting the library's process")]
    Spawn(#[source] std::io::Error),
    /// The child did not answer in time, and was killed.
    #[error("no answer within {} ms", .0.as_millis())]
    Hung(Duration),
    /// The child ended before it answered.
    #[error("the library's process died: {0}")]
    ChildDied(String),
    /// The peer closed the socket.
    #[error("the other side closed the socket")]
    Closed,
    /// Reading a message failed.
    #[error("reading a message")]
    Read(#[source] std::io::Error),
    /// Writing a message failed.
    #[error("writing a message")]
    Write(#[source] std::io::Error),
    /// A message is longer than any honest one.
    #[error("message of {len} bytes, at most {limit} are allowed")]
    TooLong {
        /// Its length.
        len: u32,
        /// The limit.
        limit: u32,
    },
    /// A message is not what was agreed on.
    #[error("decoding a message")]
    Decode(#[source] serde_json::Error),
    /// A message can't be encoded.
    #[error("encoding a message")]
    Encode(#[source] serde_json::Error),
    /// The answer belongs to another question.
    #[error("an answer to another question")]
    OutOfTurn,
    /// The child's own limits could not be set.
    #[error("setting resource limits")]
    Limit(#[source] nix::Error),
}
