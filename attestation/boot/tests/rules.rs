//! Rules of a firmware log beyond its format: each broken once, in a log that keeps the others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_boot::write::LogWriter;
use assay_boot::{
    EV_EFI_ACTION, EV_EFI_BOOT_SERVICES_APPLICATION, EV_EFI_VARIABLE_AUTHORITY,
    EV_EFI_VARIABLE_DRIVER_CONFIG, EV_NO_ACTION, EV_POST_CODE, EV_SEPARATOR, Event, EventLog, HashAlg, Quirk,
    Rule, Violation,
};

type Row<'a> = (u8, u32, &'a [u8]);

const DONE: &[u8] = &[0; 4];

fn log(rows: &[Row<'_>]) -> EventLog {
    let mut writer = LogWriter::new();
    for (pcr, kind, data) in rows {
        writer.measure(*pcr, *kind, data).unwrap();
    }
    EventLog::parse(&writer.finish()).unwrap()
}

/// `before`, a separator in every PCR, `after`.
fn boot(before: &[Row<'_>], after: &[Row<'_>]) -> EventLog {
    let separators: Vec<Row<'_>> = (0..8).map(|pcr| (pcr, EV_SEPARATOR, DONE)).collect();
    log(&[before, &separators, after].concat())
}

fn broken(log: &EventLog) -> Vec<(Rule, u32, Option<usize>)> {
    log.violations().into_iter().map(|Violation { rule, pcr, event }| (rule, pcr, event)).collect()
}

#[test]
fn a_plain_boot_keeps_every_rule() {
    let config: Row<'_> = (7, EV_EFI_VARIABLE_DRIVER_CONFIG, b"SecureBoot");
    let before = [(0, EV_POST_CODE, &b"code"[..]), config, (4, EV_EFI_ACTION, b"Calling EFI Application")];
    let after = [
        (4, EV_EFI_BOOT_SERVICES_APPLICATION, &b"path"[..]),
        (7, EV_EFI_VARIABLE_AUTHORITY, b"db"),
        (5, EV_EFI_ACTION, b"Exit Boot Services Invocation"),
        (11, EV_POST_CODE, b"any"),
    ];
    assert_eq!(broken(&boot(&before, &after)), []);
    let mut ones = boot(&before, &after);
    ones.events[3] = log(&[(0, EV_SEPARATOR, &[0xff; 4])]).events[0].clone();
    assert_eq!(broken(&ones), []);
}

#[test]
fn separators_are_there_once() {
    let missing: Vec<_> = (0..8).map(|pcr| (Rule::SeparatorMissing, pcr, None)).collect();
    assert_eq!(broken(&log(&[(12, EV_SEPARATOR, DONE)])), missing);
    assert_eq!(broken(&boot(&[], &[(7, EV_SEPARATOR, DONE)])), [(Rule::SeparatorRepeated, 7, Some(8))]);
    assert_eq!(broken(&boot(&[], &[(12, EV_SEPARATOR, DONE), (12, EV_SEPARATOR, DONE)])), []);
}

#[test]
fn a_separator_can_hide_behind_no_type() {
    let hidden = broken(&boot(&[(7, EV_EFI_ACTION, DONE)], &[]));
    assert_eq!(hidden, [(Rule::SeparatorDisguised, 7, Some(0)), (Rule::SeparatorRepeated, 7, Some(8))]);
    let hidden = broken(&boot(&[], &[(4, EV_EFI_ACTION, &[0xff; 4])]));
    assert_eq!(hidden, [(Rule::SeparatorDisguised, 4, Some(8)), (Rule::SeparatorRepeated, 4, Some(8))]);
}

#[test]
fn a_separator_says_that_all_is_well_and_means_it() {
    let with = |data: &[u8]| {
        let mut boot = boot(&[], &[]);
        boot.events[3] = log(&[(3, EV_SEPARATOR, data)]).events[0].clone();
        broken(&boot)
    };
    assert_eq!(with(&[1, 0, 0, 0]), [(Rule::SeparatorError, 3, Some(3))]);
    for data in [&[][..], &[0; 3], &[2, 0, 0, 0], &[0, 0, 0, 0, 1]] {
        assert_eq!(with(data), [(Rule::SeparatorAltered, 3, Some(3))], "{data:?}");
    }
    let mut altered = boot(&[], &[]);
    altered.events[3].digests[0].value = vec![7; 32];
    assert_eq!(broken(&altered), [(Rule::SeparatorAltered, 3, Some(3))]);
}

#[test]
fn a_padded_separator_is_a_named_quirk() {
    for hashed in [4, 50] {
        let digest = HashAlg::Sha256.hash(&[&vec![0; hashed]]).unwrap();
        let mut writer = LogWriter::new();
        for pcr in 0..8 {
            writer.event(pcr, EV_SEPARATOR, digest.clone().try_into().unwrap(), &[0; 50]).unwrap();
        }
        let log = EventLog::parse(&writer.finish()).unwrap();
        assert_eq!(log.quirks, [Quirk::SeparatorPadded { events: 8 }]);
        assert_eq!((log.quirks[0].name(), broken(&log)), ("separator-padded", vec![]));
    }
}

#[test]
fn types_are_those_of_the_pcr_and_the_time() {
    for kind in [0x9999_9999, EV_POST_CODE] {
        for pcr in [4, 7] {
            assert_eq!(broken(&boot(&[(pcr, kind, b"x")], &[])), [(Rule::UnknownType, pcr.into(), Some(0))]);
        }
    }
    let late = |pcr: u8, kind| broken(&boot(&[], &[(pcr, kind, b"x")]));
    assert_eq!(late(7, EV_EFI_VARIABLE_DRIVER_CONFIG), [(Rule::AfterSeparator, 7, Some(8))]);
    for pcr in [0, 2, 3, 4, 5, 7] {
        assert_eq!(late(pcr, EV_POST_CODE), [(Rule::AfterSeparator, pcr.into(), Some(8))]);
    }
    assert_eq!((late(1, EV_POST_CODE), late(6, EV_POST_CODE)), (vec![], vec![]));
}

#[test]
fn data_that_a_digest_should_cover_is_covered() {
    for pcr in [4, 9] {
        let mut log = boot(&[(pcr, EV_EFI_ACTION, b"said")], &[]);
        log.events[0].data = b"meant".to_vec();
        assert_eq!(broken(&log), [(Rule::DataAltered, pcr.into(), Some(0))]);
        log.events[0].kind = EV_EFI_BOOT_SERVICES_APPLICATION;
        assert_eq!(broken(&log), [], "an image is not in the log");
    }
}

#[test]
fn a_remark_carries_nothing_to_extend() {
    let mut log = boot(&[], &[]);
    let digests = log.events[0].digests.clone();
    log.events.push(Event { pcr: 4, kind: EV_NO_ACTION, digests, data: b"relabelled".to_vec() });
    assert_eq!(broken(&log), [(Rule::NoActionDigest, 4, Some(8))]);
    log.events[8].digests[0].value.fill(0);
    assert_eq!(broken(&log), []);
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    use Rule::{AfterSeparator, DataAltered, NoActionDigest, UnknownType};
    let rest =
        [Rule::SeparatorMissing, Rule::SeparatorRepeated, Rule::SeparatorError, Rule::SeparatorAltered];
    let rules =
        [&rest[..], &[Rule::SeparatorDisguised, UnknownType, AfterSeparator, DataAltered, NoActionDigest]];
    let mut names: Vec<&str> = rules.concat().into_iter().map(Rule::name).collect();
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 9);
}
