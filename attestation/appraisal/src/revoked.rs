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

/// The first revocation of this node or of the record with this envelope hash that is in force.
///
/// Lists are read in the order of their validators' ids; only those of validators in the trust file count.
pub fn revocation<'a>(
    node: &Digest,
    record: &Digest,
    trust: &Trust,
    state: &'a State,
    now_ms: u64,
) -> Option<&'a Revocation> {
    let trusted = state.revocations.iter().filter(|(validator, _)| trust.validators.contains_key(validator));
    let names = |entry: &&Revocation| match entry.kind {
        RevokedKind::Node => entry.digest == *node,
        RevokedKind::Record => entry.digest == *record,
    };
    trusted.flat_map(|(_, list)| &list.entries).filter(names).find(|entry| entry.at_ms <= now_ms)
}

/// Records whether an enrolment record still counts; a fatal finding when it does not.
pub(crate) fn check_revoked(
    node: &Digest,
    record: &Digest,
    trust: &Trust,
    state: &State,
    now_ms: u64,
    findings: &mut Findings,
) -> bool {
    let lists = state.revocations.keys().filter(|id| trust.validators.contains_key(id)).count();
    let Some(entry) = revocation(node, record, trust, state, now_ms) else {
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
