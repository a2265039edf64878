//! Every check of the registry is failed by an attack, and the table of attacks names real tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assay_appraisal::CHECKS;

/// Checks that no road of the lab leads to: the test that fails them, and how it says so.
const ELSEWHERE: [(&str, &str, &str, &str); 3] = [
    // No lie: what is deviated from is told, and nothing else comes of it.
    (
        "enrolment.quirk",
        "attestation/appraisal/src/ek.rs",
        "each_deviation_leaves_a_finding",
        "\"enrolment.quirk\", Severity::Info",
    ),
    // The lab's files are envelopes; the command line is given anything.
    (
        "file.form",
        "attestation/validator/tests/service/command.rs",
        "verify_json_is_an_object_for_one_file_and_an_array_for_several",
        "\"file.form\"",
    ),
    // An appraisal pairs lines by their index; the rule is for those who call it with any two.
    (
        "gpu.telemetry.other-gpu",
        "attestation/gpu/src/rules.rs",
        "lines_of_two_gpus_are_not_compared",
        "OtherGpu",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A source file without its comments.
fn source(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// Names and bodies of the tests of a source file. A function ends with a brace as far in as it began.
fn tests(code: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for rest in code.split("#[test]").skip(1) {
        let Some((indent, rest)) = rest.split_once("fn ") else { continue };
        let end = format!("\n{}}}\n", indent.rsplit('\n').next().unwrap_or_default());
        let (name, body) = rest.split_once('(').unwrap();
        found.push((name, body.split(&end).next().unwrap()));
    }
    found
}

/// What a line calls that expects a check to fail.
const CALLS: [&str; 8] = ["fatal(", "warned(", "refused(", "noted(", ".lie(", "told(", "with(", "at_three("];
/// How a check that failed is told by its severity.
const SEVERITIES: [&str; 3] = ["Severity::Fatal", "Severity::Warning", "Severity::Info"];

/// Ids that a test asks for as failed: by a call that expects it, beside a severity, or in a filter whose
/// findings' severities the test compares. An id that is only named is no attack.
fn failed(body: &str) -> impl Iterator<Item = &str> {
    let holds = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
    let compares = holds(body, &SEVERITIES);
    let expects = move |line: &str| {
        let told = holds(line, &CALLS) || holds(line, &SEVERITIES) || compares && line.contains("f.id ==");
        told && !line.contains("Severity::Pass")
    };
    let lines = body.lines().filter(move |line| expects(line));
    lines.flat_map(|line| line.split('"').skip(1).step_by(2))
}

fn below(id: &str, parent: &str) -> bool {
    id.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'))
}

fn attacks() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let module = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (module(&path), source(&path))).filter(|(module, _)| module != "checks").collect()
}

#[test]
fn every_check_of_the_appraisal_is_failed_by_an_attack() {
    let attacks = attacks();
    let bodies = attacks.iter().flat_map(|(_, code)| tests(code)).map(|(_, body)| body);
    let failed: BTreeSet<_> = bodies.flat_map(failed).collect();
    let elsewhere = ELSEWHERE.map(|(id, ..)| id);
    let ids: Vec<_> = CHECKS.iter().map(|check| check.id).collect();
    // A rule that an id below it names fails with it.
    let fails = |id: &str| failed.iter().any(|failed| *failed == id || below(failed, id));
    let missing: Vec<_> = ids.iter().filter(|id| !fails(id) && !elsewhere.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let twice: Vec<_> = elsewhere.iter().filter(|id| failed.contains(*id) || !ids.contains(id)).collect();
    assert!(twice.is_empty(), "{twice:?}");
    for (id, path, name, says) in ELSEWHERE {
        let code = source(&root().join(path));
        let body = tests(&code).into_iter().find(|(test, _)| *test == name);
        assert!(body.is_some_and(|(_, body)| body.contains(says)), "{id}: {path}: {name}");
    }
}

#[test]
fn a_check_that_no_attack_fails_would_be_noticed() {
    let code = "#[test]\nfn a() {\n    fatal(&x, \"area.new\");\n    // \"area.said\"\n}\n\nfn b() {\n    \"area.b\"\n}\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.rs");
    fs::write(&path, code).unwrap();
    let code = source(&path);
    let found = tests(&code);
    assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a"]);
    assert_eq!(failed(found[0].1).collect::<Vec<_>>(), ["area.new"]);
    for named in ["(finding(&x, \"area.new\").severity, Severity::Pass)", "let x = \"area.new\";"] {
        assert_eq!(failed(named).count(), 0, "{named}");
    }
}

/// The table in `main.rs` names tests as `module::test` or `path::test`.
#[test]
fn the_table_of_attacks_names_tests_and_findings_that_exist() {
    let main = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks/main.rs");
    let text = fs::read_to_string(main).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! |"));
    let quoted: Vec<_> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    assert!(quoted.len() > 80, "{}", quoted.len());
    let attacks = attacks();
    for name in quoted.iter().filter(|name| name.contains("::")) {
        let (place, test) = name.split_once("::").unwrap();
        let code = match attacks.iter().find(|(module, _)| module == place) {
            Some((_, code)) => code.clone(),
            None => source(&root().join(place)),
        };
        assert!(tests(&code).iter().any(|(found, _)| *found == test), "{name}");
    }
}
