//! Time: seconds that never were, or that somebody else lived.

use assay_appraisal::UptimeFacts;
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_tests::{Lab, Node, Paper, Session, accepted, fatal};
use assay_wire::{Domain, hash};

const HOUR_MS: u64 = 3_600_000;

fn lab() -> (Lab, Node<Paper>) {
    let mut lab = Lab::new();
    let node = lab.paper(3);
    (lab, node)
}

fn uptime(lab: &Lab, sessions: &[&Session]) -> UptimeFacts {
    let appraisal = lab.appraise(&lab.export(sessions));
    accepted(&appraisal);
    appraisal.facts.uptime.unwrap()
}

fn reasons(gaps: &[assay_appraisal::GapFacts]) -> Vec<&'static str> {
    gaps.iter().map(|gap| gap.reason).collect()
}

/// Beats every minute for an hour; anchors where slots ask, and at the hour's end.
fn an_hour(lab: &mut Lab, node: &mut Node<Paper>) -> Session {
    let mut session = lab.open(node);
    lab.run(node, &mut session, 60, 60_000);
    lab.serve_slot(node, &mut session);
    session
}

#[test]
fn an_honest_hour_is_an_hour_on_both_tracks() {
    let (mut lab, mut node) = lab();
    let session = an_hour(&mut lab, &mut node);
    let up = uptime(&lab, &[&session]);
    assert!((3_600..3_700).contains(&up.powered_s), "{up:?}");
    assert!((3_540..3_700).contains(&up.reachable_s), "{up:?}");
    assert!(up.reachable_gaps.is_empty() && up.powered_gaps.is_empty());
}

#[test]
fn an_hour_without_network_is_powered_and_not_reachable() {
    let (mut lab, mut node) = lab();
    let mut session = lab.open(&mut node);
    lab.serve_slot(&mut node, &mut session);
    // Offline: the last beacon is all that the node has, and nobody receives anything.
    let (last, before) = (lab.beacon(), lab.unix_ms);
    lab.online = false;
    for _ in 0..60 {
        lab.advance(59_900);
        lab.beat_with(&mut session, |beat| beat.beacon = last.into());
    }
    lab.online = true;
    let (seq, head) = (session.seq, session.head);
    lab.receive(&mut session, Subject::Beats, seq, head);
    // Back again, the next slot's anchor shows that the machine ran on all the while.
    while lab.unix_ms < before + HOUR_MS {
        lab.advance(100);
    }
    lab.advance_to_slot(&node.id, true);
    lab.anchor(&mut node, &mut session);
    let up = uptime(&lab, &[&session]);
    assert_eq!(up.reachable_s, 0, "{up:?}");
    assert!((3_600..3_700).contains(&up.powered_s), "{up:?}");
    assert!(reasons(&up.reachable_gaps).contains(&"late-receipt"));
}

#[test]
fn receipts_that_come_after_the_window_earn_nothing() {
    let (mut lab, mut node) = lab();
    let mut session = lab.open(&mut node);
    lab.online = false;
    lab.run(&mut node, &mut session, 20, 1_000);
    let mut punctual = session.clone();
    let (seq, head) = (session.seq, session.head);
    lab.receive(&mut punctual, Subject::Beats, seq, head);
    assert_eq!(uptime(&lab, &[&punctual]).reachable_s, 19);
    lab.advance(600_000);
    lab.receive(&mut session, Subject::Beats, seq, head);
    let up = uptime(&lab, &[&session]);
    assert_eq!((up.reachable_s, reasons(&up.reachable_gaps)), (0, vec!["late-receipt"]));
}

/// One visit to the network, and beats for a day made on the spot.
#[test]
fn beats_made_at_once_share_the_little_time_there_was() {
    let (mut lab, mut node) = lab();
    let mut session = lab.open(&mut node);
    let (beacon, mono) = (lab.beacon(), lab.mono_ms);
    lab.advance(60_000);
    lab.online = false;
    for n in 0..600 {
        lab.beat_with(&mut session, |beat| (beat.beacon, beat.mono_ms) = (beacon.into(), mono + n * 150_000));
    }
    let (seq, head) = (session.seq, session.head);
    lab.receive(&mut session, Subject::Beats, seq, head);
    let up = uptime(&lab, &[&session]);
    assert!(up.reachable_s <= 60, "{} s in a minute", up.reachable_s);
    assert!(reasons(&up.reachable_gaps).contains(&"no-room"));
}

/// The same minute told by one session after another.
#[test]
fn sessions_made_at_once_share_the_little_time_there_was() {
    let (mut lab, mut node) = lab();
    let (beacon, began) = (lab.beacon(), lab.unix_ms);
    lab.advance(60_000);
    let mut sessions = Vec::new();
    for _ in 0..5 {
        let mono = lab.mono_ms;
        let mut session = lab.open_with(&mut node, |start| start.beacon = beacon, |_, _| {});
        for n in 0..4 {
            lab.beat_with(&mut session, |beat| {
                (beat.beacon, beat.mono_ms) = (beacon.into(), mono + n * 20_000)
            });
        }
        lab.mono_ms += 60_000;
        lab.end(&mut node, &mut session);
        sessions.push(session);
    }
    let all: Vec<_> = sessions.iter().collect();
    let up = uptime(&lab, &all);
    let passed = (lab.unix_ms - began) / 1000 + 1;
    assert!(up.reachable_s <= passed, "{} s in {passed} s", up.reachable_s);
}

