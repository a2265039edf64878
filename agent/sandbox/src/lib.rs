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
//! nodes, its own processes, a loopback interface, verified copies of the inputs
//! that it names, a checkpoint of its own, and nothing else. With root, ids that
//! no other job has; without, the caller's one id.
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

pub mod audit;
pub mod cgroup;
pub mod collect;
pub mod error;
pub mod events;
pub mod image;
pub mod images;
pub mod inputs;
pub mod job;
pub mod kept;
pub mod layers;
pub mod layout;
pub mod outcome;
pub mod pull;
pub mod sandbox;
pub mod unpack;
pub mod unpack_child;
pub mod unpack_process;

mod archive;
mod checkpoint;
mod confined;
mod confinement;
mod disk;
mod layer_lock;
mod networks;
mod remove;
mod rights;
mod room;
mod run_config;
mod runs;
mod secrets;
mod store;
mod stream;
mod supervise;
mod tree;
mod user;
mod watch;

pub use assay_jailer::ring;
pub use assay_job::registry_ref;
pub use assay_job::seal::Secret;
pub use error::SandboxError;
pub use events::Event;
pub use job::JobFile;
pub use kept::Retention;
pub use networks::new_network;
pub use outcome::{Exit, JobOutcome};
pub use sandbox::{Sandbox, SandboxConfig};
