//! The claim: "up for so long", with everything needed to check it.

use assay_wire::Digest;
use minicbor::{Decode, Encode};

use crate::ByteVec;

/// Everything that one session left behind, as envelopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionRecords {
    /// Its evidence.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub evidence: Vec<u8>,
    /// Its beats, from the first.
    #[n(1)]
    pub beats: Vec<ByteVec>,
    /// Its anchors, in the order they were made.
    #[n(2)]
    pub anchors: Vec<ByteVec>,
    /// Beat receipts of any validator.
    #[n(3)]
    pub receipts: Vec<ByteVec>,
    /// Its orderly end, when it had one.
    #[n(4)]
    pub end: Option<ByteVec>,
    /// Its job receipts.
    #[n(5)]
    pub jobs: Vec<ByteVec>,
}

/// The payload of an envelope of kind `claim`; `kid` is the session that exports it, which
/// is the last of `sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Claim {
    /// The node.
    #[n(0)]
    pub node: Digest,
    /// Every beacon that a record names, by round.
    #[n(1)]
    pub beacons: Vec<ByteVec>,
    /// The sessions, in order of time.
    #[n(2)]
    pub sessions: Vec<SessionRecords>,
    /// Seconds of powered time that the node claims.
    #[n(3)]
    pub powered_s: u64,
    /// Seconds of reachable time that the node claims.
    #[n(4)]
    pub reachable_s: u64,
}
