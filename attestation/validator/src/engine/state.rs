//! What the validator knows that an appraisal depends on, as one value.
//!
//! Appraisal is a function of evidence, trust, policy, this state and a time; all five are kept
//! with each session ([`crate::store::StoredAppraisal`]), so that [`crate::replay`] can make the
//! same appraisal again.

use std::collections::BTreeMap;

use assay_appraisal::{Appraisal, OpenSession, Policy, State, Trust, open_session};
use assay_ledger::revocation::RevocationList;
use assay_ledger::session::Head;
use assay_wire::{Digest, WireError};

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
}

/// Gathers what the store knows: of revocations those that stand against this node or this record, of
/// firmware the evidence's PCR 0 by the table that has most owners, of approvals this node's.
pub(crate) fn state_for(store: &Store, of: StateOf<'_>) -> Result<State, StoreError> {
    let mut revocations: BTreeMap<Digest, RevocationList> = BTreeMap::new();
    for (validator, number, entry) in store.standing(of.node, of.record, of.issued)? {
        let list = revocations.entry(validator).or_default();
        (list.number, list.issued_ms) = (number, entry.at_ms);
        list.entries.push(entry);
    }
    let seen = of.pcr0.map(|pcr0| store.firmware(pcr0)).transpose()?.flatten();
    Ok(State {
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
