//! Attacks on proofs, each named after what the attacker does, with the finding that stops it.
//!
//! Each test has its honest twin: the same road without the attack is accepted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod anchors;
mod boot;
mod certificates;
mod chain;
mod checks;
mod claims;
mod enrolment;
mod evidence;
mod flips;
mod golden;
mod honest;
mod ima;
mod jobs;
mod judged;
mod power;
mod quorum;
mod quotes;
mod receipts;
mod signatures;
mod telemetry;
mod time;
mod twins;
mod world;
