//! Judges a folder of test data by what the folder itself expects.
//!
//! The folder's form is in its README: `expected.json` for logs, `cases.json` and `swtpm/` for
//! attestations, rows of `MANIFEST.md` for the rest; or a `cases.json` of GPU reports, reference values,
//! comparisons and bundles. Nothing here names a file or a value of one
//! folder, so that another folder of the same form is judged by the same rules. What no rule covers
//! is said to be not judged, and counted.
//!
//! # Trust boundary
//! None: this is a test, and the data is its oracle. What is judged is the code under `attestation/`.
#![forbid(unsafe_code)]

mod appliance;
mod attestation;
mod carriers;
mod cases;
mod certificates;
mod corim;
mod folder;
mod forged;
mod golden;
mod gpu;
mod ima;
mod logs;
mod manifest;
mod platform;
mod protobuf;
mod sequence;
mod tools_files;
mod verdict;

use std::io;
use std::path::Path;

pub use folder::{Folder, MAX_FILE_BYTES};
pub use forged::{MESSAGE, Made, made};
pub use golden::pcrs_section;
pub use manifest::{Manifest, Row};
pub use verdict::{Outcome, Sheet, Verdict};

/// One kind of data, and what judges it.
pub struct Family {
    /// Its name on the command line and in tests.
    pub name: &'static str,
    judge: fn(&Folder, &Manifest, &mut Sheet),
}

/// The families in the order in which they are judged and printed.
pub const FAMILIES: &[Family] = &[
    Family { name: "logs", judge: logs::judge },
    Family { name: "golden", judge: golden::judge },
    Family { name: "appliance", judge: appliance::judge },
    Family { name: "ima", judge: ima::judge },
    Family { name: "cases", judge: cases::judge },
    Family { name: "attestations", judge: carriers::judge },
    Family { name: "protobuf", judge: protobuf::judge },
    Family { name: "tools-files", judge: tools_files::judge },
    Family { name: "certificates", judge: certificates::judge },
    Family { name: "platform-certs", judge: platform::judge },
    Family { name: "corim", judge: corim::judge },
    Family { name: "signatures", judge: forged::judge },
];

/// The family of a folder of GPU evidence; none of [`FAMILIES`] reads such a folder.
pub const GPU: Family = Family { name: "gpu", judge: gpu::judge };

/// Judges the families whose names `wanted` keeps; with all of them, also lists what none covers.
///
/// # Errors
/// When the folder can't be listed.
pub fn judge(root: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Sheet> {
    let folder = Folder::open(root)?;
    let manifest = Manifest::read(&folder);
    let mut sheet = Sheet::default();
    let mut all = true;
    let families = if gpu::recognises(&folder) { std::slice::from_ref(&GPU) } else { FAMILIES };
    for family in families {
        match wanted(family.name) {
            true => (family.judge)(&folder, &manifest, &mut sheet),
            false => all = false,
        }
    }
    if all {
        manifest.judge(&folder, &mut sheet);
        rest(&folder, &mut sheet);
    }
    Ok(sheet)
}

/// Names every file that no rule looked into.
fn rest(folder: &Folder, sheet: &mut Sheet) {
    let unseen: Vec<String> = folder.files().filter(|file| !sheet.covers(file)).map(str::to_owned).collect();
    for file in unseen {
        sheet.not_judged(&file, "contents", "no rule covers this file");
    }
}
