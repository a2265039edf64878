//! `assay-vectors [FOLDER...]`: one line per check of a folder of test data, exit code 1 on a difference.
//! `assay-vectors --backend` prints who does the arithmetic in this build.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use assay_vectors::{Outcome, Sheet, judge};

fn main() -> ExitCode {
    let named: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if named == [Path::new("--backend")] {
        println!("{}", assay_tpm::BACKEND);
        return ExitCode::SUCCESS;
    }
    let folders = if named.is_empty() { default_folders() } else { named };
    let mut differs = false;
    for folder in &folders {
        match run(folder) {
            Ok(sheet) => differs |= sheet.count(Outcome::Differs) > 0,
            Err(error) => {
                let _ = writeln!(io::stderr(), "assay-vectors: {}: {error}", folder.display());
                return ExitCode::from(3);
            }
        }
    }
    ExitCode::from(u8::from(differs))
}

/// `attestation` and `gpu` of ASSAY_DATA, or of the data beside the repository; one that is not there is
/// skipped, unless it is both.
fn default_folders() -> Vec<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let root = std::env::var_os("ASSAY_DATA").map_or_else(beside, PathBuf::from);
    let all = ["attestation", "gpu"].map(|folder| root.join(folder));
    let there: Vec<PathBuf> = all.iter().filter(|folder| folder.is_dir()).cloned().collect();
    if there.is_empty() {
        return all.into();
    }
    for folder in all.iter().filter(|folder| !there.contains(folder)) {
        println!("SKIPPED: no folder {}", folder.display());
    }
    there
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
