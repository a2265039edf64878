//! k of n: records by too few operators, of other keys, or that no longer count; and given again.

use assay_appraisal::{Appraisal, State};
use assay_ledger::enrolment::EnrolmentRecord;
use assay_ledger::revocation::{Revocation, RevocationList, RevokedKind};
use assay_tests::{Chip, Lab, Node, Paper, accepted, fatal, warned};
use assay_wire::{Digest, Envelope, Kind};

/// Three operators, of whom two must have enrolled a node; and a node that the first one enrolled.
fn scene() -> Option<(Lab, Node<Chip>, EnrolmentRecord)> {
    let mut lab = Lab::with_validators(&[1, 2, 3], 1);
    lab.trust.enrolment_threshold = 2;
    let mut node = Node::new(Chip::new()?);
    let record = lab.enrol(&mut node, |_| {}).unwrap();
    node.record = lab.sign_record(0, &record);
    Some((lab, node, record))
}

/// Evidence of a session that shows these further records.
fn evidence(lab: &mut Lab, node: &mut Node<Chip>, further: &[Vec<u8>]) -> Vec<u8> {
    let further: Vec<_> = further.iter().map(|record| record.clone().into()).collect();
    let session = lab.open_with(node, |_| {}, |evidence, _| evidence.further = further);
    session.records.evidence
}

fn with(lab: &mut Lab, node: &mut Node<Chip>, further: &[Vec<u8>]) -> Appraisal {
    let evidence = evidence(lab, node, further);
    lab.appraise(&evidence)
}

/// `validator` takes back what `kind` and `digest` say, from `at_ms` on.
fn revoke(lab: &mut Lab, validator: usize, kind: RevokedKind, digest: Digest, at_ms: u64) {
    let entries = vec![Revocation { kind, digest, at_ms, reason: "lost".into() }];
    let (by, list) = (&lab.validators[validator], RevocationList { number: 1, issued_ms: at_ms, entries });
    let list = Envelope::seal(Kind::Revocations, by.id, &list, &by.key, &lab.trust.network);
    lab.state.take(&list, &lab.trust).unwrap();
}

#[test]
fn one_operator_is_not_two_however_often_it_signs() {
    let Some((mut lab, mut node, record)) = scene() else { return };
    let [first, second, third] = [0, 1, 2].map(|validator| lab.sign_record(validator, &record));
    accepted(&with(&mut lab, &mut node, std::slice::from_ref(&second)));
    accepted(&with(&mut lab, &mut node, &[second.clone(), third]));
    let seen = fatal(&with(&mut lab, &mut node, &[]), "enrolment.threshold").seen.clone();
    assert_eq!(seen.as_deref(), Some("1 of 3 operators"));
    let renewed = EnrolmentRecord { issued_ms: record.issued_ms - 1, ..record.clone() };
    let again = lab.sign_record(0, &renewed);
    fatal(&with(&mut lab, &mut node, &[first, again]), "enrolment.threshold");
    // Two validators of one operator are one.
    let (one, two) = (lab.validators[0].id, lab.validators[1].id);
    let operator = lab.trust.validators[&one].operator.clone();
    lab.trust.validators.get_mut(&two).unwrap().operator = operator;
    fatal(&with(&mut lab, &mut node, &[second]), "enrolment.threshold");
}

#[test]
fn a_record_by_itself_is_one_operators_word() {
    let mut lab = Lab::with_validators(&[1, 2, 3], 1);
    let mut node = lab.paper(3);
    lab.trust.pinned_nodes.insert(node.id);
    accepted(&lab.appraise_under("open", &node.record));
    assert_eq!(lab.appraise(&node.record).axes.identity, 1);
    // A pin counts for nothing while too few have enrolled the node.
    lab.trust.enrolment_threshold = 2;
    let alone = lab.appraise(&node.record);
    let seen = warned(&alone, "enrolment.threshold").seen.clone().unwrap();
    assert!(seen.starts_with("1 of 3 operators"), "{seen}");
    assert_eq!(alone.axes.identity, 0);
    fatal(&lab.appraise_under("open", &node.record), "policy.floor");
    // Beside another operator's it is worth what it was.
    node.simulated.clear();
    let second = lab.sign_record(1, &lab.record_of(&node));
    let session = lab.open_with(&mut node, |_| {}, |evidence, _| evidence.further = vec![second.into()]);
    assert_eq!(lab.appraise(&session.records.evidence).axes.identity, 1);
}

