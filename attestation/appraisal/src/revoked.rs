//! Revocation: what a trusted validator has taken back.

use assay_ledger::revocation::{Revocation, RevocationList, RevokedKind};
use assay_wire::Digest;

use crate::finding::{Check, Findings, Severity};
use crate::state::State;
use crate::trust::Trust;

const REVOKED: Check = Check {
    id: "enrolment.revoked",
    spec: "DESIGN 4.1",
    checked: "no trusted validator has taken the record or the node back",
};

/// An enrolment record, as far as revocations name it.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// The node.
    pub node: &'a Digest,
    /// The record's envelope hash.
    pub hash: &'a Digest,
    /// Id of the validator that issued it.
    pub issuer: &'a Digest,
    /// When, in Unix ms.
    pub issued_ms: u64,
}

/// The first revocation of this node or of the record with this envelope hash that is in force.
///
/// Lists are read in the order of their validators' ids; only those of validators in the trust file count.
/// What a validator took back it may give again: its entry does not speak against a record that it issued
/// itself later. No other validator's record lifts it.
pub fn revocation<'a>(
    record: RecordRef<'_>,
    trust: &Trust,
    state: &'a State,
    now_ms: u64,
) -> Option<&'a Revocation> {
    let trusted = state.revocations.iter().filter(|(validator, _)| trust.validators.contains_key(validator));
    let names = |entry: &Revocation| match entry.kind {
        RevokedKind::Node => entry.digest == *record.node,
        RevokedKind::Record => entry.digest == *record.hash,
    };
    let stands = |by: &Digest, entry: &Revocation| {
        names(entry) && entry.at_ms <= now_ms && !(by == record.issuer && entry.at_ms < record.issued_ms)
    };
    let entries = trusted.flat_map(|(by, list)| list.entries.iter().map(move |entry| (by, entry)));
    entries.filter(|(by, entry)| stands(by, entry)).map(|(_, entry)| entry).next()
}

/// Records whether an enrolment record still counts; a fatal finding when it does not.
pub(crate) fn check_revoked(
    record: RecordRef<'_>,
    trust: &Trust,
    state: &State,
    now_ms: u64,
    findings: &mut Findings,
) -> bool {
    let lists = state.revocations.keys().filter(|id| trust.validators.contains_key(id)).count();
    let Some(entry) = revocation(record, trust, state, now_ms) else {
        findings.pass(REVOKED, format!("{lists} lists of {} validators", trust.validators.len()));
        return true;
    };
    let what = match entry.kind {
        RevokedKind::Node => "the node",
        RevokedKind::Record => "this record",
    };
    let seen = format!("{what}, from {} ms: {}", entry.at_ms, entry.reason);
    findings.fail(REVOKED, Severity::Fatal, "not revoked", seen);
    false
}

/// Why a list can't take the place of the one that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListFault {
    /// Its number is not higher.
    #[error("number {seen} does not follow {held}")]
    Number {
        /// Of the list that is held.
        held: u64,
        /// Of the new one.
        seen: u64,
    },
    /// An entry of the held list is missing, or is another one now.
    #[error("entry {0} of the list before is gone or changed")]
    Gone(usize),
}

