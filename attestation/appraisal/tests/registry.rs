//! The registry names every check that the code makes, and no other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assay_appraisal::{CHECKS, Policy};

/// Source below a folder of this workspace, without what only tests see and without whitespace.
fn source(folder: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let code = |path: PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.split("#[cfg(test)]").next().unwrap().to_owned()
    };
    files.filter(rust).map(code).collect::<String>().split_whitespace().collect()
}

/// What follows `before` up to the next quotation mark, where it has the form of an id.
fn ids(text: &str, before: &str) -> BTreeSet<String> {
    let id = |rest: &str| rest.split('"').next().unwrap().to_owned();
    let form =
        |id: &String| id.contains('.') && id.bytes().all(|b| b.is_ascii_lowercase() || b"-.".contains(&b));
    text.split(before).skip(1).map(id).filter(form).collect()
}

fn used() -> BTreeSet<String> {
    let code = source("src") + &source("../validator/src");
    let made = ["id:\"", "check(\"", "=>(\"", "refuse(\"", "Finding::new(\"", "Finding::fatal(\""];
    let mut used: BTreeSet<_> = made.iter().flat_map(|before| ids(&code, before)).collect();
    // The rules of GPU counters carry their ids themselves.
    used.extend(ids(&source("../gpu/src"), "=>\"").into_iter().filter(|id| id.starts_with("gpu.")));
    used
}

#[test]
fn the_registry_is_what_the_code_checks() {
    let registry: BTreeSet<_> = CHECKS.iter().map(|check| check.id.to_owned()).collect();
    let used = used();
    assert!(used.len() > 70, "{used:?}");
    assert_eq!(used.difference(&registry).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the registry");
    assert_eq!(registry.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new(), "checked by nothing");
}

/// A check says the same in its finding and in the registry.
#[test]
fn the_registry_describes_what_the_code_checks() {
    let code = source("src");
    for check in CHECKS {
        let spec: String = check.spec.split_whitespace().collect();
        let checked: String = check.checked.split_whitespace().collect();
        for rest in code.split(&format!("id:\"{}\",", check.id)).skip(1) {
            assert!(rest.starts_with(&format!("spec:\"{spec}\",checked:\"{checked}\"")), "{}", check.id);
        }
    }
}

#[test]
fn shipped_policies_change_only_what_the_registry_lets_them() {
    for (name, _) in Policy::BUILTIN {
        let policy = Policy::builtin(name).unwrap();
        for (id, severity) in &policy.checks {
            assert!(CHECKS.iter().any(|check| check.id == id && check.allows(*severity)), "{name}: {id}");
        }
    }
}
