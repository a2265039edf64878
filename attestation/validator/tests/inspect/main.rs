//! `inspect` through the command line: every kind of file, and what cannot be decoded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod certificates;
mod data;
mod logs;
mod manifests;
mod quotes;
#[path = "../common/files.rs"]
mod temporary;

use std::ffi::OsStr;
use std::process::{Command, Output};

use serde_json::Value;
use temporary::Files;

fn inspect<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assay-validator")).arg("inspect").args(args).output().unwrap()
}

/// What is printed with `--json`, of a command that ends well.
fn json(kind: &str, file: &std::path::Path) -> Value {
    let output = inspect([OsStr::new("--json"), OsStr::new(kind), file.as_os_str()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The page for people, of a command that ends well.
fn page(kind: &str, file: &std::path::Path) -> String {
    let output = inspect([OsStr::new(kind), file.as_os_str()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on standard error of a command that ends with 1.
fn refused(kind: &str, file: &std::path::Path) -> String {
    let output = inspect([OsStr::new(kind), file.as_os_str()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[test]
fn kinds_and_arguments_are_checked() {
    let files = Files::new();
    let file = files.put("x", b"x");
    let code = |args: &[&str]| {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).chain([file.as_os_str()]).collect();
        inspect(args).status.code()
    };
    assert_eq!(code(&["clock"]), Some(2));
    assert_eq!(code(&["eventlog", "ima"]), Some(2));
    assert_eq!(code(&["--signature", "s", "eventlog"]), Some(2));
    assert_eq!(code(&["--ak", "k", "quote"]), Some(2), "a key without a signature");
    assert_eq!(inspect(["eventlog", "/nowhere"]).status.code(), Some(3));
    assert_eq!(code(&[]), Some(1), "no envelope");
}

#[test]
fn what_is_longer_than_its_kind_may_be_is_not_decoded() {
    let files = Files::new();
    let file = files.put("big", b"");
    std::fs::File::options().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
    for kind in ["eventlog", "ima", "quote", "ek-cert", "manifest", "envelope"] {
        assert!(refused(kind, &file).contains("more than"), "{kind}");
    }
}

#[test]
fn empty_files_are_refused_by_every_kind() {
    let files = Files::new();
    let file = files.put("empty", b"");
    for kind in ["eventlog", "ima", "quote", "ek-cert", "manifest", "envelope"] {
        assert!(refused(kind, &file).contains("empty: "), "{kind}");
    }
}
