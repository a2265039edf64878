//! All logs of a boot against quoted values: agreement, and the event named where there is none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;

use assay_boot::write::LogWriter;
use assay_boot::{
    BootLogs, Cause, Difference, EV_EFI_ACTION, EV_IPL, EV_POST_CODE, EV_SEPARATOR, EventLog, HashAlg,
    ImaLog, LogKind, Quirk, UserspaceLog,
};

const ALG: HashAlg = HashAlg::Sha256;
const INVOCATION: &[u8] = b"Exit Boot Services Invocation";
const SUCCESS: &[u8] = b"Exit Boot Services Returned with Success";
const FAILURE: &[u8] = b"Exit Boot Services Returned with Failure";

fn hash(data: &[u8]) -> Vec<u8> {
    ALG.hash(&[data]).unwrap()
}

fn extend(start: &[u8], measured: &[&[u8]]) -> Vec<u8> {
    measured.iter().fold(start.to_vec(), |value, data| ALG.hash(&[&value, &hash(data)]).unwrap())
}

fn zeros(measured: &[&[u8]]) -> Vec<u8> {
    extend(&[0; 32], measured)
}

fn firmware(events: &[(u8, u32, &[u8])]) -> EventLog {
    let mut writer = LogWriter::new();
    for (pcr, kind, data) in events {
        writer.measure(*pcr, *kind, data).unwrap();
    }
    EventLog::parse(&writer.finish()).unwrap()
}

fn userspace(records: &[(u8, &str, &str)]) -> UserspaceLog {
    let record = |(pcr, kind, string): &(u8, &str, &str)| {
        let digest = hex::encode(hash(string.as_bytes()));
        format!(
            "\x1e{{\"pcr\":{pcr},\"digests\":[{{\"hashAlg\":\"sha256\",\"digest\":\"{digest}\"}}],\
             \"content_type\":\"systemd\",\"content\":{{\"string\":\"{string}\",\"eventType\":\"{kind}\"}}}}\n"
        )
    };
    UserspaceLog::parse(records.iter().map(record).collect::<String>().as_bytes()).unwrap()
}

/// Bytes of an IMA log of these names, all for one PCR, and what a bank is extended with for each.
fn ima(pcr: u32, names: &[&str]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat();
    let data = |name: &&str| {
        [sized(&[&b"sha256:\0"[..], &[7; 32]].concat()), sized(format!("{name}\0").as_bytes())].concat()
    };
    let data: Vec<Vec<u8>> = names.iter().map(data).collect();
    let record = |data: &Vec<u8>| {
        let template = HashAlg::Sha1.hash(&[data]).unwrap();
        [&pcr.to_le_bytes()[..], &template, &sized(b"ima-ng"), &sized(data)].concat()
    };
    (data.iter().flat_map(record).collect(), data)
}

fn alone(firmware: &EventLog) -> BootLogs<'_> {
    BootLogs { firmware, userspace: None, ima: None }
}

fn only(logs: &BootLogs<'_>, pcr: u8, seen: Vec<u8>) -> Difference {
    let comparison = logs.compare(ALG, &BTreeMap::from([(pcr, seen)]));
    assert_eq!((comparison.differences.len(), comparison.quirks.len()), (1, 0));
    comparison.differences.into_iter().next().unwrap()
}

fn agrees(logs: &BootLogs<'_>, pcr: u8, seen: Vec<u8>) -> bool {
    let comparison = logs.compare(ALG, &BTreeMap::from([(pcr, seen)]));
    comparison.differences.is_empty() && comparison.quirks.is_empty()
}

#[test]
fn userspace_follows_the_firmware_in_every_pcr() {
    let firmware = firmware(&[(5, EV_SEPARATOR, &[0; 4]), (11, EV_IPL, b".linux"), (4, EV_POST_CODE, b"x")]);
    let userspace =
        userspace(&[(11, "phase", "ready"), (5, "os-separator", "os-separator"), (15, "machine-id", "m")]);
    let logs = BootLogs { firmware: &firmware, userspace: Some(&userspace), ima: None };
    let expected = BTreeMap::from([
        (4, zeros(&[b"x"])),
        (5, zeros(&[&[0; 4], b"os-separator"])),
        (11, zeros(&[b".linux", b"ready"])),
        (15, zeros(&[b"m"])),
    ]);
    assert_eq!(logs.replay(ALG), expected);
    assert!(logs.replay(HashAlg::Sha1).is_empty());
    assert!(logs.compare(ALG, &expected).differences.is_empty());
    assert!(agrees(&logs, 12, vec![0; 32]) && agrees(&logs, 17, vec![0xff; 32]));
}

