//! The lab: validators, whom a verifier trusts, and a clock.

use std::collections::BTreeMap;

use assay_appraisal::{Appraisal, Policy, State, Trust, TrustedValidator, appraise};
use assay_ledger::beacon::{Beacon, anchor_due};
use assay_ledger::receipt::BeatReceipt;
use assay_wire::{Digest, Domain, Envelope, Kind, Network, SigningKey, hash};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};

/// How long a record takes to a validator, in ms.
pub(crate) const LATENCY_MS: u64 = 200;
/// When every lab's clock begins, Unix time in ms.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// A validator with its key.
#[derive(Debug)]
pub struct Validator {
    /// Its id.
    pub id: Digest,
    /// Its key.
    pub key: SigningKey,
}

impl Validator {
    /// The validator whose key comes from `seed`.
    pub fn new(seed: u8) -> Self {
        let key = SigningKey::from_seed(&[seed; 32]);
        Self { id: key.verifying_key().validator_id(), key }
    }
}

/// Validators, trust, policy and time; everything else is made from it.
#[derive(Debug)]
pub struct Lab {
    /// The validators, each of an operator of its own.
    pub validators: Vec<Validator>,
    /// Whom verdicts of this lab believe.
    pub trust: Trust,
    /// What they ask for.
    pub policy: Policy,
    /// What they remember.
    pub state: State,
    /// Unix time in ms.
    pub unix_ms: u64,
    /// Every node's milliseconds since boot.
    pub mono_ms: u64,
    /// Whether records reach the validators as they are made.
    pub online: bool,
    /// The beacons so far, by hash, as envelopes with their contents.
    pub beacons: BTreeMap<Digest, (Vec<u8>, Beacon)>,
    rng: ChaCha20Rng,
}

impl Lab {
    /// One validator, development policy.
    pub fn new() -> Self {
        Self::with_validators(&[1], 1)
    }

    /// Validators with keys from these seeds, each of its own operator; `threshold` of them must
    /// have receipted a record.
    pub fn with_validators(seeds: &[u8], threshold: usize) -> Self {
        let validators: Vec<_> = seeds.iter().map(|seed| Validator::new(*seed)).collect();
        let trusted = validators.iter().zip(seeds).map(|(validator, seed)| {
            let (name, operator) = (format!("validator-{seed}"), format!("operator-{seed}"));
            (validator.id, TrustedValidator { name, operator, key: validator.key.verifying_key() })
        });
        let trust = Trust {
            policy: "development".into(),
            validators: trusted.collect(),
            receipt_threshold: threshold,
            beacon_period_ms: 5_000,
            anchor_per_mille: 250,
            ..Trust::of(Network::new("lab"))
        };
        Self {
            validators,
            trust,
            policy: Policy::builtin("development").unwrap(),
            state: State::default(),
            unix_ms: EPOCH_MS,
            mono_ms: 60_000,
            online: true,
            beacons: BTreeMap::new(),
            rng: ChaCha20Rng::from_seed([seeds[0]; 32]),
        }
    }

    /// Lets time pass, on Earth and on every node.
    pub fn advance(&mut self, ms: u64) {
        self.unix_ms += ms;
        self.mono_ms += ms;
    }

    /// 32 bytes that nobody has seen before.
    pub fn random(&mut self) -> Digest {
        let mut bytes = [0; 32];
        self.rng.fill_bytes(&mut bytes);
        Digest(bytes)
    }

    pub(crate) fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.rng
    }

    /// This round's beacon, by the first validator: the hash by which records name it.
    pub fn beacon(&mut self) -> Digest {
        let round = self.unix_ms / self.trust.beacon_period_ms;
        self.beacon_of(round)
    }

    fn beacon_of(&mut self, round: u64) -> Digest {
        let (validator, period) = (&self.validators[0], self.trust.beacon_period_ms);
        let randomness = hash(Domain::MerkleLeaf, &[&round.to_be_bytes()]);
        let beacon = Beacon { round, time_ms: round * period, randomness };
        let bytes = Envelope::seal(Kind::Beacon, validator.id, &beacon, &validator.key, &self.trust.network);
        let name = hash(Domain::Envelope, &[&bytes]);
        self.beacons.insert(name, (bytes, beacon));
        name
    }

    /// Whether a beacon asks this node for an anchor.
    pub fn is_due(&self, beacon: &Digest, node: &Digest) -> bool {
        let (_, content) = &self.beacons[beacon];
        anchor_due(&content.randomness, node, self.trust.anchor_per_mille)
    }

    /// Lets time pass, at least one round, until the round's beacon asks this node for an anchor, or
    /// does not ask.
    pub fn advance_to_slot(&mut self, node: &Digest, due: bool) {
        loop {
            self.advance(self.trust.beacon_period_ms);
            let beacon = self.beacon();
            if self.is_due(&beacon, node) == due {
                return;
            }
        }
    }

    /// A receipt as a validator of this lab signs it.
    pub fn sign_receipt(&self, validator: usize, receipt: &BeatReceipt) -> Vec<u8> {
        let validator = &self.validators[validator];
        Envelope::seal(Kind::BeatReceipt, validator.id, receipt, &validator.key, &self.trust.network)
    }

    /// The verdict on an exported file, now and under the lab's policy.
    pub fn appraise(&self, bytes: &[u8]) -> Appraisal {
        appraise(bytes, &self.trust, &self.policy, &self.state, self.unix_ms).unwrap()
    }

    /// The verdict on an exported file under a shipped policy.
    pub fn appraise_under(&self, policy: &str, bytes: &[u8]) -> Appraisal {
        appraise(bytes, &self.trust, &Policy::builtin(policy).unwrap(), &self.state, self.unix_ms).unwrap()
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}
