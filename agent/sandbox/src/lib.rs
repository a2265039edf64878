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
//! Non-goals for now: GPUs, egress. Never: entering a running job,
//! hooks, volumes named by a tenant, terminals.
//!
//! Bytes of strangers are handled in two processes without each other's rights:
//! one has the network and hands bytes on ([`pull`]), the other unpacks a layer
//! and sees nothing but its directory ([`unpack_child`]).

pub mod collect;
pub mod error;
pub mod image;
pub mod images;
pub mod job;
pub mod layers;
pub mod layout;
pub mod outcome;
pub mod pull;
pub mod registry_ref;
pub mod sandbox;
pub mod units;
pub mod unpack;
pub mod unpack_child;
pub mod unpack_process;

mod archive;
mod cgroup;
mod confined;
mod layer_lock;
mod run_config;
mod store;
mod stream;
mod supervise;
mod user;

pub use error::SandboxError;
pub use job::JobFile;
pub use outcome::{Exit, JobOutcome};
pub use sandbox::{Sandbox, SandboxConfig};
