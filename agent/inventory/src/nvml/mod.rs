//! The GPU vendor's library, held at arm's length.
//!
//! A child process loads the library and answers over a socket ([`serve`]); the parent asks with a
//! deadline ([`Client`]). A hang costs a killed child, a crash costs a respawn, and neither reaches the
//! agent. The protocol is length-prefixed JSON of at most a mebibyte per message.

mod attestation;
mod client;
mod facts;
mod fault;
mod frame;
mod probe;
mod raw;
mod serve;
mod status;

pub use attestation::GpuAttestation;
pub use client::{Client, ClientConfig, SCENARIO_ENV};
pub use facts::{
    DeviceFacts, DeviceState, GpuFacts, GpuInventory, LinkFacts, MemoryFacts, PciFacts, PowerFacts,
    ProcessFact, UtilizationFacts,
};
pub use fault::NvmlFault;
pub use serve::{serve, serve_stdin};
pub use status::GpuStatus;

/// More GPUs than this in one machine are a library's mistake.
pub const MAX_GPUS: usize = 64;
