//! The job sandbox: images in, confinement planned, one job supervised, results out.
//!
//! ```text
//! job file ──► image layout ──► layers ──► plan ──► jailer ──► outcome
//!             (digests)       (cache)            (its own     (outputs, logs,
//!                                                 process)     usage)
//! ```
//!
//! Trust boundary: job files, images and everything a job writes come from
//! strangers. Images are parsed and unpacked here, bounded and confined by the
//! kernel; the job itself is confined by `assay-jailer`, a process of its own,
//! because building a jail is not for a program with threads. This crate holds
//! no `unsafe` code.
//!
//! What a job gets: a copy of its image that it may write to, five device
//! nodes, its own processes, a loopback interface, and nothing else. With root,
//! ids that no other job has; without, the caller's one id.
//!
//! Limits are a cgroup's where the machine has the controllers, and per process
//! (`limits = "rlimit"`, development) where it does not; the outcome says which.
//!
//! Non-goals for now: GPUs, egress, registries. Never: entering a running job,
//! hooks, volumes named by a tenant, terminals.
//!
//! Unpacking is callable on its own ([`unpack::unpack`]), for a process without
//! the rest of the agent's rights.

pub mod audit;
pub mod collect;
pub mod error;
pub mod image;
pub mod job;
pub mod layers;
pub mod outcome;
pub mod sandbox;
pub mod units;
pub mod unpack;

mod archive;
mod cgroup;
mod confined;
mod store;
mod stream;
mod supervise;
mod user;

pub use assay_jailer::ring;
pub use error::SandboxError;
pub use job::JobFile;
pub use outcome::{Exit, JobOutcome};
pub use sandbox::{Sandbox, SandboxConfig};
