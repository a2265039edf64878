//! Axis P: golden logs of a known release, replayed where another system runs; and what P2 asks for.

use assay_appraisal::{Appraisal, Policy, Severity, Verdict};
use assay_boot::EV_IPL;
use assay_ledger::enrolment::TpmClass;
use assay_tests::{Attester, Golden, Lab, Node, Paper, accepted, fatal, finding, gpu, warned};
use assay_wire::Digest;

/// A lab that trusts the release of the golden boot.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.publish(&Golden::new().release());
    lab
}

fn verdict<T: Attester>(lab: &mut Lab, node: &mut Node<T>) -> Appraisal {
    let session = lab.open_with(node, |start| start.gpus = vec![gpu(0)], |_, _| {});
    lab.appraise(&session.records.evidence)
}

fn axes<T: Attester>(lab: &mut Lab, node: &mut Node<T>) -> String {
    let appraisal = verdict(lab, node);
    accepted(&appraisal);
    appraisal.axes.to_string()
}

/// Firmware that as many unrelated owners have as count.
fn widespread(lab: &mut Lab, golden: &Golden) {
    lab.trust.firmware_owners = 3;
    lab.state.firmware.insert(Digest(golden.pcrs()[&0]), 3);
}

#[test]
fn a_tpm_reset_with_a_replayed_golden_log_is_p1_and_never_p2() {
    let mut lab = lab();
    let Some(mut node) = lab.bare_chip() else { return };
    let golden = Golden::new();
    widespread(&mut lab, &golden);
    node.boots(&golden);
    let honest = verdict(&mut lab, &mut node);
    assert_eq!(honest.axes.to_string(), "I0 P1 G0");
    assert_eq!(finding(&honest, "boot.release").severity, Severity::Pass);
    // The owner resets the TPM alone; what runs now extends what the golden boot would have.
    node.attester.reset(0);
    node.boots(&golden);
    let replayed = verdict(&mut lab, &mut node);
    assert_eq!(replayed.axes.to_string(), "I0 P1 G0");
    let doubts = warned(&replayed, "boot.crtm-unproven").seen.clone().unwrap();
    assert!(doubts.contains("PCR 0 began at locality 0"), "{doubts}");
    // Where P2 is asked for, no replay will do.
    lab.policy.floor.platform = 2;
    fatal(&verdict(&mut lab, &mut node), "policy.floor");
}

#[test]
fn a_replayed_log_that_claims_locality_3_does_not_replay() {
    let mut lab = lab();
    let Some(mut node) = lab.bare_chip() else { return };
    node.boots(&Golden::new());
    node.logs = Golden::new().at_locality(3).logs();
    let appraisal = verdict(&mut lab, &mut node);
    assert!(fatal(&appraisal, "boot.replay").seen.as_ref().unwrap().starts_with("PCR 0:"));
    // No owner of a chip can start it at locality 3. The owner of a software TPM can, and it is
    // software still.
    let golden = Golden::new().at_locality(3);
    widespread(&mut lab, &golden);
    node.attester.reset(3);
    node.boots(&golden);
    let appraisal = verdict(&mut lab, &mut node);
    assert_eq!(appraisal.axes.to_string(), "I0 P1 G0");
    let doubts = warned(&appraisal, "boot.crtm-unproven").seen.clone().unwrap();
    assert_eq!(doubts, "the TPM may be software");
}

#[test]
fn anything_in_pcr_12_is_no_release_and_the_event_is_named() {
    let mut lab = lab();
    let golden = Golden::new();
    let strict = Policy {
        checks: [("boot.release".to_owned(), Severity::Fatal)].into(),
        ..Policy::builtin("development").unwrap()
    };
    // A command line of the boot menu, a credential beside the image, an add-on with its kernel
    // arguments; and what the system itself extends later.
    let text = |text: &str| text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let (events, records) = golden.len();
    let overrides = [
        (golden.clone().event(12, EV_IPL, &text("init=/bin/sh")), "firmware", events, "override"),
        (golden.clone().event(12, EV_IPL, b"070701 root.hashed-password"), "firmware", events, "override"),
        (
            golden.clone().event(12, EV_IPL, &text("systemd.import_credentials=yes")),
            "firmware",
            events,
            "override",
        ),
        (golden.clone().record(12, "init=/bin/sh"), "userspace", records, "os-separator"),
    ];
    let Some(mut node) = lab.bare_chip() else { return };
    for (boot, log, index, check) in overrides {
        node.attester.reset(0);
        node.boots(&boot);
        let session = lab.open(&mut node);
        let appraisal = lab.appraise(&session.records.evidence);
        assert_eq!(appraisal.axes.platform, 0);
        let found = warned(&appraisal, "boot.release");
        assert!(found.expected.as_ref().unwrap().contains(check), "{found:#?}");
        let event = found.event.as_ref().unwrap();
        assert_eq!((event.log, event.index, event.pcr), (log, index, 12));
        assert_eq!(
            Digest(boot.extends().iter().find(|(pcr, _)| *pcr == 12).unwrap().1).to_string(),
            event.seen
        );
        lab.policy = strict.clone();
        fatal(&lab.appraise(&session.records.evidence), "boot.release");
        assert_eq!(lab.appraise_under("strict", &session.records.evidence).verdict, Verdict::Reject);
        lab.policy = Policy::builtin("development").unwrap();
        // Its twin without the override is the release, under the same policy.
        node.attester.reset(0);
        node.boots(&golden);
        let session = lab.open(&mut node);
        lab.policy = strict.clone();
        accepted(&lab.appraise(&session.records.evidence));
        lab.policy = Policy::builtin("development").unwrap();
    }
}

