//! Bounds in time for the records of one session, from beacons and receipts.

use std::collections::BTreeMap;

use assay_ledger::ByteVec;
use assay_ledger::anchor::Anchor;
use assay_ledger::beacon::{Beacon, BeaconName, BeaconVerifier as _, ValidatorBeacons, VerifiedBeacon};
use assay_ledger::chain::VerifiedBeat;
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_ledger::uptime::{AnchorTime, BeatTime};
use assay_wire::{Digest, Envelope, Kind, WireError};

use crate::trust::{Trust, TrustedValidator};

/// Beacons of a claim, each the only one of its name.
#[derive(Debug, Default)]
pub(crate) struct Beacons(BTreeMap<BeaconName, VerifiedBeacon>);

impl Beacons {
    /// One beacon told twice is one; another of its name would leave open which one a beat meant.
    fn add(&mut self, beacon: VerifiedBeacon) -> Result<(), OriginFault> {
        let name = BeaconName::from(beacon.hash);
        match self.0.insert(name, beacon) {
            Some(known) if known.hash != beacon.hash => Err(OriginFault::TwoBeacons(name)),
            Some(_) | None => Ok(()),
        }
    }

    /// The beacon that a beat names.
    pub(crate) fn named(&self, name: &BeaconName) -> Option<&Beacon> {
        self.0.get(name).map(|known| &known.beacon)
    }

    /// The beacon with this envelope hash, by which sessions and anchors name it.
    pub(crate) fn hashed(&self, hash: &Digest) -> Option<&Beacon> {
        let known = self.0.get(&hash.into()).filter(|known| known.hash == *hash);
        known.map(|known| &known.beacon)
    }
}

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
    /// Two beacons whose hashes begin alike.
    #[error("two beacons of the name {0}")]
    TwoBeacons(BeaconName),
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

/// Checks every beacon; no two may have one name.
pub(crate) fn read_beacons(bytes: &[ByteVec], trust: &Trust) -> Result<Beacons, OriginFault> {
    let keys = trust.keys();
    let verifier = ValidatorBeacons { keys: &keys, network: &trust.network };
    let mut beacons = Beacons::default();
    for bytes in bytes {
        signer(Kind::Beacon, bytes, trust)?;
        beacons.add(verifier.verify(bytes)?)?;
    }
    Ok(beacons)
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
            not_before_ms: beacons.named(&beat.beacon)?.time_ms,
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
        not_before_ms: beacons.hashed(&anchor.beacon)?.time_ms,
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

    fn beacon(round: u64, hash: Digest) -> VerifiedBeacon {
        VerifiedBeacon { beacon: Beacon { round, time_ms: round, randomness: Digest([0; 32]) }, hash }
    }

    #[test]
    fn beats_look_a_beacon_up_by_name_and_all_else_by_the_whole_hash() {
        let hash = Digest([1; 32]);
        let mut alike = hash;
        alike.0[31] ^= 1;
        let mut beacons = Beacons::default();
        beacons.add(beacon(7, hash)).unwrap();
        let round = |found: Option<&Beacon>| found.map(|beacon| beacon.round);
        assert_eq!(round(beacons.hashed(&hash)), Some(7));
        assert_eq!(round(beacons.hashed(&alike)), None);
        assert_eq!(round(beacons.named(&alike.into())), Some(7));
        assert_eq!(round(beacons.named(&Digest([2; 32]).into())), None);
    }

    #[test]
    fn two_beacons_of_one_name_are_refused() {
        let hash = Digest([1; 32]);
        let mut alike = hash;
        alike.0[16] ^= 1;
        let mut beacons = Beacons::default();
        assert_eq!(beacons.add(beacon(7, hash)), Ok(()));
        assert_eq!(beacons.add(beacon(8, Digest([2; 32]))), Ok(()));
        assert_eq!(beacons.add(beacon(7, hash)), Ok(()), "the same once more");
        assert_eq!(beacons.add(beacon(7, alike)), Err(OriginFault::TwoBeacons(hash.into())));
    }

    #[test]
    fn the_threshold_counts_operators_not_receipts() {
        let receipts = [receipt("a", 30), receipt("a", 10), receipt("b", 20), receipt("c", 40)];
        let at = |t| not_after(t, receipts.iter());
        assert_eq!([at(0), at(1), at(2), at(3), at(4)], [None, Some(10), Some(20), Some(40), None]);
    }
}
