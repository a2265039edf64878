//! Boot logs: changed, cut, or not those that the quote covers.

use assay_appraisal::Severity;
use assay_boot::write::LogWriter;
use assay_boot::{
    EFI_GLOBAL_VARIABLE, EV_EFI_ACTION, EV_EFI_BOOT_SERVICES_DRIVER, EV_EFI_VARIABLE_BOOT, EV_IPL,
    EV_NO_ACTION, EV_SEPARATOR, EventLog, UefiVariable,
};
use assay_demo::simulated_boot::write_log;
use assay_ledger::session::BootLogs;
use assay_tests::{Chip, Golden, Lab, Node, accepted, cel_record, fatal, finding, warned};

/// The verdict on a session that was quoted over this log.
fn with_log(lab: &mut Lab, node: &mut Node<Chip>, log: Vec<u8>) -> assay_appraisal::Appraisal {
    node.logs.firmware = Some(log.into());
    let session = lab.open(node);
    lab.appraise(&session.records.evidence)
}

/// The honest log, event by event, with a change made to each on the way.
fn rewritten(mut change: impl FnMut(usize, &mut assay_boot::Event)) -> Vec<u8> {
    let log = EventLog::parse(&write_log().unwrap().log).unwrap();
    let mut writer = LogWriter::new();
    for (at, mut event) in log.events.into_iter().enumerate() {
        change(at, &mut event);
        let digest = event.digests[0].value.as_slice().try_into().unwrap();
        writer.event(u8::try_from(event.pcr).unwrap(), event.kind, digest, &event.data).unwrap();
    }
    writer.finish()
}

#[test]
fn a_log_with_one_event_changed_moved_or_added_does_not_replay() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let honest = rewritten(|_, _| {});
    assert_eq!(honest, write_log().unwrap().log);
    accepted(&with_log(&mut lab, &mut node, honest.clone()));
    let digest = rewritten(|at, event| event.digests[0].value[0] ^= u8::from(at == 5));
    fatal(&with_log(&mut lab, &mut node, digest), "boot.replay");
    let moved = rewritten(|at, event| event.pcr = if at == 5 { 2 } else { event.pcr });
    fatal(&with_log(&mut lab, &mut node, moved), "boot.replay");
    // An event that is declared a remark drops out of the replay.
    let hidden = rewritten(|at, event| event.kind = if at == 5 { EV_NO_ACTION } else { event.kind });
    fatal(&with_log(&mut lab, &mut node, hidden), "boot.replay");
    let mut longer = LogWriter::new();
    let events = EventLog::parse(&honest).unwrap().events;
    for event in &events {
        let digest = event.digests[0].value.as_slice().try_into().unwrap();
        longer.event(u8::try_from(event.pcr).unwrap(), event.kind, digest, &event.data).unwrap();
    }
    longer.measure(4, EV_EFI_ACTION, b"one more").unwrap();
    fatal(&with_log(&mut lab, &mut node, longer.finish()), "boot.replay");
}

#[test]
fn an_empty_log_explains_nothing() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    fatal(&with_log(&mut lab, &mut node, LogWriter::new().finish()), "boot.replay");
    fatal(&with_log(&mut lab, &mut node, vec![]), "boot.log");
    let cut = write_log().unwrap().log;
    fatal(&with_log(&mut lab, &mut node, cut[..cut.len() - 1].to_vec()), "boot.log");
    fatal(&with_log(&mut lab, &mut node, vec![0; (1 << 20) + 1]), "boot.log");
    node.logs = BootLogs::default();
    let session = lab.open(&mut node);
    warned(&lab.appraise(&session.records.evidence), "boot.log");
}

#[test]
fn a_retyped_event_replays_and_says_nothing_new() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let retyped = rewritten(|_, event| event.kind = EV_IPL);
    // No digest covers a type, so no verdict may rest on one: Secure Boot is read from measured data.
    let appraisal = with_log(&mut lab, &mut node, retyped);
    accepted(&appraisal);
    assert_eq!(finding(&appraisal, "boot.secure-boot").seen.as_deref(), Some("on"));
    assert_eq!(appraisal.facts.sessions[0].boot.firmware, None);
}

