//! Beat receipts: a validator's signed "I had this by then".

use assay_wire::Digest;
use minicbor::{Decode, Encode};

/// What a receipt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Subject {
    /// The session's evidence; `seq` is 0 and `hash` the evidence's envelope hash.
    #[n(0)]
    Session,
    /// The chain up to beat `seq`, whose envelope hash is `hash`.
    #[n(1)]
    Beats,
    /// An anchor at `seq`.
    #[n(2)]
    Anchor,
    /// A job receipt.
    #[n(3)]
    Job,
    /// The session's orderly end.
    #[n(4)]
    End,
}

/// The payload of an envelope of kind `beat-receipt`; `kid` is the validator's id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BeatReceipt {
    /// The session.
    #[n(0)]
    pub session: Digest,
    /// What was received.
    #[n(1)]
    pub subject: Subject,
    /// The chain position it names; 0 where there is none.
    #[n(2)]
    pub seq: u64,
    /// Envelope hash of what was received.
    #[n(3)]
    pub hash: Digest,
    /// When the validator had stored it, Unix time in ms.
    #[n(4)]
    pub at_ms: u64,
}
