//! The wire: one encoding, one envelope, one verification rule.
//!
//! Everything that crosses a trust boundary in Assay is deterministic CBOR
//! ([RFC 8949] 4.2.1) inside a `COSE_Sign1` ([RFC 9052] 4.2) signed with Ed25519.
//! This crate holds the codec, the envelope, the domain tags and the limits. What
//! the messages *say* is the business of the crates above.
//!
//! Trust boundary: every function that takes bytes takes hostile bytes. A decoder
//! accepts exactly one encoding of a value, allocates no more than its input's
//! length, and never panics.
//!
//! Not here: I/O, clocks, randomness, policy, key storage.
//!
//! [RFC 8949]: https://www.rfc-editor.org/rfc/rfc8949
//! [RFC 9052]: https://www.rfc-editor.org/rfc/rfc9052
#![forbid(unsafe_code)]

/// Deterministic CBOR.
pub mod cbor;
mod digest;
mod domain;
mod envelope;
mod error;
mod key;
/// Sizes that no message may exceed.
pub mod limits;
mod merkle;

pub use digest::Digest;
pub use domain::{Domain, hash};
pub use envelope::{Envelope, Kind, Network, PROTOCOL_VERSION};
pub use error::{CborFault, WireError};
pub use key::{Batch, SigningKey, VerifyingKey};
pub use merkle::merkle_root;
