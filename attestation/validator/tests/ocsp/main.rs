//! Requests, answers and their cache: on made-up chains, and on real ones through the command line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod cache;
mod command;

#[path = "../../../x509/tests/world/mod.rs"]
mod world;

#[path = "../../../gpu/tests/world/mod.rs"]
mod devices;

mod attach;
