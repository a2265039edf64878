//! Everything that runs on a provider machine, as one program.
//!
//! [`core`] holds the TPM, the keys, the ledger and the jobs and has no network;
//! [`link`] has the network and nothing else; [`nvml`] is the GPU library's process;
//! [`pull`] fetches images.
//! [`cli`] is the command line that starts them and asks them.
//!
//! Trust boundary: each module says its own. What a verifier believes of this machine
//! comes from its TPM and from validators, never from this program's word.
//!
//! Not here: the formats and their checks (`attestation/`), hardware inventory, TPM
//! commands, and the jail, which are crates of their own.

pub mod certificate;
pub mod cli;
pub mod config;
pub mod control;
pub mod core;
mod gpu_report;
pub mod ledger;
pub mod link;
mod no_dumps;
pub mod nvml;
pub mod pull;
