//! What verifiers remember and ask for: revocation, firmware, policies; and that a result can be made again.

use assay_appraisal::{
    Appraisal, Ear, Policy, Severity, State, Trust, appraise, firmware_changed, open_session,
};
use assay_ledger::revocation::{Revocation, RevocationList, RevokedKind};
use assay_ledger::session::PcrValue;
use assay_tests::{Lab, Node, Paper, Validator, accepted, fatal, finding, warned};
use assay_wire::{Digest, Envelope, Kind, SigningKey};

/// A node with all four of its files.
fn files(lab: &mut Lab) -> (Node<Paper>, Vec<Vec<u8>>) {
    let mut node = lab.paper(3);
    let mut session = lab.open(&mut node);
    lab.run(&mut node, &mut session, 8, 1_000);
    lab.job(&mut session);
    let files = vec![
        node.record.clone(),
        session.records.evidence.clone(),
        lab.export(&[&session]),
        lab.bundle(&session),
    ];
    (node, files)
}

fn revoke(lab: &Lab, validator: &Validator, kind: RevokedKind, digest: Digest, at_ms: u64) -> Vec<u8> {
    let entries = vec![Revocation { kind, digest, at_ms, reason: "stolen".into() }];
    let list = RevocationList { number: 1, issued_ms: lab.unix_ms, entries };
    Envelope::seal(Kind::Revocations, validator.id, &list, &validator.key, &lab.trust.network)
}

#[test]
fn a_revoked_node_or_record_is_refused_in_every_file() {
    let mut lab = Lab::new();
    let (node, files) = files(&mut lab);
    let record = Envelope::decode(&node.record).unwrap().hash();
    for (kind, digest) in [(RevokedKind::Node, node.id), (RevokedKind::Record, record)] {
        let list = revoke(&lab, &lab.validators[0], kind, digest, lab.unix_ms);
        lab.state = State::default();
        lab.state.take(&list, &lab.trust).unwrap();
        for file in &files {
            assert!(
                fatal(&lab.appraise(file), "enrolment.revoked").seen.as_ref().unwrap().contains("stolen")
            );
        }
        lab.unix_ms -= 1;
        files.iter().for_each(|file| accepted(&lab.appraise(file)));
        lab.unix_ms += 1;
    }
    // Another node's id, or a record's hash where a node's id belongs, is none of ours.
    for (kind, digest) in [(RevokedKind::Node, Digest([1; 32])), (RevokedKind::Node, record)] {
        lab.state = State::default();
        lab.state.take(&revoke(&lab, &lab.validators[0], kind, digest, 0), &lab.trust).unwrap();
        files.iter().for_each(|file| accepted(&lab.appraise(file)));
    }
}

#[test]
fn nobody_outside_the_trust_file_revokes() {
    let mut lab = Lab::new();
    let (node, files) = files(&mut lab);
    let stranger = Validator::new(99);
    let list = revoke(&lab, &stranger, RevokedKind::Node, node.id, 0);
    assert!(lab.state.take(&list, &lab.trust).is_err());
    // Not even from a state that someone else filled.
    let list: RevocationList = Envelope::decode(&list).unwrap().message().unwrap();
    lab.state.revocations.insert(stranger.id, list);
    files.iter().for_each(|file| accepted(&lab.appraise(file)));
}

#[test]
fn firmware_that_changed_since_enrolment_is_noticed() {
    let mut lab = Lab::new();
    let node = lab.paper(3);
    let record = lab.record_of(&node);
    let value = |pcr: u8| Digest(node.attester.pcrs.get(&pcr).copied().unwrap_or_default());
    let quoted: Vec<_> = [0, 1, 2, 3].map(|pcr| PcrValue { pcr, value: value(pcr) }).into();
    let enrolled: Vec<_> = quoted.iter().map(|p| PcrValue { value: Digest([1; 32]), ..*p }).collect();
    let changed = firmware_changed(&record.node, &enrolled, &quoted, &lab.state, 3);
    let severities: Vec<_> = changed.iter().map(|f| (f.id, f.severity)).collect();
    let (code, configuration) = (Severity::Warning, Severity::Info);
    let expected = [code, configuration, code, configuration].map(|s| ("boot.firmware-changed", s));
    assert_eq!(severities, expected);
    lab.state.approved_firmware = quoted.iter().map(|p| (record.node, p.value)).collect();
    let approved = firmware_changed(&record.node, &enrolled, &quoted, &lab.state, 3);
    assert!(approved.iter().all(|f| f.severity == Severity::Info));
}

#[test]
fn a_tpm_with_firmware_below_the_floor_is_refused() {
    let mut lab = Lab::new();
    let node = Node::new(Paper::new(3));
    let mut record = lab.record_of(&node);
    record.model = "id:494E5443 x".into();
    let mut node = Node { record: lab.sign_record(0, &record), ..node };
    let session = lab.open(&mut node);
    let version = finding(&lab.appraise(&session.records.evidence), "session.time").clone();
    assert_eq!(version.severity, Severity::Pass);
    lab.policy.firmware = [("id:494e5443".to_owned(), u64::MAX)].into();
    fatal(&lab.appraise(&session.records.evidence), "policy.firmware");
    lab.policy.firmware = [("id:414d4400".to_owned(), u64::MAX), ("id:494e5443".to_owned(), 0)].into();
    accepted(&lab.appraise(&session.records.evidence));
}

