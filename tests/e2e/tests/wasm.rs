//! The verifier's libraries build where there is no operating system: anyone can link them, a browser
//! included, and check a proof.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::Path;
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";
const LIBRARIES: [&str; 7] =
    ["assay-wire", "assay-tpm", "assay-boot", "assay-gpu", "assay-ledger", "assay-job", "assay-appraisal"];

fn is_installed() -> bool {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let folder = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    folder.is_ok_and(|folder| !folder.is_empty() && Path::new(&folder).is_dir())
}

fn install() -> Result<(), String> {
    let output = Command::new("rustup").args(["target", "add", TARGET]).output();
    let output = output.map_err(|error| format!("rustup: {error}"))?;
    let said = || String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
    if output.status.success() { Ok(()) } else { Err(said()) }
}

#[test]
fn the_verifiers_libraries_build_for_wasm() {
    if !is_installed()
        && let Err(reason) = install()
    {
        eprintln!("SKIPPED: target {TARGET} is not installed and cannot be: {reason}");
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("wasm");
    let packages = LIBRARIES.iter().flat_map(|library| ["-p", library]);
    let output = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--lib", "--target", TARGET, "--target-dir"])
        .arg(folder)
        // Whether it builds is the question, not how well it runs.
        .args(["--config", "profile.dev.package.\"*\".opt-level=0"])
        .args(packages)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
