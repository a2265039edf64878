//! What the validator knows that an appraisal depends on, as one value.
//!
//! Appraisal is a function of evidence, trust, policy, this state and a time; all five are kept
//! with each session ([`crate::store::StoredAppraisal`]), so that [`crate::replay`] can make the
//! same appraisal again.

use std::collections::{BTreeMap, BTreeSet};

use assay_appraisal::{Appraisal, OpenSession, Policy, Trust, open_session};
use assay_ledger::revocation::RevocationList;
use assay_ledger::session::Head;
use assay_wire::{Digest, WireError};
use minicbor::{Decode, Encode};

use crate::store::{Store, StoreError};

/// What the validator knows of one node when evidence comes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct NodeState {
    /// The head that the node's ledger must have reached.
    #[n(0)]
    pub(crate) known: Option<Head>,
    /// Each validator's list with what stands in it against this node or this record, and no other entry.
    #[n(1)]
    pub(crate) revocations: BTreeMap<Digest, RevocationList>,
    /// The evidence's PCR 0 and at how many owners it was seen, by the table that has most.
    #[n(2)]
    pub(crate) firmware: BTreeMap<Digest, u32>,
    /// This node with each value that an administrator approved for it.
    #[n(3)]
    pub(crate) approved_firmware: BTreeSet<(Digest, Digest)>,
}

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
}

/// Gathers what the store knows.
pub(crate) fn state_for(store: &Store, of: StateOf<'_>) -> Result<NodeState, StoreError> {
    let mut revocations: BTreeMap<Digest, RevocationList> = BTreeMap::new();
    for (validator, number, entry) in store.standing(of.node, of.record, of.issued)? {
        let list = revocations.entry(validator).or_default();
        (list.number, list.issued_ms) = (number, entry.at_ms);
        list.entries.push(entry);
    }
    let seen = of.pcr0.map(|pcr0| store.firmware(pcr0)).transpose()?.flatten();
    Ok(NodeState {
        known: known_head(store, of.node, of.previous)?,
        revocations,
        firmware: seen.map(|set| (set.pcr0, set.owners)).into_iter().collect(),
        approved_firmware: store.approved_firmware(of.node)?.into_iter().map(|v| (*of.node, v)).collect(),
    })
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
    state: &NodeState,
    challenge: &Digest,
    now_ms: u64,
) -> Result<(Appraisal, Option<OpenSession>), WireError> {
    open_session(bytes, trust, policy, now_ms, Some(challenge), state.known.as_ref())
}

/// An appraisal's result as it is kept and compared.
pub(crate) fn result_bytes(appraisal: &Appraisal) -> Vec<u8> {
    serde_json::to_vec(&appraisal.report()).unwrap_or_default()
}
