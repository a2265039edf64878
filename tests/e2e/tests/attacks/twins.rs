//! One TPM as two nodes, or its copies as one: at a validator's service, over its protocol.

use assay_ledger::protocol::{CHALLENGE, ChallengeRequest, SESSION};
use assay_ledger::session::{SessionStart, time_extra_data};
use assay_tests::{Attester, Chip, Lab, Node, SecondFace, Service, accepted, fatal, lab_at};
use assay_tpm::Attest;
use assay_wire::cbor;

fn refused<T>(outcome: Result<T, String>) -> String {
    outcome.err().expect("must be refused")
}

/// A validator, a lab at it, and a chip that has booted; `None` after a SKIPPED line.
fn scene() -> Option<(Service, Lab, Chip)> {
    let chip = Chip::new()?;
    let service = Service::start();
    let lab = lab_at(&service);
    Some((service, lab, chip))
}

#[test]
fn the_two_eks_of_one_tpm_are_two_ids_that_end_each_other() {
    let Some((service, mut lab, chip)) = scene() else { return };
    let mut first = Node::new(chip);
    // No certificate tells: each face shows its key and nothing else.
    first.identity.ek_certificates.clear();
    lab.enrol_at(&service, &mut first).unwrap();
    let mut session = lab.open_at(&service, &mut first).unwrap();
    lab.beat_at(&service, &mut session, 0).unwrap();
    let (first_id, mut second) = (first.id, Node::new(SecondFace::of(first.attester)));
    assert_ne!(first_id, second.id);
    lab.enrol_at(&service, &mut second).unwrap();
    assert_eq!(refused(lab.open_at(&service, &mut second)), "session.twin");
    assert_eq!(refused(lab.beat_at(&service, &mut session, 0)), "session.twin");
    for node in [first_id, second.id] {
        assert_eq!(service.findings(&node), [("session.twin".to_owned(), "fatal".to_owned())]);
    }
}

#[test]
fn two_tpms_are_no_twins() {
    let Some((service, mut lab, chip)) = scene() else { return };
    let mut nodes = [Node::new(chip), Node::new(Chip::new().unwrap())];
    let mut open = Vec::new();
    for node in &mut nodes {
        node.identity.ek_certificates.clear();
        lab.enrol_at(&service, node).unwrap();
        open.push(lab.open_at(&service, node).unwrap());
    }
    for (node, session) in nodes.iter().zip(&mut open) {
        lab.beat_at(&service, session, 0).unwrap();
        assert!(!service.findings(&node.id).iter().any(|(_, severity)| severity == "fatal"));
    }
}

#[test]
fn certificates_that_tell_of_both_eks_refuse_the_second_id() {
    let Some((service, mut lab, chip)) = scene() else { return };
    let mut first = Node::new(chip);
    let certificates = first.identity.ek_certificates.clone();
    assert_eq!(certificates.len(), 2, "swtpm certifies a P-384 and an RSA-2048 EK");
    let mut face = SecondFace::of(first.attester);
    // It shows the certificate of the EK that comes first.
    face.certificates = vec![certificates[1].clone(), certificates[0].clone()];
    let mut second = Node::new(face);
    assert_eq!(refused(lab.enrol_at(&service, &mut second)), "enrolment.ek-canonical");
    // The first id enrols honestly, and its second certificate tells of the RSA EK.
    first = Node::new(second.attester.chip);
    lab.enrol_at(&service, &mut first).unwrap();
    lab.open_at(&service, &mut first).unwrap();
    let first_id = first.id;
    let mut second = Node::new(SecondFace::of(first.attester));
    assert_eq!(refused(lab.enrol_at(&service, &mut second)), "enrolment.ek-known");
    second.identity.ek_certificates = vec![certificates[1].clone()];
    assert_eq!(refused(lab.enrol_at(&service, &mut second)), "enrolment.ek-known");
    // Nor does the second id get the first one's AK, or the first one's id.
    second.identity.ak_public = Node::new(second.attester.chip).identity.ak_public;
    let chip = Chip::new().unwrap();
    let mut thief = Node::new(chip);
    thief.identity.ak_public = second.identity.ak_public;
    assert_eq!(refused(lab.enrol_at(&service, &mut thief)), "enrolment.ak-known");
    assert!(service.findings(&first_id).is_empty());
}

