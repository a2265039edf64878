//! Power: cut, reset under a running system, suspended; and clocks that the owner sets.

use assay_appraisal::{Appraisal, State, open_session};
use assay_ledger::session::Head;
use assay_tests::{Chip, Lab, Node, Session, accepted, fatal};
use assay_tpm::{Attest, ClockInfo};

/// A chip, and a session of it with one anchor; `None` after a SKIPPED line.
fn scene() -> Option<(Lab, Node<Chip>, Session)> {
    let mut lab = Lab::new();
    let mut node = lab.chip()?;
    let mut session = lab.open(&mut node);
    lab.serve_slot(&mut node, &mut session);
    accepted(&lab.appraise(&lab.export(&[&session])));
    Some((lab, node, session))
}

/// The TPM's counters as a session's opening told them.
fn counters(session: &Session) -> ClockInfo {
    Attest::parse(&session.evidence.time.attest).unwrap().clock_info
}

/// The verdict of a validator that holds this head of the ledger.
fn opened(lab: &Lab, session: &Session, known: Head) -> Appraisal {
    let state = State { known: Some(known), ..lab.state.clone() };
    let challenge = session.evidence.session.challenge;
    let bytes = &session.records.evidence;
    open_session(bytes, &lab.trust, &lab.policy, &state, lab.unix_ms, Some(&challenge)).unwrap().0
}

#[test]
fn an_unclean_power_loss_is_a_reboot() {
    let Some((mut lab, mut node, first)) = scene() else { return };
    node.attester.power_cut();
    node.previous = Some(first.head());
    lab.advance(20_000);
    let mut second = lab.open(&mut node);
    let (before, after) = (counters(&first), counters(&second));
    assert_eq!((after.reset_count, after.safe), (before.reset_count + 1, false));
    accepted(&opened(&lab, &second, first.head()));
    lab.serve_slot(&mut node, &mut second);
    accepted(&lab.appraise(&lab.export(&[&first, &second])));
    // Five more cuts after the AK was used: it has noDA, and goes on signing.
    for _ in 0..5 {
        node.attester.power_cut();
        lab.advance(20_000);
        let session = lab.open(&mut node);
        accepted(&lab.appraise(&session.records.evidence));
    }
    let state = node.attester.tpm().lockout_state().unwrap();
    assert_eq!((state.failed_tries, state.locked_out), (0, false));
}

#[test]
fn a_tpm_reset_under_a_running_system_ends_its_session() {
    let Some((mut lab, mut node, mut session)) = scene() else { return };
    let boot = assay_demo::simulated_boot::write_log().unwrap().extends;
    node.attester.reset(0);
    // The very values of the opening, extended again: they are not the same power cycle's.
    node.attester.extend(&boot);
    let before = session.clone();
    lab.serve_slot(&mut node, &mut session);
    let seen = fatal(&lab.appraise(&lab.export(&[&session])), "anchor.attested").seen.clone().unwrap();
    assert!(seen.contains("reset"), "{seen}");
    // A new session shows its boot again, and is welcome.
    node.previous = Some(before.head());
    let mut again = lab.open(&mut node);
    assert_eq!(counters(&again).reset_count, counters(&before).reset_count + 1);
    accepted(&opened(&lab, &again, before.head()));
    lab.serve_slot(&mut node, &mut again);
    accepted(&lab.appraise(&lab.export(&[&before, &again])));
}

#[test]
fn a_suspend_ends_the_session_and_the_next_one_is_welcome() {
    let Some((mut lab, mut node, mut session)) = scene() else { return };
    let before = session.clone();
    node.attester.suspend();
    lab.serve_slot(&mut node, &mut session);
    let seen = fatal(&lab.appraise(&lab.export(&[&session])), "anchor.attested").seen.clone().unwrap();
    assert!(seen.contains("resumed"), "{seen}");
    node.previous = Some(before.head());
    lab.advance(20_000);
    let mut awake = lab.open(&mut node);
    // PCRs outlive a suspend, so the same log still replays; only restartCount tells.
    let (was, is) = (counters(&before), counters(&awake));
    assert_eq!((is.reset_count, is.restart_count), (was.reset_count, was.restart_count + 1));
    accepted(&opened(&lab, &awake, before.head()));
    lab.serve_slot(&mut node, &mut awake);
    accepted(&lab.appraise(&lab.export(&[&before, &awake])));
}

#[test]
fn a_clock_that_the_owner_sets_forward_earns_nothing() {
    let Some((mut lab, mut node, mut session)) = scene() else { return };
    let ten_days = 10 * 86_400_000;
    let clock = counters(&session).clock;
    node.attester.set_clock(clock + ten_days);
    lab.serve_slot(&mut node, &mut session);
    let newest = session.records.anchors.last().unwrap();
    let anchor: assay_ledger::anchor::Anchor =
        assay_wire::Envelope::decode(newest).unwrap().message().unwrap();
    let told = Attest::parse(&anchor.time.attest).unwrap();
    assert!(told.clock_info.clock >= clock + ten_days && told.time().unwrap().time < ten_days);
    let appraisal = lab.appraise(&lab.export(&[&session]));
    accepted(&appraisal);
    let passed = (lab.unix_ms - session_start(&lab)) / 1000;
    assert!(appraisal.facts.uptime.unwrap().powered_s <= passed + 1);
}

/// When every lab begins.
fn session_start(lab: &Lab) -> u64 {
    lab.beacons.values().map(|(_, beacon)| beacon.time_ms).min().unwrap()
}
