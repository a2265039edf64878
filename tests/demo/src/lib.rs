//! What a demo and the tests of the whole road need beside the product: a software TPM, a boot that
//! it did not have, and a container image made offline.
//!
//! # Trust boundary
//! Everything here is simulated and says so in what it leaves behind: the boot log names its firmware
//! [`simulated_boot::FIRMWARE`], the TPM's certificates come from a CA of its own, and a verifier that
//! follows the policy keeps such a node at I0, P0. Nothing here belongs on a machine that earns.
//!
//! # Non-goals
//! No attestation logic: what is verified is verified by the crates under `attestation/`.

mod efi;
mod error;
pub mod image;
pub mod misbehaviour;
pub mod page;
pub mod simulated_boot;
pub mod swtpm;
pub mod world;

pub use error::DemoError;
