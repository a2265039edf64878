//! The walls: which folder may depend on which, what the verifier's libraries may not touch, and
//! where unsafe code may live.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Libraries under `attestation/`: pure functions of bytes, trust, policy and time.
const LIBRARIES: [&str; 8] = [
    "assay-wire",
    "assay-tpm",
    "assay-x509",
    "assay-boot",
    "assay-gpu",
    "assay-ledger",
    "assay-job",
    "assay-appraisal",
];
/// Crates that do I/O, read a clock, draw randomness or call C: not below a library.
const BANNED: [&str; 14] = [
    "async-std",
    "getrandom",
    "hyper",
    "libsqlite3-sys",
    "mio",
    "nix",
    "reqwest",
    "ring",
    "rusqlite",
    "rustix",
    "rustls",
    "socket2",
    "tokio",
    "tss-esapi",
];
/// What a library's source may not name outside its tests.
const IMPURE: [&str; 6] = ["std::fs", "std::net", "std::env", "std::process", "SystemTime", "Instant::now"];
/// Where unsafe code may live.
const UNSAFE: [&str; 4] = [
    "agent/jailer/src/sys.rs",
    "agent/jailer/src/probe/",
    "agent/inventory/src/nvml/raw.rs",
    "tests/nvml-sim/src/",
];
/// Below which folder nothing of the other may be reached: from, to.
const ARROWS: [(&str, &str); 3] = [("attestation", "agent"), ("attestation", "tests"), ("agent", "tests")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A crate of the graph.
#[derive(Debug, Clone)]
struct Package {
    name: String,
    /// The first folder of its path; empty for a crate from elsewhere.
    folder: String,
    /// What it is built from: normal and build dependencies, not those of its tests.
    needs: BTreeSet<String>,
}

type Graph = BTreeMap<String, Package>;

fn graph() -> Graph {
    let metadata = metadata();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let needs = nodes.iter().map(|node| (text(&node["id"]), needs(node)));
    let mut needs: BTreeMap<String, BTreeSet<String>> = needs.collect();
    let packages = metadata["packages"].as_array().unwrap();
    let package = |package: &Value| {
        let id = text(&package["id"]);
        let needs = needs.remove(&id).unwrap_or_default();
        (id, Package { name: text(&package["name"]), folder: folder(package), needs })
    };
    packages.iter().map(package).collect()
}

/// What the libraries are built from where nobody asks for more: the whole workspace's graph has the
/// features that its programs switch on, too.
fn libraries() -> Graph {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--edges", "normal,build", "--prefix", "depth", "--format", " {p}"]);
    LIBRARIES.iter().for_each(|library| {
        tree.args(["--package", library]);
    });
    let output = tree.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    planted(&String::from_utf8(output.stdout).unwrap())
}

/// The graph of `cargo tree --prefix depth --format " {p}"`. What a crate needs is listed once.
fn planted(tree: &str) -> Graph {
    let mut graph = Graph::new();
    let mut way: Vec<String> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let (depth, package) = line.split_once(' ').unwrap();
        let id: Vec<_> = package.split(' ').take(2).collect();
        let (name, id) = (id[0].to_owned(), id.join(" "));
        way.truncate(depth.parse().unwrap());
        if let Some(above) = way.last() {
            graph.get_mut(above).unwrap().needs.insert(id.clone());
        }
        let package = Package { name, folder: String::new(), needs: BTreeSet::new() };
        graph.entry(id.clone()).or_insert(package);
        way.push(id);
    }
    graph
}

