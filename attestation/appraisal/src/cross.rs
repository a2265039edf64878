//! What a device signed, against what the node's GPU library said of it.

use std::collections::BTreeSet;

use assay_gpu::{ReportFault, cross_check};
use assay_ledger::session::SessionStart;

use crate::appraise::Basis;
use crate::device::{Judged, Said};
use crate::finding::{Check, Findings, Severity};

const DRIVER: Check =
    Check { id: "gpu.report.driver", spec: "DESIGN 4.4", checked: "report and library name one driver" };
const VBIOS: Check =
    Check { id: "gpu.report.vbios", spec: "DESIGN 4.4", checked: "report and library name one VBIOS" };
const BOARD: Check = Check {
    id: "gpu.report.board-part",
    spec: "DESIGN 4.4",
    checked: "the report's board has the library's part number",
};
const INFOROM: Check = Check {
    id: "gpu.report.inforom",
    spec: "DESIGN 4.4",
    checked: "the report's board has the library's InfoROM image",
};
const PDI: Check =
    Check { id: "gpu.report.pdi", spec: "DESIGN 4.4", checked: "certificate and library name one device" };

const ARCHITECTURE: Check = Check {
    id: "gpu.report.architecture",
    spec: "DESIGN 4.4",
    checked: "the product's name is of the family that signed",
};
const NOT_COMPARED: Check = Check {
    id: "gpu.report.not-compared",
    spec: "DESIGN 4.4",
    checked: "the library has a fact for each that the device signed",
};

/// What came of comparing.
pub(crate) struct Crossed {
    /// Whether nothing differs.
    pub(crate) equal: bool,
    /// The GPUs whose entry in the table enough facts tie to what they signed.
    pub(crate) tied: BTreeSet<u8>,
}

/// Compares each device whose evidence holds with its entry in the session's table.
pub(crate) fn judge_cross(
    start: &SessionStart,
    judged: &[Judged<'_>],
    basis: Basis<'_>,
    findings: &mut Findings,
) -> Crossed {
    let (mut said, mut crossed) = (Said::default(), Crossed { equal: true, tied: BTreeSet::new() });
    for device in judged.iter().filter(|device| device.holds()) {
        let entry = start.gpus.iter().find(|gpu| Some(gpu.index) == device.evidence.gpu);
        let Some(entry) = entry else { continue };
        let outcome = cross_check(&device.judgement.facts, entry);
        for check in outcome.equal.iter().filter_map(|id| check(id)) {
            said.add(check, Severity::Pass, &device.label, "equal");
        }
        for fault in &outcome.faults {
            let severity = device.severity(Severity::Warning, basis);
            crossed.equal &= severity <= Severity::Info;
            said.add(of(fault), severity, &device.label, &fault.to_string());
        }
        if !outcome.not_compared.is_empty() {
            said.add(NOT_COMPARED, Severity::Info, &device.label, &outcome.not_compared.join(", "));
        }
        if outcome.ties(entry) {
            crossed.tied.insert(entry.index);
        }
    }
    said.tell(findings);
    crossed
}

fn check(id: &str) -> Option<Check> {
    [DRIVER, VBIOS, BOARD, INFOROM, PDI, ARCHITECTURE].into_iter().find(|check| check.id == id)
}

fn of(fault: &ReportFault) -> Check {
    match fault {
        ReportFault::Driver(_) => DRIVER,
        ReportFault::Vbios(_) => VBIOS,
        ReportFault::BoardPart(_) => BOARD,
        ReportFault::Inforom(_) => INFOROM,
        ReportFault::Pdi(_) => PDI,
        ReportFault::Architecture(_) => ARCHITECTURE,
    }
}
