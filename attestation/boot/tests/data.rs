//! Real logs: everything that the test data's `expected.json` and `cases.json` say about them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assay_boot::{
    BootError, BootLogs, Cause, EventLog, Format, HashAlg, ImaFormat, ImaLog, LogKind, Quirk, Rule,
    UserspaceLog, compare, secure_boot,
};
use serde_json::Value;

/// The `attestation` folder of the test data, or `None` after a SKIPPED line.
fn attestation() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root = std::env::var_os("ASSAY_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let folder = root.join("attestation");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no test data (set ASSAY_DATA)");
    None
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn parse(folder: &Path, name: &str) -> Result<EventLog, BootError> {
    EventLog::parse(&std::fs::read(folder.join(name)).unwrap())
}

fn alg(name: &str) -> HashAlg {
    let known = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    known.into_iter().find(|alg| alg.name() == name).unwrap()
}

fn strings(values: &BTreeMap<u8, Vec<u8>>) -> BTreeMap<String, String> {
    values.iter().map(|(pcr, value)| (pcr.to_string(), hex::encode(value))).collect()
}

fn expected_strings(values: &Value) -> BTreeMap<String, String> {
    let rows = values.as_object().unwrap().iter();
    rows.map(|(pcr, value)| (pcr.clone(), value.as_str().unwrap().to_owned())).collect()
}

fn check(name: &str, log: &EventLog, expected: &Value) {
    assert_eq!(log.format.name(), expected["format"], "{name}");
    assert_eq!(log.events.len() as u64, expected["event_count"], "{name}");
    assert_eq!(u64::from(log.startup_locality), expected["startup_locality"], "{name}");
    assert_eq!(secure_boot(log), expected["secure_boot"].as_bool(), "{name}");
    assert_eq!(log.tail_bytes() as u64, expected["tail_bytes"].as_u64().unwrap_or(0), "{name}");
    let banks = expected["banks"].as_object().unwrap();
    assert_eq!(log.banks.len(), banks.len(), "{name}");
    for (bank, values) in banks {
        assert!(log.banks.contains(&alg(bank)), "{name} {bank}");
        assert_eq!(strings(&log.replay(alg(bank))), expected_strings(values), "{name} {bank}");
    }
}

#[test]
fn every_log_parses_and_replays_as_expected() {
    let Some(folder) = attestation() else { return };
    let expected = json(&folder.join("expected.json"));
    for (name, expected) in expected["logs"].as_object().unwrap() {
        match (expected["verdict"].as_str().unwrap(), parse(&folder, name)) {
            ("ok", log) => check(name, &log.unwrap_or_else(|e| panic!("{name}: {e}")), expected),
            ("either", Ok(log)) => check(name, &log, expected),
            ("either", Err(_)) => {}
            ("refuse", log) => assert!(log.is_err(), "{name}"),
            (other, _) => panic!("{name}: unknown verdict {other}"),
        }
    }
}

#[test]
fn every_deviation_is_declared() {
    let Some(folder) = attestation() else { return };
    let expected = json(&folder.join("expected.json"));
    for (name, expected) in expected["logs"].as_object().unwrap() {
        let Ok(log) = parse(&folder, name) else { continue };
        let banks = expected["banks"].as_object().unwrap();
        let touched = log.extended().next().is_some();
        for (bank, values) in banks {
            let empty = touched && values.as_object().unwrap().is_empty();
            let incomplete = |quirk: &Quirk| matches!(quirk, Quirk::BankIncomplete { alg: lacking, .. } if *lacking == alg(bank));
            assert_eq!(log.quirks.iter().any(incomplete), empty, "{name} {bank}");
        }
    }
}

fn quoted(case: &Value, bank: &str) -> BTreeMap<String, String> {
    case["pcrs"].get(bank).map(expected_strings).unwrap_or_default()
}

