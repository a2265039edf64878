//! Beacons: public randomness with a time.
//!
//! What a beacon proves is a lower bound: a record that names one was not made
//! before the beacon's time. Who is believed about that time is the business of a
//! [`BeaconVerifier`].

use std::collections::BTreeMap;
use std::fmt;

use assay_wire::{Digest, Domain, Envelope, Kind, Network, VerifyingKey, WireError, hash};
use minicbor::{Decode, Encode};

/// The payload of an envelope of kind `beacon`; `kid` is the validator's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Beacon {
    /// Counts periods since the Unix epoch.
    #[n(0)]
    pub round: u64,
    /// When the round began, Unix time in ms.
    #[n(1)]
    pub time_ms: u64,
    /// Unpredictable before that time.
    #[n(2)]
    pub randomness: Digest,
}

/// A beacon whose origin was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedBeacon {
    /// Its content.
    pub beacon: Beacon,
    /// Its envelope hash: what session starts and anchors name it by.
    pub hash: Digest,
}

/// The first sixteen bytes of a beacon's envelope hash: what a beat names it by.
///
/// A beat needs the beacon only as something that nobody knew before its time, and 128 bits
/// are enough for that. Session starts and anchors, which are few, keep the whole hash. Names
/// find a beacon among those whose signature held; whoever looks one up must refuse two
/// beacons of one name. A CBOR byte string on the wire, hex for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct BeaconName(
    /// The bytes.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub [u8; 16],
);

impl From<&Digest> for BeaconName {
    fn from(hash: &Digest) -> Self {
        let mut name = [0; 16];
        name.iter_mut().zip(hash.0).for_each(|(to, from)| *to = from);
        Self(name)
    }
}

impl From<Digest> for BeaconName {
    fn from(hash: Digest) -> Self {
        Self::from(&hash)
    }
}

impl fmt::Display for BeaconName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BeaconName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Someone who can tell a real beacon from another.
///
/// The answer is as good as the source: a validator's beacon binds the node, not
/// the validator, which knows its own randomness in advance.
pub trait BeaconVerifier {
    /// Checks one beacon.
    ///
    /// # Errors
    /// [`WireError`] when it is malformed or not from a source that is believed.
    fn verify(&self, bytes: &[u8]) -> Result<VerifiedBeacon, WireError>;
}

/// Beacons signed by validators whose keys a trust file names.
#[derive(Debug, Clone)]
pub struct ValidatorBeacons<'a> {
    /// Believed keys by validator id.
    pub keys: &'a BTreeMap<Digest, VerifyingKey>,
    /// The network.
    pub network: &'a Network,
}

impl BeaconVerifier for ValidatorBeacons<'_> {
    fn verify(&self, bytes: &[u8]) -> Result<VerifiedBeacon, WireError> {
        let envelope = Envelope::decode_as(Kind::Beacon, bytes)?;
        let key = self.keys.get(&envelope.kid).ok_or(WireError::Key)?;
        envelope.verify(key, self.network)?;
        Ok(VerifiedBeacon { beacon: envelope.message()?, hash: envelope.hash() })
    }
}

/// Whether the beacon picks this node for an anchor: H(randomness || node) below p.
///
/// `per_mille` is p in thousandths; 1000 picks every slot.
pub fn anchor_due(randomness: &Digest, node: &Digest, per_mille: u32) -> bool {
    let draw = hash(Domain::AnchorSlot, &[&randomness.0, &node.0]);
    let draw = draw.0.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    u128::from(draw) * 1000 < u128::from(per_mille) << 64
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_wire::SigningKey;

    #[test]
    fn only_a_named_validator_is_believed() {
        let (key, network) = (SigningKey::from_seed(&[1; 32]), Network::new("n"));
        let public = key.verifying_key();
        let beacon = Beacon { round: 1, time_ms: 2, randomness: Digest([3; 32]) };
        let bytes = Envelope::seal(Kind::Beacon, public.validator_id(), &beacon, &key, &network);
        let keys = BTreeMap::from([(public.validator_id(), public)]);
        let verified = ValidatorBeacons { keys: &keys, network: &network }.verify(&bytes).unwrap();
        assert_eq!(verified.beacon, beacon);
        let nobody = BTreeMap::new();
        assert_eq!(ValidatorBeacons { keys: &nobody, network: &network }.verify(&bytes), Err(WireError::Key));
        let elsewhere = Network::new("m");
        let other = ValidatorBeacons { keys: &keys, network: &elsewhere };
        assert_eq!(other.verify(&bytes), Err(WireError::Signature));
    }

    #[test]
    fn a_name_is_sixteen_bytes_of_the_hash() {
        let hash = Digest(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        let name = BeaconName::from(hash);
        assert_eq!(name, BeaconName(std::array::from_fn(|at| u8::try_from(at).unwrap())));
        assert_eq!(name.to_string(), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(format!("{name:?}"), name.to_string());
        let bytes = minicbor::to_vec(name).unwrap();
        assert_eq!((bytes[0], &bytes[1..]), (0x50, &name.0[..]));
        assert_eq!(minicbor::decode::<BeaconName>(&bytes).unwrap(), name);
        for other in [&hash.0[..], &hash.0[..15], &[]] {
            let bytes = minicbor::to_vec(minicbor::bytes::ByteVec::from(other.to_vec())).unwrap();
            assert!(minicbor::decode::<BeaconName>(&bytes).is_err(), "{} bytes", other.len());
        }
    }

    #[test]
    fn slots_come_at_the_rate_asked_for() {
        let node = Digest([9; 32]);
        let picked = |per_mille| {
            (0u32..4000)
                .filter(|n| {
                    let mut randomness = [0; 32];
                    randomness[..4].copy_from_slice(&n.to_be_bytes());
                    anchor_due(&Digest(randomness), &node, per_mille)
                })
                .count()
        };
        assert_eq!(picked(0), 0);
        assert_eq!(picked(1000), 4000);
        assert!((900..1100).contains(&picked(250)));
    }
}
