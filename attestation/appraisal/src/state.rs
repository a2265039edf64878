//! What a verifier remembers that bears on an appraisal.
//!
//! Passed in like trust and policy, so that an appraisal stays a function of its input and can be
//! made again from what was stored.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use assay_gpu::device::DeviceEvidence;
use assay_gpu::rim::{RIM_NETWORK, Rim, RimError};
use assay_ledger::firmware::FirmwareTable;
use assay_ledger::revocation::RevocationList;
use assay_ledger::session::Head;
use assay_wire::{Digest, Domain, Envelope, Kind, Network, WireError, cbor, hash};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::revoked::{ListFault, newer};
use crate::trust::Trust;

/// What a verifier remembers. The default is a verifier that has seen nothing yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct State {
    /// The last head of the node's ledger that the verifier holds.
    #[n(0)]
    pub known: Option<Head>,
    /// The newest list of each validator, by its id. Lists of validators outside the trust file don't count.
    #[n(1)]
    pub revocations: BTreeMap<Digest, RevocationList>,
    /// PCR 0 of firmware that was seen, and at how many unrelated owners.
    #[n(2)]
    pub firmware: BTreeMap<Digest, u32>,
    /// Firmware that was approved by hand: node, and its value of PCR 0 or 2.
    #[n(3)]
    pub approved_firmware: BTreeSet<(Digest, Digest)>,
    /// Reference values of GPUs and switches, each once, in the order of kind, product, version and source.
    #[cbor(n(4), skip_if = "Vec::is_empty")]
    pub gpu_rims: Vec<Rim>,
    /// Answers of OCSP responders about certificates of devices, DER. Each is judged where it is used.
    #[cbor(n(5), skip_if = "Vec::is_empty")]
    pub gpu_ocsp: Vec<ByteVec>,
}