fn metadata() -> Value {
    let host = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let host = String::from_utf8(host).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn folder(package: &Value) -> String {
    if !package["source"].is_null() {
        return String::new();
    }
    let path = PathBuf::from(text(&package["manifest_path"])).canonicalize().unwrap();
    let inside = path.strip_prefix(root()).unwrap().components().next().unwrap();
    inside.as_os_str().to_str().unwrap().to_owned()
}

fn needs(node: &Value) -> BTreeSet<String> {
    let built_from = |dependency: &&Value| {
        dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev")
    };
    let dependencies = node["deps"].as_array().unwrap().iter().filter(built_from);
    dependencies.map(|dependency| text(&dependency["pkg"])).collect()
}

/// Everything that a crate is built from, with the way to it.
fn below(graph: &Graph, from: &str) -> BTreeMap<String, Vec<String>> {
    let mut ways = BTreeMap::new();
    let mut open = vec![(from.to_owned(), vec![graph[from].name.clone()])];
    while let Some((id, way)) = open.pop() {
        for next in &graph[&id].needs {
            if !ways.contains_key(next) {
                let way = [way.clone(), vec![graph[next].name.clone()]].concat();
                ways.insert(next.clone(), way.clone());
                open.push((next.clone(), way));
            }
        }
    }
    ways
}

/// Arrows that point the wrong way, each as the way that was found.
fn broken_arrows(graph: &Graph) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, package) in graph {
        for (to, way) in below(graph, id) {
            let arrow = (package.folder.as_str(), graph[&to].folder.as_str());
            if ARROWS.contains(&arrow) {
                broken.push(way.join(" -> "));
            }
        }
    }
    broken
}

/// Crates below a library that have no place there.
fn impurities(graph: &Graph) -> Vec<String> {
    let libraries = graph.iter().filter(|(_, package)| LIBRARIES.contains(&package.name.as_str()));
    let banned = |(to, way): (String, Vec<String>)| {
        BANNED.contains(&graph[&to].name.as_str()).then(|| way.join(" -> "))
    };
    libraries.flat_map(|(id, _)| below(graph, id)).filter_map(banned).collect()
}

#[test]
fn arrows_go_from_the_agent_to_attestation_and_never_back() {
    let graph = graph();
    let ours: Vec<_> = graph.values().filter(|package| !package.folder.is_empty()).collect();
    assert!(ours.len() >= 12 && ours.iter().any(|p| p.folder == "agent" && p.name == "assay-agent"));
    assert_eq!(broken_arrows(&graph), Vec::<String>::new());
}

#[test]
fn the_verifiers_libraries_reach_no_device_clock_or_network() {
    let all = graph();
    let graph = libraries();
    for library in LIBRARIES {
        assert!(all.values().any(|package| package.name == library && package.folder == "attestation"));
        assert!(graph.values().any(|package| package.name == library));
    }
    assert_eq!(impurities(&graph), Vec::<String>::new());
}

#[test]
fn the_programs_check_signatures_natively() {
    let graph = graph();
    let id = |name: &str| graph.iter().find(|(_, package)| package.name == name).unwrap().0;
    assert!(graph[id("assay-tpm")].needs.contains(id("ring")), "the feature ring of assay-tpm is off");
}

/// Rust files below a folder, by path from the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut open = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            match entry.file_type().unwrap().is_dir() {
                true if !path.ends_with("target") => open.push(path),
                false if path.extension().is_some_and(|extension| extension == "rs") => {
                    let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                    files.push((name, fs::read_to_string(&path).unwrap()));
                }
                _ => {}
            }
        }
    }
    files
}

/// The code of a file without comments and without what follows the tests' module.
fn code(source: &str) -> String {
    let product = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = product.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn impure(source: &str) -> Vec<&'static str> {
    let code = code(source);
    IMPURE.into_iter().filter(|name| code.contains(name)).collect()
}

#[test]
fn the_verifiers_libraries_name_no_file_socket_process_or_clock() {
    for library in LIBRARIES {
        let folder = format!("attestation/{}/src", library.trim_start_matches("assay-"));
        let files = sources(&folder);
        assert!(!files.is_empty(), "{folder}");
        for (name, source) in files {
            assert_eq!(impure(&source), Vec::<&str>::new(), "{name}");
        }
    }
}

/// Whether a file holds unsafe code: a block, a function, an implementation or an attribute.
fn has_unsafe(source: &str) -> bool {
    let keyword = ["un", "safe"].concat();
    let forms = [" {", " fn", " impl", " extern", " trait"].map(|form| format!("{keyword}{form}"));
    let code = code(source);
    code.contains(&format!("#[{keyword}(")) || forms.iter().any(|form| code.contains(form))
}

