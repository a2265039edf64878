//! GPU facts that travel, the rules that accumulating counters must obey, and what a device itself signs.
//!
//! **Purpose.** A session opens with a table of its GPUs ([`GpuIdentity`]), each beat carries one line
//! per GPU ([`GpuBeat`]), and [`check`] says which physical rules two consecutive lines break. An
//! [`Accumulator`] is the only way a node turns raw samples into a line.
//!
//! **Trust boundary.** Every number comes from the vendor's library on a machine that its owner
//! controls. A line that passes [`check`] is consistent, not proven: identity and work are proven by
//! device attestation and by proof of GPU. A simulated library is marked in [`GpuIdentity::simulated`].
//!
//! **Not here.** Reading devices, clocks and files; signatures; policy. Faults are facts with a stable
//! id: the appraisal decides what they cost.

mod accumulate;
mod beat;
pub mod bundle;
mod cross;
pub mod device;
mod identity;
pub mod rim;
mod rules;
mod sample;

pub use accumulate::Accumulator;
pub use beat::{Energy, Flags, GpuBeat, Pcie};
pub use cross::{CrossCheck, ReportFault, Sides, cross_check};
pub use identity::GpuIdentity;
pub use rules::{Limits, TelemetryFault, check};
pub use sample::{GpuSample, Readings};
