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
    assert_eq!(differs, ["file"]);
    // Nor does one that is to be refused: nothing was.
    let mut refused = case.clone();
    refused["expected"] = json!({ "signature": false, "chain": false });
    let differs = checks(&sheet(&files[..1], &json!({ "cases": [refused] })), Outcome::Differs);
    assert_eq!(differs, ["file"]);
}

/// Facts that are false, words, and digits in the other case are no contradiction.
#[test]
fn expectations_may_be_written_as_others_write_them() {
    let Some((files, mut case)) = good() else { return };
    let serial = case["expected"]["device_serial"].as_str().unwrap().to_lowercase();
    case["expected"]["device_serial"] = json!(serial);
    case["expected"]["reason"] = json!("made up");
    case["expected"]["simulated"] = json!(false);
    let judged = sheet(&files, &json!({ "cases": [case] }));
    assert_eq!(checks(&judged, Outcome::Differs), [""; 0]);
    let same = checks(&judged, Outcome::Same);
    assert!(same.contains(&"simulated".to_owned()) && same.contains(&"accepted".to_owned()), "{same:?}");
    case["expected"]["findings"] = json!([]);
    assert_eq!(checks(&sheet(&files, &json!({ "cases": [case] })), Outcome::NotJudged), ["findings"]);
}

/// A report answers the nonce that its bundle states, or is not accepted.
#[test]
fn a_bundle_that_states_another_nonce_is_not_accepted() {
    let Some(pair) = pair() else { return };
    let mut entries: Vec<Value> = serde_json::from_slice(&pair).unwrap();
    entries[0]["nonce"] = json!("ab".repeat(32));
    let case = json!({
        "name": "a", "bundle": "b", "index": 0, "expected": { "signature": true, "chain": true }
    });
    let files = [("b", serde_json::to_vec(&entries).unwrap())];
    let judged = sheet(&files, &json!({ "cases": [case] }));
    assert_eq!(checks(&judged, Outcome::Differs), [""; 0]);
    assert!(checks(&judged, Outcome::Same).contains(&"nonce.own".to_owned()));
}

/// A measurement may name its reference values in a list, and give no time where none is listed.
#[test]
fn reference_values_are_compared_while_they_are_in_force() {
    let Some((root, file)) = data() else { return };
    let is_equal = |row: &&Value| row["mismatched_rows"].as_array().unwrap().is_empty();
    let Some(row) = file["measurements"].as_array().unwrap().iter().find(is_equal) else { return };
    let mut case =
        file["cases"].as_array().unwrap().iter().find(|case| case["name"] == row["case"]).unwrap().clone();
    let rim = std::fs::read(root.join(row["rim"].as_str().unwrap())).unwrap();
    let mut files = vec![("m", rim)];
    for (key, name) in [("report", "r"), ("chain", "c"), ("bundle", "b")] {
        if let Some(path) = case[key].as_str() {
            files.push((name, std::fs::read(root.join(path)).unwrap()));
            case[key] = json!(name);
        }
    }
    for (key, named, word) in
        [("rim", json!("m"), "match"), ("rim", json!(["m"]), "match"), ("rims", json!(["m"]), "mismatch")]
    {
        let mut row = row.clone();
        row.as_object_mut().unwrap().remove("rim");
        (row[key], row["result"], row["reason"]) = (named, json!(word), json!("made up"));
        let judged = sheet(&files, &json!({ "cases": [case], "measurements": [row] }));
        let differs = checks(&judged, Outcome::Differs);
        let wrong = (word != "match").then_some("m result".to_owned());
        assert_eq!(differs, wrong.into_iter().collect::<Vec<_>>(), "{row}");
    }
}

/// A signature value that is none leaves the chain as it is; a document of another form has none.
#[test]
fn reference_values_with_a_broken_signature_still_have_their_chain() {
    let Some((root, file)) = data() else { return };
    let good = |rim: &&Value| rim["expected"]["signature"] == true && rim["expected"]["chain"] == true;
    let Some(mut rim) = file["rims"].as_array().unwrap().iter().find(good).cloned() else { return };
    let text = std::fs::read_to_string(root.join(rim["file"].as_str().unwrap())).unwrap();
    let at = text.find("SignatureValue").unwrap();
    let value = at + text[at..].find('>').unwrap() + 1;
    let cut = format!("{}{}", &text[..value], &text[value + 4..]);
    let comment = text.replacen("<SignedInfo>", "<SignedInfo><!-- -->", 1);
    assert!(comment != text || !text.contains("<SignedInfo>"));
    rim["file"] = json!("m");
    rim["expected"] = json!({ "signature": false, "chain": true });
    let judged = |text: String| {
        let sheet = sheet(&[("m", text.into_bytes())], &json!({ "rims": [rim] }));
        [Outcome::Differs, Outcome::NotJudged].map(|outcome| checks(&sheet, outcome))
    };
    assert_eq!(judged(cut), [vec![], Vec::<String>::new()]);
    let commented = judged(comment.clone());
    assert!(comment == text || commented == [vec![], vec!["chain".to_owned()]], "{commented:?}");
}

/// The first two different GPUs of the folder's good cases that answer one nonce, as one bundle.
fn pair() -> Option<Vec<u8>> {
    let (root, file) = data()?;
    let good = |case: &&Value| {
        let fields = case["expected"].as_object().unwrap();
        case["arch"] != "LS10"
            && case["bundle_nonce"] == fields["request_nonce"]
            && fields.values().all(|value| *value != json!(false))
    };
    let entry = |case: &Value| {
        let bundle = std::fs::read(root.join(case["bundle"].as_str()?)).unwrap();
        let index = usize::try_from(case["index"].as_u64()?).unwrap();
        serde_json::from_slice::<Vec<Value>>(&bundle).unwrap().into_iter().nth(index)
    };
    let entries: Vec<Value> =
        file["cases"].as_array().unwrap().iter().filter(good).filter_map(entry).collect();
    let other = |a: &Value| {
        entries.iter().find(|b| b["nonce"] == a["nonce"] && b["certificate"] != a["certificate"]).cloned()
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
        json!({ "evidence": "b", "topology": "open", "reason": "one side only" }),
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
        ("file", json!({ "file": "nowhere", "signature": true })),
        ("file", json!({ "file": "nowhere", "topology": false })),
        ("file", json!({ "colour": "b " })),
        ("topology.switches", json!({ "file": "b", "switches": 99 })),
        ("topology", json!({ "file": "b", "topology": "closed" })),
    ] {
        assert_eq!(judged(wrong.clone()), [vec![key.to_owned()], vec![]], "{wrong}");
    }
    assert_eq!(judged(json!({ "file": "b", "colour": "green" })), [vec![], vec!["colour".to_owned()]]);
}
