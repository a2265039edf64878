//! Real logs: everything that the test data's `expected.json` and `cases.json` say about them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assay_boot::{BootError, EventLog, Format, HashAlg, Quirk, compare, secure_boot};
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