/// Whether the log replays, in every bank quoted and carried, to all PCRs that it touches; checks
/// each PCR against `replay`'s rows on the way.
fn replays(case: &Value, name: &str, log: &EventLog) -> bool {
    let rows = &case["expected"]["replay"][name];
    let mut all = !rows.as_object().unwrap().is_empty();
    for (bank, row) in rows.as_object().unwrap() {
        let (values, pcrs) = (strings(&log.replay(alg(bank))), quoted(case, bank));
        let (matched, mismatched): (Vec<_>, Vec<_>) = values
            .iter()
            .filter(|(pcr, _)| pcrs.contains_key(*pcr))
            .partition(|(pcr, value)| pcrs.get(*pcr) == Some(*value));
        let indices = |rows: Vec<(&String, &String)>| {
            let mut rows: Vec<u8> = rows.iter().map(|(pcr, _)| pcr.parse().unwrap()).collect();
            rows.sort_unstable();
            rows.iter().map(u8::to_string).collect::<Vec<_>>()
        };
        all &= mismatched.is_empty() && matched.len() == values.len();
        assert_eq!(serde_json::json!(indices(matched)), row["matched"], "{name} {bank}");
        assert_eq!(serde_json::json!(indices(mismatched)), row["mismatched"], "{name} {bank}");
    }
    all
}

#[test]
fn quoted_values_accept_the_log_of_this_boot_and_no_other() {
    let Some(folder) = attestation() else { return };
    let cases = json(&folder.join("cases.json"));
    for case in cases["cases"].as_array().unwrap() {
        let Some(logs) = case["eventlogs"].as_array() else { continue };
        let names: Vec<&str> = logs.iter().map(|name| name.as_str().unwrap()).collect();
        let good = |name: &&&str| parse(&folder, name).is_ok_and(|log| replays(case, name, &log));
        // All are judged, so that `replay` is checked for each; the last good one is this boot's.
        let good: Vec<&&str> = names.iter().filter(good).collect();
        let current = good.last();
        let expected = &case["expected"];
        assert_eq!(current.map(|name| Value::from(**name)).unwrap_or_default(), expected["current_log"]);
        let verdict = if names.is_empty() {
            "none"
        } else if current.is_some() {
            "accept"
        } else {
            "reject"
        };
        assert_eq!(verdict, expected["boot_log"], "{}", case["name"]);
    }
}

/// The quoted SHA-256 values of the PCRs that `keep` wants.
fn sha256_pcrs(case: &Value, keep: impl Fn(u8) -> bool) -> BTreeMap<u8, [u8; 32]> {
    let rows = quoted(case, "sha256");
    let parsed = rows.iter().map(|(pcr, value)| {
        let value: [u8; 32] = hex::decode(value).unwrap().try_into().unwrap();
        (pcr.parse().unwrap(), value)
    });
    parsed.filter(|(pcr, _)| keep(*pcr)).collect()
}

#[test]
fn comparing_names_exactly_the_pcrs_that_the_log_does_not_explain() {
    let Some(folder) = attestation() else { return };
    let cases = json(&folder.join("cases.json"));
    for case in cases["cases"].as_array().unwrap() {
        for name in case["eventlogs"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            let log = parse(&folder, name).unwrap();
            // PCR 10 is the operating system's: its log is another one.
            let rows = compare(&log, &sha256_pcrs(case, |pcr| pcr != 10));
            let wrong: Vec<String> = rows.iter().map(|row| row.pcr.to_string()).collect();
            let expected = &case["expected"]["replay"][name]["sha256"]["mismatched"];
            assert_eq!(&serde_json::json!(wrong), expected, "{name}");
        }
    }
}

