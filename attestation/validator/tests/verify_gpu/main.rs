//! `verify-gpu` through the command line: every case of the data folder, and everything that is no evidence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod data;
mod files;
mod page;
#[path = "../common/files.rs"]
mod temporary;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use temporary::Files;

fn verify_gpu<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assay-validator")).arg("verify-gpu").args(args).output().unwrap()
}

fn words<const N: usize>(words: [&dyn AsRef<OsStr>; N]) -> Vec<OsString> {
    words.iter().map(|word| word.as_ref().to_owned()).collect()
}

fn code<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Option<i32> {
    verify_gpu(args).status.code()
}

/// What is printed with `--json`, and the exit code.
fn json(args: &[OsString]) -> (Value, Option<i32>) {
    let output = verify_gpu(args.iter().cloned().chain(["--json".into()]));
    let value = serde_json::from_slice(&output.stdout);
    (value.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))), output.status.code())
}

/// The one line on standard error of a command that ends with 1 and prints nothing else.
fn refused(args: &[OsString]) -> String {
    let output = verify_gpu(args);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(output.stdout.is_empty());
    line
}

/// A case of the data folder: its words for the command line, and the case itself.
struct Case {
    args: Vec<OsString>,
    json: Value,
}

impl Case {
    fn expected(&self, key: &str) -> &Value {
        &self.json["expected"][key]
    }

    /// Whether the report answers the nonce that its bundle states, if it comes in one.
    fn answers_its_bundle(&self) -> bool {
        let stated = &self.json["bundle_nonce"];
        stated.is_null() || stated == self.expected("request_nonce")
    }

    /// Whether every check that the case speaks of holds.
    fn is_good(&self) -> bool {
        let expected = self.json["expected"].as_object().unwrap();
        self.expected("signature") == true
            && self.expected("chain") == true
            && expected.values().all(|v| v != false)
            && self.answers_its_bundle()
    }

    /// The bytes of its report.
    fn path(&self, key: &str) -> Option<PathBuf> {
        Some(folder()?.join(self.json[key].as_str()?))
    }
}

/// The `gpu` folder of the test data, or `None` after a SKIPPED line.
fn folder() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root = std::env::var_os("ASSAY_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let folder = root.join("gpu");
    if folder.join("cases.json").is_file() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no test data (set ASSAY_DATA)");
    None
}

fn file() -> Option<Value> {
    Some(serde_json::from_slice(&std::fs::read(folder()?.join("cases.json")).unwrap()).unwrap())
}

/// Every case of the folder, those in bundles as bundles of their own under `files`.
fn cases(files: &Files) -> Vec<Case> {
    let (Some(folder), Some(file)) = (folder(), file()) else { return Vec::new() };
    let list = file["cases"].as_array().unwrap().clone();
    list.into_iter()
        .enumerate()
        .map(|(nth, json)| Case { args: args(&folder, files, nth, &json), json })
        .collect()
}

fn args(folder: &Path, files: &Files, nth: usize, json: &Value) -> Vec<OsString> {
    let path = |key: &str| folder.join(json[key].as_str().unwrap());
    match json.get("bundle") {
        None => words([&"--report", &path("report"), &"--chain", &path("chain")]),
        Some(_) => {
            let entries: Value = serde_json::from_slice(&std::fs::read(path("bundle")).unwrap()).unwrap();
            let index = usize::try_from(json["index"].as_u64().unwrap()).unwrap();
            let one = serde_json::to_vec(&[&entries[index]]).unwrap();
            words([&"--bundle", &files.put(&format!("{nth}.json"), one)])
        }
    }
}

/// The first good case that comes as a report with its chain.
fn good_pair(files: &Files) -> Option<Case> {
    cases(files).into_iter().find(|case| case.is_good() && case.json.get("report").is_some())
}

/// The entries of the folder's good cases that come in bundles, each device once.
fn entries() -> Vec<Value> {
    let files = Files::new();
    let mut seen = std::collections::BTreeSet::new();
    let good = cases(&files).into_iter().filter(|case| case.is_good() && case.json.get("bundle").is_some());
    let one = |case: Case| {
        let bundle = std::fs::read(case.args[1].as_os_str()).unwrap();
        let list: Vec<Value> = serde_json::from_slice(&bundle).unwrap();
        list.into_iter().next().unwrap()
    };
    good.map(one).filter(|entry| seen.insert(entry["certificate"].to_string())).collect()
}
