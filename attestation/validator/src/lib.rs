//! The network's side of Assay: a service that nodes talk to, and the command line of
//! everyone who checks a proof.
//!
//! Purpose: `assay-validator serve` enrols nodes, opens their sessions, keeps their
//! records and signs beacons and receipts ([`server`], [`store`]); `verify`,
//! `inspect` and `report` read exported files offline; `init` and `nodes` look after
//! a validator ([`cli`]).
//!
//! Trust boundary: whoever connects, and every file given to `verify` or `inspect`, is
//! hostile. What they are worth is decided by `assay-appraisal`, which this crate
//! only feeds: here, and nowhere else under `attestation/`, are I/O and clocks.
//!
//! Not here: rules of any kind about evidence; the node's half of the exchange.
#![forbid(unsafe_code)]

mod beacon;
pub mod civil;
pub mod cli;
pub mod config;
mod engine;
pub mod error;
pub mod init;
pub mod inspect;
pub mod logger;
mod nodes;
pub mod report;
pub mod server;
pub mod store;
mod text;
pub mod tls;
pub mod trusted;
pub mod verify;

pub use beacon::{BeaconSource, OsBeacons};
pub use engine::Clock;