#[test]
fn event_data_that_its_digest_does_not_cover_switches_secure_boot_off() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    // The first event of PCR 7 is the SecureBoot variable; its last byte is the value.
    let mut first = true;
    let flipped = rewritten(|_, event| {
        if event.pcr == 7 && std::mem::take(&mut first) {
            *event.data.last_mut().unwrap() = 0;
        }
    });
    let appraisal = with_log(&mut lab, &mut node, flipped);
    warned(&appraisal, "boot.secure-boot");
}

#[test]
fn logs_that_the_quote_does_not_cover_are_refused() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let with = |lab: &mut Lab, node: &mut Node<Chip>, change: &dyn Fn(&mut BootLogs)| {
        let session = lab.open_with(node, |_| {}, |evidence, _| change(&mut evidence.logs));
        lab.appraise(&session.records.evidence)
    };
    accepted(&with(&mut lab, &mut node, &|_| {}));
    // One readable byte, under no PCR, is still under the session's own hash.
    let relabelled = rewritten(|at, event| event.kind = if at == 3 { EV_IPL } else { event.kind });
    let log = relabelled.clone();
    fatal(&with(&mut lab, &mut node, &move |l| l.firmware = Some(log.clone().into())), "boot.log-hash");
    fatal(&with(&mut lab, &mut node, &|l| l.firmware = None), "boot.log-hash");
    fatal(&with(&mut lab, &mut node, &|l| l.userspace = Some(vec![1].into())), "boot.log-hash");
    fatal(&with(&mut lab, &mut node, &|l| l.ima = Some(vec![1].into())), "boot.log-hash");
}

#[test]
fn a_pcr_that_no_event_explains_is_refused_or_warned_about() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    accepted(&with_log(&mut lab, &mut node, write_log().unwrap().log));
    // PCR 12 is extended after the firmware; 3 is the firmware's alone.
    node.attester.tpm().pcr_extend(12, [1; 32]).unwrap();
    warned(&with_log(&mut lab, &mut node, write_log().unwrap().log), "boot.replay-os");
    node.attester.tpm().pcr_extend(3, [1; 32]).unwrap();
    fatal(&with_log(&mut lab, &mut node, write_log().unwrap().log), "boot.replay");
}

#[test]
fn where_no_release_is_at_hand_the_verdict_says_so() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let appraisal = with_log(&mut lab, &mut node, write_log().unwrap().log);
    assert!(finding(&appraisal, "boot.release").seen.as_ref().unwrap().contains("P0"));
    assert_eq!(appraisal.axes.platform, 0);
    // A log that ends as Windows ends it: accepted, and said.
    let tail = [u32::MAX, EV_NO_ACTION, 1].map(u32::to_le_bytes).concat();
    let tail = [&tail[..], &[0x0b, 0], &[0; 32], &[0; 4]].concat();
    let appraisal = with_log(&mut lab, &mut node, [write_log().unwrap().log, tail].concat());
    accepted(&appraisal);
    assert_eq!(finding(&appraisal, "boot.quirk").severity, Severity::Info);
    assert!(finding(&appraisal, "boot.quirk").seen.as_ref().unwrap().contains("Windows"));
}

#[test]
fn a_second_separator_or_an_event_behind_one_breaks_the_order() {
    let mut lab = Lab::new();
    lab.publish(&Golden::new().release());
    let Some(mut node) = lab.bare_chip() else { return };
    // What the firmware would have measured before it, a driver for one, comes after the separator.
    let driver = EV_EFI_BOOT_SERVICES_DRIVER;
    for (pcr, kind) in [(4, EV_SEPARATOR), (7, EV_SEPARATOR), (2, driver)] {
        node.attester.reset(0);
        node.boots(&Golden::new());
        let session = lab.open(&mut node);
        let good = lab.appraise(&session.records.evidence);
        assert_eq!((finding(&good, "boot.log-rules").severity, good.axes.platform), (Severity::Pass, 1));
        node.attester.reset(0);
        node.boots(&Golden::new().event(pcr, kind, &[0; 4]));
        let session = lab.open(&mut node);
        let appraisal = lab.appraise(&session.records.evidence);
        let seen = warned(&appraisal, "boot.log-rules").seen.clone().unwrap();
        assert!(seen.contains(&format!("PCR {pcr}")), "{seen}");
        // Where a release is looked for, a log out of order is none.
        assert_eq!(appraisal.axes.platform, u8::from(pcr == 2));
    }
}

