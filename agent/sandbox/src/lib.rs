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

/// Collecting what a job left behind, after all of its processes are gone.
pub mod collect;
/// What can go wrong before, around and after a job, by the operation that failed.
pub mod error;
/// OCI image layouts (OCI image-spec 1.1: image-layout, image-index, manifest, config).
pub mod image;
/// Job files: what a tenant wants run.
pub mod job;
/// The layer cache: unpacked layers by DiffID, shared by all jobs, read-only to them.
pub mod layers;
/// What became of a job: the facts that a job receipt is made of.
pub mod outcome;
/// Running jobs: from a job file to an outcome.
pub mod sandbox;
/// Quantities as people write them in job files: `500m`, `512Mi`, `10m`.
pub mod units;
/// Turning an OCI layer blob into a directory for overlayfs.
pub mod unpack;

mod archive;
mod cgroup;
mod confined;
mod store;
mod stream;
mod supervise;
mod user;

pub use error::SandboxError;
pub use job::JobFile;
pub use outcome::{Exit, JobOutcome};
pub use sandbox::{Sandbox, SandboxConfig};
