//! Files that are no evidence, and arguments that make no sense: codes and lines.

use std::fs::File;
use std::path::Path;

use base64ct::Encoding as _;
use serde_json::{Value, json as object};

use crate::{Case, Files, code, entries, good_pair, json, refused, verify_gpu, words};

const NONCE: &str = "00";
const NO_DER: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const NO_BASE64: &str = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";

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
        words([&"--bundle"]),
        words([&"--bundle", &file, &"--allow-hold", &"switch"]),
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

/// The one device that is judged, and a command that ends with 1.
fn failed(args: &[std::ffi::OsString]) -> Value {
    let (judged, code) = json(args);
    let devices = judged["devices"].as_array().unwrap();
    assert_eq!((devices.len(), code), (1, Some(1)), "{judged:#}");
    devices[0].clone()
}

/// Results of two checks of a device.
fn results(device: &Value) -> [&Value; 2] {
    ["signature", "chain"].map(|check| &device["checks"][check]["result"])
}

#[test]
fn a_report_that_was_cut_or_made_up_is_a_device_whose_signature_fails() {
    let files = Files::new();
    let Some(case) = good_pair(&files) else { return };
    let chain = case.path("chain").unwrap();
    let text = std::fs::read_to_string(case.path("report").unwrap()).unwrap();
    let text = text.trim();
    let half = &text[..text.len() / 2];
    let random: Vec<u8> = (0..5000u32).map(|n| u8::try_from((n * n + 7 * n) % 251).unwrap()).collect();
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("cut", half.into()),
        ("odd", text[1..].into()),
        ("long", format!("{text}{}", "00".repeat(4)).into()),
        ("word", b"report".to_vec()),
        ("random", random),
    ] {
        let device = failed(&words([&"--report", &files.put(name, bytes), &"--chain", &chain]));
        assert_eq!(results(&device), [&Value::Bool(false), &Value::Bool(true)], "{name}");
        assert!(device["checks"]["signature"]["reason"].as_str().is_some_and(|why| !why.is_empty()));
        assert_eq!((&device["arch"], &device["facts"]["vbios"]), (&case.json["arch"], &Value::Null));
        assert_eq!(&device["facts"]["device_serial"], case.expected("device_serial"));
    }
}

/// Words that begin a file, or a digit that is missing, are named as what they are.
#[test]
fn text_that_is_no_hexadecimal_number_is_called_that() {
    let files = Files::new();
    let Some(case) = good_pair(&files) else { return };
    let chain = case.path("chain").unwrap();
    let text = std::fs::read_to_string(case.path("report").unwrap()).unwrap();
    let text = text.trim();
    for (name, bytes, why) in [
        ("prefixed", format!("0x{text}"), "no hexadecimal digit at offset 1"),
        ("marked", format!("\u{feff}{text}"), "no hexadecimal digit at offset 0"),
        ("odd", text[..text.len() - 1].to_owned(), "an odd number of hexadecimal digits"),
    ] {
        let device = failed(&words([&"--report", &files.put(name, bytes), &"--chain", &chain]));
        let reason = device["checks"]["signature"]["reason"].as_str().unwrap();
        assert!(reason.contains(why), "{name}: {reason}");
    }
}

#[test]
fn files_that_say_nothing_are_still_a_device() {
    let files = Files::new();
    let (report, chain) = (files.put("report", b"report"), files.put("chain", b"no certificate"));
    let device = failed(&words([&"--report", &report, &"--chain", &chain]));
    assert_eq!(results(&device), [&Value::Bool(false); 2], "{device:#}");
    assert_eq!(device["arch"], Value::Null);
    for fact in ["architecture", "vbios", "driver", "project", "device_serial", "request_nonce"] {
        assert_eq!(device["facts"][fact], Value::Null, "{fact}");
    }
    let page = verify_gpu(words([&"--report", &report, &"--chain", &chain]));
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains("  0  -  ") && page.lines().last().unwrap().starts_with("REJECT"), "{page}");
}

/// The certificates of a PEM file.
fn blocks(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split_inclusive("-----END CERTIFICATE-----").filter(|block| block.contains("BEGIN"));
    blocks.map(|block| format!("{}\n", block.trim())).collect()
}

