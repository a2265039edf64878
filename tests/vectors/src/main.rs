//! `assay-vectors [FOLDER]`: one line per check of a folder of test data, exit code 1 on a difference.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use assay_vectors::{Outcome, Sheet, judge};

fn main() -> ExitCode {
    let folder = std::env::args_os().nth(1).map_or_else(default_folder, PathBuf::from);
    match run(&folder) {
        Ok(sheet) => ExitCode::from(u8::from(sheet.count(Outcome::Differs) > 0)),
        Err(error) => {
            let _ = writeln!(io::stderr(), "assay-vectors: {}: {error}", folder.display());
            ExitCode::from(3)
        }
    }
}

/// The `attestation` folder of ASSAY_DATA, or of the data beside the repository.
fn default_folder() -> PathBuf {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    std::env::var_os("ASSAY_DATA").map_or_else(beside, PathBuf::from).join("attestation")
}

fn run(folder: &Path) -> io::Result<Sheet> {
    let sheet = judge(folder, |_| true)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for verdict in sheet.verdicts() {
        writeln!(out, "{verdict}")?;
    }
    writeln!(out, "{}", sheet.summary())?;
    out.flush()?;
    Ok(sheet)
}
