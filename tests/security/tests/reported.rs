//! What tools that look for ways out may report from inside a job: `data/reported.toml`, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::os::unix::fs::symlink;
use std::path::Path;

use assay_jailer::report::End;
use assay_security::Cell;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    report: Vec<Report>,
}

/// One thing that tools look at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    what: String,
    tools: Vec<String>,
    command: String,
    allowed: Option<String>,
    reason: Option<String>,
}

fn list() -> Vec<Report> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/reported.toml");
    toml::from_str::<List>(&std::fs::read_to_string(path).unwrap()).unwrap().report
}

#[test]
fn what_may_be_reported_has_a_reason() {
    for report in list() {
        assert_eq!(report.allowed.is_some(), report.reason.is_some(), "{}", report.what);
        assert!(!report.tools.is_empty(), "{}", report.what);
    }
}

/// Prints the command's lines that are not allowed, after what they are about.
fn script(report: &Report) -> String {
    let filter = match &report.allowed {
        Some(allowed) => format!("grep -Evx '{allowed}'"),
        None => "cat".to_owned(),
    };
    let (what, command) = (&report.what, &report.command);
    format!("({command}) 2>/dev/null | {filter} | while IFS= read -r l; do echo '{what}:' \"$l\"; done\n")
}

#[test]
fn nothing_else_is_reported() {
    let Some(cell) = Cell::new() else { return };
    let text: String = list().iter().map(script).collect();
    for applet in ["cut", "fdisk", "find", "hostname", "nproc", "tail", "uname"] {
        symlink("busybox", cell.layer().join("bin").join(applet)).unwrap();
    }
    std::fs::write(cell.layer().join("look"), format!("{text}echo looked\n")).unwrap();
    let done = cell.sh("sh /look");
    assert_eq!(done.report.end, End::Exited(0), "{done:?}");
    assert_eq!(done.stdout, "looked\n");
}

/// The looking itself finds what there is to find.
#[test]
fn what_is_there_is_seen() {
    let Some(cell) = Cell::new() else { return };
    std::fs::write(cell.layer().join(".dockerenv"), "").unwrap();
    let report = list().into_iter().find(|r| r.command.contains(".dockerenv")).unwrap();
    let done = cell.sh(&script(&report));
    assert_eq!(done.stdout, format!("{}: /.dockerenv\n", report.what), "{done:?}");
}
