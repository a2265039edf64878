//! What hardware is here.
//!
//! **Purpose.** [`host::inventory`] reads the machine's own description from `/proc` and `/sys`;
//! [`nvml::Client`] asks the GPU vendor's library, which lives in a child process of its own
//! ([`nvml::serve`]) under a watchdog.
//!
//! **Trust boundary.** All of it is what the kernel and a vendor library say on a machine whose owner
//! has root: material for cross-checks, never proof. The library is not trusted with our memory either:
//! it can hang, crash or lie about sizes, and only the child suffers.
//!
//! **Not here.** Judging the facts (appraisal), printing them (the agent), GPU events, MIG instances
//! and NVLink topology.

pub mod host;
pub mod nvml;

mod fact;

pub use fact::Fact;
