//! The rules of reports, chains and reference values, in a made-up world: everything holds, then one thing
//! at a time does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../../../x509/tests/world/mod.rs"]
mod authorities;
mod chain;
mod cross;
mod device_revocation;
mod report;
mod revocation;
mod rim;
mod topology;
mod verify;
#[path = "../world/mod.rs"]
mod world;
