//! A whole parallel world: everything is right in it but whom it belongs to.

use assay_tests::{Lab, Validator, accepted, fatal};

/// Enrolment, evidence, claim and receipt of a new node of this lab.
fn files(lab: &mut Lab) -> Option<[Vec<u8>; 4]> {
    let mut node = lab.chip()?;
    let mut session = lab.open(&mut node);
    lab.run(&mut node, &mut session, 5, 1_000);
    lab.job(&mut session);
    Some([
        node.record.clone(),
        session.records.evidence.clone(),
        lab.export(&[&session]),
        lab.bundle(&session),
    ])
}

#[test]
fn a_parallel_world_under_other_keys_is_refused_as_unknown_validator() {
    let (mut ours, mut theirs) = (Lab::with_validators(&[1, 2], 1), Lab::with_validators(&[66, 67], 1));
    let Some(good) = files(&mut ours) else { return };
    let parallel = files(&mut theirs).unwrap();
    for (good, parallel) in good.iter().zip(&parallel) {
        accepted(&ours.appraise(good));
        accepted(&theirs.appraise(parallel));
        let finding = fatal(&ours.appraise(parallel), "enrolment.validator").clone();
        assert!(finding.seen.unwrap().contains("unknown validator"));
        fatal(&theirs.appraise(good), "enrolment.validator");
    }
}

#[test]
fn a_parallel_world_that_borrows_our_validators_names_is_refused() {
    let mut ours = Lab::new();
    let mut theirs = Lab::with_validators(&[66], 1);
    // Our validator's id over their key: every envelope names ours.
    theirs.validators[0] = Validator { id: ours.validators[0].id, key: Validator::new(66).key };
    let Some(good) = files(&mut ours) else { return };
    accepted(&ours.appraise(&good[1]));
    for parallel in files(&mut theirs).unwrap() {
        fatal(&ours.appraise(&parallel), "enrolment.validator");
    }
}

#[test]
fn a_validator_that_trust_no_longer_names_takes_its_records_with_it() {
    let mut lab = Lab::with_validators(&[1, 2], 1);
    let Some(files) = files(&mut lab) else { return };
    files.iter().for_each(|file| accepted(&lab.appraise(file)));
    let gone = lab.validators[0].id;
    lab.trust.validators.remove(&gone);
    for file in &files {
        fatal(&lab.appraise(file), "enrolment.validator");
    }
}
