//! The data folder: JSON and exit code of every case are what the case expects.

use std::ffi::{OsStr, OsString};
use std::process::Command;

use serde_json::Value;

use crate::{Files, cases, code, file, folder, good_pair, json, verify_gpu, words};

/// Keys that the JSON always has.
const PROMISED: [&str; 10] = [
    "signature",
    "chain",
    "fwid",
    "vbios",
    "driver",
    "project",
    "project_sku",
    "chip_sku",
    "device_serial",
    "request_nonce",
];

/// What the JSON has for a key of `expected`.
fn seen<'a>(device: &'a Value, key: &str) -> Option<&'a Value> {
    device["checks"].get(key).map(|check| &check["result"]).or_else(|| device["facts"].get(key))
}

#[test]
fn every_case_is_judged_as_it_says() {
    let files = Files::new();
    for case in cases(&files) {
        let (judged, code) = json(&case.args);
        let (name, devices) = (&case.json["name"], judged["devices"].as_array().unwrap());
        assert_eq!((judged["schema"].as_u64(), devices.len()), (Some(1), 1), "{name}");
        assert_eq!(devices[0]["arch"], case.json["arch"], "{name}");
        for (key, expected) in case.json["expected"].as_object().unwrap() {
            match seen(&devices[0], key) {
                Some(seen) => assert_eq!(seen, expected, "{name} {key}"),
                None => assert!(!PROMISED.contains(&key.as_str()), "{name} {key}"),
            }
        }
        assert_eq!(code, Some(i32::from(!case.is_good())), "{name}");
    }
}

#[test]
fn a_nonce_is_the_one_that_the_report_answers() {
    let files = Files::new();
    for case in cases(&files) {
        let Some(nonce) = case.expected("request_nonce").as_str() else { continue };
        let with = |nonce: &str| [case.args.clone(), words([&"--nonce", &nonce])].concat();
        let (judged, good) = json(&with(nonce));
        assert_eq!(judged["devices"][0]["checks"]["nonce"]["result"], case.answers_its_bundle());
        assert_eq!(good, Some(i32::from(!case.is_good())));
        let other: String = nonce.chars().rev().collect();
        let (judged, bad) = json(&with(&other));
        assert_eq!((&judged["devices"][0]["checks"]["nonce"]["result"], bad), (&Value::Bool(false), Some(1)));
        let (judged, _) = json(&case.args);
        let unasked = if case.answers_its_bundle() { Value::Null } else { false.into() };
        assert_eq!(judged["devices"][0]["checks"]["nonce"]["result"], unasked);
    }
}

/// Authorities of devices are old; before them no chain holds, and in a far future every one that holds today.
#[test]
fn a_chain_is_judged_at_the_time_given() {
    let files = Files::new();
    for case in cases(&files).iter().filter(|case| case.expected("chain") == true) {
        let at = |time: &str| json(&[case.args.clone(), words([&"--time", &time])].concat());
        let (early, code) = at("1999-01-01T00:00:00Z");
        assert_eq!((&early["devices"][0]["checks"]["chain"]["result"], code), (&Value::Bool(false), Some(1)));
        let (late, _) = at("9000-01-01T00:00:00Z");
        assert_eq!(late["devices"][0]["checks"]["chain"]["result"], true);
    }
}

