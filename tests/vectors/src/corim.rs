//! `corim/`: manifests of other makers, which must be read, or refused where the manifest says so.

use assay_boot::BootError;
use assay_boot::corim::{Corim, CorimFault};

use crate::{Folder, Manifest, Sheet};

pub(crate) fn judge(folder: &Folder, manifest: &Manifest, sheet: &mut Sheet) {
    for file in folder.in_folder("corim") {
        let Ok(bytes) = folder.read(file) else { continue };
        let parsed = Corim::parse(&bytes);
        let seen = match &parsed {
            Ok(corim) => format!("read, {} tags", corim.tags.len()),
            Err(error) => format!("refused: {error}"),
        };
        match (manifest.expects_refusal(file), parsed) {
            (true, parsed) => sheet.holds(file, "corim", parsed.is_err(), "refuse", seen),
            (false, Err(BootError::Corim { fault: CorimFault::NotCorim, offset: 0 })) => {
                sheet.not_judged(file, "corim", "CBOR of another kind");
            }
            (false, parsed) => sheet.holds(file, "corim", parsed.is_ok(), "read", seen),
        }
    }
}
