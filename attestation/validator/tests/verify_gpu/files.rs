//! Files that are no evidence, and arguments that make no sense: codes and lines.

use std::fs::File;
use std::path::Path;

use serde_json::{Value, json as object};

use crate::{Case, Files, code, entries, good_pair, json, refused, words};

const NONCE: &str = "00";

#[test]
fn arguments_are_checked_first() {
    let files = Files::new();
    let file = files.put("x", b"x");
    for args in [
        words([]),
        words([&"--report", &file]),
        words([&"--chain", &file]),
        words([&"--bundle", &file, &"--report", &file, &"--chain", &file]),
        words([&"--bundle", &file, &"--arch", &"hopper"]),
        words([&"--bundle", &file, &"--nonce", &NONCE]),
        words([&"--bundle", &file, &"--nonce", &"zz".repeat(32)]),
        words([&"--bundle", &file, &"--nonce", &"00".repeat(33)]),
        words([&"--bundle", &file, &"--time", &"yesterday"]),
        words([&"--bundle", &file, &"--trust", &file]),
        words([&"--report", &file, &"--chain", &file, &"--arch", &"maxwell"]),
        words([&"--bundle", &file, &file]),
    ] {
        assert_eq!(code(&args), Some(2), "{args:?}");
    }
}

#[test]
fn files_that_cannot_be_read_end_with_3() {
    let files = Files::new();
    let (file, dir) = (files.put("x", b"x"), files.dir.path());
    for args in [
        words([&"--bundle", &"/nowhere"]),
        words([&"--bundle", &dir]),
        words([&"--report", &"/nowhere", &"--chain", &file]),
        words([&"--report", &file, &"--chain", &"/nowhere"]),
        words([&"--bundle", &file, &"--rims", &"/nowhere"]),
        words([&"--bundle", &file, &"--rims", &file]),
    ] {
        assert_eq!(code(&args), Some(3), "{args:?}");
    }
    let Some(case) = good_pair(&files) else { return };
    let with = |more| [case.args.clone(), more].concat();
    assert_eq!(code(with(words([&"--ocsp", &"/nowhere"]))), Some(3));
    assert_eq!(code(with(words([&"--cache", &file.join("below")]))), Some(3));
}

#[test]
fn bytes_that_are_no_bundle_are_refused_in_one_line() {
    let files = Files::new();
    let deep = "[".repeat(100_000);
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("blank", b" \n"),
        ("object", b"{}"),
        ("number", b"7"),
        ("none", b"[]"),
        ("null", b"[null]"),
        ("no-keys", b"[{}]"),
        ("binary", &[0xff, 0x00, 0x7f, 0x80]),
        ("cut", b"[{\"arch\": \"HOPP"),
        ("two", b"[] []"),
        ("deep", deep.as_bytes()),
    ] {
        let line = refused(&words([&"--bundle", &files.put(name, bytes)]));
        assert!(line.contains(&format!("{name}: ")), "{line}");
    }
}

#[test]
fn with_json_an_undecodable_file_still_gives_an_object() {
    let files = Files::new();
    let (value, code) = json(&words([&"--bundle", &files.put("x", b"{}")]));
    assert_eq!((&value["devices"], code), (&object!([]), Some(1)));
    assert!(value["error"].as_str().is_some_and(|line| !line.is_empty()), "{value}");
}

#[test]
fn what_is_longer_than_its_kind_may_be_is_not_read() {
    let files = Files::new();
    let big = files.put("big", b"");
    File::options().write(true).open(&big).unwrap().set_len(1 << 40).unwrap();
    assert!(refused(&words([&"--bundle", &big])).contains("more than"));
    let Some(case) = good_pair(&files) else { return };
    let (report, chain) = (case.path("report").unwrap(), case.path("chain").unwrap());
    assert!(refused(&words([&"--report", &big, &"--chain", &chain])).contains("more than"));
    assert!(refused(&words([&"--report", &report, &"--chain", &big])).contains("more than"));
    let ocsp = [case.args, words([&"--ocsp", &big])].concat();
    assert!(refused(&ocsp).contains("more than"));
}

#[test]
fn a_report_that_was_cut_or_made_up_is_refused() {
    let files = Files::new();
    let Some(case) = good_pair(&files) else { return };
    let chain = case.path("chain").unwrap();
    let text = std::fs::read_to_string(case.path("report").unwrap()).unwrap();
    let text = text.trim();
    let half = &text[..text.len() / 2];
    for (name, bytes) in [
        ("empty", String::new()),
        ("cut", half.to_owned()),
        ("odd", text[1..].to_owned()),
        ("long", format!("{text}{}", "00".repeat(4))),
        ("word", "report".to_owned()),
    ] {
        let line = refused(&words([&"--report", &files.put(name, bytes), &"--chain", &chain]));
        assert!(line.contains(&format!("{name}: ")), "{line}");
    }
    let random: Vec<u8> = (0..5000u32).map(|n| u8::try_from((n * n + 7 * n) % 251).unwrap()).collect();
    refused(&words([&"--report", &files.put("random", random), &"--chain", &chain]));
}

