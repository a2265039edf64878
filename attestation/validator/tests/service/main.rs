//! The service as nodes and strangers meet it: over TLS on loopback, in process or as a child.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod admin;
mod beacons;
mod believed;
mod certificate;
mod client;
mod command;
mod crash;
mod enrolment;
mod flood;
mod history;
mod identity;
mod limits;
mod node;
mod owner;
mod records;
mod revocation;
mod server;
mod sessions;
mod soft_tpm;
mod swtpm;
mod twins;

#[path = "../../../x509/tests/world/mod.rs"]
mod responder;
