//! What a report's opaque fields say, by name.

use super::architecture::Pdi;
use super::opaque::OpaqueField;

/// A switch of two states: on.
const ON: u8 = 0xaa;
/// Off.
const OFF: u8 = 0x55;

/// Facts of a report; absent where the report has no such field, or an empty one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportFacts {
    /// Version of the VBIOS, such as `96.00.9F.00.01`.
    pub vbios: Option<String>,
    /// Version of the driver; a switch has none.
    pub driver: Option<String>,
    /// Project, such as `G520`.
    pub project: Option<String>,
    /// SKU of the project, such as `0200`.
    pub project_sku: Option<String>,
    /// SKU of the chip, such as `885`.
    pub chip_sku: Option<String>,
    /// Name of the chip.
    pub chip_name: Option<String>,
    /// Number of the chip, such as 0x0180.
    pub chip_id: Option<u16>,
    /// Digest of the firmware that holds the report's key.
    pub fwid: Option<[u8; 48]>,
    /// A switch's own identifier. A GPU's stands in its certificate only.
    pub own_pdi: Option<Pdi>,
    /// The switches that a GPU is linked to, each once, in order of first mention.
    pub switch_pdis: Vec<Pdi>,
    /// The GPUs that a switch is linked to, each once, in order of first mention.
    pub gpu_pdis: Vec<Pdi>,
    /// Whether NVDEC0 is enabled; absent for a value that is neither.
    pub nvdec0: Option<bool>,
    /// Whether PCIe is protected; absent for a value that is neither.
    pub protected_pcie: Option<bool>,
    /// 0 one GPU, 1 several, 2 several under protected PCIe.
    pub feature_flag: Option<u8>,
    /// Version of the opaque fields.
    pub opaque_version: Option<u16>,
}

impl ReportFacts {
    /// The fields' facts; no type stands there twice.
    pub(super) fn of(fields: &[OpaqueField]) -> Self {
        let mut facts = Self::default();
        for field in fields {
            facts.take(field);
        }
        facts
    }

    fn take(&mut self, field: &OpaqueField) {
        match field {
            OpaqueField::Vbios(text) => self.vbios = said(text),
            OpaqueField::Driver(text) => self.driver = said(text),
            OpaqueField::Project(text) => self.project = said(text),
            OpaqueField::ProjectSku(text) => self.project_sku = said(text),
            OpaqueField::ChipSku(text) => self.chip_sku = said(text),
            OpaqueField::ChipName(text) => self.chip_name = said(text),
            OpaqueField::ChipId(id) => self.chip_id = Some(*id),
            OpaqueField::Fwid(digest) => self.fwid = Some(*digest),
            OpaqueField::OwnPdi(pdi) => self.own_pdi = Some(*pdi),
            OpaqueField::SwitchPdis(slots) => self.switch_pdis = distinct(slots),
            OpaqueField::GpuPdis { gpus, .. } => self.gpu_pdis = distinct(gpus),
            OpaqueField::Nvdec0(state) => self.nvdec0 = two_states(*state),
            OpaqueField::ProtectedPcie(state) => self.protected_pcie = two_states(*state),
            OpaqueField::FeatureFlag(flag) => self.feature_flag = Some(*flag),
            OpaqueField::OpaqueVersion(version) => self.opaque_version = Some(*version),
            _ => {}
        }
    }

    /// Whether a switch made the report: it names itself or GPUs.
    pub(super) const fn is_switch(&self) -> bool {
        self.own_pdi.is_some() || !self.gpu_pdis.is_empty()
    }
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

const fn two_states(state: u8) -> Option<bool> {
    match state {
        ON => Some(true),
        OFF => Some(false),
        _ => None,
    }
}

/// Each identifier once; empty slots hold 0 or all ones.
fn distinct(slots: &[Pdi]) -> Vec<Pdi> {
    let mut seen = Vec::new();
    for pdi in slots.iter().filter(|pdi| !matches!(pdi.0, 0 | u64::MAX)) {
        if !seen.contains(pdi) {
            seen.push(*pdi);
        }
    }
    seen
}
