//! Whom a node belongs to, and when that may change.

use assay_ledger::enrolment::{EnrolRequest, EnrolmentRecord};
use assay_ledger::owner::OwnerTransfer;
use assay_wire::{Digest, Envelope, Kind, Network, VerifyingKey};

use super::Refused;

/// How far a transfer's time may be ahead of ours, in ms: one far in the future would end all later ones.
const SKEW_MS: u64 = 300_000;

/// What decides about a request's owner beside the request itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ownership<'a> {
    /// The node's newest record.
    pub(super) record: Option<&'a EnrolmentRecord>,
    /// Time of the last transfer that was taken, Unix ms.
    pub(super) last_ms: u64,
    /// An administrator lets the owner change.
    pub(super) allowed: bool,
    /// The network that transfers are signed for.
    pub(super) network: &'a Network,
    /// Now, Unix ms.
    pub(super) now_ms: u64,
}

impl Ownership<'_> {
    /// Whether the node may say that it belongs to whom it says; the time of the transfer, if one was used.
    ///
    /// A node without an owner may name one. Later only that owner's signed word changes it: whoever
    /// holds the machine holds the TPM, and must not be able to take it out of its owner's accounts.
    ///
    /// # Errors
    /// `enrolment.owner`.
    pub(super) fn check(&self, request: &EnrolRequest, node: &Digest) -> Result<Option<u64>, Refused> {
        let Some(from) = self.record.and_then(|record| record.owner) else { return Ok(None) };
        if request.owner == Some(from) || self.allowed {
            return Ok(None);
        }
        let refused = |why: &str| Refused::new(403, "enrolment.owner", why);
        let Some(transfer) = &request.transfer else {
            return Err(refused("the node has another owner, whose signed transfer is missing"));
        };
        let transfer = self.signed(transfer, &from).map_err(|why| refused(&why))?;
        if transfer.node != *node || transfer.from != from || Some(transfer.to) != request.owner {
            return Err(refused("the transfer is of another node, or from or to another owner"));
        }
        if transfer.at_ms <= self.last_ms || transfer.at_ms > self.now_ms.saturating_add(SKEW_MS) {
            return Err(refused("the transfer is not later than the last one, or lies in the future"));
        }
        Ok(Some(transfer.at_ms))
    }

    fn signed(&self, bytes: &[u8], from: &VerifyingKey) -> Result<OwnerTransfer, String> {
        let envelope = Envelope::decode_as(Kind::OwnerTransfer, bytes).map_err(|error| error.to_string())?;
        if envelope.kid.0 != from.0 {
            return Err("the transfer is not by the owner until now".to_owned());
        }
        envelope.verify(from, self.network).map_err(|error| format!("transfer: {error}"))?;
        envelope.message().map_err(|error| error.to_string())
    }
}