#[test]
fn reference_values_are_compared_where_they_apply() {
    let (Some(folder), Some(file)) = (folder(), file()) else { return };
    let files = Files::new();
    let cases = cases(&files);
    for row in file["measurements"].as_array().unwrap() {
        let Some(case) = cases.iter().find(|case| case.json["name"] == row["case"]) else { continue };
        let rim = &file["rims"].as_array().unwrap().iter().find(|rim| rim["file"] == row["rim"]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let source = folder.join(row["rim"].as_str().unwrap());
        std::fs::copy(&source, dir.path().join(source.file_name().unwrap())).unwrap();
        let at = rim["time"].as_str().unwrap();
        let with = [case.args.clone(), words([&"--rims", &dir.path(), &"--time", &at])].concat();
        let (judged, exit) = json(&with);
        let measurements = &judged["devices"][0]["checks"]["measurements"];
        let equal = row["mismatched_rows"].as_array().unwrap().is_empty();
        assert_eq!(measurements["result"], equal, "{row}");
        assert_eq!(measurements["compared"], row["compared"], "{row}");
        assert_eq!(measurements["mismatched_rows"], row["mismatched_rows"], "{row}");
        assert_eq!(exit, Some(i32::from(!(equal && case.is_good()))), "{row}");
        for part in measurements["rims"].as_array().unwrap() {
            let signer = if part["compared"] == 0 { Value::Null } else { "unchecked".into() };
            assert_eq!(part["signer"], signer, "no answer is at hand: {part}");
        }
        let reason = measurements["reason"].as_str().unwrap();
        assert!(reason.contains("signer is revoked was not checked"), "{reason}");
        let complete = measurements["complete"] == true;
        let page = String::from_utf8(verify_gpu(&with).stdout).unwrap();
        let said = page.lines().any(|line| line.contains("measurements "));
        assert_eq!(said, !(equal && complete), "what differs or is missing is said: {page}");
        let late =
            [case.args.clone(), words([&"--rims", &dir.path(), &"--time", &"9000-01-01T00:00:00Z"])].concat();
        assert_eq!(
            json(&late).0["devices"][0]["checks"]["measurements"]["result"],
            Value::Null,
            "expired: {row}"
        );
    }
}

/// A validator's directory, reference values in its reduced form, a device.
#[test]
fn reduced_reference_values_count_for_whoever_believes_their_signer() {
    let (Some(folder), Some(file)) = (folder(), file()) else { return };
    let files = Files::new();
    let dir = |name: &str| files.dir.path().join(name);
    let assay = |args: &[&dyn AsRef<OsStr>]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assay-validator"));
        let status = command.args(args.iter().map(|arg| arg.as_ref())).output().unwrap();
        assert_eq!(status.status.code(), Some(0), "{}", String::from_utf8_lossy(&status.stderr));
    };
    for name in ["ours", "theirs"] {
        assay(&[&"init", &dir(name)]);
    }
    let cases = cases(&files);
    let is_equal = |row: &&Value| row["mismatched_rows"].as_array().unwrap().is_empty();
    let Some(row) = file["measurements"].as_array().unwrap().iter().find(is_equal) else { return };
    let rim = file["rims"].as_array().unwrap().iter().find(|rim| rim["file"] == row["rim"]).unwrap();
    let (source, at) = (folder.join(row["rim"].as_str().unwrap()), rim["time"].as_str().unwrap());
    let key = dir("ours").join("validator.key");
    assay(&[&"rim", &"import", &source, &"--out", &dir("reduced"), &"--key", &key, &"--time", &at]);
    let case = cases.iter().find(|case| case.json["name"] == row["case"]).unwrap();
    let against = |more: Vec<OsString>| {
        let args = [case.args.clone(), words([&"--rims", &dir("reduced"), &"--time", &at]), more].concat();
        let judged = json(&args).0;
        (judged["devices"][0]["checks"]["measurements"]["result"].clone(), judged["refused_rims"].is_array())
    };
    let trust = |name: &str| words([&"--trust", &dir(name).join("trust.toml")]);
    assert_eq!(against(trust("ours")), (true.into(), false));
    assert_eq!(against(trust("theirs")), (Value::Null, true), "a validator that nobody here believes");
    assert_eq!(against(Vec::new()), (Value::Null, true), "no trust file");
}

#[test]
fn an_answer_that_cannot_be_read_is_said_and_proves_nothing() {
    let files = Files::new();
    let Some(case) = good_pair(&files) else { return };
    let with = [case.args, words([&"--ocsp", &files.put("ocsp", b"\x30\x03\x0a\x01\x00")])].concat();
    let (judged, code) = json(&with);
    let device = &judged["devices"][0];
    assert_eq!((&device["checks"]["revocation"]["result"], code), (&Value::Null, Some(0)), "{judged:#}");
    assert!(
        device["findings"].as_array().unwrap().iter().any(|finding| finding["id"] == "ocsp-unread"),
        "{judged:#}"
    );
}

#[test]
fn a_device_is_of_the_architecture_that_its_certificate_says() {
    let files = Files::new();
    let Some(case) = good_pair(&files) else { return };
    for arch in ["hopper", "blackwell", "ls10"] {
        let (judged, code) = json(&[case.args.clone(), words([&"--arch", &arch])].concat());
        let right = case.json["arch"] == arch.to_uppercase();
        assert_eq!(judged["devices"][0]["checks"]["chain"]["result"], right, "{arch}");
        assert_eq!(code, Some(i32::from(!right)), "{arch}");
    }
}

#[test]
fn raw_bytes_are_as_good_as_hexadecimal_ones() {
    let files = Files::new();
    for case in cases(&files).iter().filter(|case| case.json.get("report").is_some()) {
        let text = std::fs::read_to_string(case.path("report").unwrap()).unwrap();
        let raw = files.put("report.bin", hex::decode(text.trim()).unwrap());
        let chain = case.path("chain").unwrap();
        let args = words([&"--report", &raw, &"--chain", &chain]);
        assert_eq!(json(&args), json(&case.args));
        assert_eq!(code(&args), Some(i32::from(!case.is_good())));
    }
}

/// The README's commands, as they stand there.
#[test]
fn the_readmes_commands_do_what_they_promise() {
    let Some(folder) = folder() else { return };
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("$V verify-gpu ")).collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    let missing = |file: &str| file.starts_with("$G/") && !folder.join(&file[3..]).exists();
    if let Some(file) = commands.iter().flat_map(|line| line.split_whitespace()).find(|file| missing(file)) {
        eprintln!("SKIPPED: the test data has no {file}");
        return;
    }
    for command in commands {
        let word = |word: &str| {
            word.strip_prefix("$G/").map_or_else(|| word.into(), |file| folder.join(file).into())
        };
        let args: Vec<OsString> =
            command.split_whitespace().filter(|word| *word != "--json").map(word).collect();
        let (judged, code) = json(&args);
        assert_eq!(code, Some(0), "{command}: {judged:#}");
        let asked = |name: &str| command.contains(name).then_some(true);
        for device in judged["devices"].as_array().unwrap() {
            for (check, due) in [
                ("signature", Some(true)),
                ("chain", Some(true)),
                ("nonce", asked("--nonce")),
                ("measurements", asked("--rims")),
            ] {
                let result = &device["checks"][check]["result"];
                assert!(due.is_none() || result.as_bool() == due, "{command}: {check} {result}");
            }
        }
    }
}
