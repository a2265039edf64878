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

pub mod anchor;
pub mod beacon;
pub mod beat;
pub mod chain;
pub mod claim;
pub mod enrolment;
pub mod job;
pub mod protocol;
pub mod receipt;
pub mod session;
pub mod uptime;

pub use minicbor::bytes::ByteVec;
