//! What the supervisor and the jailer say to each other.
//!
//! The supervisor writes one [`plan::Plan`] and reads back one
//! [`report::Report`]; both are strict JSON, so that the two sides, which ship
//! together, refuse each other when they do not match.
//!
//! Trust boundary: the plan comes from the supervisor, which is trusted, but it
//! carries strings that a tenant chose (arguments, environment, output paths);
//! those reach the kernel only after the jail is closed around them. The report
//! is written by the jailer's outer process, which never runs tenant code.
//!
//! Non-goals: this library confines nothing; the binary of the same package
//! does, and only there is `unsafe` allowed.

pub mod attempts;
pub mod filter;
pub mod plan;
/// The report: how the job ended, one line of JSON on standard output.
pub mod report;
pub mod ring;
pub mod wall;
