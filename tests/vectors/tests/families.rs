//! The data folder, family by family: nothing differs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::PathBuf;

use assay_vectors::{FAMILIES, Outcome, Sheet, judge};

/// The `attestation` folder of the test data, or `None` after a SKIPPED line.
fn folder() -> Option<PathBuf> {
    data("attestation")
}

fn data(folder: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root = std::env::var_os("ASSAY_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let folder = root.join(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no test data (set ASSAY_DATA)");
    None
}

fn assert_good(sheet: &Sheet) {
    let bad = sheet.verdicts().iter().filter(|verdict| verdict.outcome == Outcome::Differs);
    let bad: Vec<String> = bad.map(ToString::to_string).collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

fn family(name: &str) {
    assert!(FAMILIES.iter().any(|family| family.name == name), "{name}");
    let Some(folder) = folder() else { return };
    assert_good(&judge(&folder, |family| family == name).unwrap());
}

#[test]
fn logs() {
    family("logs");
}

#[test]
fn golden_outputs() {
    family("golden");
}

#[test]
fn appliance() {
    family("appliance");
}

#[test]
fn ima() {
    family("ima");
}

#[test]
fn certificates() {
    family("certificates");
}

#[test]
fn platform_certificates() {
    family("platform-certs");
}

#[test]
fn corim() {
    family("corim");
}

#[test]
fn cases() {
    family("cases");
}

#[test]
fn attestations_in_shapes_of_their_own() {
    family("attestations");
}

#[test]
fn protobuf_attestations() {
    family("protobuf");
}

#[test]
fn files_of_tpm_tools() {
    family("tools-files");
}

#[test]
fn device_evidence() {
    let Some(folder) = data("gpu") else { return };
    let sheet = judge(&folder, |family| family == "gpu").unwrap();
    assert_good(&sheet);
    assert!(sheet.count(Outcome::Same) > 0, "{}", sheet.summary());
}

/// The lines are the same whichever back end the workspace was built with: they are kept here.
#[test]
fn signatures_made_here() {
    let empty = tempfile::tempdir().unwrap();
    let sheet = judge(empty.path(), |family| family == "signatures").unwrap();
    assert_good(&sheet);
    let seen: String = sheet.verdicts().iter().map(|verdict| format!("{verdict}\n")).collect();
    assert_eq!(seen, include_str!("signatures.txt"));
}

#[test]
fn no_file_of_the_folder_is_passed_over_in_silence() {
    let Some(folder) = folder() else { return };
    let sheet = judge(&folder, |_| true).unwrap();
    assert!(sheet.count(Outcome::Same) > sheet.count(Outcome::NotJudged), "{}", sheet.summary());
    for file in assay_vectors::Folder::open(&folder).unwrap().files() {
        assert!(sheet.covers(file), "{file}");
    }
}
