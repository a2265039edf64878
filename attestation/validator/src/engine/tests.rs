//! The engine by itself: nonces, and what one request may cost.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use assay_ledger::protocol::{ChallengeRequest, SessionChallenge};
use assay_ledger::session::PcrValue;

use super::*;
use crate::beacon::OsBeacons;
use crate::config::Home;
use crate::{init, trusted};

/// An engine over a fresh directory with a clock that the test moves.
fn engine(challenges: usize) -> (Engine, Arc<AtomicU64>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path().join("v"));
    init::init(home.dir(), &init::Options::default()).unwrap();
    let (trust, key) = (trusted::trust(&home.trust()).unwrap(), trusted::signing_key(&home.key()).unwrap());
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let time = Arc::clone(&clock);
    let parts = Parts {
        policy: trusted::policy(&home.trust(), &trust.policy).unwrap(),
        store: Store::open(
            &home.store(),
            trust.network.id(),
            &key.verifying_key().validator_id().to_string(),
        )
        .unwrap(),
        trust,
        key,
        beacons: Box::new(OsBeacons),
        clock: Arc::new(move || time.load(Ordering::SeqCst)),
        challenge_ms: 120_000,
        challenges,
        policy_text: String::new(),
        ak_change_ms: 0,
        twins: Twins::default(),
    };
    (Engine::new(parts), clock, dir)
}

fn nonce(engine: &mut Engine, node: Digest) -> Digest {
    let body = engine.challenge(ChallengeRequest { node }).unwrap();
    cbor::from_slice::<SessionChallenge>("challenge", &body, 4096).unwrap().nonce
}

#[test]
fn ten_thousand_nonces_are_unique_and_look_random() {
    let (mut engine, _clock, _dir) = engine(20_000);
    let nonces: Vec<Digest> = (0..10_000).map(|_| nonce(&mut engine, Digest([1; 32]))).collect();
    assert_eq!(nonces.iter().collect::<HashSet<_>>().len(), nonces.len());
    // 2,560,000 bits: half of them set, within eight standard deviations of 800.
    let ones: u32 = nonces.iter().flat_map(|nonce| nonce.0).map(u8::count_ones).sum();
    assert!(ones.abs_diff(1_280_000) < 6_400, "{ones}");
    // No byte of a nonce follows from the one before: not a counter, not a clock.
    for place in 0..32 {
        let steps: HashSet<u8> =
            nonces.windows(2).map(|w| w[1].0[place].wrapping_sub(w[0].0[place])).collect();
        assert!(steps.len() > 250, "byte {place}");
    }
}

#[test]
fn nonces_are_bounded_by_number_and_time() {
    let (mut engine, clock, _dir) = engine(3);
    let mut ask = || engine.challenge(ChallengeRequest { node: Digest([1; 32]) });
    assert_eq!((0..10).filter(|_| ask().is_ok()).count(), 3);
    assert_eq!(ask().unwrap_err().refusal.code, "challenge.busy");
    clock.fetch_add(120_000, Ordering::SeqCst);
    assert_eq!((0..10).filter(|_| ask().is_ok()).count(), 3);
}

#[test]
fn a_state_reads_back_and_is_only_of_its_node() {
    use assay_ledger::revocation::{Revocation, RevokedKind};
    let (engine, _clock, _dir) = engine(1);
    let store = &engine.parts.store;
    let (node, record, pcr0) =
        (Digest([1; 32]), Digest([2; 32]), PcrValue { pcr: 0, value: Digest([3; 32]) });
    for (kind, digest) in [
        (RevokedKind::Node, node),
        (RevokedKind::Record, record),
        (RevokedKind::Record, node),
        (RevokedKind::Node, Digest([9; 32])),
    ] {
        store.insert_revocation(&Revocation { kind, digest, at_ms: 5, reason: "r".into() }).unwrap();
    }
    store.approve_firmware(&node, &pcr0.value, 1).unwrap();
    store.saw_firmware(&pcr0.value, &engine.parts.key.verifying_key(), "f", 1).unwrap();
    let of = state::StateOf {
        node: &node,
        record: &record,
        issued: (&record, 0),
        pcr0: Some(&pcr0.value),
        previous: None,
    };
    let found = state::state_for(store, of).unwrap();
    let entries: Vec<usize> = found.revocations.values().map(|list| list.entries.len()).collect();
    assert_eq!((entries, found.approved_firmware.len()), (vec![2], 1));
    assert_eq!(found.firmware, [(pcr0.value, 1)].into());
    let bytes = cbor::to_vec(&found);
    assert_eq!(cbor::from_slice::<assay_appraisal::State>("state", &bytes, 1 << 20).unwrap(), found);
    let other = Digest([7; 32]);
    let of = state::StateOf {
        node: &other,
        record: &other,
        issued: (&other, 0),
        pcr0: Some(&other),
        previous: None,
    };
    assert_eq!(state::state_for(store, of).unwrap(), assay_appraisal::State::default());
}
