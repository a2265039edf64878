//! Attestations of the data folder's cases: with the key, without, and with another.

use std::path::Path;

use serde_json::{Value, json};

use crate::data::folder;
use crate::{Files, inspect, json, page, refused};

/// The cases that come with a public area.
fn cases() -> Vec<Value> {
    let Some(folder) = folder() else { return Vec::new() };
    let file: Value = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let all = file["cases"].as_array().unwrap().iter();
    all.filter(|case| case["ak"].get("tpmt_public").is_some()).cloned().collect()
}

fn with_key(files: &Files, case: &Value, attest: &str) -> (Option<i32>, Value) {
    let quote = files.put("quote", attest);
    let signature = files.put("signature", hex::decode(case["signature"].as_str().unwrap()).unwrap());
    let ak = files.put("ak", case["ak"]["tpmt_public"].as_str().unwrap());
    let args = ["--json", "quote", "--signature", "--ak"].map(Path::new);
    let output = inspect([args[0], args[1], &quote, args[2], &signature, args[3], &ak]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_signature_is_checked_when_its_key_is_given() {
    for case in cases() {
        let files = Files::new();
        let attest = case["attest"].as_str().unwrap();
        let holds = case["expected"]["signature"].as_bool().unwrap();
        let (code, shown) = with_key(&files, &case, attest);
        assert_eq!((code, &shown["holds"]), (Some(i32::from(!holds)), &json!(holds)), "{}", case["name"]);
        assert_eq!(shown["type"], case["kind"]);
        let bent =
            format!("{}{}", &attest[..attest.len() - 2], if attest.ends_with("00") { "01" } else { "00" });
        let (code, shown) = with_key(&files, &case, &bent);
        assert_eq!((code, &shown["holds"]), (Some(1), &json!(false)), "{}", case["name"]);
    }
}

#[test]
fn without_a_key_nothing_is_said_of_the_signature() {
    for case in cases() {
        let files = Files::new();
        let bytes = hex::decode(case["attest"].as_str().unwrap()).unwrap();
        let file = files.put("quote", &bytes);
        assert_eq!(json("quote", &file)["holds"], Value::Null);
        assert!(page("quote", &file).contains("not checked: give --signature and --ak"));
        let signature = files.put("signature", hex::decode(case["signature"].as_str().unwrap()).unwrap());
        let output = inspect([Path::new("quote"), &file, Path::new("--signature"), &signature]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("not checked: give --ak too"), "{said}");
        let line = refused("quote", &files.put("cut", &bytes[..bytes.len() - 1]));
        assert!(line.contains("byte"), "{line}");
    }
}
