//! What the differential tests share: the folder, the other program, the rules that explain it.
#![allow(dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The `attestation` folder of the test data, or `None` after a SKIPPED line.
pub fn folder() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root = std::env::var_os("ASSAY_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let folder = root.join("attestation");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no test data (set ASSAY_DATA)");
    None
}

/// Whether the program runs; prints a SKIPPED line when it doesn't.
pub fn is_there(program: &str, version: &str) -> bool {
    let there = Command::new(program).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_err() {
        eprintln!("SKIPPED: no {program}");
    }
    there.is_ok()
}

pub fn run(program: &str, args: &[&Path]) -> Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().unwrap()
}

/// A difference has to be one of the README's rules.
pub fn assert_explained(rule: &str) {
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("\n### {rule}\n")), "README.md has no rule named {rule}");
}