#[test]
fn a_copied_vtpm_run_twice_is_told_by_its_ledger() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let mut before = lab.open(&mut node);
    lab.run(&mut node, &mut before, 3, 1_000);
    lab.end(&mut node, &mut before);
    // Keys, seeds and counters twice: no quote tells the two apart.
    let mut copy = Node::new(node.attester.copy());
    assert_eq!((copy.id, &copy.identity.ak_public), (node.id, &node.identity.ak_public));
    (copy.record, copy.previous) = (node.record.clone(), node.previous);
    lab.advance(20_000);
    let mut one = lab.open(&mut node);
    lab.run(&mut node, &mut one, 3, 1_000);
    let mut two = lab.open(&mut copy);
    lab.run(&mut copy, &mut two, 3, 1_000);
    for session in [&one, &two] {
        accepted(&lab.appraise(&session.records.evidence));
        accepted(&lab.appraise(&lab.export(&[&before, session])));
    }
    // Both go on from one head: a validator that has seen the first refuses the second,
    let bytes = &two.records.evidence;
    let state = assay_appraisal::State { known: Some(one.head()), ..lab.state.clone() };
    let challenge = two.evidence.session.challenge;
    let opened =
        assay_appraisal::open_session(bytes, &lab.trust, &lab.policy, &state, lab.unix_ms, Some(&challenge));
    fatal(&opened.unwrap().0, "session.previous");
    // and no claim holds both, in their own words or in an order that they agree on.
    fatal(&lab.appraise(&lab.export(&[&before, &one, &two])), "claim.order");
    copy.previous = Some(one.head());
    lab.advance(20_000);
    // The two were started a moment apart, and a claim is in the order of the TPM's time.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let mut after = lab.open(&mut copy);
    lab.run(&mut copy, &mut after, 3, 1_000);
    accepted(&lab.appraise(&lab.export(&[&before, &one, &after])));
    lab.serve_slot_of(&mut node, &mut one);
    lab.serve_slot_of(&mut copy, &mut after);
    fatal(&lab.appraise(&lab.export(&[&before, &one, &after])), "claim.overlap");
}

#[test]
fn one_session_key_run_twice_is_an_offence() {
    let Some((service, mut lab, chip)) = scene() else { return };
    let mut node = Node::new(chip);
    lab.enrol_at(&service, &mut node).unwrap();
    let mut session = lab.open_at(&service, &mut node).unwrap();
    lab.beat_at(&service, &mut session, 0).unwrap();
    // The agent's memory, copied: two histories of one session.
    let mut copy = session.clone();
    lab.beat_at(&service, &mut session, 0).unwrap();
    assert_eq!(service.offences(), 0);
    assert_eq!(refused(lab.beat_at(&service, &mut copy, 1)), "ledger.equivocation");
    assert_eq!(service.offences(), 1);
}

#[test]
fn a_power_cut_is_a_reboot_at_the_service_too() {
    let Some((service, mut lab, chip)) = scene() else { return };
    let mut node = Node::new(chip);
    lab.enrol_at(&service, &mut node).unwrap();
    let mut session = lab.open_at(&service, &mut node).unwrap();
    lab.beat_at(&service, &mut session, 0).unwrap();
    let count =
        |session: &assay_tests::Session| Attest::parse(&session.evidence.time.attest).unwrap().clock_info;
    let before = count(&session);
    node.attester.power_cut();
    node.previous = Some(session.head());
    let mut after = lab.open_at(&service, &mut node).unwrap();
    assert_eq!(count(&after).reset_count, before.reset_count + 1);
    lab.beat_at(&service, &mut after, 0).unwrap();
    assert!(service.findings(&node.id).is_empty());
}

#[test]
fn old_evidence_is_refused_after_a_reboot_in_its_own_and_in_a_new_wrapper() {
    let Some((service, mut lab, chip)) = scene() else { return };
    let mut node = Node::new(chip);
    lab.enrol_at(&service, &mut node).unwrap();
    // Quoted before the reboot, and never sent.
    let kept = lab.prepare_at(&service, &mut node);
    node.attester.restart();
    let mut fresh = lab.open_at(&service, &mut node).unwrap();
    lab.beat_at(&service, &mut fresh, 0).unwrap();
    let mut wrapped = kept.clone();
    let request = cbor::to_vec(&ChallengeRequest { node: node.id });
    let nonce = service.post(CHALLENGE, &request).unwrap();
    let nonce: assay_ledger::protocol::SessionChallenge = cbor::from_slice("nonce", &nonce, 4096).unwrap();
    wrapped.evidence.session = SessionStart { challenge: nonce.nonce, ..wrapped.evidence.session };
    wrapped.id = wrapped.evidence.session.id();
    wrapped.reseal();
    assert_eq!(refused(service.post(SESSION, &wrapped.records.evidence)), "quote.signature");
    // With a time of now: the quote stays what it was.
    wrapped.evidence.time = node.attester.time(&time_extra_data(&wrapped.id), 0);
    wrapped.reseal();
    assert_eq!(refused(service.post(SESSION, &wrapped.records.evidence)), "challenge.unknown");
    // Once is enough for a nonce, and a session that was opened gives only its receipt again.
    let twice = lab.prepare_at(&service, &mut node);
    let first = service.post(SESSION, &twice.records.evidence).unwrap();
    assert_eq!(service.post(SESSION, &twice.records.evidence).unwrap(), first);
    let other = Service::start();
    assert_eq!(refused(other.post(SESSION, &twice.records.evidence)), "challenge.unknown");
}
