//! RIM documents: real ones, and a made-up world in which every rule can be broken alone.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod chains;
mod command;
mod data;
mod folder;
mod import;
mod mutations;
mod rules;
mod subset;
mod world;
mod wrapping;
mod xmlsec;

#[path = "../../../x509/tests/world/mod.rs"]
mod responder;