#[test]
fn no_cut_of_a_real_log_panics_or_reads_as_the_whole() {
    let Some(folder) = attestation() else { return };
    let expected = json(&folder.join("expected.json"));
    for name in expected["logs"].as_object().unwrap().keys() {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let Ok(whole) = EventLog::parse(&bytes) else { continue };
        for cut in (0..bytes.len()).step_by(7) {
            assert_ne!(EventLog::parse(&bytes[..cut]).as_ref(), Ok(&whole), "{name} {cut}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(EventLog::parse(&longer).is_err(), "{name}: a trailing byte");
    }
}

#[test]
fn the_appliances_firmware_log_replays_to_its_pcrs() {
    let Some(folder) = attestation() else { return };
    if !folder.join("appliance").is_dir() {
        eprintln!("SKIPPED: the test data has no appliance");
        return;
    }
    let log = parse(&folder, "appliance/binary_bios_measurements").unwrap();
    assert_eq!((log.format, secure_boot(&log)), (Format::CryptoAgile, Some(true)));
    let case = json(&folder.join("appliance/pcrs.json"));
    // The userspace log goes on in PCRs 9, 11 and 15, IMA in 10.
    let firmware = sha256_pcrs(&case, |pcr| !matches!(pcr, 9..=11 | 15));
    assert!(firmware.len() >= 8);
    assert_eq!(compare(&log, &firmware), []);
    let all = compare(&log, &sha256_pcrs(&case, |_| true));
    assert!(all.iter().all(|row| matches!(row.pcr, 9..=11 | 15)), "{all:?}");
    assert!(!all.is_empty());
}

/// Quoted values of one bank, as [`BootLogs::compare`] takes them.
fn bank_pcrs(case: &Value, bank: HashAlg) -> BTreeMap<u8, Vec<u8>> {
    let rows = quoted(case, bank.name()).into_iter();
    rows.map(|(pcr, value)| (pcr.parse().unwrap(), hex::decode(value).unwrap())).collect()
}

#[test]
fn both_logs_of_the_appliance_replay_to_its_pcrs() {
    let Some(folder) = attestation() else { return };
    if !folder.join("appliance").is_dir() {
        eprintln!("SKIPPED: the test data has no appliance");
        return;
    }
    let firmware = parse(&folder, "appliance/binary_bios_measurements").unwrap();
    let bytes = std::fs::read(folder.join("appliance/tpm2-measure.log")).unwrap();
    let userspace = UserspaceLog::parse(&bytes).unwrap();
    let secret = |kind: &str| kind.starts_with("volume-key") || kind.starts_with("keyslot");
    for record in &userspace.records {
        let kind = record.systemd().unwrap().event_type.as_deref().unwrap();
        assert_eq!(record.is_measured(), !secret(kind), "{kind}");
    }
    let logs = BootLogs { firmware: &firmware, userspace: Some(&userspace), ima: None };
    let pcrs = bank_pcrs(&json(&folder.join("appliance/pcrs.json")), HashAlg::Sha256);
    let comparison = logs.compare(HashAlg::Sha256, &pcrs);
    // IMA's PCR: its log is not part of the data.
    let wrong: Vec<(u8, Cause)> = comparison.differences.iter().map(|row| (row.pcr, row.cause)).collect();
    assert_eq!(wrong, [(10, Cause::NoEvent)]);
    assert_eq!((comparison.quirks, comparison.ima_entries), (vec![], None));
    for (pcr, value) in logs.replay(HashAlg::Sha256) {
        assert_eq!(pcrs.get(&pcr), Some(&value), "PCR {pcr}");
    }
    assert_eq!(firmware.violations(), []);
    // Each record's loss is found, and named unless it is the last of its PCR.
    for (index, record) in userspace.records.iter().enumerate() {
        let mut shorter = userspace.clone();
        shorter.records.remove(index);
        let logs = BootLogs { userspace: Some(&shorter), ..logs };
        let comparison = logs.compare(HashAlg::Sha256, &pcrs);
        let lost = comparison.differences.iter().find(|row| Some(row.pcr) == record.pcr());
        assert_eq!(lost.map(|row| row.cause), Some(Cause::Unexplained), "{index}");
    }
}

#[test]
fn a_userspace_event_that_was_not_extended_is_named() {
    let Some(folder) = attestation() else { return };
    let Ok(bytes) = std::fs::read(folder.join("appliance/tpm2-measure.log")) else { return };
    let firmware = parse(&folder, "appliance/binary_bios_measurements").unwrap();
    let whole = UserspaceLog::parse(&bytes).unwrap();
    let pcrs = bank_pcrs(&json(&folder.join("appliance/pcrs.json")), HashAlg::Sha256);
    let extra = whole.records.iter().rev().find(|record| record.pcr() == Some(11)).unwrap().clone();
    let mut longer = whole.clone();
    longer.records.push(extra);
    let logs = BootLogs { firmware: &firmware, userspace: Some(&longer), ima: None };
    let comparison = logs.compare(HashAlg::Sha256, &pcrs);
    let row = comparison.differences.iter().find(|row| row.pcr == 11).unwrap();
    let event = Some((LogKind::Userspace, whole.records.len()));
    assert_eq!((row.cause, row.event, &row.seen), (Cause::NotExtended, event, &pcrs[&11]));
}

#[test]
fn joined_comparison_agrees_with_every_case() {
    let Some(folder) = attestation() else { return };
    let cases = json(&folder.join("cases.json"));
    for case in cases["cases"].as_array().unwrap() {
        for name in case["eventlogs"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            let firmware = parse(&folder, name).unwrap();
            let logs = BootLogs { firmware: &firmware, userspace: None, ima: None };
            for (bank, row) in case["expected"]["replay"][name].as_object().unwrap() {
                let bank = alg(bank);
                // PCR 10 is the operating system's.
                let mut pcrs = bank_pcrs(case, bank);
                pcrs.remove(&10);
                let comparison = logs.compare(bank, &pcrs);
                let wrong: Vec<String> =
                    comparison.differences.iter().map(|row| row.pcr.to_string()).collect();
                assert_eq!(serde_json::json!(wrong), row["mismatched"], "{name}");
                assert!(comparison.differences.iter().all(|row| row.event.is_some()), "{name}");
                assert_eq!(comparison.quirks, [], "{name}");
            }
        }
    }
}

#[test]
fn a_log_that_ends_before_exit_boot_services_is_completed_by_name() {
    let Some(folder) = attestation() else { return };
    let expected = json(&folder.join("expected.json"));
    for name in expected["logs"].as_object().unwrap().keys() {
        let Ok(firmware) = parse(&folder, name) else { continue };
        let alg = *firmware.banks.iter().find(|alg| firmware.carries(**alg)).unwrap();
        let logs = BootLogs { firmware: &firmware, userspace: None, ima: None };
        let Some(mut value) = logs.replay(alg).remove(&5) else { continue };
        for action in ["Exit Boot Services Invocation", "Exit Boot Services Returned with Success"] {
            value = alg.hash(&[&value, &alg.hash(&[action.as_bytes()]).unwrap()]).unwrap();
        }
        let comparison = logs.compare(alg, &BTreeMap::from([(5, value)]));
        let has = firmware.events.iter().any(|event| event.data == b"Exit Boot Services Invocation");
        let names: Vec<&str> = comparison.quirks.iter().map(Quirk::name).collect();
        assert_eq!((comparison.differences.len(), names.is_empty()), (usize::from(has), has), "{name}");
    }
}

#[test]
fn no_real_log_hides_a_second_separator_of_pcr_7_or_lies_about_data() {
    let Some(folder) = attestation() else { return };
    let expected = json(&folder.join("expected.json"));
    for name in expected["logs"].as_object().unwrap().keys() {
        let Ok(log) = parse(&folder, name) else { continue };
        for violation in log.violations() {
            assert!(
                !matches!(violation.rule, Rule::DataAltered | Rule::SeparatorAltered),
                "{name} {violation:?}"
            );
            assert!(violation.pcr != 7 || violation.event.is_none(), "{name} {violation:?}");
        }
    }
}

/// The files of the `ima` folder: name and bytes.
fn ima_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(files) = std::fs::read_dir(folder.join("ima")) else {
        eprintln!("SKIPPED: the test data has no IMA logs");
        return Vec::new();
    };
    let read = |path: PathBuf| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
    };
    files.map(|file| read(file.unwrap().path())).collect()
}