#[test]
fn a_pcr_without_events_must_hold_its_reset_value() {
    let firmware = firmware(&[(4, EV_POST_CODE, b"x")]);
    for (pcr, reset) in [(0, 0), (12, 0), (17, 0xff), (22, 0xff), (23, 0)] {
        let found = only(&alone(&firmware), pcr, vec![7; 32]);
        assert_eq!((found.cause, found.event, found.expected), (Cause::NoEvent, None, Some(vec![reset; 32])));
    }
}

#[test]
fn the_first_event_that_was_never_extended_is_named() {
    let firmware = firmware(&[(12, EV_POST_CODE, b"a"), (2, EV_POST_CODE, b"-"), (12, EV_POST_CODE, b"b")]);
    let userspace = userspace(&[(12, "phase", "c"), (12, "phase", "d")]);
    let logs = BootLogs { firmware: &firmware, userspace: Some(&userspace), ima: None };
    let measured: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
    let named =
        [(LogKind::Firmware, 0), (LogKind::Firmware, 2), (LogKind::Userspace, 0), (LogKind::Userspace, 1)];
    for (count, event) in named.into_iter().enumerate() {
        let found = only(&logs, 12, zeros(&measured[..count]));
        assert_eq!((found.cause, found.event), (Cause::NotExtended, Some(event)));
        assert_eq!(found.expected, Some(zeros(&measured)));
    }
    assert!(agrees(&logs, 12, zeros(&measured)));
}

#[test]
fn userspace_and_ima_explain_no_extend_of_a_firmware_pcr() {
    let firmware = firmware(&[(4, EV_POST_CODE, b"good")]);
    let hiding = userspace(&[(4, "os-separator", "os-separator"), (4, "os-separator", "evil")]);
    let logs = BootLogs { firmware: &firmware, userspace: Some(&hiding), ima: None };
    let found = only(&logs, 4, zeros(&[b"good", b"os-separator", b"evil"]));
    assert_eq!((found.cause, found.event), (Cause::Misplaced, Some((LogKind::Userspace, 1))));
    let (bytes, data) = ima(7, &["/init"]);
    let ima = ImaLog::parse(&bytes).unwrap();
    let logs = BootLogs { firmware: &firmware, userspace: None, ima: Some(&ima) };
    for seen in [zeros(&[]), zeros(&[&data[0]])] {
        let found = only(&logs, 7, seen);
        assert_eq!((found.cause, found.event), (Cause::Misplaced, Some((LogKind::Ima, 0))));
    }
    assert!(agrees(&logs, 4, zeros(&[b"good"])));
}

#[test]
fn the_event_that_lies_about_its_data_is_named() {
    let mut log = firmware(&[(4, EV_EFI_ACTION, b"a"), (4, EV_EFI_ACTION, b"b"), (4, EV_POST_CODE, b"c")]);
    log.events[1].digests[0].value = hash(b"evil");
    let found = only(&alone(&log), 4, zeros(&[b"a", b"b", b"c"]));
    assert_eq!((found.cause, found.event), (Cause::DataAltered, Some((LogKind::Firmware, 1))));
    let firmware = firmware(&[(4, EV_POST_CODE, b"x")]);
    let mut records = userspace(&[(11, "phase", "a"), (11, "volume-key", "b"), (11, "phase", "c")]);
    for record in &mut records.records[1..] {
        record.digests[0].value = hash(b"evil");
    }
    let logs = BootLogs { firmware: &firmware, userspace: Some(&records), ima: None };
    let found = only(&logs, 11, vec![7; 32]);
    assert_eq!(
        (found.cause, found.event),
        (Cause::DataAltered, Some((LogKind::Userspace, 2))),
        "a key is secret"
    );
}

#[test]
fn the_last_event_is_named_where_nothing_else_is_known() {
    let log = firmware(&[(4, EV_POST_CODE, b"a"), (4, EV_POST_CODE, b"b"), (5, EV_POST_CODE, b"c")]);
    let found = only(&alone(&log), 4, zeros(&[b"a", b"b", b"unlogged"]));
    assert_eq!((found.cause, found.event), (Cause::Unexplained, Some((LogKind::Firmware, 1))));
}

#[test]
fn a_log_without_the_bank_explains_nothing() {
    let mut log = firmware(&[(4, EV_POST_CODE, b"a")]);
    log.banks = vec![HashAlg::Sha1];
    let found = only(&alone(&log), 8, vec![0; 32]);
    assert_eq!((found.cause, found.expected, found.event), (Cause::BankMissing, None, None));
    let firmware = firmware(&[(4, EV_POST_CODE, b"a")]);
    let mut records = userspace(&[(11, "phase", "a")]);
    records.records[0].digests[0].alg = HashAlg::Sha1;
    let logs = BootLogs { firmware: &firmware, userspace: Some(&records), ima: None };
    assert_eq!(only(&logs, 11, zeros(&[b"a"])).cause, Cause::BankMissing);
    assert!(agrees(&logs, 4, zeros(&[b"a"])), "a PCR that the other log does not touch");
    assert!(logs.replay(ALG).is_empty());
}