/// A signed statement that can't be taken into a [`State`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It does not decode, or its signature does not hold.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// The trust file does not name who signed.
    #[error("unknown validator {0}")]
    Signer(String),
    /// A revocation list that does not go on from the one that is held.
    #[error("revocation list: {0}")]
    Revocations(#[from] ListFault),
    /// A firmware table out of order, or one that names a firmware twice.
    #[error("firmware table: entry {0} is not above the one before it")]
    FirmwareOrder(usize),
    /// Reference values of a form that none have.
    #[error("{0}")]
    GpuRim(#[from] RimError),
    /// More reference values than are held.
    #[error("more than {0} reference values of GPUs")]
    GpuRims(usize),
}

impl State {
    /// The most bytes that a state in canonical form may have.
    pub const MAX_CBOR: usize = 64 << 20;

    /// The most reference values of GPUs that are held.
    pub const MAX_GPU_RIMS: usize = 4096;

    /// The canonical form: deterministic CBOR, rule `state` of `appraisal.cddl`.
    pub fn to_cbor(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads the canonical form.
    ///
    /// # Errors
    /// [`WireError`] for any other bytes than [`State::to_cbor`] gives.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, WireError> {
        cbor::from_slice("state", bytes, Self::MAX_CBOR)
    }

    /// Names the state: [`Domain::State`] over the canonical form.
    pub fn hash(&self) -> Digest {
        hash(Domain::State, &[&self.to_cbor()])
    }

    /// Takes in an envelope of kind `revocations`, `firmware` or `gpu-rim` by a validator in the trust file.
    /// Reference values are signed for no network: they are the same on each.
    ///
    /// A revocation list takes the place of the signer's older one; the list that is held may come
    /// again. Of several validators' tables the highest count of owners stays: owners that two of them
    /// saw are not told apart, so counts are never added.
    ///
    /// # Errors
    /// [`StateError`]; the state is unchanged then.
    pub fn take(&mut self, bytes: &[u8], trust: &Trust) -> Result<Kind, StateError> {
        let envelope = Envelope::decode(bytes)?;
        let validator = trust.validators.get(&envelope.kid);
        let validator = validator.ok_or_else(|| StateError::Signer(envelope.kid.short()))?;
        match envelope.kind {
            Kind::GpuRim => envelope.verify(&validator.key, &Network::new(RIM_NETWORK))?,
            _ => envelope.verify(&validator.key, &trust.network)?,
        }
        match envelope.kind {
            Kind::Revocations => self.take_revocations(envelope.kid, envelope.message()?)?,
            Kind::Firmware => self.take_firmware(&envelope.message()?)?,
            Kind::GpuRim => self.take_rim(envelope.message()?)?,
            other => {
                let expected = "revocations, firmware or gpu-rim";
                return Err(WireError::Kind { expected, seen: other.name() }.into());
            }
        }
        Ok(envelope.kind)
    }

    /// Takes in reference values whose signature the caller has checked, or that are by a validator whom it believes.
    ///
    /// # Errors
    /// [`StateError::GpuRim`] or [`StateError::GpuRims`]; the state is unchanged then.
    pub fn take_rim(&mut self, rim: Rim) -> Result<(), StateError> {
        rim.check()?;
        if self.gpu_rims.contains(&rim) {
            return Ok(());
        }
        if self.gpu_rims.len() >= Self::MAX_GPU_RIMS {
            return Err(StateError::GpuRims(Self::MAX_GPU_RIMS));
        }
        self.gpu_rims.push(rim);
        self.gpu_rims.sort_by(|a, b| {
            let key = |rim: &Rim| (rim.kind, rim.product.clone(), rim.version.clone(), rim.source);
            key(a).cmp(&key(b)).then_with(|| cbor::to_vec(a).cmp(&cbor::to_vec(b)))
        });
        Ok(())
    }

    /// A device's evidence with the verifier's own answers of responders before those that the node sent.
    pub(crate) fn with_answers<'a>(&self, evidence: &'a DeviceEvidence) -> Cow<'a, DeviceEvidence> {
        if self.gpu_ocsp.is_empty() {
            return Cow::Borrowed(evidence);
        }
        let own = self.gpu_ocsp.iter().map(|answer| answer.to_vec());
        let ocsp = own.chain(evidence.ocsp.iter().cloned()).collect();
        Cow::Owned(DeviceEvidence { ocsp, ..evidence.clone() })
    }

    fn take_revocations(&mut self, validator: Digest, list: RevocationList) -> Result<(), ListFault> {
        match self.revocations.get(&validator) {
            Some(held) if *held == list => return Ok(()),
            Some(held) => newer(held, &list)?,
            None => {}
        }
        self.revocations.insert(validator, list);
        Ok(())
    }

    fn take_firmware(&mut self, table: &FirmwareTable) -> Result<(), StateError> {
        let pairs = table.sets.iter().zip(table.sets.iter().skip(1));
        if let Some(at) = pairs.into_iter().position(|(before, after)| before.pcr0 >= after.pcr0) {
            return Err(StateError::FirmwareOrder(at + 1));
        }
        for set in &table.sets {
            let owners = self.firmware.entry(set.pcr0).or_default();
            *owners = set.owners.max(*owners);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_gpu::rim::{RimKind, RimRow, SignerProof};
    use assay_ledger::firmware::FirmwareSet;
    use assay_ledger::revocation::{Revocation, RevokedKind};
    use assay_wire::{Network, SigningKey};

    use crate::trust::TrustedValidator;

    fn trust(seeds: &[u8]) -> Trust {
        let validator = |seed: &u8| {
            let key = SigningKey::from_seed(&[*seed; 32]).verifying_key();
            (key.validator_id(), TrustedValidator { name: "v".into(), operator: format!("o{seed}"), key })
        };
        Trust { validators: seeds.iter().map(validator).collect(), ..Trust::of(Network::new("n")) }
    }

    fn seal<T: Encode<()>>(seed: u8, kind: Kind, message: &T) -> Vec<u8> {
        let key = SigningKey::from_seed(&[seed; 32]);
        Envelope::seal(kind, key.verifying_key().validator_id(), message, &key, &Network::new("n"))
    }

    fn list(number: u64, entries: u8) -> RevocationList {
        let entry = |n| Revocation {
            kind: RevokedKind::Node,
            digest: Digest([n; 32]),
            at_ms: u64::from(n),
            reason: String::new(),
        };
        RevocationList { number, issued_ms: 1, entries: (0..entries).map(entry).collect() }
    }

    fn table(sets: &[(u8, u32)]) -> FirmwareTable {
        let set = |(pcr0, owners): &(u8, u32)| FirmwareSet {
            pcr0: Digest([*pcr0; 32]),
            owners: *owners,
            first_ms: 1,
            name: "x".into(),
        };
        FirmwareTable { issued_ms: 1, sets: sets.iter().map(set).collect() }
    }

    #[test]
    fn a_state_comes_back_from_its_canonical_form() {
        let mut state = State::default();
        assert_eq!(State::from_cbor(&state.to_cbor()), Ok(state.clone()));
        let empty = state.hash();
        state.known = Some(Head { session: Digest([1; 32]), seq: 2, head: Digest([3; 32]) });
        state.revocations.insert(Digest([9; 32]), list(1, 2));
        state.revocations.insert(Digest([8; 32]), list(1, 0));
        state.firmware = [(Digest([5; 32]), 3), (Digest([4; 32]), 1)].into();
        state.approved_firmware = [(Digest([5; 32]), Digest([6; 32]))].into();
        assert_eq!(State::from_cbor(&state.to_cbor()), Ok(state.clone()));
        assert_eq!(cbor::check(&state.to_cbor()), Ok(()));
        assert_ne!(state.hash(), empty);
        assert!(State::from_cbor(&[&state.to_cbor()[..], &[0]].concat()).is_err());
    }

    #[test]
    fn statements_count_only_when_a_trusted_validator_signed_them() {
        let (trust, mut state) = (trust(&[1, 2]), State::default());
        assert_eq!(state.take(&seal(1, Kind::Revocations, &list(1, 1)), &trust), Ok(Kind::Revocations));
        let unknown = state.take(&seal(3, Kind::Revocations, &list(1, 1)), &trust);
        assert!(matches!(unknown, Err(StateError::Signer(_))));
        let key = SigningKey::from_seed(&[3; 32]);
        let ours = SigningKey::from_seed(&[1; 32]).verifying_key().validator_id();
        let forged = Envelope::seal(Kind::Revocations, ours, &list(2, 1), &key, &trust.network);
        assert_eq!(state.take(&forged, &trust), Err(StateError::Wire(WireError::Signature)));
        let other = state.take(&seal(1, Kind::Beacon, &list(2, 1)), &trust);
        assert!(matches!(other, Err(StateError::Wire(WireError::Kind { .. }))));
        assert_eq!(state.revocations.len(), 1);
    }

    fn rim(version: &str, source: u8) -> Rim {
        Rim {
            kind: RimKind::Driver,
            product: "GH100".into(),
            version: version.into(),
            tag: "t".into(),
            board: None,
            rows: vec![RimRow { index: 7, name: "m".into(), values: vec![[1; 48].into()] }],
            source: Digest([source; 32]),
            signer: Digest([9; 32]),
            not_before: 0,
            not_after: 1,
            proof: SignerProof::default(),
        }
    }

    #[test]
    fn reference_values_are_held_once_in_one_order_and_count_on_every_network() {
        let (trust, mut state) = (trust(&[1, 2]), State::default());
        let seal = |seed: u8, rim: &Rim, network: &str| {
            let key = SigningKey::from_seed(&[seed; 32]);
            let id = key.verifying_key().validator_id();
            Envelope::seal(Kind::GpuRim, id, rim, &key, &Network::new(network))
        };
        let mut other = State::default();
        let (a, b) = (rim("550.1", 1), rim("535.1", 2));
        for taken in [(1, &a), (2, &b), (2, &a)] {
            assert_eq!(state.take(&seal(taken.0, taken.1, RIM_NETWORK), &trust), Ok(Kind::GpuRim));
        }
        other.take(&seal(1, &b, RIM_NETWORK), &trust).unwrap();
        other.take(&seal(1, &a, RIM_NETWORK), &trust).unwrap();
        assert_eq!(state, other);
        assert_eq!(state.gpu_rims.len(), 2);
        assert_eq!(State::from_cbor(&state.to_cbor()), Ok(state.clone()));
        let refused = state.take(&seal(1, &rim("550.2", 1), "n"), &trust);
        assert_eq!(refused, Err(StateError::Wire(WireError::Signature)));
        let refused = state.take(&seal(3, &rim("550.2", 1), RIM_NETWORK), &trust);
        assert!(matches!(refused, Err(StateError::Signer(_))));
        let refused = state.take(&seal(1, &Rim { rows: vec![], ..rim("550.2", 1) }, RIM_NETWORK), &trust);
        assert!(matches!(refused, Err(StateError::GpuRim(_))));
        assert_eq!(state, other);
    }

    #[test]
    fn a_list_goes_on_or_is_refused() {
        let (trust, mut state) = (trust(&[1]), State::default());
        let mut take =
            |number, entries| state.take(&seal(1, Kind::Revocations, &list(number, entries)), &trust);
        assert!(take(2, 1).is_ok());
        assert!(take(2, 1).is_ok(), "the same again");
        assert_eq!(take(1, 1), Err(StateError::Revocations(ListFault::Number { held: 2, seen: 1 })));
        assert!(take(3, 2).is_ok());
        assert_eq!(take(4, 1), Err(StateError::Revocations(ListFault::Gone(1))));
        assert_eq!(state.revocations.values().map(|list| list.number).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn owners_of_two_tables_are_not_added() {
        let (trust, mut state) = (trust(&[1, 2]), State::default());
        state.take(&seal(1, Kind::Firmware, &table(&[(1, 2), (3, 1)])), &trust).unwrap();
        state.take(&seal(2, Kind::Firmware, &table(&[(1, 1), (3, 5)])), &trust).unwrap();
        assert_eq!(state.firmware, [(Digest([1; 32]), 2), (Digest([3; 32]), 5)].into());
        for wrong in [&[(3, 1), (1, 9)][..], &[(1, 9), (1, 9)]] {
            let refused = state.take(&seal(1, Kind::Firmware, &table(wrong)), &trust);
            assert_eq!(refused, Err(StateError::FirmwareOrder(1)));
        }
        assert_eq!(state.firmware.get(&Digest([1; 32])), Some(&2));
    }
}