/// What the manifest says about a file.
fn manifest(folder: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(folder.join("MANIFEST.md")).unwrap();
    let row = text.lines().find(|line| line.starts_with(&format!("| {name} |")));
    row.and_then(|row| row.trim_end_matches(" |").rsplit(" | ").next()).unwrap_or_default().to_owned()
}

/// The word behind `key` in a sentence.
fn word<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_once(key)?.1.split([' ', ',', ';', '(']).next()
}

#[test]
fn every_ima_log_is_judged_as_the_manifest_says() {
    let Some(folder) = attestation() else { return };
    for (name, bytes) in ima_files(&folder) {
        let meaning = manifest(&folder, &format!("ima/{name}"));
        if meaning.starts_with("PCR values") {
            continue;
        }
        if meaning.contains("EXPECT reject") {
            assert!(ImaLog::parse(&bytes).is_err(), "{name}");
            continue;
        }
        let log = ImaLog::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(log.first_altered(), None, "{name}");
        let pcr10 = |key| word(meaning.split_once("PCR10")?.1, key);
        for (alg, value) in [(HashAlg::Sha1, pcr10("sha1 ")), (HashAlg::Sha256, pcr10("sha256 "))] {
            let Some(value) = value else { continue };
            assert_eq!(hex::encode(&log.replay(alg)[&10]), value, "{name}");
            let prefix = log.matching_prefix(alg, 10, &hex::decode(value).unwrap()).unwrap();
            assert_eq!((prefix.entries, prefix.quirk), (log.len(), None), "{name}");
        }
        if let Some(count) =
            meaning.split_once(" ima-ng entries").and_then(|(head, _)| head.rsplit(' ').next())
        {
            assert_eq!(log.len().to_string(), count, "{name}");
        }
        if let Some(count) = meaning.split_once(" violations").and_then(|(head, _)| head.rsplit(' ').next()) {
            assert_eq!(
                log.entries().filter(|entry| entry.is_violation()).count().to_string(),
                count,
                "{name}"
            );
        }
    }
}