/// The certificates of a PEM file.
fn blocks(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split_inclusive("-----END CERTIFICATE-----").filter(|block| block.contains("BEGIN"));
    blocks.map(|block| format!("{}\n", block.trim())).collect()
}

/// Bad chains are never taken, whether they fall at reading or at judging.
#[test]
fn a_chain_has_its_five_certificates_in_their_order() {
    let files = Files::new();
    let Some(case) = good_pair(&files) else { return };
    let report = case.path("report").unwrap();
    let five = blocks(&case.path("chain").unwrap());
    let with = |name: &str, chain: Vec<&str>| {
        code(words([&"--report", &report, &"--chain", &files.put(name, chain.concat())]))
    };
    let all: Vec<&str> = five.iter().map(String::as_str).collect();
    assert_eq!(with("five", all.clone()), Some(0));
    assert_eq!(with("four", all[1..].to_vec()), Some(1));
    assert_eq!(with("no-root", all[..all.len() - 1].to_vec()), Some(1));
    assert_eq!(with("six", [&all[..], &all[all.len() - 1..]].concat()), Some(1));
    assert_eq!(with("reversed", all.iter().rev().copied().collect()), Some(1));
    assert_eq!(with("none", vec![]), Some(1));
    assert_eq!(with("text", vec!["no certificate"]), Some(1));
    let mut swapped = all.clone();
    swapped.swap(1, 2);
    assert_eq!(with("swapped", swapped), Some(1));
}

#[test]
fn another_devices_certificates_do_not_vouch_for_a_report() {
    let files = Files::new();
    let cases = crate::cases(&files);
    let pairs: Vec<&Case> = cases.iter().filter(|case| case.json.get("report").is_some()).collect();
    for case in &pairs {
        for other in pairs
            .iter()
            .filter(|other| other.json["expected"]["device_serial"] != case.json["expected"]["device_serial"])
        {
            let args = words([
                &"--report",
                &case.path("report").unwrap(),
                &"--chain",
                &other.path("chain").unwrap(),
            ]);
            let (judged, code) = json(&args);
            assert_eq!(code, Some(1));
            assert_eq!(judged["devices"][0]["checks"]["signature"]["result"], false, "{}", case.json["name"]);
        }
    }
}

#[test]
fn reference_values_of_an_empty_folder_are_none() {
    let files = Files::new();
    let Some(case) = good_pair(&files) else { return };
    let dir = tempfile::tempdir().unwrap();
    let (judged, code) = json(&[case.args, words([&"--rims", &dir.path()])].concat());
    assert_eq!((&judged["devices"][0]["checks"]["measurements"]["result"], code), (&Value::Null, Some(0)));
}

/// A bundle's own words are not believed: another nonce than the report answers is a failed check.
#[test]
fn an_entry_answers_the_nonce_that_it_states() {
    let files = Files::new();
    for mut entry in entries() {
        let good = files.put("good", serde_json::to_vec(&[&entry]).unwrap());
        assert_eq!(code(words([&"--bundle", &good])), Some(0));
        entry["nonce"] = object!("ab".repeat(32));
        let (judged, code) =
            json(&words([&"--bundle", &files.put("bad", serde_json::to_vec(&[&entry]).unwrap())]));
        assert_eq!(
            (&judged["devices"][0]["checks"]["nonce"]["result"], code),
            (&Value::Bool(false), Some(1))
        );
    }
}

#[test]
fn one_device_twice_is_no_set() {
    let files = Files::new();
    for entry in entries() {
        let twice = files.put("twice", serde_json::to_vec(&[&entry, &entry]).unwrap());
        let (judged, code) = json(&words([&"--bundle", &twice]));
        assert_eq!((&judged["topology"]["result"], code), (&Value::Bool(false), Some(1)), "{judged:#}");
        let one = files.put("one", serde_json::to_vec(&[&entry]).unwrap());
        assert_eq!(json(&words([&"--bundle", &one])).0.get("topology"), None);
    }
}

#[test]
fn a_bundle_with_one_broken_entry_is_not_good() {
    let files = Files::new();
    let Some(entry) = entries().into_iter().next() else { return };
    for (key, value) in [
        ("evidence", object!("AAAA")),
        ("evidence", object!("!")),
        ("evidence", Value::Null),
        ("certificate", object!("AAAA")),
        ("arch", object!("MAXWELL")),
        ("nonce", object!("ab")),
    ] {
        let mut broken = entry.clone();
        broken[key] = value;
        let file = files.put("broken", serde_json::to_vec(&[&entry, &broken]).unwrap());
        assert_eq!(code(words([&"--bundle", &file])), Some(1), "{key}");
    }
}
