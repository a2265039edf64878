//! `assay-mutants [PACKAGE...]`: runs cargo-mutants over the files that `tests/mutants.toml` names,
//! and fails on a survivor without an argued line there, or on a line that argues for none.
#![forbid(unsafe_code)]

mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tree::Tree;

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
    /// Not run unless it is named: all of them would take more than an hour.
    #[serde(default)]
    named_only: bool,
    /// Tests that are not worth their time.
    #[serde(default)]
    skip: Vec<String>,
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
    let wanted = |package: &&Package| {
        if names.is_empty() { !package.named_only } else { names.contains(&package.name) }
    };
    if let Some(name) = names.iter().find(|name| !list.package.iter().any(|one| one.name == **name)) {
        return Err(format!("{name} is not in {LIST}"));
    }
    let packages: Vec<&Package> = list.package.iter().filter(wanted).collect();
    let trees = tree::grow(&packages)?;
    for package in packages {
        let survived = run(package, &trees)?;
        let argued = list.survivor.iter().filter(|survivor| package.files.contains(&survivor.file));
        good &= judge(&survived, argued);
    }
    Ok(good)
}

/// Runs the package's mutants, a share in each tree; those that a test noticed, that did not build or did not end are gone.
fn run(package: &Package, trees: &[Tree]) -> Result<Survived, String> {
    let start = Instant::now();
    let out = |share: usize| Path::new(ROOT).join("target/mutants").join(format!("{}-{share}", package.name));
    let mut shares = Vec::new();
    for (share, tree) in trees.iter().enumerate() {
        let out = out(share);
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
        shares.push(Share { child: start_share(package, tree, &out, (share, trees.len()))?, out });
    }
    let terminal = std::io::stdout().is_terminal();
    let mut ended = Ok(());
    while !shares.iter_mut().try_fold(true, |all, share| share.ended().map(|ended| all && ended))? {
        if terminal {
            print!("\r{:16} {} mutants judged", package.name, Tally::of(&shares)?.all());
            let _ = std::io::stdout().flush();
        }
        thread::sleep(Duration::from_millis(200));
    }
    for share in &mut shares {
        // 0: none survived; 2: some did; 3: some did not end, which a test notices.
        let status = share.child.wait().map_err(|error| format!("cargo mutants: {error}"))?;
        if !matches!(status.code(), Some(0 | 2 | 3)) {
            let log = share.out.join("log.txt");
            ended = Err(format!("cargo mutants of {}: {status}; see {}", package.name, log.display()));
        }
    }
    ended?;
    let tally = Tally::of(&shares)?;
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    let begin = if terminal { "\r" } else { "" };
    println!("{begin}{:16} {tally}, {minutes:.1} min", package.name);
    let missed = shares.iter().map(|share| share.lines("missed")).collect::<Result<String, _>>()?;
    Ok(count(&missed))
}

/// One cargo-mutants, in a tree of its own.
struct Share {
    child: Child,
    out: PathBuf,
}

impl Share {
    fn ended(&mut self) -> Result<bool, String> {
        self.child.try_wait().map(|ended| ended.is_some()).map_err(|error| format!("cargo mutants: {error}"))
    }

    /// The mutants that ended so; none before there is a list.
    fn lines(&self, kind: &str) -> Result<String, String> {
        let path = self.out.join("mutants.out").join(format!("{kind}.txt"));
        match fs::read_to_string(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
            read => Ok(read.unwrap_or_default()),
        }
    }
}

fn start_share(package: &Package, tree: &Tree, out: &Path, share: (usize, usize)) -> Result<Child, String> {
    let mut command = tree.cargo();
    command.args(["mutants", "--in-place", "--no-shuffle", "--package", &package.name]);
    command.arg("--shard").arg(format!("{}/{}", share.0, share.1)).args(["--sharding", "round-robin"]);
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
    command.arg("--output").arg(out);
    if !package.skip.is_empty() {
        command.args(["--", "--"]).args(package.skip.iter().flat_map(|name| ["--skip", name]));
    }
    let log = out.join("log.txt");
    let log = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let same = log.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(log).stderr(same);
    command.spawn().map_err(|error| format!("cargo mutants: {error}"))
}

/// How many mutants ended in which way.
#[derive(Default)]
struct Tally {
    caught: usize,
    missed: usize,
    unended: usize,
    unbuilt: usize,
}

impl Tally {
    fn of(shares: &[Share]) -> Result<Self, String> {
        let count = |kind| {
            shares
                .iter()
                .map(|share| share.lines(kind).map(|text| text.lines().count()))
                .sum::<Result<_, _>>()
        };
        Ok(Self {
            caught: count("caught")?,
            missed: count("missed")?,
            unended: count("timeout")?,
            unbuilt: count("unviable")?,
        })
    }

    fn all(&self) -> usize {
        self.caught + self.missed + self.unended + self.unbuilt
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { caught, missed, unended, unbuilt } = self;
        write!(f, "{:4} mutants: {caught:4} caught, {unended:2} without end, ", self.all())?;
        write!(f, "{unbuilt:3} do not build, {missed:2} survive")
    }
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
