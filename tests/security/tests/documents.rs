//! THREAT_MODEL.md names tests: they exist where it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn threat_model() -> String {
    fs::read_to_string(root().join("THREAT_MODEL.md")).unwrap()
}

/// Where the document's short paths lead.
fn source(short: &str) -> PathBuf {
    let (area, file) = short.split_once('/').unwrap();
    let dir = match area {
        "security" => "tests/security/tests",
        "vm" => "tests/vm/src/checks",
        "jailer" => "agent/jailer/src",
        other => panic!("{other}"),
    };
    root().join(dir).join(file)
}

fn is_defined(text: &str, name: &str) -> bool {
    text.contains(&format!("fn {name}("))
}

#[test]
fn every_wall_has_its_tests() {
    let text = threat_model();
    let table = text.split("| wall | tests |").nth(1).unwrap();
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 30);
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap();
        for group in tests.split(';') {
            let (path, names) = group.trim().trim_start_matches('`').split_once("` ").unwrap();
            let code = fs::read_to_string(source(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
            for name in names.split(',').map(str::trim) {
                assert!(is_defined(&code, name), "{path} has no {name}: {row}");
            }
        }
    }
}

fn sources(dir: &Path, found: &mut String) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// What is written like the name of a test is one.
#[test]
fn every_named_test_exists() {
    let mut code = String::new();
    ["agent", "attestation", "tests"].iter().for_each(|dir| sources(&root().join(dir), &mut code));
    let text = threat_model();
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|w| w.matches('_').count() >= 2 && w.bytes().all(|b| !b.is_ascii_uppercase()));
    let missing: Vec<_> = names.filter(|name| !is_defined(&code, name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_number_of_forbidden_things_is_as_said() {
    let said = format!("{} forbidden things", assay_jailer::attempts::ATTEMPTS.len());
    for document in ["THREAT_MODEL.md", "README.md"] {
        assert!(fs::read_to_string(root().join(document)).unwrap().contains(&said), "{document}: {said}");
    }
}