#[test]
fn boot_aggregates_follow_from_the_firmware_logs_beside_them() {
    let Some(folder) = attestation() else { return };
    let mut paired = 0;
    let firmware: Vec<(String, EventLog)> = std::fs::read_dir(folder.join("eventlogs"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter_map(|path| {
            let log = EventLog::parse(&std::fs::read(&path).unwrap()).ok()?;
            Some((path.file_name().unwrap().to_str().unwrap().to_owned(), log))
        })
        .collect();
    for (name, bytes) in ima_files(&folder) {
        let Ok(log) = ImaLog::parse(&bytes) else { continue };
        // The firmware log of the same machine has the same stem, or ends alike.
        let stem = name.split('.').next().unwrap();
        let tail = name.rsplit_once("measurements-").map_or("\0", |(_, tail)| tail);
        for (other, firmware) in &firmware {
            if other.contains(stem) || other.ends_with(tail) {
                assert_eq!(log.follows(firmware), Some(true), "{name} after {other}");
                paired += 1;
            } else {
                assert_ne!(log.follows(firmware), Some(true), "{name} after {other}");
            }
        }
    }
    assert!(paired > 0 || ima_files(&folder).is_empty());
}

#[test]
fn both_forms_of_an_ima_log_say_the_same() {
    let Some(folder) = attestation() else { return };
    let files = ima_files(&folder);
    for (name, bytes) in &files {
        let Ok(binary) = ImaLog::parse(bytes) else { continue };
        let Some(other) = name.contains("binary").then(|| name.replace("binary", "ascii")) else { continue };
        let Some((_, text)) = files.iter().find(|(name, _)| *name == other) else { continue };
        let ascii = ImaLog::parse(text).unwrap();
        assert_eq!((binary.format(), ascii.format()), (ImaFormat::Binary, ImaFormat::Ascii));
        // The one may have been read a little later than the other.
        assert!(binary.entries().zip(ascii.entries()).all(|(one, other)| one == other), "{name}");
    }
}

#[test]
fn pcr_values_beside_an_ima_log_are_those_of_its_firmware_log() {
    let Some(folder) = attestation() else { return };
    for (name, bytes) in ima_files(&folder) {
        if !manifest(&folder, &format!("ima/{name}")).starts_with("PCR values") {
            continue;
        }
        let text = String::from_utf8(bytes).unwrap();
        let bank = alg(text.lines().next().unwrap().rsplit(' ').next().unwrap());
        let rows = text.lines().skip(1).map(|line| line.split_once(": ").unwrap());
        let pcrs: BTreeMap<u8, Vec<u8>> =
            rows.map(|(pcr, value)| (pcr.parse().unwrap(), hex::decode(value).unwrap())).collect();
        let Some((_, tail)) = name.split_once("pcrs-") else { continue };
        let mut firmware =
            std::fs::read_dir(folder.join("eventlogs")).unwrap().map(|file| file.unwrap().path());
        let Some(firmware) = firmware.find(|path| path.to_str().unwrap().ends_with(tail)) else { continue };
        let firmware = EventLog::parse(&std::fs::read(firmware).unwrap()).unwrap();
        let logs = BootLogs { firmware: &firmware, userspace: None, ima: None };
        let comparison = logs.compare(bank, &pcrs);
        let wrong: Vec<u8> = comparison.differences.iter().map(|row| row.pcr).collect();
        assert_eq!(wrong, [10], "{name}: its IMA log goes on");
    }
}
