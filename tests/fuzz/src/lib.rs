//! What must hold for any bytes, one function per kind of outside bytes.
//!
//! A target takes hostile bytes and checks *properties*: what is read is written back the same,
//! replay is the definition of extend, a decoder accepts one encoding, limits hold, and no changed
//! evidence is accepted or earns more. A property that fails is a panic.
//!
//! The same functions run three ways: on stable in `make test`, over seeds and seeded mutations
//! ([`mutations`]); under libFuzzer with coverage (`make fuzz`); and over hostile inputs while their
//! memory is counted and their time is measured (`tests/`).
//!
//! # Seeds
//! [`seeds`] gives a target's valid and nearly valid inputs: made by the lab at start-up, kept in
//! `corpus/`, and read in place from the data folder that `ASSAY_DATA` names.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support: a property that does not hold is a panic"
)]

mod appraisal;
mod boot;
mod certificates;
mod cpu;
mod device;
mod enrolment;
mod files;
mod images;
mod job;
mod mutate;
mod ocsp;
mod references;
mod rim;
mod seeds;
mod tpm;
mod wire;
mod world;

pub use appraisal::{Arrival, claim, evidence};
pub use boot::{eventlog, ima, uefi, userspace_log};
pub use certificates::{certificate, platform_certificate};
pub use cpu::thread_time;
pub use device::{bundle, chain, opaque, report};
pub use enrolment::enrolment;
pub use files::{policy, state, trust};
pub use images::{image, layer, registry_ref};
pub use job::{job, plan};
pub use mutate::mutations;
pub use ocsp::ocsp;
pub use references::{corim, release};
pub use rim::rim;
pub use seeds::{corpus_dir, data, seeds};
pub use tpm::attest;
pub use wire::{MESSAGES, envelope, message};
pub use world::{World, world};

/// A function that panics when a property does not hold.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("attest", attest),
    ("bundle", bundle),
    ("certificate", certificate),
    ("chain", chain),
    ("claim", claim),
    ("corim", corim),
    ("enrolment", enrolment),
    ("envelope", envelope),
    ("eventlog", eventlog),
    ("evidence", evidence),
    ("ima", ima),
    ("image", image),
    ("job", job),
    ("layer", layer),
    ("message", message),
    ("ocsp", ocsp),
    ("opaque", opaque),
    ("plan", plan),
    ("platform_certificate", platform_certificate),
    ("policy", policy),
    ("registry_ref", registry_ref),
    ("release", release),
    ("report", report),
    ("rim", rim),
    ("state", state),
    ("trust", trust),
    ("uefi", uefi),
    ("userspace_log", userspace_log),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
