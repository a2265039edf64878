//! A device's signed facts against what the vendor's library said of the same GPU.
//!
//! The library is unsigned, on a machine that its owner controls; the report and the certificate are not. A
//! difference means that the library lies or that the evidence is another device's. Equal values prove nothing
//! more than the evidence does, and a fact that one side lacks is not compared.

use serde::Serialize;
use thiserror::Error;

use crate::GpuIdentity;
use crate::device::{Architecture, DeviceFacts, Pdi};

/// What two sides say of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sides {
    /// The report or the certificate.
    pub report: String,
    /// The library.
    pub library: String,
}

/// A rule that evidence and library break together.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum ReportFault {
    /// Versions of the driver differ.
    #[error("the report is of driver {}, the library says {}", .0.report, .0.library)]
    Driver(Sides),
    /// Versions of the VBIOS differ.
    #[error("the report is of VBIOS {}, the library says {}", .0.report, .0.library)]
    Vbios(Sides),
    /// Project and SKU are not those of the board's part number.
    #[error("the report is of board {}, the library says part number {}", .0.report, .0.library)]
    BoardPart(Sides),
    /// Project and SKU are not those of the InfoROM's image.
    #[error("the report is of board {}, the library says InfoROM image {}", .0.report, .0.library)]
    Inforom(Sides),
    /// Identifiers of the device differ.
    #[error("the certificate is of device {}, the library says {}", .0.report, .0.library)]
    Pdi(Sides),
    /// The product's name is that of another family.
    #[error("the certificate is of the family {}, the library says product {}", .0.report, .0.library)]
    Architecture(Sides),
}

impl ReportFault {
    /// Stable identifier of the rule, for findings.
    #[must_use]
    pub const fn id(&self) -> &'static str {
        match self {
            Self::Driver(_) => DRIVER,
            Self::Vbios(_) => VBIOS,
            Self::BoardPart(_) => BOARD_PART,
            Self::Inforom(_) => INFOROM,
            Self::Pdi(_) => PDI,
            Self::Architecture(_) => ARCHITECTURE,
        }
    }
}

const DRIVER: &str = "gpu.report.driver";
const VBIOS: &str = "gpu.report.vbios";
const BOARD_PART: &str = "gpu.report.board-part";
const INFOROM: &str = "gpu.report.inforom";
const PDI: &str = "gpu.report.pdi";
const ARCHITECTURE: &str = "gpu.report.architecture";

/// What came of comparing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CrossCheck {
    /// Rules that are broken.
    pub faults: Vec<ReportFault>,
    /// Ids of rules that hold.
    pub equal: Vec<&'static str>,
    /// Ids of rules for which one side has no fact, or one in a form that is not known.
    pub not_compared: Vec<&'static str>,
}

/// Compares what a device signed with the entry of the session's table that it is said to be.
///
/// Only a device whose signature and chain hold says anything; the caller has judged that.
#[must_use]
pub fn cross_check(device: &DeviceFacts, gpu: &GpuIdentity) -> CrossCheck {
    let mut outcome = CrossCheck::default();
    let driver = said(device.driver.as_ref()).zip(said(Some(&gpu.driver)));
    outcome.take(DRIVER, driver, ReportFault::Driver, str::eq);
    let vbios = said(device.vbios.as_ref()).zip(said(gpu.vbios.as_ref()));
    outcome.take(VBIOS, vbios, ReportFault::Vbios, str::eq_ignore_ascii_case);
    let board = board(device);
    let part = gpu.board_part_number.as_deref().and_then(of_part_number);
    outcome.board(
        BOARD_PART,
        board.as_ref(),
        part.zip(gpu.board_part_number.as_ref()),
        ReportFault::BoardPart,
    );
    let image = gpu.inforom.as_deref().and_then(of_image);
    outcome.board(INFOROM, board.as_ref(), image.zip(gpu.inforom.as_ref()), ReportFault::Inforom);
    let pdi = device.pdi.zip(gpu.pdi).map(|(report, library)| (report.to_string(), Pdi(library).to_string()));
    let pdi = pdi.as_ref().map(|(report, library)| (report.as_str(), library.as_str()));
    outcome.take(PDI, pdi, ReportFault::Pdi, str::eq);
    outcome.architecture(device.architecture, &gpu.name);
    outcome
}

