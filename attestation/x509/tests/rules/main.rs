//! The rules of certificates and of answers about them, in a made-up world: everything holds, then one
//! thing at a time does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dice;
mod edges;
mod judge;
mod limits;
mod ocsp;
#[path = "../world/mod.rs"]
mod world;