/// Whether `new` may take the place of `old`: a higher number, and every entry still in its place.
///
/// # Errors
/// [`ListFault`]
pub fn newer(old: &RevocationList, new: &RevocationList) -> Result<(), ListFault> {
    if new.number <= old.number {
        return Err(ListFault::Number { held: old.number, seen: new.number });
    }
    let kept = old.entries.iter().zip(&new.entries).take_while(|(before, after)| before == after).count();
    match kept == old.entries.len() {
        true => Ok(()),
        false => Err(ListFault::Gone(kept)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u8) -> Revocation {
        Revocation { kind: RevokedKind::Record, digest: Digest([n; 32]), at_ms: 5, reason: "r".into() }
    }

    fn list(number: u64, entries: &[u8]) -> RevocationList {
        RevocationList { number, issued_ms: 0, entries: entries.iter().map(|n| entry(*n)).collect() }
    }

    #[test]
    fn a_validator_gives_again_what_it_took_back_itself() {
        use crate::trust::TrustedValidator;
        use assay_wire::{Network, SigningKey};
        let trusted = |seed: u8| {
            let key = SigningKey::from_seed(&[seed; 32]).verifying_key();
            (key.validator_id(), TrustedValidator { name: "v".into(), operator: "o".into(), key })
        };
        let (a, b, c) = (trusted(1), trusted(2), trusted(3));
        let (by, other, stranger) = (a.0, b.0, c.0);
        let trust = Trust { validators: [a, b].into(), ..Trust::of(Network::new("n")) };
        let (node, hash) = (Digest([7; 32]), Digest([8; 32]));
        let list = RevocationList {
            entries: vec![Revocation { kind: RevokedKind::Node, digest: node, ..entry(0) }],
            ..list(1, &[])
        };
        let stands = |by: Digest, issuer: &Digest, issued_ms, now_ms| {
            let state = State { revocations: [(by, list.clone())].into(), ..State::default() };
            revocation(RecordRef { node: &node, hash: &hash, issuer, issued_ms }, &trust, &state, now_ms)
                .is_some()
        };
        assert!(stands(by, &by, 5, 9), "issued no later than it was taken back");
        assert!(!stands(by, &by, 6, 9), "issued again");
        assert!(stands(by, &other, 6, 9), "another validator's record lifts nothing");
        assert!(!stands(by, &by, 1, 4), "not yet");
        assert!(!stands(stranger, &by, 1, 9), "not in the trust file");
    }

    #[test]
    fn a_record_and_a_node_are_taken_back_by_their_own_digests() {
        use crate::trust::TrustedValidator;
        use assay_wire::{Network, SigningKey};
        let key = SigningKey::from_seed(&[1; 32]).verifying_key();
        let by = key.validator_id();
        let validator = TrustedValidator { name: "v".into(), operator: "o".into(), key };
        let trust = Trust { validators: [(by, validator)].into(), ..Trust::of(Network::new("n")) };
        let (node, hash, other) = (Digest([7; 32]), Digest([8; 32]), Digest([9; 32]));
        let counts = |kind, digest| {
            let list =
                RevocationList { entries: vec![Revocation { kind, digest, ..entry(0) }], ..list(1, &[]) };
            let state = State { revocations: [(by, list)].into(), ..State::default() };
            let record = RecordRef { node: &node, hash: &hash, issuer: &other, issued_ms: 1 };
            let mut findings = Findings::default();
            let counts = check_revoked(record, &trust, &state, 9, &mut findings);
            assert_eq!(findings.is_fatal(), !counts);
            assert_eq!(revocation(record, &trust, &state, 9).is_some(), !counts);
            counts
        };
        for (kind, own, another) in [(RevokedKind::Record, hash, node), (RevokedKind::Node, node, hash)] {
            assert!(!counts(kind, own), "{kind:?}");
            assert!(counts(kind, another) && counts(kind, other), "{kind:?}");
        }
    }

    #[test]
    fn a_list_only_grows() {
        let old = list(4, &[1, 2]);
        assert_eq!(newer(&old, &list(5, &[1, 2])), Ok(()));
        assert_eq!(newer(&old, &list(9, &[1, 2, 3])), Ok(()));
        assert_eq!(newer(&old, &list(4, &[1, 2, 3])), Err(ListFault::Number { held: 4, seen: 4 }));
        assert_eq!(newer(&old, &list(5, &[1])), Err(ListFault::Gone(1)));
        assert_eq!(newer(&old, &list(5, &[])), Err(ListFault::Gone(0)));
        assert_eq!(newer(&old, &list(5, &[2, 1])), Err(ListFault::Gone(0)));
        let mut later = list(5, &[1, 2]);
        later.entries[1].at_ms += 1;
        assert_eq!(newer(&old, &later), Err(ListFault::Gone(1)));
    }
}
