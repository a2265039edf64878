//! What verifiers remember and ask for: revocation, firmware, policies; and that a result can be made again.

use assay_appraisal::{Appraisal, Ear, Policy, Severity, State, Trust, appraise, open_session};
use assay_ledger::revocation::{Revocation, RevocationList, RevokedKind};
use assay_ledger::session::Evidence;
use assay_tests::{Chip, Lab, Node, Paper, Validator, accepted, fatal, finding, warned};
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
    let Some(mut node) = lab.chip() else { return };
    let changes = |lab: &mut Lab, node: &mut Node<Chip>| -> Vec<(Severity, Option<String>)> {
        let session = lab.open(node);
        let findings = lab.appraise(&session.records.evidence).findings;
        let changed = findings.into_iter().filter(|f| f.id == "boot.firmware-changed");
        changed.map(|f| (f.severity, f.seen)).collect()
    };
    // The record holds what the TPM quoted when it enrolled.
    assert_eq!(changes(&mut lab, &mut node), [(Severity::Pass, Some("unchanged".to_owned()))]);
    node.attester.extend(&[0, 1, 2, 3].map(|pcr| (pcr, [7; 32])));
    let (code, configuration) = (Severity::Warning, Severity::Info);
    let seen = changes(&mut lab, &mut node);
    let severities: Vec<_> = seen.iter().map(|(severity, _)| *severity).collect();
    assert_eq!(severities, [code, configuration, code, configuration]);
    let value = |seen: &Option<String>| {
        let seen = seen.as_deref().unwrap().split_once(": ").unwrap().1;
        Digest::from_hex(seen).unwrap()
    };
    lab.state.approved_firmware = seen.iter().map(|(_, seen)| (node.id, value(seen))).collect();
    assert!(changes(&mut lab, &mut node).iter().all(|(severity, _)| *severity == Severity::Info));
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
    let challenge = |bytes: &[u8]| {
        let evidence: Evidence = Envelope::decode(bytes).unwrap().message().unwrap();
        evidence.session.challenge
    };
    let challenge = challenge(&files[1]);
    let opened = |lab: &Lab| {
        let state = State::default();
        let opened = open_session(&files[1], &lab.trust, &lab.policy, &state, lab.unix_ms, Some(&challenge));
        opened.unwrap().0.valid
    };
    let fresh = opened(&lab).unwrap();
    assert_eq!((fresh.from_ms, fresh.until_ms), (now, now + 3_600_000));
    let expires = lab.appraise(&files[0]).facts.node.unwrap().expires_ms;
    lab.policy.result_ms = 366 * 86_400_000;
    assert_eq!(opened(&lab).unwrap().until_ms, expires);
    lab.policy.result_ms = 60_000;
    // A claim is of its last record, however late it is read.
    lab.unix_ms += 1_000;
    let then = valid(&lab, 2);
    lab.unix_ms += 3_600_000;
    assert_eq!(valid(&lab, 2), then);
    assert!(then.until_ms < lab.unix_ms);
    // So is a job's receipt: of when validators had it.
    let receipt = valid(&lab, 3);
    assert!(receipt.from_ms <= now + 1_000 && receipt.until_ms < lab.unix_ms, "{receipt:?}");
    lab.unix_ms = expires;
    assert_eq!(opened(&lab), None);
}

#[test]
fn evidence_without_a_challenge_is_of_any_time_and_its_token_says_so() {
    let mut lab = Lab::new();
    let (_, files) = files(&mut lab);
    lab.advance(20 * 86_400_000);
    let appraisal = lab.appraise(&files[1]);
    accepted(&appraisal);
    assert_eq!(appraisal.valid, None);
    let ear = serde_json::to_value(Ear::new(&appraisal)).unwrap();
    let node = &ear["submods"]["node"];
    assert_eq!(ear.get("exp"), None);
    assert_eq!(
        (&node["ear_status"], &node["ear_verifier_claims"]["assay_fresh"]),
        (&"warning".into(), &false.into())
    );
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
