//! Every check of the appraisal has an attack that it stops.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    files.filter(rust).map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// What follows `before` up to the next quotation mark, wherever `before` occurs.
fn quoted<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
}

/// Ids in the code are written `id: "area.check"`, `refuse("area.check"` or `Finding::new("area.check"`.
fn ids(code: &str) -> Vec<&str> {
    let code = ["id: \"", "refuse(\"", "Finding::new(\n                \"", "Finding::new(\""]
        .into_iter()
        .flat_map(|before| quoted(code, before));
    let mut ids: Vec<_> = code.filter(|id| id.contains('.') && !id.contains(':')).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[test]
fn every_check_of_the_appraisal_is_named_by_an_attack() {
    let (code, attacks) = (sources("../../attestation/appraisal/src"), sources("tests/attacks"));
    let ids = ids(&code);
    assert!(ids.len() > 45, "{ids:?}");
    let missing: Vec<_> = ids.iter().filter(|id| !attacks.contains(&format!("\"{id}\""))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn an_unnamed_check_would_be_noticed() {
    let code = "Check { id: \"area.new\", spec: \"x\" }; refuse(\"area.other\", \"x\", y)";
    assert_eq!(ids(code), ["area.new", "area.other"]);
}
