//! Where the test data is.

use std::path::PathBuf;

/// The `attestation` folder of the test data, or `None` after a SKIPPED line.
pub(crate) fn attestation() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root = std::env::var_os("ASSAY_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let folder = root.join("attestation");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no test data (set ASSAY_DATA)");
    None
}
