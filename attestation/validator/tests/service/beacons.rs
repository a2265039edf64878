//! One beacon per round, the same for everyone, for ever.

use assay_ledger::beacon::{BeaconVerifier as _, ValidatorBeacons};
use assay_ledger::protocol::BEACON;

use crate::server::{PERIOD_MS, Server};

#[test]
fn all_nodes_get_the_same_beacon_of_a_round_and_another_the_next() {
    let server = Server::start();
    let first = server.client().get(BEACON).ok();
    assert_eq!(server.client().get(BEACON).ok(), first);
    server.pass(PERIOD_MS - 1);
    assert_eq!(server.client().get(BEACON).ok(), first);
    server.pass(1);
    let next = server.client().get(BEACON).ok();
    assert_ne!(next, first);

    let (trust, keys) = (server.trust(), server.trust().keys());
    let verifier = ValidatorBeacons { keys: &keys, network: &trust.network };
    let (first, next) = (verifier.verify(&first).unwrap().beacon, verifier.verify(&next).unwrap().beacon);
    assert_eq!((first.round * PERIOD_MS, next.round), (first.time_ms, first.round + 1));
    assert_eq!(next.time_ms, server.now_ms());
    assert_ne!(first.randomness, next.randomness);
}

#[test]
fn a_restart_and_a_clock_that_steps_back_change_nothing() {
    let server = Server::start();
    let beacon = server.client().get(BEACON).ok();
    let server = server.restart();
    assert_eq!(server.client().get(BEACON).ok(), beacon);
    server.go_back(10 * PERIOD_MS);
    assert_eq!(server.client().get(BEACON).ok(), beacon);
    let server = server.restart();
    assert_eq!(server.client().get(BEACON).ok(), beacon);
}