/// Each is judged: the chain is false, and the signature is what the first certificate makes it.
#[test]
fn a_chain_has_its_five_certificates_in_their_order() {
    let files = Files::new();
    let Some(case) = good_pair(&files) else { return };
    let report = case.path("report").unwrap();
    let five = blocks(&case.path("chain").unwrap());
    let args = |name: &str, chain: Vec<&str>| {
        words([&"--report", &report, &"--chain", &files.put(name, chain.concat())])
    };
    let all: Vec<&str> = five.iter().map(String::as_str).collect();
    assert_eq!(code(args("five", all.clone())), Some(0));
    let without = |at: usize| [&all[..at], &all[at + 1..]].concat();
    let twice = |at: usize| [&all[..=at], &all[at..]].concat();
    let swapped = |a: usize, b: usize| {
        let mut chain = all.clone();
        chain.swap(a, b);
        chain
    };
    let broken = |at: usize, block: &'static str| {
        let mut chain = all.clone();
        chain[at] = block;
        chain
    };
    for (name, chain, signature) in [
        ("no-leaf", without(0), false),
        ("no-device", without(1), true),
        ("no-root", without(4), true),
        ("leaf-twice", twice(0), true),
        ("device-twice", twice(1), true),
        ("root-twice", twice(4), true),
        ("reversed", all.iter().rev().copied().collect(), false),
        ("leaf-swapped", swapped(0, 1), false),
        ("swapped", swapped(1, 2), true),
        ("leaf-no-der", broken(0, NO_DER), false),
        ("device-no-der", broken(1, NO_DER), true),
        ("root-no-der", broken(4, NO_DER), true),
        ("device-no-base64", broken(1, NO_BASE64), true),
        ("sixth-no-base64", [&all[..], &[NO_BASE64]].concat(), true),
        ("nine", all.iter().chain(&all).copied().take(9).collect(), true),
    ] {
        let device = failed(&args(name, chain));
        assert_eq!(results(&device), [&Value::Bool(signature), &Value::Bool(false)], "{name}: {device:#}");
        assert_eq!(
            (&device["arch"], &device["facts"]["vbios"]),
            (&case.json["arch"], case.expected("vbios"))
        );
    }
    for (name, chain) in [("none", vec![]), ("text", vec!["no certificate"])] {
        let device = failed(&args(name, chain));
        assert_eq!(results(&device), [&Value::Bool(false); 2], "{name}");
        assert_eq!(&device["facts"]["vbios"], case.expected("vbios"));
    }
}

#[test]
fn another_devices_certificates_do_not_vouch_for_a_report() {
    let files = Files::new();
    let cases = crate::cases(&files);
    let pairs: Vec<&Case> = cases.iter().filter(|case| case.json.get("report").is_some()).collect();
    for case in pairs.iter().filter(|case| case.is_good()) {
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

/// GPUs and switches come in files of their own: they are one machine all the same.
#[test]
fn several_bundles_are_one_set() {
    let files = Files::new();
    let entries = entries();
    let put = |name: &str, entries: &[Value]| files.put(name, serde_json::to_vec(entries).unwrap());
    for middle in 1..entries.len() {
        let (front, back) = entries.split_at(middle);
        let (front, back, all) = (put("front", front), put("back", back), put("all", &entries));
        let together = json(&words([&"--bundle", &front, &back]));
        assert!(together.0["topology"].is_object(), "{together:?}");
        assert_eq!(together, json(&words([&"--bundle", &all])));
        assert_eq!(together, json(&words([&"--bundle", &front, &"--bundle", &back])));
        let page = String::from_utf8(verify_gpu(words([&"--bundle", &front, &back])).stdout).unwrap();
        assert!(page.contains(&format!("front, {}: ", back.display())), "{page}");
    }
    let (many, none) = (vec![object!({}); 33], put("none", &[]));
    let (one, two) = (put("one", &many), put("two", &many));
    assert_eq!(json(&words([&"--bundle", &one])).0["devices"].as_array().map(Vec::len), Some(33));
    assert!(refused(&words([&"--bundle", &one, &two])).contains("two: bundle: 66 devices"));
    assert!(refused(&words([&"--bundle", &one, &none])).contains("none: bundle: 0 devices"));
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

/// What can't be read of one entry fails its own checks, and hides none of the others.
#[test]
fn an_entry_that_is_broken_fails_alone() {
    let files = Files::new();
    let Some(entry) = entries().into_iter().next() else { return };
    let (no, yes) = (Value::Bool(false), Value::Bool(true));
    let pem = |text: &str| object!(base64ct::Base64::encode_string(text.as_bytes()));
    for (key, value, fails) in [
        ("evidence", object!("AAAA"), &["signature"][..]),
        ("evidence", object!("!"), &["signature"]),
        ("evidence", Value::Null, &["signature", "chain"]),
        ("certificate", object!("AAAA"), &["signature", "chain"]),
        ("certificate", pem("-----BEGIN CERTIFICATE-----"), &["signature", "chain"]),
        ("arch", object!("MAXWELL"), &["chain"]),
        ("nonce", object!("ab"), &["nonce"]),
    ] {
        let mut broken = entry.clone();
        broken[key] = value.clone();
        let file = files.put("broken", serde_json::to_vec(&[&entry, &broken, &entry]).unwrap());
        let (judged, code) = json(&words([&"--bundle", &file]));
        let devices = judged["devices"].as_array().unwrap();
        assert_eq!((devices.len(), code), (3, Some(1)), "{key} {value}");
        assert!(devices[0] == devices[2] && results(&devices[0]) == [&yes; 2], "{key} {value}: {judged:#}");
        for check in ["signature", "chain", "nonce"] {
            let seen = &devices[1]["checks"][check];
            assert_eq!(seen["result"] == no, fails.contains(&check), "{key} {value}: {check}: {seen}");
        }
        let one = files.put("one", serde_json::to_vec(&[&broken]).unwrap());
        assert_eq!(crate::code(words([&"--bundle", &one])), Some(1), "{key} {value}");
    }
}