#[test]
fn a_policy_judges_findings_otherwise_and_the_result_names_it() {
    let mut lab = Lab::new();
    let (_, files) = files(&mut lab);
    let evidence = &files[1];
    let before = lab.appraise(evidence);
    assert_eq!(finding(&before, "session.fresh").severity, Severity::Info);
    lab.policy.checks = [("session.fresh".to_owned(), Severity::Fatal)].into();
    let after = lab.appraise(evidence);
    fatal(&after, "session.fresh");
    assert_ne!(before.policy.hash, after.policy.hash);
    assert_eq!(before.policy.name, "development");
    // What the registry fixes stays fixed, even in a policy that no file can hold.
    lab.policy.checks = [("enrolment.validity".to_owned(), Severity::Info)].into();
    lab.unix_ms += 2 * lab.policy.record_ms;
    fatal(&lab.appraise(evidence), "enrolment.validity");
}

#[test]
fn skew_is_the_policys() {
    let mut lab = Lab::new();
    let (node, _) = files(&mut lab);
    lab.unix_ms = lab.appraise(&node.record).facts.node.unwrap().enrolled_ms - 400_000;
    fatal(&lab.appraise(&node.record), "enrolment.validity");
    lab.policy.skew_ms = 500_000;
    accepted(&lab.appraise(&node.record));
}

#[test]
fn a_result_is_good_from_its_evidence_until_the_first_of_its_ends() {
    let mut lab = Lab::new();
    let (_, files) = files(&mut lab);
    let now = lab.unix_ms;
    let valid = |lab: &Lab, at: usize| lab.appraise(&files[at]).valid.unwrap();
    assert_eq!((valid(&lab, 1).from_ms, valid(&lab, 1).until_ms), (now, now + 3_600_000));
    let expires = lab.appraise(&files[0]).facts.node.unwrap().expires_ms;
    lab.policy.result_ms = 366 * 86_400_000;
    assert_eq!(valid(&lab, 1).until_ms, expires);
    lab.policy.result_ms = 60_000;
    // A claim is of its last record, however late it is read.
    lab.unix_ms += 1_000;
    let then = valid(&lab, 2);
    lab.unix_ms += 3_600_000;
    assert_eq!(valid(&lab, 2), then);
    assert!(then.until_ms < lab.unix_ms);
    lab.unix_ms = expires;
    assert_eq!(lab.appraise(&files[1]).valid, None);
}

/// JSON and both tokens.
fn results(appraisal: &Appraisal) -> (Vec<u8>, String, Vec<u8>) {
    let key = SigningKey::from_seed(&[5; 32]);
    let ear = Ear::new(appraisal);
    (serde_json::to_vec(&appraisal.report()).unwrap(), ear.to_jwt(&key), ear.to_cwt(&key))
}

#[test]
fn a_result_made_again_from_what_was_stored_is_the_same_bytes() {
    let mut lab = Lab::new();
    let (node, files) = files(&mut lab);
    let list = revoke(&lab, &lab.validators[0], RevokedKind::Record, Digest([4; 32]), 0);
    lab.state.take(&list, &lab.trust).unwrap();
    lab.state.firmware.insert(Digest([3; 32]), 4);
    lab.state.approved_firmware.insert((node.id, Digest([2; 32])));
    lab.state.known = node.previous;
    let trust = Trust::parse(&lab.trust.to_toml()).unwrap();
    let policy = Policy::from_cbor(&lab.policy.to_cbor()).unwrap();
    let state = State::from_cbor(&lab.state.to_cbor()).unwrap();
    for file in &files {
        let first = appraise(file, &lab.trust, &lab.policy, &lab.state, lab.unix_ms).unwrap();
        let again = appraise(file, &trust, &policy, &state, lab.unix_ms).unwrap();
        assert_eq!(results(&first), results(&again));
    }
    let open = |trust, policy, state| {
        let (appraisal, _) = open_session(&files[1], trust, policy, state, lab.unix_ms, None).unwrap();
        results(&appraisal)
    };
    assert_eq!(open(&lab.trust, &lab.policy, &lab.state), open(&trust, &policy, &state));
}

#[test]
fn an_exported_file_is_not_held_against_the_ledger_that_went_on() {
    let mut lab = Lab::new();
    let (_, files) = files(&mut lab);
    let known = assay_ledger::session::Head { session: Digest([1; 32]), seq: 1, head: Digest([2; 32]) };
    lab.state.known = Some(known);
    accepted(&lab.appraise(&files[1]));
    let lost = open_session(&files[1], &lab.trust, &lab.policy, &lab.state, lab.unix_ms, None).unwrap().0;
    warned(&lost, "session.previous");
}
