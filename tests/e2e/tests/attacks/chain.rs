//! Chains of beats: cut, mixed, borrowed and forked.

use assay_ledger::claim::SessionRecords;
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_tests::{Lab, Node, Paper, Session, accepted, fatal};
use assay_wire::{Digest, Domain, Envelope, Kind, SigningKey, hash};

/// A session of six beats and an anchor or so, and who made it.
fn scene() -> (Lab, Node<Paper>, Session) {
    let mut lab = Lab::new();
    let mut node = lab.paper(3);
    let mut session = lab.open(&mut node);
    lab.run(&mut node, &mut session, 6, 1_000);
    (lab, node, session)
}

/// The verdict after the session's records were changed.
fn with(
    lab: &Lab,
    session: &Session,
    change: impl FnOnce(&mut SessionRecords),
) -> assay_appraisal::Appraisal {
    let mut changed = session.clone();
    change(&mut changed.records);
    lab.appraise(&lab.export(&[&changed]))
}

#[test]
fn beats_dropped_reordered_or_doubled_break_the_chain() {
    let (lab, _, session) = scene();
    accepted(&with(&lab, &session, |_| {}));
    fatal(&with(&lab, &session, |r| drop(r.beats.remove(0))), "chain.unbroken");
    fatal(&with(&lab, &session, |r| drop(r.beats.remove(3))), "chain.unbroken");
    fatal(&with(&lab, &session, |r| r.beats.swap(2, 3)), "chain.unbroken");
    fatal(&with(&lab, &session, |r| r.beats.insert(3, r.beats[2].clone())), "chain.unbroken");
    fatal(&with(&lab, &session, |r| r.beats[2] = vec![0].into()), "chain.unbroken");
}

#[test]
fn beats_dropped_from_the_end_are_missed_by_their_receipts() {
    let (lab, _, session) = scene();
    let seen = fatal(&with(&lab, &session, |r| drop(r.beats.pop())), "receipts.match").clone();
    assert!(seen.expected.unwrap().contains("no such beat"));
    // Receipts of beats that are not there can't be had either way.
    fatal(&with(&lab, &session, |r| r.beats.clear()), "receipts.match");
}

#[test]
fn beats_of_another_session_or_node_break_the_chain() {
    let (mut lab, mut node, session) = scene();
    let mut later = lab.open(&mut node);
    lab.run(&mut node, &mut later, 6, 1_000);
    let mut other = lab.paper(4);
    let mut theirs = lab.open(&mut other);
    lab.run(&mut other, &mut theirs, 6, 1_000);
    for stranger in [&later, &theirs] {
        fatal(&with(&lab, &session, |r| r.beats[5] = stranger.records.beats[5].clone()), "chain.unbroken");
        fatal(&with(&lab, &session, |r| r.beats.clone_from(&stranger.records.beats)), "chain.unbroken");
    }
}

#[test]
fn a_beat_signed_by_another_key_breaks_the_chain() {
    let (lab, _, session) = scene();
    let resigned = |at: usize| {
        let beat = Envelope::decode(&session.records.beats[at]).unwrap();
        let thief = SigningKey::from_seed(&[8; 32]);
        Envelope::sign(Kind::Beat, session.id, &beat.payload, &thief, &lab.trust.network)
    };
    // The last beat: nothing after it names the old bytes.
    fatal(&with(&lab, &session, |r| r.beats[5] = resigned(5).into()), "chain.unbroken");
    fatal(&with(&lab, &session, |r| r.beats[2] = resigned(2).into()), "chain.unbroken");
}

#[test]
fn a_beat_that_names_no_known_beacon_is_refused() {
    let (mut lab, _, mut session) = scene();
    accepted(&lab.appraise(&lab.export(&[&session])));
    let mut almost = session.clone();
    lab.beat_with(&mut almost, |beat| beat.beacon.0[15] ^= 1);
    fatal(&lab.appraise(&lab.export(&[&almost])), "chain.beacon");
    lab.beat_with(&mut session, |beat| beat.beacon = Digest([1; 32]).into());
    fatal(&lab.appraise(&lab.export(&[&session])), "chain.beacon");
}

#[test]
fn a_clock_that_goes_back_breaks_the_chain() {
    let (mut lab, _, mut session) = scene();
    lab.beat_with(&mut session, |beat| beat.mono_ms -= 5_000);
    fatal(&lab.appraise(&lab.export(&[&session])), "chain.unbroken");
}

#[test]
fn a_fork_is_shown_by_a_receipt_for_the_other_branch() {
    let (mut lab, _, mut session) = scene();
    let mut fork = session.clone();
    lab.advance(1_000);
    lab.beat(&mut session);
    lab.online = false;
    lab.beat_with(&mut fork, |beat| beat.flags = 4);
    assert_eq!(session.seq, fork.seq);
    accepted(&lab.appraise(&lab.export(&[&session])));
    accepted(&lab.appraise(&lab.export(&[&fork])));
    // One receipt for the branch that is not in the claim is enough.
    fork.records.receipts.push(session.records.receipts.last().unwrap().clone());
    let appraisal = lab.appraise(&lab.export(&[&fork]));
    assert!(fatal(&appraisal, "receipts.match").seen.as_ref().unwrap().contains("received beat 7"));
}

#[test]
fn a_session_opened_with_other_evidence_is_a_fork_too() {
    let (lab, _, mut session) = scene();
    let other = hash(Domain::Envelope, &[b"other evidence"]);
    let receipt = BeatReceipt {
        session: session.id,
        subject: Subject::Session,
        seq: 0,
        hash: other,
        at_ms: lab.unix_ms,
    };
    session.records.receipts.push(lab.sign_receipt(0, &receipt).into());
    fatal(&lab.appraise(&lab.export(&[&session])), "receipts.match");
}

#[test]
fn an_end_that_is_not_the_chains_end_is_refused() {
    let (mut lab, mut node, mut session) = scene();
    let early = {
        let mut early = session.clone();
        early.seq -= 1;
        lab.end(&mut node, &mut early);
        early.records.end
    };
    lab.end(&mut node, &mut session);
    let appraisal = lab.appraise(&lab.export(&[&session]));
    accepted(&appraisal);
    assert!(appraisal.facts.sessions[0].ended);
    fatal(&with(&lab, &session, |r| r.end = early), "session.end");
    let mut other = lab.open(&mut node);
    lab.end(&mut node, &mut other);
    fatal(&with(&lab, &session, |r| r.end = other.records.end), "session.end");
    let beat = session.records.beats[0].clone();
    fatal(&with(&lab, &session, |r| r.end = Some(beat)), "session.end");
}