#[test]
fn an_anchor_told_twice_is_refused() {
    let (mut lab, mut node) = lab();
    let session = an_hour(&mut lab, &mut node);
    let with = |change: &dyn Fn(&mut Vec<assay_ledger::ByteVec>)| {
        let mut changed = session.clone();
        change(&mut changed.records.anchors);
        lab.appraise(&lab.export(&[&changed]))
    };
    accepted(&with(&|_| {}));
    fatal(&with(&|anchors| anchors.extend(anchors.clone())), "anchor.order");
    fatal(&with(&|anchors| anchors.push(anchors[anchors.len() - 1].clone())), "anchor.order");
    fatal(&with(&|anchors| anchors.reverse()), "anchor.order");
    // Fewer anchors are no attack: they prove the same hour in one step.
    accepted(&with(&|anchors| drop(anchors.drain(..anchors.len() - 1))));
    // The node's own clock went back between two anchors, the TPM's did not.
    let mut back = session.clone();
    lab.advance_to_slot(&node.id, true);
    lab.anchor_with(&mut node, &mut back, |point| point.mono_ms -= HOUR_MS, |_, _| {});
    fatal(&lab.appraise(&lab.export(&[&back])), "anchor.order");
}

#[test]
fn tpm_time_that_disagrees_with_the_nodes_clock_earns_nothing() {
    let (mut lab, mut node) = lab();
    let mut session = lab.open(&mut node);
    lab.serve_slot(&mut node, &mut session);
    let honest = uptime(&lab, &[&session]).powered_s;
    // The machine slept, or its clock was set: ten minutes by one clock, five by the other.
    lab.advance(600_000);
    node.attester.ahead_ms -= 300_000;
    lab.serve_slot(&mut node, &mut session);
    let up = uptime(&lab, &[&session]);
    assert_eq!((up.powered_s, reasons(&up.powered_gaps)), (honest, vec!["clock-disagreement"]));
}

#[test]
fn two_clocks_that_run_too_fast_together_earn_nothing() {
    let (mut lab, mut node) = lab();
    let mut session = lab.open(&mut node);
    lab.serve_slot(&mut node, &mut session);
    let honest = uptime(&lab, &[&session]).powered_s;
    lab.mono_ms += HOUR_MS;
    lab.serve_slot(&mut node, &mut session);
    let up = uptime(&lab, &[&session]);
    assert_eq!((up.powered_s, reasons(&up.powered_gaps)), (honest, vec!["clock-too-fast"]));
}

#[test]
fn sessions_that_ran_at_once_are_refused() {
    let (mut lab, mut node) = lab();
    let mut first = lab.open(&mut node);
    lab.run(&mut node, &mut first, 5, 1_000);
    let end = first.head();
    node.previous = Some(end);
    lab.advance(10_000);
    let mut second = lab.open(&mut node);
    lab.run(&mut node, &mut second, 5, 1_000);
    accepted(&lab.appraise(&lab.export(&[&first, &second])));
    // The first one's key is still there: its anchors go on under the head that the second names.
    lab.serve_slot_of(&mut node, &mut first);
    lab.serve_slot(&mut node, &mut second);
    assert_eq!(first.head(), end);
    fatal(&lab.appraise(&lab.export(&[&first, &second])), "claim.overlap");
    // Without its receipts nobody knows when the second one opened; the TPM does.
    second.records.receipts.clear();
    fatal(&lab.appraise(&lab.export(&[&first, &second])), "claim.overlap");
}

#[test]
fn a_later_session_that_was_received_before_the_earlier_ones_beats_is_refused() {
    let (mut lab, mut node) = lab();
    let mut first = lab.open(&mut node);
    lab.run(&mut node, &mut first, 5, 1_000);
    lab.advance(20_000);
    lab.beat(&mut first);
    node.previous = Some(first.head());
    // A TPM of another power cycle, so that only the validators' times can tell.
    node.attester.reset_count += 1;
    let honest = lab.open(&mut node);
    accepted(&lab.appraise(&lab.export(&[&first, &honest])));
    let mut second = honest.clone();
    second.records.receipts.clear();
    let hash = hash(Domain::Envelope, &[&second.records.evidence]);
    let at_ms = lab.unix_ms - 15_000;
    let early = BeatReceipt { session: second.id, subject: Subject::Session, seq: 0, hash, at_ms };
    second.records.receipts.push(lab.sign_receipt(0, &early).into());
    fatal(&lab.appraise(&lab.export(&[&first, &second])), "claim.overlap");
}
