//! The honest road, with nothing changed: what every attack is held against.

use std::thread::sleep;
use std::time::Duration;

use assay_appraisal::{Severity, Verdict};
use assay_tests::{Lab, accepted, fatal, finding};

#[test]
fn an_honest_nodes_four_files_are_accepted_in_development_and_nowhere_else() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let mut first = lab.open(&mut node);
    lab.run(&mut node, &mut first, 12, 1_000);
    lab.job(&mut first);
    lab.end(&mut node, &mut first);
    lab.advance(20_000);
    let mut second = lab.open(&mut node);
    lab.run(&mut node, &mut second, 12, 1_000);
    lab.serve_slot(&mut node, &mut second);
    // The TPM's time is real: let some of it pass between two anchors.
    sleep(Duration::from_millis(1_100));
    lab.serve_slot(&mut node, &mut second);
    let files = [
        node.record.clone(),
        second.records.evidence.clone(),
        lab.export(&[&first, &second]),
        lab.bundle(&first),
    ];
    for (file, name) in files.iter().zip(["enrolment", "evidence", "claim", "receipt"]) {
        let appraisal = lab.appraise(file);
        accepted(&appraisal);
        assert_eq!((appraisal.kind.name(), appraisal.axes.to_string().as_str()), (name, "I0 P0 G0"));
        for policy in ["open", "strict"] {
            assert_eq!(lab.appraise_under(policy, file).verdict, Verdict::Reject, "{name} under {policy}");
        }
    }
}

#[test]
fn a_software_tpm_is_told_by_its_certificate_and_misses_the_floor_of_other_policies() {
    let mut lab = Lab::new();
    let Some(node) = lab.chip() else { return };
    let appraisal = lab.appraise(&node.record);
    assert_eq!(appraisal.facts.node.as_ref().unwrap().tpm_class, "virtual");
    assert_eq!(finding(&appraisal, "identity.tpm").severity, Severity::Info);
    assert!(finding(&appraisal, "identity.tpm").seen.as_ref().unwrap().contains("I0"));
    for policy in ["open", "strict"] {
        fatal(&lab.appraise_under(policy, &node.record), "policy.floor");
    }
    // Not even a pin by hand raises a virtual TPM.
    lab.trust.pinned_nodes.insert(node.id);
    fatal(&lab.appraise_under("open", &node.record), "policy.floor");
}

#[test]
fn a_pinned_tpm_that_nothing_calls_virtual_reaches_the_open_floor() {
    let mut lab = Lab::new();
    let mut node = lab.paper(9);
    node.simulated.clear();
    let session = lab.open(&mut node);
    fatal(&lab.appraise_under("open", &session.records.evidence), "policy.floor");
    lab.trust.pinned_nodes.insert(node.id);
    let appraisal = lab.appraise_under("open", &session.records.evidence);
    accepted(&appraisal);
    assert_eq!(appraisal.axes.to_string(), "I1 P0 G0");
    fatal(&lab.appraise_under("strict", &session.records.evidence), "policy.floor");
}

#[test]
fn what_the_node_says_is_simulated_is_refused_where_nothing_may_be() {
    let mut lab = Lab::new();
    let mut node = lab.paper(9);
    lab.trust.pinned_nodes.insert(node.id);
    let session = lab.open(&mut node);
    accepted(&lab.appraise(&session.records.evidence));
    fatal(&lab.appraise_under("open", &session.records.evidence), "session.simulated");
    // The GPU table says so too, and silence elsewhere does not take it back.
    node.simulated.clear();
    let mut gpu = assay_tests::gpu(0);
    gpu.simulated = true;
    let session = lab.open_with(&mut node, |start| start.gpus = vec![gpu], |_, _| {});
    fatal(&lab.appraise_under("open", &session.records.evidence), "session.simulated");
    fatal(&lab.appraise_under("open", &lab.export(&[&session])), "session.simulated");
}

#[test]
fn every_check_leaves_a_finding_with_its_id_and_its_source() {
    let mut lab = Lab::new();
    let mut node = lab.paper(9);
    let mut session = lab.open(&mut node);
    lab.run(&mut node, &mut session, 30, 1_000);
    lab.job(&mut session);
    lab.end(&mut node, &mut session);
    let appraisal = lab.appraise(&lab.export(&[&session]));
    accepted(&appraisal);
    assert!(appraisal.findings.len() > 25);
    for f in &appraisal.findings {
        assert!(f.id.contains('.') && !f.spec.is_empty() && !f.checked.is_empty(), "{f:?}");
        assert_ne!(f.severity, Severity::Fatal);
    }
    let report = serde_json::to_value(appraisal.report()).unwrap();
    assert_eq!((&report["schema"], &report["verdict"]), (&1.into(), &"accept".into()));
    assert_eq!(report["axes"]["identity"], "I0");
}
