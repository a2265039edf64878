//! Whom a node belongs to, and how it comes to belong to another.

use assay_wire::{Digest, VerifyingKey};
use minicbor::{Decode, Encode};

/// An owner's word that a node has another owner now; the payload of an envelope of kind
/// `owner-transfer`, signed by `from`, `kid` the bytes of `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OwnerTransfer {
    /// The node.
    #[n(0)]
    pub node: Digest,
    /// Its owner until now.
    #[n(1)]
    pub from: VerifyingKey,
    /// Its owner from now on.
    #[n(2)]
    pub to: VerifyingKey,
    /// Unix time in ms. A validator takes only a later transfer than the last it took.
    #[n(3)]
    pub at_ms: u64,
}