#[test]
fn the_ima_log_may_run_ahead_of_the_quote() {
    let firmware = firmware(&[(4, EV_POST_CODE, b"x")]);
    let (bytes, data) = ima(10, &["boot_aggregate", "/init", "/sbin"]);
    let ima = ImaLog::parse(&bytes).unwrap();
    let logs = BootLogs { firmware: &firmware, userspace: None, ima: Some(&ima) };
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    for entries in 0..=3 {
        let comparison = logs.compare(ALG, &BTreeMap::from([(10, zeros(&data[..entries]))]));
        assert_eq!((comparison.differences.len(), comparison.ima_entries), (0, Some(entries)));
    }
    assert_eq!(logs.replay(ALG)[&10], zeros(&data));
    let comparison = logs.compare(ALG, &BTreeMap::from([(10, vec![7; 32])]));
    let found = &comparison.differences[0];
    assert_eq!((found.cause, found.event), (Cause::Unexplained, Some((LogKind::Ima, 2))));
    assert_eq!((found.expected.clone(), comparison.ima_entries), (Some(zeros(&data)), None));
}

#[test]
fn ima_goes_on_where_another_log_ended_and_padded_sha1_is_named() {
    let firmware = firmware(&[(11, EV_IPL, b".linux")]);
    let (bytes, data) = ima(11, &["/init"]);
    let ima = ImaLog::parse(&bytes).unwrap();
    let logs = BootLogs { firmware: &firmware, userspace: None, ima: Some(&ima) };
    let start = zeros(&[b".linux"]);
    assert!(agrees(&logs, 11, extend(&start, &[&data[0]])));
    assert_eq!(only(&logs, 11, vec![0; 32]).event, Some((LogKind::Firmware, 0)), "not even the firmware's");
    let mut padded = HashAlg::Sha1.hash(&[&data[0]]).unwrap();
    padded.resize(32, 0);
    let comparison = logs.compare(ALG, &BTreeMap::from([(11, ALG.hash(&[&start, &padded]).unwrap())]));
    assert_eq!((comparison.differences.len(), comparison.ima_entries), (0, Some(1)));
    assert_eq!(comparison.quirks, [Quirk::ImaPaddedSha1]);
}

#[test]
fn an_altered_ima_entry_is_named() {
    let firmware = firmware(&[(4, EV_POST_CODE, b"x")]);
    let (mut bytes, data) = ima(10, &["/init", "/sbin"]);
    let last = bytes.len() - 2;
    bytes[last] = b'!';
    let ima = ImaLog::parse(&bytes).unwrap();
    let logs = BootLogs { firmware: &firmware, userspace: None, ima: Some(&ima) };
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let found = only(&logs, 10, zeros(&data));
    assert_eq!((found.cause, found.event), (Cause::DataAltered, Some((LogKind::Ima, 1))));
}

#[test]
fn missing_exit_boot_services_is_assumed_only_where_it_fits() {
    let log = firmware(&[(5, EV_SEPARATOR, &[0; 4])]);
    let records = userspace(&[(5, "os-separator", "os-separator")]);
    let logs = BootLogs { firmware: &log, userspace: Some(&records), ima: None };
    let variants: [&[&[u8]]; 3] =
        [&[INVOCATION, SUCCESS], &[INVOCATION, FAILURE], &[INVOCATION, FAILURE, SUCCESS]];
    for actions in variants {
        let measured = [&[&[0; 4][..]][..], actions].concat();
        for (logs, measured) in
            [(alone(&log), measured.clone()), (logs, [&measured[..], &[b"os-separator"]].concat())]
        {
            let comparison = logs.compare(ALG, &BTreeMap::from([(5, zeros(&measured))]));
            assert_eq!(comparison.differences, []);
            let [Quirk::ExitBootServicesMissing { actions: named }] = comparison.quirks[..] else { panic!() };
            assert!(named.iter().map(|action| action.as_bytes()).eq(actions.iter().copied()));
        }
    }
    let separator: &[u8] = &[0; 4];
    assert_eq!(only(&logs, 5, zeros(&[separator, INVOCATION])).cause, Cause::Unexplained);
    assert!(agrees(&logs, 5, zeros(&[separator, b"os-separator"])), "nothing missing, nothing assumed");
    let present =
        firmware(&[(5, EV_SEPARATOR, &[0; 4]), (5, EV_EFI_ACTION, INVOCATION), (5, EV_EFI_ACTION, SUCCESS)]);
    let twice = zeros(&[separator, INVOCATION, SUCCESS, INVOCATION, SUCCESS]);
    assert_eq!(only(&alone(&present), 5, twice).cause, Cause::Unexplained);
    let elsewhere = firmware(&[(6, EV_SEPARATOR, &[0; 4])]);
    assert_eq!(only(&alone(&elsewhere), 6, zeros(&[separator, INVOCATION, SUCCESS])).pcr, 6);
}
