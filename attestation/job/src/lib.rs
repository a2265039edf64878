//! Jobs as both sides see them: the job file, its digest, hashes of inputs, sealed secrets.
//!
//! A tenant writes a [`JobFile`] and seals secrets to the session of a node whose evidence it
//! has checked ([`seal`]); the node runs it and signs what came of it. This crate holds what
//! both must agree on, as pure functions: no I/O, no clock, no randomness.
//!
//! Trust boundary: the text of a job file comes from strangers. Unknown keys are refused,
//! every quantity has a range, and nothing in it can loosen the sandbox.
//!
//! Non-goals: running anything, fetching images, reading inputs.

pub mod confinement;
pub mod file;
pub mod registry_ref;
pub mod seal;
pub mod tree;
pub mod units;

mod check;
mod hpke;
mod raw;

pub use file::{JobError, JobFile};

/// The JSON Schema (draft 2020-12) of a job file, in JSON; a TOML job file has the same shape.
///
/// It tells editors and programs about keys and forms. Ranges that need arithmetic are in
/// [`JobFile::parse`] alone.
pub const SCHEMA: &str = include_str!("../job.schema.json");