#[test]
fn an_override_that_the_log_conceals_is_no_release_either() {
    let mut lab = lab();
    let Some(mut node) = lab.bare_chip() else { return };
    let golden = Golden::new();
    node.boots(&golden);
    assert_eq!(axes(&mut lab, &mut node), "I0 P1 G0");
    node.attester.extend(&[(12, [7; 32])]);
    let appraisal = verdict(&mut lab, &mut node);
    warned(&appraisal, "boot.replay-os");
    assert_eq!(appraisal.axes.platform, 0);
}

/// A chip on paper, pinned by hand, that its firmware started.
fn hardware(lab: &mut Lab, seed: u8, golden: &Golden) -> Node<Paper> {
    let mut node = lab.paper(seed);
    node.boots(golden);
    lab.trust.pinned_nodes.insert(node.id);
    node
}

#[test]
fn p2_asks_for_a_start_in_hardware_and_firmware_that_others_have() {
    let (mut lab, golden) = (lab(), Golden::new().at_locality(3));
    let mut node = hardware(&mut lab, 3, &golden);
    widespread(&mut lab, &golden);
    let appraisal = verdict(&mut lab, &mut node);
    accepted(&appraisal);
    assert_eq!(appraisal.axes.to_string(), "I1 P2 G1");
    assert_eq!(finding(&appraisal, "boot.crtm-unproven").severity, Severity::Pass);
    // One owner fewer.
    let pcr0 = Digest(golden.pcrs()[&0]);
    lab.state.firmware.insert(pcr0, 2);
    assert_eq!(axes(&mut lab, &mut node), "I1 P1 G0");
    // The vendor's own word will do instead.
    lab.trust.firmware.insert(pcr0, "vendor".into());
    assert_eq!(axes(&mut lab, &mut node), "I1 P2 G1");
    // Software may start at any locality: no pin, no P2.
    lab.trust.pinned_nodes.clear();
    assert_eq!(axes(&mut lab, &mut node), "I0 P1 G0");
    lab.trust.pinned_nodes.insert(node.id);
    // Nor may a virtual TPM, pinned or not.
    let record =
        assay_ledger::enrolment::EnrolmentRecord { class: TpmClass::Virtual, ..lab.record_of(&node) };
    node.record = lab.sign_record(0, &record);
    assert_eq!(axes(&mut lab, &mut node), "I0 P1 G0");
}

#[test]
fn firmware_that_only_its_owner_has_is_p1_however_it_starts() {
    let mut lab = lab();
    for locality in [0, 3] {
        let golden = Golden::new().at_locality(locality);
        let mut node = hardware(&mut lab, 3, &golden);
        lab.state.firmware.clear();
        let appraisal = verdict(&mut lab, &mut node);
        assert_eq!(appraisal.axes.to_string(), "I1 P1 G0");
        let doubts = warned(&appraisal, "boot.crtm-unproven").seen.clone().unwrap();
        assert_eq!(doubts.contains("PCR 0 began"), locality == 0, "{doubts}");
        assert!(doubts.contains("0 of 3 unrelated owners"), "{doubts}");
    }
}

#[test]
fn a_release_by_a_stranger_or_taken_back_makes_no_p1() {
    let golden = Golden::new();
    let mut lab = Lab::new();
    let Some(mut node) = lab.bare_chip() else { return };
    node.boots(&golden);
    assert_eq!(axes(&mut lab, &mut node), "I0 P0 G0", "no release at hand");
    lab.publish(&golden.release());
    assert_eq!(axes(&mut lab, &mut node), "I0 P1 G0");
    // A policy that asks for a later version; then a later release that takes this one back.
    lab.policy.release.minimum = 2;
    assert_eq!(axes(&mut lab, &mut node), "I0 P0 G0");
    lab.policy.release.minimum = 0;
    let mut later = golden.release();
    (later.number, later.minimum, later.applications) = (2, 2, vec![Digest([9; 32])]);
    lab.publish(&later);
    let appraisal = verdict(&mut lab, &mut node);
    assert_eq!(appraisal.axes.platform, 0);
    assert!(warned(&appraisal, "boot.release").expected.as_ref().unwrap().contains("boot-application"));
    // A release that lets credentials in from outside is no reference.
    lab.trust.releases.clear();
    let mut open = golden.release();
    open.command_line = None;
    lab.publish(&open);
    let appraisal = verdict(&mut lab, &mut node);
    assert_eq!(appraisal.axes.platform, 0);
    assert!(warned(&appraisal, "boot.release").expected.as_ref().unwrap().contains("import_credentials=no"));
}

#[test]
fn what_a_node_says_is_simulated_earns_no_p1() {
    let mut lab = lab();
    let Some(mut node) = lab.bare_chip() else { return };
    node.boots(&Golden::new());
    assert_eq!(axes(&mut lab, &mut node), "I0 P1 G0");
    node.simulated = vec![assay_ledger::session::Simulated::BootLog];
    assert_eq!(axes(&mut lab, &mut node), "I0 P0 G0");
}
