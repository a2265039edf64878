//! What the verifier weighs as a WebAssembly module.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::row;

const TARGET: &str = "wasm32-unknown-unknown";
/// One module, as small as the compiler makes it: what a page would serve.
const PROFILE: [&str; 4] = ["opt-level=\"s\"", "lto=\"fat\"", "codegen-units=1", "strip=true"];

/// Builds the module in a folder of its own and prints its bytes.
pub(crate) fn size() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new("cargo");
    command.current_dir(&root).args(["build", "--quiet", "--locked", "--release", "--package", "assay-wasm"]);
    command.args(["--target", TARGET, "--target-dir", "target/wasm"]);
    for setting in PROFILE {
        command.args(["--config", &format!("profile.release.{setting}")]);
    }
    if !command.status()?.success() {
        return Err(io::Error::other(format!("assay-wasm does not build for {TARGET}")));
    }
    let module = root.join("target/wasm").join(TARGET).join("release/assay-wasm.wasm");
    let bytes = fs::metadata(module)?.len();
    // No limit is set; the rival is the mebibyte that a page loads without a thought.
    row("verifier as a wasm module", bytes as f64 / 1024.0, 1024.0, "KiB");
    Ok(())
}
