//! What the verifier weighs as a WebAssembly module, and what device evidence alone does.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::row;

const TARGET: &str = "wasm32-unknown-unknown";
/// One module, as small as the compiler makes it: what a page would serve.
const PROFILE: [&str; 4] = ["opt-level=\"s\"", "lto=\"fat\"", "codegen-units=1", "strip=true"];

/// Figures and the modules that they weigh. No limit is set; the rival is the mebibyte that a page loads without a
/// thought.
const MODULES: [(&str, &str); 2] =
    [("verifier as a wasm module", "assay-wasm"), ("device evidence as a wasm module", "assay-wasm-gpu")];

/// Builds the modules in a folder of their own and prints their bytes.
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
    for (figure, name) in MODULES {
        let module = root.join("target/wasm").join(TARGET).join(format!("release/{name}.wasm"));
        row(figure, fs::metadata(module)?.len() as f64 / 1024.0, 1024.0, "KiB");
    }
    Ok(())
}
