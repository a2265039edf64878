//! What the validator knows that an appraisal depends on, as one value.
//!
//! Appraisal is a function of evidence, trust, policy, this state and a time; all five are kept
//! with each session ([`crate::store::StoredAppraisal`]), so that [`crate::replay`] can make the
//! same appraisal again.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;

use assay_appraisal::{Appraisal, OpenSession, Policy, State, Trust, open_session};
use assay_gpu::device::{ChainKind, DeviceChain, DeviceEvidence, Report, asked};
use assay_gpu::rim::{Rim, rim_ids};
use assay_ledger::revocation::RevocationList;
use assay_ledger::session::{Head, MAX_DEVICES};
use assay_wire::{Digest, WireError};
use assay_x509::{Certificate, Fingerprint, OcspQuestion, Seconds};
use minicbor::bytes::ByteVec;

use crate::error::chain as chain_of;
use crate::ocsp::{Cache, attach_to_rims};
use crate::store::{Store, StoreError};

/// Whose state, and of which evidence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateOf<'a> {
    pub(crate) node: &'a Digest,
    /// Envelope hash of the enrolment record that the evidence carries.
    pub(crate) record: &'a Digest,
    /// Who issued that record, and when.
    pub(crate) issued: (&'a Digest, u64),
    /// PCR 0 as the evidence lists it; not yet known to be the quoted one.
    pub(crate) pcr0: Option<&'a Digest>,
    /// The session that the node names as its last.
    pub(crate) previous: Option<&'a Head>,
    /// The evidence of its devices, and the reference values at hand.
    pub(crate) devices: (&'a [DeviceEvidence], &'a [Rim]),
    /// Answers of responders at hand, and the time in Unix ms at which they must hold.
    pub(crate) ocsp: (&'a Cache, u64),
}

/// Gathers what the store knows: of revocations those that stand against this node or this record, of
/// firmware the evidence's PCR 0 by the table that has most owners, of approvals this node's; and of the
/// reference values at hand those that the devices' reports ask for, each with the answers at hand about its signer.
pub(crate) fn state_for(store: &Store, of: StateOf<'_>) -> Result<State, StoreError> {
    let mut revocations: BTreeMap<Digest, RevocationList> = BTreeMap::new();
    for (validator, number, entry) in store.standing(of.node, of.record, of.issued)? {
        let list = revocations.entry(validator).or_default();
        (list.number, list.issued_ms) = (number, entry.at_ms);
        list.entries.push(entry);
    }
    let seen = of.pcr0.map(|pcr0| store.firmware(pcr0)).transpose()?.flatten();
    let mut state = State {
        known: known_head(store, of.node, of.previous)?,
        revocations,
        firmware: seen.map(|set| (set.pcr0, set.owners)).into_iter().collect(),
        gpu_rims: Vec::new(),
        gpu_ocsp: answers_for(of.devices.0, of.ocsp),
        approved_firmware: store.approved_firmware(of.node)?.into_iter().map(|v| (*of.node, v)).collect(),
    };
    for rim in asked_for(of.devices) {
        take_rim(&mut state, rim, of.ocsp);
    }
    Ok(state)
}

/// Takes reference values in, with the answers at hand about their signer's certificates.
fn take_rim(state: &mut State, mut rim: Rim, (cache, now_ms): (&Cache, u64)) {
    let at_hand = Some((cache, seconds(now_ms)));
    if let Err(error) = attach_to_rims(slice::from_mut(&mut rim), &[], at_hand) {
        log::warn!("{}", chain_of(&error));
    }
    let id = rim.id();
    if let Err(error) = state.take_rim(rim) {
        log::warn!("{id}: {error}");
    }
}

fn seconds(now_ms: u64) -> Seconds {
    Seconds::try_from(now_ms / 1000).unwrap_or(Seconds::MAX)
}

/// The reference values that the devices' reports ask for; the state is kept with each session.
fn asked_for((devices, rims): (&[DeviceEvidence], &[Rim])) -> Vec<Rim> {
    if rims.is_empty() {
        return Vec::new();
    }
    let asks = |device: &DeviceEvidence| {
        let report = Report::parse(&device.report).ok();
        report.map(|report| rim_ids(report.facts(), device.architecture)).unwrap_or_default()
    };
    let wanted: Vec<_> = devices.iter().take(MAX_DEVICES).flat_map(asks).collect();
    rims.iter().filter(|rim| wanted.iter().any(|wanted| wanted.is(rim))).cloned().collect()
}

/// The answers at hand about the devices' certificates, each once. A folder that can't be read holds none.
///
/// Nothing of the evidence is believed yet: a certificate whose answer was found is not looked up again, and one
/// without an answer costs no signature.
fn answers_for(devices: &[DeviceEvidence], (cache, now_ms): (&Cache, u64)) -> Vec<ByteVec> {
    let (at, mut found) = (seconds(now_ms), Found::default());
    let chains =
        devices.iter().take(MAX_DEVICES).filter_map(|device| DeviceChain::from_der(&device.chain).ok());
    for chain in chains {
        found.look(chain.certificates(), |question| match cache.get(question, at) {
            Ok(answer) => answer,
            Err(error) => {
                log::warn!("{}", chain_of(&error));
                None
            }
        });
    }
    found.answers
}

/// Answers, and the certificates that they were found for.
#[derive(Default)]
struct Found {
    certificates: BTreeSet<Fingerprint>,
    answers: Vec<ByteVec>,
}

impl Found {
    /// Asks for answers about a chain's certificates that have none.
    fn look(&mut self, chain: &[Certificate], get: impl Fn(&OcspQuestion<'_>) -> Option<Vec<u8>>) {
        for (_, certificate, issuer) in asked(ChainKind::Device, chain) {
            let fingerprint = certificate.fingerprint();
            if self.certificates.contains(&fingerprint) {
                continue;
            }
            let question = OcspQuestion { certificate, issuer, known: chain, nonce: None };
            let Some(answer) = get(&question).map(ByteVec::from) else { continue };
            self.certificates.insert(fingerprint);
            if !self.answers.contains(&answer) {
                self.answers.push(answer);
            }
        }
    }
}

/// The head that the node's ledger must have reached: of the session that it names as its last,
/// unless this validator holds beats of a later one.
fn known_head(store: &Store, node: &Digest, previous: Option<&Head>) -> Result<Option<Head>, StoreError> {
    let newest = store.newest_head(node)?;
    let named = match previous {
        Some(previous) => store.session(&previous.session)?,
        None => None,
    };
    Ok(match (named, newest) {
        (Some(row), newest) if row.node == *node && newest.is_none_or(|(number, _)| row.number >= number) => {
            Some(Head { session: row.id, seq: row.seq, head: row.head })
        }
        (_, newest) => newest.map(|(_, head)| head),
    })
}

/// Appraises evidence that opens a session: the one place where the service and a replay do it.
///
/// # Errors
/// [`WireError`] when the bytes are no evidence envelope at all.
pub(crate) fn appraise_opening(
    bytes: &[u8],
    (trust, policy): (&Trust, &Policy),
    state: &State,
    challenge: &Digest,
    now_ms: u64,
) -> Result<(Appraisal, Option<OpenSession>), WireError> {
    open_session(bytes, trust, policy, state, now_ms, Some(challenge))
}

/// An appraisal's result as it is kept and compared.
pub(crate) fn result_bytes(appraisal: &Appraisal) -> Vec<u8> {
    serde_json::to_vec(&appraisal.report()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use assay_gpu::device::Roots;

    use super::*;

    #[test]
    fn a_certificate_of_many_devices_is_looked_up_once_when_an_answer_is_found() {
        // The maker's root, thrice: two places of the chain are asked about.
        let roots = Roots::nvidia();
        let root = Certificate::parse(roots.device()).unwrap();
        let chain = vec![root; 3];
        for (answer, asked) in [(Some(vec![1, 2]), 1), (None, 4)] {
            let (count, mut found) = (Cell::new(0), Found::default());
            for _ in 0..4 {
                found.look(&chain, |_| {
                    count.set(count.get() + 1);
                    answer.clone()
                });
            }
            assert_eq!((count.get(), found.answers.len()), (asked, usize::from(answer.is_some())));
        }
    }
}