#[test]
fn unsafe_code_lives_in_four_places() {
    let files: Vec<_> = ["agent", "attestation", "tests"].into_iter().flat_map(sources).collect();
    let holds = files.iter().filter(|(_, source)| has_unsafe(source)).map(|(name, _)| name.as_str());
    let elsewhere: Vec<_> =
        holds.clone().filter(|name| !UNSAFE.iter().any(|at| name.starts_with(at))).collect();
    assert_eq!(elsewhere, Vec::<&str>::new());
    for at in UNSAFE {
        assert!(holds.clone().any(|name| name.starts_with(at)), "{at} has none: the rule is out of date");
    }
}

/// A made-up graph: each crate by name with its folder and what it needs.
fn made_up(crates: &[(&str, &str, &[&str])]) -> Graph {
    let package = |(name, folder, needs): &(&str, &str, &[&str])| {
        let needs = needs.iter().map(|need| (*need).to_owned()).collect();
        ((*name).to_owned(), Package { name: (*name).into(), folder: (*folder).into(), needs })
    };
    crates.iter().map(package).collect()
}

#[test]
fn the_rules_fire_on_a_broken_graph() {
    let good = made_up(&[
        ("assay-agent", "agent", &["assay-wire", "tokio"]),
        ("assay-wire", "attestation", &["sha2"]),
        ("tokio", "", &[]),
        ("sha2", "", &[]),
    ]);
    assert!(broken_arrows(&good).is_empty() && impurities(&good).is_empty());
    let broken = made_up(&[
        ("assay-wire", "attestation", &["helper"]),
        ("helper", "", &["assay-sandbox", "tokio"]),
        ("assay-sandbox", "agent", &["assay-demo"]),
        ("assay-demo", "tests", &[]),
        ("tokio", "", &[]),
    ]);
    let arrows = broken_arrows(&broken);
    assert!(arrows.contains(&"assay-wire -> helper -> assay-sandbox".to_owned()), "{arrows:?}");
    assert!(arrows.contains(&"assay-sandbox -> assay-demo".to_owned()), "{arrows:?}");
    assert_eq!(impurities(&broken), ["assay-wire -> helper -> tokio"]);
}

#[test]
fn a_crate_below_a_library_is_found_in_its_tree() {
    let tree = "0 assay-wire v0.1.0 (/a)\n1 sha2 v0.10.0\n2 ring v0.17.0\n1 hex v0.4.0\n\n\
                0 assay-tpm v0.1.0 (/b)\n1 sha2 v0.10.0 (*)\n";
    let ways = ["assay-tpm -> sha2 -> ring", "assay-wire -> sha2 -> ring"];
    assert_eq!(impurities(&planted(tree)), ways);
}

#[test]
fn the_rules_fire_on_broken_sources() {
    let clock = "fn now() -> u64 { std::time::SystemTime::now() }\n";
    assert_eq!(impure(clock), ["SystemTime"]);
    assert_eq!(impure("use std::fs;\n"), ["std::fs"]);
    assert!(impure("// std::fs is not used here\n#[cfg(test)]\nmod tests { use std::fs; }\n").is_empty());
    let keyword = ["un", "safe"].concat();
    assert!(has_unsafe(&format!("let x = {keyword} {{ y }};")));
    assert!(has_unsafe(&format!("{keyword} fn f() {{}}")));
    assert!(!has_unsafe(&format!("// {keyword} {{ }}\n#![forbid({keyword}_code)]")));
}

#[test]
fn dependencies_of_tests_are_not_counted() {
    let node = serde_json::json!({ "deps": [
        { "pkg": "a", "dep_kinds": [{ "kind": null }] },
        { "pkg": "b", "dep_kinds": [{ "kind": "build" }] },
        { "pkg": "c", "dep_kinds": [{ "kind": "dev" }] },
        { "pkg": "d", "dep_kinds": [{ "kind": "dev" }, { "kind": null }] },
    ]});
    assert_eq!(needs(&node).into_iter().collect::<Vec<_>>(), ["a", "b", "d"]);
}
