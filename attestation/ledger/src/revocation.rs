//! What a validator has taken back: a signed list whose number only rises.

use assay_wire::Digest;
use minicbor::{Decode, Encode};

/// The kind of thing that a digest names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum RevokedKind {
    /// A node id: no record of it counts.
    #[n(0)]
    Node,
    /// Envelope hash of one enrolment record: later ones may count.
    #[n(1)]
    Record,
}

/// One thing taken back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Revocation {
    /// What the digest is of.
    #[n(0)]
    pub kind: RevokedKind,
    /// Node id or envelope hash.
    #[n(1)]
    pub digest: Digest,
    /// Unix time in ms from which it does not count.
    #[n(2)]
    pub at_ms: u64,
    /// Why, for people.
    #[n(3)]
    pub reason: String,
}

/// Everything that one validator has taken back so far; the payload of an envelope of kind
/// `revocations`, `kid` the validator's id. A list replaces those with lower numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RevocationList {
    /// Rises by one with every change.
    #[n(0)]
    pub number: u64,
    /// Unix time in ms.
    #[n(1)]
    pub issued_ms: u64,
    /// In the order of their taking back; nothing ever leaves the list.
    #[n(2)]
    pub entries: Vec<Revocation>,
}
