//! The data folder: what the JSON says of each log is what `expected.json` says of it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{inspect, json, page};

/// The `attestation` folder of the test data, or `None` after a SKIPPED line.
pub(crate) fn folder() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root = std::env::var_os("ASSAY_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let folder = root.join("attestation");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no test data (set ASSAY_DATA)");
    None
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_log_shows_what_is_expected_of_it() {
    let Some(folder) = folder() else { return };
    for (name, expected) in read(&folder.join("expected.json"))["logs"].as_object().unwrap() {
        let file = folder.join(name);
        let code = inspect([Path::new("eventlog"), &file]).status.code();
        match expected["verdict"].as_str().unwrap() {
            "ok" => assert_eq!(code, Some(0), "{name}"),
            "refuse" => assert_eq!(code, Some(1), "{name}"),
            _ if code == Some(1) => {}
            _ => assert_eq!(code, Some(0), "{name}"),
        }
        if code == Some(0) {
            same_fields(name, &json("eventlog", &file), expected);
        }
    }
}

fn same_fields(name: &str, shown: &Value, expected: &Value) {
    for key in ["format", "event_count", "banks", "startup_locality", "secure_boot", "tail_bytes"] {
        assert_eq!(shown.get(key), expected.get(key), "{name} {key}");
    }
    assert_eq!(shown["events"].as_array().unwrap().len(), expected["event_count"], "{name}");
    let tail = shown.get("tail_bytes").is_some();
    assert_eq!(
        shown["quirks"]
            .as_array()
            .unwrap()
            .iter()
            .any(|q| q == "windows-tail" || q == "spec-id-vendor-info-outside"),
        tail,
        "{name}"
    );
}

#[test]
fn every_log_of_an_appliance_has_a_page() {
    let Some(folder) = folder() else { return };
    let Ok(files) = std::fs::read_dir(folder.join("appliance")) else { return };
    let logs =
        files.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_none_or(|e| e != "json"));
    for log in logs {
        let page = page("eventlog", &log);
        assert!(page.contains("\n  event  pcr  type"), "{page}");
        assert!(page.lines().all(|line| line.chars().count() < 240), "a line that is too long");
    }
}
