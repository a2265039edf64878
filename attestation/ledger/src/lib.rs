//! The ledger: what a node signs and a validator countersigns.
//!
//! A node enrols once ([`enrolment`]), opens a session under a TPM quote
//! ([`session`]), and writes a hash chain of beats ([`beat`]) with anchors in
//! slots that a beacon picks ([`beacon`], [`anchor`]). Validators answer with
//! receipts ([`receipt`]). A [`claim`] bundles all of it for a stranger, and
//! [`uptime`] says how many seconds it proves.
//!
//! Trust boundary: every message here may come from a hostile node or, in an
//! exported file, from a hostile exporter. Decoding gives structure only; the
//! `verify` functions give facts; what the facts are worth is for
//! `assay-appraisal` to say.
//!
//! Not here: storage, delivery, policy, clocks.
#![forbid(unsafe_code)]

/// The TPM's word on the chain's head.
pub mod anchor;
pub mod beacon;
/// One record of the chain.
pub mod beat;
/// The chain, checked as it grows.
pub mod chain;
/// Uptime, with everything needed to check it.
pub mod claim;
/// EK, AK and node id, once.
pub mod enrolment;
pub mod firmware;
/// What a job used and produced.
pub mod job;
pub mod owner;
/// Paths and bodies between link and validator.
pub mod protocol;
/// A validator's word on what it had by when.
pub mod receipt;
pub mod revocation;
/// One run of the agent in one boot.
pub mod session;
/// Seconds proven, and why not more.
pub mod uptime;

pub use minicbor::bytes::ByteVec;
