//! Folders made here out of the evidence in the data folder: each expectation can fail, and only by its own fault.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::PathBuf;

use assay_vectors::{Outcome, Sheet, judge};
use serde_json::{Value, json};

/// The `gpu` folder of the test data and its `cases.json`, or `None` after a SKIPPED line.
fn data() -> Option<(PathBuf, Value)> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root =
        std::env::var_os("ASSAY_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from).join("gpu");
    match std::fs::read(root.join("cases.json")) {
        Ok(bytes) => Some((root, serde_json::from_slice(&bytes).unwrap())),
        Err(_) => {
            eprintln!("SKIPPED: no test data (set ASSAY_DATA)");
            None
        }
    }
}

fn sheet(files: &[(&str, Vec<u8>)], cases: &Value) -> Sheet {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    std::fs::write(dir.path().join("cases.json"), cases.to_string()).unwrap();
    judge(dir.path(), |_| true).unwrap()
}

fn checks(sheet: &Sheet, outcome: Outcome) -> Vec<String> {
    // A file that no entry names has a line of its own.
    let of =
        sheet.verdicts().iter().filter(|verdict| verdict.outcome == outcome && verdict.check != "contents");
    of.map(|verdict| verdict.check.clone()).collect()
}

/// Names and bytes.
type Files = Vec<(&'static str, Vec<u8>)>;

/// A good case with its files under names of their own.
fn good() -> Option<(Files, Value)> {
    let (root, file) = data()?;
    let is_good = |case: &&Value| {
        case.get("report").is_some()
            && case["expected"].as_object().unwrap().values().all(|value| *value != json!(false))
    };
    let mut case = file["cases"].as_array().unwrap().iter().find(is_good)?.clone();
    let read = |key: &str| std::fs::read(root.join(case[key].as_str().unwrap())).unwrap();
    let files = vec![("r", read("report")), ("c", read("chain"))];
    case["name"] = json!("a");
    case["report"] = json!("r");
    case["chain"] = json!("c");
    Some((files, case))
}

#[test]
fn a_right_case_is_ok_and_each_wrong_expectation_differs() {
    let Some((files, case)) = good() else { return };
    let judged = |case: &Value| sheet(&files, &json!({ "cases": [case] }));
    assert_eq!(checks(&judged(&case), Outcome::Differs), [""; 0]);
    for key in case["expected"].as_object().unwrap().keys() {
        let mut wrong = case.clone();
        wrong["expected"][key] = json!("something else");
        let differs = checks(&judged(&wrong), Outcome::Differs);
        assert!(differs.contains(key), "{key}: {differs:?}");
    }
    let mut wrong = case.clone();
    wrong["arch"] = json!(if case["arch"] == "BLACKWELL" { "HOPPER" } else { "BLACKWELL" });
    assert_eq!(
        checks(&judged(&wrong), Outcome::Differs),
        ["chain", "accepted"],
        "judged as what it is said to be"
    );
    wrong["arch"] = json!("MAXWELL");
    wrong["expected"]["colour"] = json!("green");
    let not = checks(&judged(&wrong), Outcome::NotJudged);
    assert!(not.contains(&"arch".to_owned()) && not.contains(&"colour".to_owned()), "{not:?}");
}

/// A chain that is no chain leaves a signature by its leaf as it is.
#[test]
fn a_case_may_have_a_signature_that_holds_and_a_chain_that_does_not() {
    let Some((mut files, mut case)) = good() else { return };
    let chain = String::from_utf8(files[1].1.clone()).unwrap();
    let end = chain.match_indices("-----END CERTIFICATE-----").nth(2).unwrap().0;
    case["expected"] = json!({ "signature": true, "chain": false });
    for cut in [chain[..end].to_owned(), format!("{}!{}", &chain[..end], &chain[end..])] {
        files[1].1 = cut.into_bytes();
        let sheet = sheet(&files, &json!({ "cases": [case] }));
        assert_eq!(checks(&sheet, Outcome::Differs), [""; 0]);
        assert!(checks(&sheet, Outcome::Same).contains(&"signature".to_owned()));
    }
}

#[test]
fn a_case_without_its_files_is_one_that_does_not_hold() {
    let Some((files, case)) = good() else { return };
    let differs = checks(&sheet(&files[..1], &json!({ "cases": [case] })), Outcome::Differs);
    assert_eq!(differs, ["chain", "signature"]);
}

/// The first two different devices of the folder's bundles that answer one nonce, as one bundle.
fn pair() -> Option<Vec<u8>> {
    let (root, file) = data()?;
    let names = file["cases"].as_array().unwrap().iter().filter_map(|case| case["bundle"].as_str());
    let names: std::collections::BTreeSet<&str> = names.collect();
    let read = |name: &str| std::fs::read(root.join(name)).unwrap();
    let entries: Vec<Value> = names
        .into_iter()
        .flat_map(|name| serde_json::from_slice::<Vec<Value>>(&read(name)).unwrap())
        .collect();
    let other = |a: &Value| {
        entries.iter().find(|b| b["nonce"] == a["nonce"] && b["evidence"] != a["evidence"]).cloned()
    };
    let pair = entries.iter().find_map(|a| Some(json!([a, other(a)?])))?;
    Some(serde_json::to_vec(&pair).unwrap())
}

#[test]
fn a_bundle_is_held_against_every_key_that_the_command_has() {
    let Some(pair) = pair() else { return };
    let judged = |bundle: Value| {
        let sheet = sheet(&[("b", pair.clone())], &json!({ "bundles": [bundle] }));
        [Outcome::Differs, Outcome::NotJudged].map(|outcome| checks(&sheet, outcome))
    };
    let arch = serde_json::from_slice::<Value>(&pair).unwrap()[0]["arch"].clone();
    let none = || [const { Vec::<String>::new() }; 2];
    for right in [
        json!({ "file": "b", "devices": 2, "topology": null, "accept": true, "exit": 0 }),
        json!({ "bundle": "b", "count": 2, "expected": { "signature": true, "chain": true, "arch": arch } }),
        json!({ "files": ["b"], "gpus": 2, "switches": 0, "why": "two of a board" }),
        json!({ "file": "b", "devices": [{ "signature": true }, { "expected": { "chain": true } }] }),
        json!({ "file": "b", "topology": { "result": null, "gpus": 2 } }),
    ] {
        assert_eq!(judged(right.clone()), none(), "{right}");
    }
    for (key, wrong) in [
        ("devices", json!({ "file": "b", "devices": 3 })),
        ("topology", json!({ "file": "b", "topology": true })),
        ("topology", json!({ "file": "b", "topology": false })),
        ("accept", json!({ "file": "b", "accept": false })),
        ("exit", json!({ "file": "b", "exit": 1 })),
        ("devices[1].chain", json!({ "file": "b", "devices": [{ "chain": true }, { "chain": false }] })),
        ("topology.gpus", json!({ "file": "b", "gpus": 8 })),
        ("signature", json!({ "file": "nowhere", "signature": true })),
    ] {
        assert_eq!(judged(wrong.clone()), [vec![key.to_owned()], vec![]], "{wrong}");
    }
    assert_eq!(judged(json!({ "file": "b", "colour": "green" })), [vec![], vec!["colour".to_owned()]]);
    assert_eq!(judged(json!({ "file": "nowhere", "topology": false })), none());
}