#[test]
fn an_index_or_a_length_out_of_range_is_no_log() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let log = write_log().unwrap().log;
    // Behind the Spec ID event of 32 + 33 bytes: index, type, count, SHA-256, digest, length.
    let first = 32 + 33;
    accepted(&with_log(&mut lab, &mut node, log.clone()));
    for at in [first, first + 8, first + 12, first + 46] {
        let mut wrong = log.clone();
        wrong[at..at + 2].copy_from_slice(&[0xff; 2]);
        fatal(&with_log(&mut lab, &mut node, wrong), "boot.log");
    }
    let mut all = log;
    all[first..first + 4].copy_from_slice(&[0xff; 4]);
    fatal(&with_log(&mut lab, &mut node, all), "boot.log");
}

#[test]
fn a_userspace_log_with_an_unknown_pcr_is_refused() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.bare_chip() else { return };
    node.boots(&Golden::new());
    let good = node.logs.userspace.clone().unwrap().to_vec();
    let mut with = |more: &[u8]| {
        node.logs.userspace = Some([&good[..], more].concat().into());
        let session = lab.open(&mut node);
        lab.appraise(&session.records.evidence)
    };
    accepted(&with(b""));
    for pcr in [24, 31, 255] {
        fatal(&with(cel_record(pcr, "ready").as_bytes()), "boot.userspace-log");
    }
    let wide = cel_record(23, "ready").replace(":23,", ":4294967307,");
    fatal(&with(wide.as_bytes()), "boot.userspace-log");
    fatal(&with(&cel_record(11, "ready").as_bytes()[1..]), "boot.userspace-log");
    // A known one that nothing extended: not a word that the quoted PCR knows of.
    fatal(&with(cel_record(12, "ready").as_bytes()), "boot.replay");
}

#[test]
fn words_that_a_record_did_not_measure_are_not_believed() {
    let mut lab = Lab::new();
    lab.publish(&Golden::new().release());
    let Some(mut node) = lab.bare_chip() else { return };
    node.boots(&Golden::new());
    let mut retold = |node: &mut Node<Chip>, from: &str, to: &str| {
        let log = String::from_utf8(node.logs.userspace.clone().unwrap().to_vec()).unwrap();
        node.logs.userspace = Some(log.replace(from, to).into_bytes().into());
        let session = lab.open(node);
        let appraisal = lab.appraise(&session.records.evidence);
        accepted(&appraisal);
        appraisal
    };
    assert_eq!(retold(&mut node, "", "").axes.platform, 1);
    // Digests decide: under another word it is the same boot.
    assert_eq!(retold(&mut node, "\"sysinit\"", "\"final\"").axes.platform, 1);
    // And under the right word another phase is another boot.
    node.attester.reset(0);
    node.boots(&Golden::new().record(11, "shutdown"));
    let appraisal = retold(&mut node, "\"shutdown\"", "\"ready\"");
    let found = warned(&appraisal, "boot.release").expected.clone().unwrap();
    assert!(found.contains("kernel-boot"), "{found}");
}

#[test]
fn a_firmware_of_a_virtual_machine_is_told_by_its_log() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.bare_chip() else { return };
    let option = |name: &str| {
        let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let value = [&1u32.to_le_bytes()[..], &4u16.to_le_bytes(), &name, &[0x7f, 0xff, 4, 0]].concat();
        UefiVariable { guid: EFI_GLOBAL_VARIABLE, name: "Boot0001".into(), value }.encode()
    };
    let mut hints = |golden: &Golden| {
        node.attester.reset(0);
        node.boots(golden);
        let session = lab.open(&mut node);
        let appraisal = lab.appraise(&session.records.evidence);
        accepted(&appraisal);
        let hints = appraisal.findings.into_iter().filter(|f| f.id == "boot.virtual-machine");
        hints
            .filter(|hint| hint.severity == Severity::Warning)
            .filter_map(|hint| hint.seen)
            .collect::<Vec<_>>()
    };
    let honest = hints(&Golden::new());
    let metal = hints(&Golden::new().event(1, EV_EFI_VARIABLE_BOOT, &option("Fedora")));
    assert_eq!(metal, honest);
    let machine = hints(&Golden::new().event(1, EV_EFI_VARIABLE_BOOT, &option("UEFI QEMU HARDDISK")));
    assert_eq!(machine.len(), honest.len() + 1, "{machine:?}");
    assert!(machine.iter().any(|seen| seen.to_lowercase().contains("qemu")), "{machine:?}");
}
