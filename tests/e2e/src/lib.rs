//! A laboratory for attacks on proofs: validators, nodes, sessions and records made in one process,
//! with every byte open to a test before it is hashed, quoted or signed.
//!
//! What a lab makes is what agent and validator make, by the same libraries: a real software TPM
//! ([`Chip`]) activates, quotes and tells time, and the verdict is `assay_appraisal`'s. Only Unix
//! time is virtual, since no test can wait an hour, and where TPM time must go with it a key in
//! memory plays the TPM ([`Paper`]). A [`Raw`] TPM does what an honest node never asks for.
//!
//! # Trust boundary
//! None: the lab plays both sides and holds every key. Nothing here belongs into a product.
//!
//! # Non-goals
//! No agent, and of the validator's service ([`Service`]) no more than two nodes need to meet in it:
//! both have tests of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support: a step of the lab that fails is a failed test"
)]

mod attester;
mod enrol;
mod faces;
mod golden;
mod lab;
mod ledger;
mod node;
mod paper;
mod power;
mod raw;
mod service;
mod session;
mod verdict;

pub use attester::{Attester, Chip};
pub use enrol::{answer, answer_knowing, changed};
pub use faces::{Activates, SecondFace};
pub use golden::{Golden, cel_record};
pub use lab::{Lab, Validator};
pub use node::Node;
pub use paper::Paper;
pub use raw::{Hierarchy, Raw, RawKey};
pub use service::{Service, lab_at};
pub use session::{Session, gpu};
pub use verdict::{accepted, fatal, finding, flip, refused, warned};
