//! A simulated `libnvidia-ml.so.1` that says it is one.
//!
//! **Purpose.** Agents, demos and tests see GPUs, their counters and their failures on machines that
//! have none. The file named by `ASSAY_NVML_SCENARIO` describes the devices, their load and the faults;
//! without it the library answers as the vendor's does when no driver is loaded.
//!
//! **Trust boundary.** None: whatever comes from here is made up. The exported symbol
//! `assay_nvml_simulated` marks it, so that inventory and evidence say so. A scenario may have a GPU give
//! a real device's report again: it is signed by that device, for somebody else's nonce.
//!
//! **Not here.** Anything that our inventory does not ask for: events, MIG instances, NVLink,
//! settings of confidential computing, the private table that `nvidia-smi` wants.
//!
//! Counters follow the machine's monotonic clock, not the process's, so they continue when the process
//! that loaded the library is replaced, as a driver's counters do.

#![allow(unsafe_code, reason = "a C library: names without mangling, and pointers from its callers")]
#![allow(non_snake_case, reason = "the names are NVML's")]

mod device;
mod fault;
mod ffi;
mod model;
mod replay;
mod scenario;
mod simulation;
mod system;
