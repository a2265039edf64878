//! Claims: overstated, stitched together, or signed by someone else.

use assay_ledger::claim::Claim;
use assay_ledger::session::SessionStart;
use assay_tests::{Lab, Node, Paper, Session, accepted, fatal};
use assay_wire::{Digest, Envelope, Kind, SigningKey, WireError};

/// Three sessions of one node, one after the other.
fn scene() -> (Lab, Node<Paper>, [Session; 3]) {
    let mut lab = Lab::new();
    let mut node = lab.paper(3);
    let sessions = [(); 3].map(|()| {
        let mut session = lab.open(&mut node);
        lab.run(&mut node, &mut session, 10, 1_000);
        lab.serve_slot(&mut node, &mut session);
        lab.end(&mut node, &mut session);
        lab.advance(30_000);
        session
    });
    (lab, node, sessions)
}

#[test]
fn a_claim_may_state_less_than_it_proves_and_never_more() {
    let (lab, _, [a, b, c]) = scene();
    let with = |change: &dyn Fn(&mut Claim)| lab.appraise(&lab.export_with(&[&a, &b, &c], change));
    let appraisal = with(&|_| {});
    accepted(&appraisal);
    let up = appraisal.facts.uptime.unwrap();
    assert!(up.powered_s > 30 && up.reachable_s > 30, "{up:?}");
    assert_eq!(up.reachable_gaps.iter().filter(|gap| gap.reason == "between-sessions").count(), 2);
    accepted(&with(&|claim| (claim.powered_s, claim.reachable_s) = (0, 0)));
    fatal(&with(&|claim| claim.powered_s += 1), "claim.stated");
    fatal(&with(&|claim| claim.reachable_s += 1), "claim.stated");
}

#[test]
fn a_claim_with_sessions_of_two_nodes_is_refused() {
    let (mut lab, _, [a, b, c]) = scene();
    let mut other = lab.paper(4);
    other.previous = Some(c.head());
    let theirs = lab.open(&mut other);
    accepted(&lab.appraise(&lab.export(&[&a, &b, &c])));
    fatal(&lab.appraise(&lab.export(&[&a, &b, &c, &theirs])), "claim.node");
    let renamed = lab.export_with(&[&a], |claim| claim.node = other.id);
    fatal(&lab.appraise(&renamed), "claim.node");
}

#[test]
fn sessions_left_out_swapped_or_told_twice_are_refused() {
    let (lab, _, [a, b, c]) = scene();
    accepted(&lab.appraise(&lab.export(&[&b, &c])));
    for stitched in [&[&a, &c][..], &[&b, &a, &c], &[&a, &b, &c, &c], &[&a, &a, &b]] {
        fatal(&lab.appraise(&lab.export(stitched)), "claim.order");
    }
}

#[test]
fn yesterdays_ledger_inside_a_claim_is_refused() {
    let mut lab = Lab::new();
    let mut node = lab.paper(3);
    let mut first = lab.open(&mut node);
    lab.run(&mut node, &mut first, 5, 1_000);
    let yesterday = first.head();
    lab.run(&mut node, &mut first, 5, 1_000);
    let today = first.head();
    let mut with = |previous| {
        node.previous = previous;
        let second = lab.open(&mut node);
        lab.appraise(&lab.export(&[&first, &second]))
    };
    accepted(&with(Some(today)));
    fatal(&with(Some(yesterday)), "claim.order");
    fatal(&with(None), "claim.order");
    let fork = assay_ledger::session::Head { head: Digest([1; 32]), ..today };
    fatal(&with(Some(fork)), "claim.order");
}

#[test]
fn a_claim_signed_by_another_session_or_key_is_refused() {
    let (lab, _, [a, b, c]) = scene();
    let claim = lab.claim(&[&a, &b, &c]);
    accepted(&lab.appraise(&c.seal(Kind::Claim, &claim)));
    fatal(&lab.appraise(&a.seal(Kind::Claim, &claim)), "claim.signature");
    let thief = SigningKey::from_seed(&[8; 32]);
    let stolen = Envelope::seal(Kind::Claim, c.id, &claim, &thief, &lab.trust.network);
    fatal(&lab.appraise(&stolen), "claim.signature");
}

#[test]
fn a_claim_without_sessions_or_of_another_shape_is_refused() {
    let (lab, _, [a, ..]) = scene();
    let empty = lab.export_with(&[&a], |claim| claim.sessions.clear());
    fatal(&lab.appraise(&empty), "claim.form");
    fatal(&lab.appraise(&a.seal(Kind::Claim, &a.evidence)), "claim.form");
    let long = Envelope::sign(Kind::Claim, a.id, &vec![0; 5 << 20], &a.key(), &lab.trust.network);
    let outcome = assay_appraisal::appraise(&long, &lab.trust, &lab.policy, &lab.state, lab.unix_ms);
    assert!(matches!(outcome, Err(WireError::TooLong { .. })));
}

#[test]
fn a_beacon_that_is_missing_or_not_a_beacon_is_refused() {
    let (lab, _, [a, ..]) = scene();
    accepted(&lab.appraise(&lab.export(&[&a])));
    let opening = a.evidence.session.beacon;
    let without = |claim: &mut Claim| {
        claim.beacons.retain(|bytes| Envelope::decode(bytes).unwrap().hash() != opening);
    };
    fatal(&lab.appraise(&lab.export_with(&[&a], without)), "chain.beacon");
    let beat = a.records.beats[0].clone();
    let file = lab.export_with(&[&a], |claim| claim.beacons.push(beat));
    fatal(&lab.appraise(&file), "claim.beacons");
    // Under our validator's name, by somebody else.
    let payload = Envelope::decode(&lab.claim(&[&a]).beacons[0]).unwrap().payload;
    let thief = SigningKey::from_seed(&[8; 32]);
    let forged = Envelope::sign(Kind::Beacon, lab.validators[0].id, &payload, &thief, &lab.trust.network);
    let file = lab.export_with(&[&a], |claim| claim.beacons.push(forged.into()));
    fatal(&lab.appraise(&file), "claim.beacons");
}

#[test]
fn a_session_names_its_beacon_by_the_whole_hash() {
    let mut lab = Lab::new();
    let mut node = lab.paper(3);
    let mut with = |at: Option<usize>| {
        let change = |start: &mut SessionStart| at.into_iter().for_each(|at| start.beacon.0[at] ^= 1);
        let session = lab.open_with(&mut node, change, |_, _| {});
        lab.appraise(&lab.export(&[&session]))
    };
    accepted(&with(None));
    fatal(&with(Some(0)), "chain.beacon");
    fatal(&with(Some(31)), "chain.beacon");
}

#[test]
fn a_session_with_doctored_evidence_spoils_the_whole_claim() {
    let (lab, _, [a, b, c]) = scene();
    let mut doctored = a.clone();
    doctored.evidence.pcrs[0].value.0[0] ^= 1;
    doctored.reseal();
    fatal(&lab.appraise(&lab.export(&[&doctored, &b, &c])), "quote.pcr-digest");
}