#[test]
fn records_of_other_keys_or_by_strangers_do_not_count() {
    let Some((mut lab, mut node, record)) = scene() else { return };
    let other = Node::new(Paper::new(5)).identity;
    let ak = EnrolmentRecord { ak_public: other.ak_public.clone(), ..record.clone() };
    let ek = EnrolmentRecord { ek_public: other.ek_public, ..record.clone() };
    let id = EnrolmentRecord { node: Digest([1; 32]), ..record.clone() };
    for other in [&ak, &ek, &id] {
        let other = lab.sign_record(1, other);
        fatal(&with(&mut lab, &mut node, &[other]), "enrolment.threshold");
    }
    let stranger = lab.sign_record_as(&assay_tests::Validator::new(66), &record);
    fatal(&with(&mut lab, &mut node, &[stranger]), "enrolment.threshold");
    let good = lab.sign_record(1, &record);
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    fatal(&with(&mut lab, &mut node, &[forged]), "enrolment.threshold");
    // More than anyone needs, though two of them are good.
    fatal(&with(&mut lab, &mut node, &vec![good.clone(); 9]), "enrolment.threshold");
    accepted(&with(&mut lab, &mut node, &[good]));
}

#[test]
fn a_record_that_ended_or_was_taken_back_does_not_count() {
    let Some((mut lab, mut node, record)) = scene() else { return };
    let good = lab.sign_record(1, &record);
    let ended = lab.sign_record(1, &EnrolmentRecord { expires_ms: lab.unix_ms, ..record.clone() });
    let future = lab.unix_ms + lab.policy.skew_ms + 1;
    let early = lab.sign_record(1, &EnrolmentRecord { issued_ms: future, ..record });
    for record in [ended, early] {
        fatal(&with(&mut lab, &mut node, &[record]), "enrolment.threshold");
    }
    let evidence = evidence(&mut lab, &mut node, std::slice::from_ref(&good));
    accepted(&lab.appraise(&evidence));
    let (hash, now) = (Envelope::decode(&good).unwrap().hash(), lab.unix_ms);
    revoke(&mut lab, 1, RevokedKind::Record, hash, now);
    fatal(&lab.appraise(&evidence), "enrolment.threshold");
    // Any trusted validator's word is enough, and nobody's without the list.
    lab.state = State::default();
    revoke(&mut lab, 2, RevokedKind::Record, hash, now);
    fatal(&lab.appraise(&evidence), "enrolment.threshold");
    lab.state = State::default();
    accepted(&lab.appraise(&evidence));
}

#[test]
fn a_revoked_node_is_refused_offline_until_its_validator_gives_it_a_record_again() {
    let mut lab = Lab::with_validators(&[1, 2], 1);
    let Some(mut node) = lab.chip() else { return };
    let before = lab.open(&mut node);
    let file = before.records.evidence.clone();
    accepted(&lab.appraise(&file));
    let now = lab.unix_ms;
    revoke(&mut lab, 0, RevokedKind::Node, node.id, now);
    // Offline: the file, the trust file and the list are all there is.
    fatal(&lab.appraise(&file), "enrolment.revoked");
    fatal(&lab.appraise(&node.record), "enrolment.revoked");
    fatal(&lab.appraise(&lab.export(&[&before])), "enrolment.revoked");
    lab.advance(60_000);
    let record = lab.enrol(&mut node, |_| {}).unwrap();
    // Another validator's record lifts nothing.
    node.record = lab.sign_record(1, &record);
    let session = lab.open(&mut node);
    fatal(&lab.appraise(&session.records.evidence), "enrolment.revoked");
    node.record = lab.sign_record(0, &record);
    let session = lab.open(&mut node);
    accepted(&lab.appraise(&session.records.evidence));
    fatal(&lab.appraise(&file), "enrolment.revoked");
}
