//! Bounds in time for the records of one session, from beacons and receipts.

use std::collections::BTreeMap;

use assay_ledger::ByteVec;
use assay_ledger::anchor::Anchor;
use assay_ledger::beacon::{Beacon, BeaconVerifier as _, ValidatorBeacons};
use assay_ledger::chain::VerifiedBeat;
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_ledger::uptime::{AnchorTime, BeatTime};
use assay_wire::{Digest, Envelope, Kind, WireError};

use crate::trust::{Trust, TrustedValidator};

/// Beacons of a claim, by envelope hash.
pub(crate) type Beacons = BTreeMap<Digest, Beacon>;

/// Why a validator's word was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OriginFault {
    /// It does not decode, or its signature does not hold.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// The trust file does not name who signed.
    #[error("unknown validator {0}")]
    Unknown(String),
    /// It is about another session.
    #[error("a receipt for session {0}")]
    Session(String),
}

/// The validator that says it signed; the signature is not checked yet.
fn signer<'a>(
    kind: Kind,
    bytes: &[u8],
    trust: &'a Trust,
) -> Result<(Envelope, &'a TrustedValidator), OriginFault> {
    let envelope = Envelope::decode_as(kind, bytes)?;
    let validator = trust.validators.get(&envelope.kid);
    let validator = validator.ok_or_else(|| OriginFault::Unknown(envelope.kid.short()))?;
    Ok((envelope, validator))
}

/// Checks every beacon.
pub(crate) fn read_beacons(bytes: &[ByteVec], trust: &Trust) -> Result<Beacons, OriginFault> {
    let keys = trust.keys();
    let verifier = ValidatorBeacons { keys: &keys, network: &trust.network };
    let read = |bytes: &ByteVec| {
        signer(Kind::Beacon, bytes, trust)?;
        let verified = verifier.verify(bytes)?;
        Ok((verified.hash, verified.beacon))
    };
    bytes.iter().map(read).collect()
}

/// A receipt whose signature held, with the operator that gave it.
pub(crate) struct Receipt<'a> {
    pub(crate) operator: &'a str,
    pub(crate) content: BeatReceipt,
}

/// Checks every receipt; all must be by validators in the trust file and for this session.
pub(crate) fn read_receipts<'a>(
    bytes: &[ByteVec],
    session: &Digest,
    trust: &'a Trust,
) -> Result<Vec<Receipt<'a>>, OriginFault> {
    let read = |bytes: &ByteVec| {
        let (envelope, validator) = signer(Kind::BeatReceipt, bytes, trust)?;
        envelope.verify(&validator.key, &trust.network)?;
        let content: BeatReceipt = envelope.message()?;
        if content.session != *session {
            return Err(OriginFault::Session(content.session.short()));
        }
        Ok(Receipt { operator: &validator.operator, content })
    };
    bytes.iter().map(read).collect()
}

/// When the t-th operator had it: the upper bound that counts.
fn not_after<'a>(threshold: usize, receipts: impl Iterator<Item = &'a Receipt<'a>>) -> Option<u64> {
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    for receipt in receipts {
        let at = first.entry(receipt.operator).or_insert(receipt.content.at_ms);
        *at = (*at).min(receipt.content.at_ms);
    }
    let mut times: Vec<u64> = first.into_values().collect();
    times.sort_unstable();
    times.get(threshold.checked_sub(1)?).copied()
}

/// Upper bound of a record that a receipt names by hash.
pub(crate) fn record_not_after(
    subject: Subject,
    hash: &Digest,
    receipts: &[Receipt<'_>],
    threshold: usize,
) -> Option<u64> {
    let named = |r: &&Receipt<'_>| r.content.subject == subject && r.content.hash == *hash;
    not_after(threshold, receipts.iter().filter(named))
}

/// Both bounds of every beat. A receipt for beat n covers every beat up to n.
///
/// `None` when a beat names a beacon that is not there.
pub(crate) fn beat_times(
    beats: &[VerifiedBeat],
    beacons: &Beacons,
    receipts: &[Receipt<'_>],
    threshold: usize,
) -> Option<Vec<BeatTime>> {
    // Walking back from the last beat, each operator's earliest receipt for this or a later beat.
    let mut by_seq: BTreeMap<u64, Vec<&Receipt<'_>>> = BTreeMap::new();
    for receipt in receipts.iter().filter(|r| r.content.subject == Subject::Beats) {
        by_seq.entry(receipt.content.seq).or_default().push(receipt);
    }
    let mut earliest: BTreeMap<&str, u64> = BTreeMap::new();
    let mut times = Vec::with_capacity(beats.len());
    for VerifiedBeat { beat, .. } in beats.iter().rev() {
        for receipt in by_seq.get(&beat.seq).into_iter().flatten() {
            let at = earliest.entry(receipt.operator).or_insert(receipt.content.at_ms);
            *at = (*at).min(receipt.content.at_ms);
        }
        let mut sorted: Vec<u64> = earliest.values().copied().collect();
        sorted.sort_unstable();
        let not_after_ms = threshold.checked_sub(1).and_then(|t| sorted.get(t)).copied();
        times.push(BeatTime {
            mono_ms: beat.mono_ms,
            not_before_ms: beacons.get(&beat.beacon)?.time_ms,
            not_after_ms,
        });
    }
    times.reverse();
    Some(times)
}

/// Both bounds of an anchor. `None` when it names a beacon that is not there.
pub(crate) fn anchor_time(
    anchor: &Anchor,
    hash: &Digest,
    tpm_ms: u64,
    beacons: &Beacons,
    receipts: &[Receipt<'_>],
    threshold: usize,
) -> Option<AnchorTime> {
    Some(AnchorTime {
        mono_ms: anchor.mono_ms,
        tpm_ms,
        not_before_ms: beacons.get(&anchor.beacon)?.time_ms,
        not_after_ms: record_not_after(Subject::Anchor, hash, receipts, threshold),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(operator: &str, at_ms: u64) -> Receipt<'_> {
        let content = BeatReceipt {
            session: Digest([0; 32]),
            subject: Subject::Anchor,
            seq: 0,
            hash: Digest([1; 32]),
            at_ms,
        };
        Receipt { operator, content }
    }

    #[test]
    fn the_threshold_counts_operators_not_receipts() {
        let receipts = [receipt("a", 30), receipt("a", 10), receipt("b", 20), receipt("c", 40)];
        let at = |t| not_after(t, receipts.iter());
        assert_eq!([at(0), at(1), at(2), at(3), at(4)], [None, Some(10), Some(20), Some(40), None]);
    }
}
