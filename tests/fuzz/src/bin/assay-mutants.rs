//! `assay-mutants [PACKAGE...]`: runs cargo-mutants over the files that `tests/mutants.toml` names,
//! and fails on a survivor without an argued line there, or on a line that argues for none.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde::Deserialize;

/// The list, beside the other tests.
const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../mutants.toml");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    package: Vec<Package>,
    #[serde(default)]
    survivor: Vec<Survivor>,
}

/// A crate whose files check something.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    name: String,
    files: Vec<String>,
    /// Packages whose tests must notice.
    tests: Vec<String>,
    /// Further words for `cargo test`, such as which test to run.
    #[serde(default)]
    arguments: Vec<String>,
}

/// A mutant that no test can notice, or need not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Survivor {
    file: String,
    /// What cargo-mutants prints behind file, line and column.
    mutant: String,
    /// How many mutants of the file read so.
    #[serde(default = "once")]
    times: usize,
    #[serde(rename = "reason")]
    _reason: String,
}

fn once() -> usize {
    1
}

/// How often each mutant survived, by file and text.
type Survived = BTreeMap<(String, String), usize>;

fn main() -> ExitCode {
    match check(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("assay-mutants: {error}");
            ExitCode::from(3)
        }
    }
}

fn check(names: &[String]) -> Result<bool, String> {
    let text = fs::read_to_string(LIST).map_err(|error| format!("{LIST}: {error}"))?;
    let list: List = toml::from_str(&text).map_err(|error| format!("tests/mutants.toml: {error}"))?;
    let mut good = true;
    for package in list.package.iter().filter(|package| names.is_empty() || names.contains(&package.name)) {
        let survived = run(package)?;
        let argued = list.survivor.iter().filter(|survivor| package.files.contains(&survivor.file));
        good &= judge(&survived, argued);
    }
    Ok(good)
}

/// Runs the package's mutants; those that a test noticed, that did not build or did not end are gone.
fn run(package: &Package) -> Result<Survived, String> {
    let out = Path::new(ROOT).join("target/mutants").join(&package.name);
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let mut command = Command::new("cargo");
    command.current_dir(ROOT).args(["mutants", "--no-shuffle", "--jobs", "2", "--package", &package.name]);
    command.args(["--colors", "never", "--minimum-test-timeout", "20", "--timeout-multiplier", "5"]);
    for file in &package.files {
        command.args(["--file", file]);
    }
    for tests in &package.tests {
        command.args(["--test-package", tests]);
    }
    // For building too: what is not run is not built.
    for argument in &package.arguments {
        command.arg(format!("--cargo-arg={argument}"));
    }
    command.arg("--output").arg(&out);
    // Without debug information a mutant builds in half the time.
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_TEST_DEBUG", "0");
    let status = command.status().map_err(|error| format!("cargo mutants: {error}"))?;
    // 0: none survived; 2: some did; 3: some did not end, which a test notices.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        return Err(format!("cargo mutants of {}: {status}", package.name));
    }
    let missed = out.join("mutants.out/missed.txt");
    let missed = fs::read_to_string(&missed).map_err(|error| format!("{}: {error}", missed.display()))?;
    Ok(count(&missed))
}

/// Lines are `file:line:column: text`.
fn count(missed: &str) -> Survived {
    let mut survived = Survived::new();
    for line in missed.lines() {
        let mut parts = line.splitn(4, ':');
        if let (Some(file), Some(text)) = (parts.next(), parts.nth(2)) {
            *survived.entry((file.to_owned(), text.trim().to_owned())).or_default() += 1;
        }
    }
    survived
}

/// Every survivor is argued for, and every argument is for a survivor.
fn judge<'a>(survived: &Survived, argued: impl Iterator<Item = &'a Survivor>) -> bool {
    let argued: Survived =
        argued.map(|line| ((line.file.clone(), line.mutant.clone()), line.times)).collect();
    let mut good = true;
    for ((file, text), times) in survived {
        let allowed = argued.get(&(file.clone(), text.clone())).copied().unwrap_or_default();
        if *times != allowed {
            println!("SURVIVED {times} times, {allowed} argued: {file}: {text}");
            good = false;
        }
    }
    for (file, text) in argued.keys().filter(|mutant| !survived.contains_key(mutant)) {
        println!("ARGUED for no survivor: {file}: {text}");
        good = false;
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survivor(mutant: &str, times: usize) -> Survivor {
        Survivor { file: "a.rs".into(), mutant: mutant.into(), times, _reason: "equal".into() }
    }

    #[test]
    fn survivors_and_arguments_must_meet() {
        let survived = count("a.rs:1:2: replace | with ^ in f\na.rs:9:9: replace | with ^ in f\n");
        let judged = |lines: &[Survivor]| judge(&survived, lines.iter());
        assert!(judged(&[survivor("replace | with ^ in f", 2)]));
        assert!(!judged(&[]), "nothing argued");
        assert!(!judged(&[survivor("replace | with ^ in f", 1)]), "one more than argued");
        assert!(!judged(&[survivor("replace | with ^ in f", 2), survivor("replace f with ()", 1)]), "stale");
    }

    #[test]
    fn the_list_reads_and_names_files_that_exist() {
        let list: List = toml::from_str(&fs::read_to_string(LIST).unwrap()).unwrap();
        for file in list.package.iter().flat_map(|package| &package.files) {
            assert!(Path::new(ROOT).join(file).is_file(), "{file}");
        }
        let listed = |survivor: &Survivor| list.package.iter().any(|p| p.files.contains(&survivor.file));
        assert!(list.survivor.iter().all(listed));
    }
}
