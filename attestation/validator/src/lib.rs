//! The network's side of Assay: a service that nodes talk to, and the command line of
//! everyone who checks a proof.
//!
//! Purpose: `assay-validator serve` enrols nodes, opens their sessions, keeps their
//! records and signs beacons and receipts ([`server`], [`store`]); `verify`, `verify-gpu`,
//! `inspect` and `report` read files offline; `init`, `nodes`, `revoke` and
//! their like look after a validator ([`cli`]).
//!
//! Trust boundary: whoever connects, and every file given to `verify` or `inspect`, is
//! hostile. What they are worth is decided by `assay-appraisal`, which this crate
//! only feeds: here, and nowhere else under `attestation/`, are I/O and clocks.
//!
//! Not here: rules of any kind about evidence; the node's half of the exchange.
#![forbid(unsafe_code)]

mod admin;
mod beacon;
/// RFC 3339 times in UTC, to and from Unix milliseconds.
pub mod civil;
/// The command line: arguments in, one operation, an exit code out.
pub mod cli;
/// A validator's directory and its configuration file.
pub mod config;
/// `verify --ear`: a result as others read it.
pub mod ear;
mod engine;
/// What can go wrong outside a verdict, and which exit code it means.
pub mod error;
/// `init`: a validator's directory with fresh keys.
pub mod init;
pub mod inspect;
/// Log lines on standard error: time, level, message.
pub mod logger;
mod nodes;
pub mod ocsp;
mod offences;
/// Findings as a page that a person can act on: problems first, each with its next step.
pub mod page;
mod release;
mod replay;
/// `report`: a claim as one page for people.
pub mod report;
pub mod rim;
mod seal;
/// The service: HTTPS, with limits on everything a stranger can ask for.
pub mod server;
/// What a validator must not forget, in SQLite.
pub mod store;
mod text;
/// The validator's TLS key: made once, pinned by nodes.
pub mod tls;
mod trust_file;
/// Reading whom and what to believe: trust file, policy, the validator's own key.
pub mod trusted;
/// `verify`: exported files in, findings and a verdict out; offline.
pub mod verify;
pub mod verify_gpu;

pub use beacon::{BeaconSource, OsBeacons};
pub use engine::Clock;
