//! Which RIMs a report asks for.

use super::model::{Board, Rim, RimKind};
use crate::device::{Architecture, ReportFacts};

/// The chip of a Blackwell report that names none.
const BLACKWELL: &str = "GB100";

/// The chip of every Hopper report.
const HOPPER: &str = "GH100";

/// The chip of a third-generation switch.
const LS10: &str = "LS10";

/// The board of every switch: its report has no fields for it.
const SWITCH_BOARD: &str = "5612_0002_890";

/// A RIM that a report asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it describes.
    pub kind: RimKind,
    /// Its id in the vendor's service; with `*` for what the report does not say.
    pub id: String,
    /// The version, without which no RIM can be found.
    version: Option<String>,
    chip: String,
    board: Option<Board>,
}

impl Wanted {
    /// Whether `rim` is for it: by kind, product and version, which its vendor signed, and by board where whoever
    /// stored it named one.
    #[must_use]
    pub fn is(&self, rim: &Rim) -> bool {
        let version =
            self.version.as_deref().is_some_and(|version| version.eq_ignore_ascii_case(&rim.version));
        // A VBIOS belongs to a board; which chips of a family share the board's RIM is not for us to say.
        let product = match self.kind {
            RimKind::Vbios => family(&self.chip) == family(&rim.product),
            RimKind::Driver | RimKind::Switch => self.chip == rim.product,
        };
        let board = match (&rim.board, &self.board) {
            (Some(named), Some(board)) => named == board,
            (Some(_), None) => self.kind != RimKind::Vbios,
            (None, _) => true,
        };
        rim.kind == self.kind && version && product && board
    }
}

/// The first two letters of a chip's name, which tell the architecture.
fn family(chip: &str) -> Option<&str> {
    chip.get(..2)
}

/// The RIMs that a report asks for: driver and VBIOS of a GPU, or a switch's firmware.
#[must_use]
pub fn rim_ids(facts: &ReportFacts, architecture: Architecture) -> Vec<Wanted> {
    let chip = match architecture {
        Architecture::Hopper => HOPPER,
        Architecture::Blackwell => facts.chip_name.as_deref().unwrap_or(BLACKWELL),
        Architecture::Ls10 => LS10,
    };
    let wanted = |kind: RimKind, version: &Option<String>, board: Option<Board>| Wanted {
        kind,
        id: id(kind, chip, version.as_deref().unwrap_or("*"), board.as_ref()),
        version: version.clone(),
        chip: chip.to_owned(),
        board,
    };
    match architecture.is_switch() {
        true => vec![wanted(RimKind::Switch, &facts.vbios, None)],
        false => vec![
            wanted(RimKind::Driver, &facts.driver, None),
            wanted(RimKind::Vbios, &facts.vbios, board(facts)),
        ],
    }
}

/// The board that a report names.
fn board(facts: &ReportFacts) -> Option<Board> {
    Some(Board {
        project: facts.project.as_ref()?.to_ascii_uppercase(),
        project_sku: facts.project_sku.as_ref()?.to_ascii_uppercase(),
        chip_sku: facts.chip_sku.as_ref()?.to_ascii_uppercase(),
    })
}

/// An id of the vendor's service.
pub(super) fn id(kind: RimKind, chip: &str, version: &str, board: Option<&Board>) -> String {
    let digits = || version.replace('.', "").to_ascii_uppercase();
    match kind {
        RimKind::Driver if family(chip) == family(HOPPER) => format!("NV_GPU_DRIVER_{chip}_{version}"),
        RimKind::Driver => format!("NV_GPU_CC_DRIVER_{chip}_{version}"),
        RimKind::Vbios => {
            let board = board.map_or_else(|| "*".to_owned(), ToString::to_string);
            format!("NV_GPU_VBIOS_{board}_{}", digits())
        }
        RimKind::Switch => format!("NV_SWITCH_BIOS_{SWITCH_BOARD}_{}", digits()),
    }
}
