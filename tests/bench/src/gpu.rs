//! Device evidence, by a program of its own for each back end: which one is in is settled when it is built.

use std::io;
use std::path::Path;
use std::process::Command;

/// Builds and runs it without and with `ring`; it prints its lines itself.
pub(crate) fn verification() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for features in ["", "ring"] {
        let mut command = Command::new("cargo");
        command.current_dir(&root).args([
            "run",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            "assay-bench-gpu",
        ]);
        if !command.args(["--features", features]).status()?.success() {
            return Err(io::Error::other(format!("assay-bench-gpu ended badly ({features})")));
        }
    }
    Ok(())
}