impl CrossCheck {
    /// Whether the two rules hold for which every library has a fact, driver and VBIOS, and that of the device's
    /// identifier where the library has one. Without them nothing ties the entry to the report.
    #[must_use]
    pub fn ties(&self, gpu: &GpuIdentity) -> bool {
        let holds = |id: &str| self.equal.contains(&id);
        holds(DRIVER) && holds(VBIOS) && (gpu.pdi.is_none() || holds(PDI))
    }

    fn architecture(&mut self, signed: Architecture, name: &str) {
        match of_product(name) {
            None => self.not_compared.push(ARCHITECTURE),
            Some(named) if named == signed => self.equal.push(ARCHITECTURE),
            Some(_) => {
                let sides = Sides { report: signed.to_string(), library: name.to_owned() };
                self.faults.push(ReportFault::Architecture(sides));
            }
        }
    }

    fn take(
        &mut self,
        id: &'static str,
        sides: Option<(&str, &str)>,
        fault: fn(Sides) -> ReportFault,
        same: fn(&str, &str) -> bool,
    ) {
        match sides {
            None => self.not_compared.push(id),
            Some((report, library)) if same(report, library) => self.equal.push(id),
            Some((report, library)) => {
                self.faults.push(fault(Sides { report: report.to_owned(), library: library.to_owned() }));
            }
        }
    }

    /// Project and SKU against those in one of the library's texts, which is told whole.
    fn board(
        &mut self,
        id: &'static str,
        report: Option<&Board>,
        library: Option<(Board, &String)>,
        fault: fn(Sides) -> ReportFault,
    ) {
        match report.zip(library) {
            None => self.not_compared.push(id),
            Some((report, (library, _))) if library.is_of(report) => self.equal.push(id),
            Some((report, (_, text))) => {
                let report = format!("{}-{}", report.project, report.sku.as_deref().unwrap_or_default());
                self.faults.push(fault(Sides { report, library: text.clone() }));
            }
        }
    }
}

/// Project and SKU, in capitals.
#[derive(Debug)]
struct Board {
    project: String,
    /// Absent in a part number of a customer's, which has a SKU of its own.
    sku: Option<String>,
}

impl Board {
    fn is_of(&self, report: &Self) -> bool {
        self.project == report.project && (self.sku.is_none() || self.sku == report.sku)
    }

    fn of(project: &str, sku: &str) -> Option<Self> {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let whole = plain(project) && plain(sku);
        whole.then(|| Self { project: project.to_ascii_uppercase(), sku: Some(sku.to_ascii_uppercase()) })
    }
}

fn board(device: &DeviceFacts) -> Option<Board> {
    Board::of(device.project.as_deref()?.trim(), device.project_sku.as_deref()?.trim())
}

/// `692-2G520-0200-000`: class, `2` and project, SKU, revision. In other classes than the maker's two for boards,
/// as in `965-2G520-A800-000`, the SKU is a customer's.
fn of_part_number(text: &str) -> Option<Board> {
    let mut parts = text.trim().split('-');
    let (class, project, sku, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none();
    let board = Board::of(project.strip_prefix('2')?, sku).filter(|_| whole)?;
    let makers = matches!(class, "692" | "699");
    Some(Board { sku: board.sku.filter(|_| makers), ..board })
}

/// `G520.0200.00.05`: project, SKU, and the image's own version.
fn of_image(text: &str) -> Option<Board> {
    let mut parts = text.trim().split('.');
    let (project, sku, _, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none();
    Board::of(project, sku).filter(|_| whole)
}

/// The family of a product, where a word of its name tells it: `NVIDIA H100 80GB HBM3`, `NVIDIA H20-3e`.
fn of_product(name: &str) -> Option<Architecture> {
    name.split(|letter: char| !letter.is_ascii_alphanumeric()).find_map(|word| {
        match word.to_ascii_uppercase().as_str() {
            "H20" | "H100" | "H200" | "H800" | "GH200" | "HOPPER" => Some(Architecture::Hopper),
            "B100" | "B200" | "B300" | "GB200" | "GB300" | "BLACKWELL" => Some(Architecture::Blackwell),
            _ => None,
        }
    })
}

/// A text that says something.
fn said(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty() && *text != "N/A")
}
