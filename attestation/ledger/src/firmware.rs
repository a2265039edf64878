//! Firmware that a validator has seen, and at how many unrelated owners.
//!
//! A root of measurement that many owners share, who have nothing to do with each
//! other, is the vendor's and not one owner's work.

use assay_wire::Digest;
use minicbor::{Decode, Encode};

/// One firmware: PCR 0 of the SHA-256 bank, which holds nothing but firmware code.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FirmwareSet {
    /// Value of PCR 0.
    #[n(0)]
    pub pcr0: Digest,
    /// Owners of hardware nodes that it was seen at, each once.
    #[n(1)]
    pub owners: u32,
    /// When it was first seen, Unix ms.
    #[n(2)]
    pub first_ms: u64,
    /// What the firmware calls itself; empty when it does not.
    #[n(3)]
    pub name: String,
}

/// What a validator exports; the payload of an envelope of kind `firmware`, `kid` the validator's id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FirmwareTable {
    /// Unix time in ms.
    #[n(0)]
    pub issued_ms: u64,
    /// By rising `pcr0`.
    #[n(1)]
    pub sets: Vec<FirmwareSet>,
}
