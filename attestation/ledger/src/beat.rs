//! A beat: one signed record in a session's hash chain.

use assay_gpu::GpuBeat;
use assay_wire::Digest;
use minicbor::{Decode, Encode};

use crate::beacon::BeaconName;

/// The payload of an envelope of kind `beat`; `kid` is the session's id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Beat {
    /// 1 for a session's first beat, then one more each.
    #[n(0)]
    pub seq: u64,
    /// Envelope hash of the beat before, or the session's id for the first.
    #[n(1)]
    pub prev: Digest,
    /// Milliseconds since boot (CLOCK_BOOTTIME).
    #[n(2)]
    pub mono_ms: u64,
    /// The newest beacon the node had: the beat was not made before it.
    #[n(3)]
    pub beacon: BeaconName,
    /// Merkle root of the raw samples since the last beat.
    #[n(4)]
    pub samples: Digest,
    /// One line per GPU of the session's table, by index, ascending.
    #[n(5)]
    pub gpus: Vec<GpuBeat>,
    /// The jobs that ran since the last beat: the first eight bytes of each job file's digest.
    #[n(6)]
    pub jobs: Vec<minicbor::bytes::ByteArray<8>>,
    /// Bit set of [`flags`].
    #[n(7)]
    pub flags: u32,
}

/// Bits of [`Beat::flags`].
pub mod flags {
    /// No GPU sample could be taken since the last beat.
    pub const GPU_SILENT: u32 = 1;
    /// The GPU process was killed by its watchdog since the last beat.
    pub const GPU_HUNG: u32 = 2;
    /// The link had no connection to a validator when the beat was made.
    pub const OFFLINE: u32 = 4;
}
