//! Whether the devices of a session are one machine, by what they signed of each other.

use assay_gpu::device::{TopologyFault, topology};

use crate::appraise::Basis;
use crate::device::{Judged, Said};
use crate::finding::{Check, Findings, Severity};

const DUPLICATE: Check =
    Check { id: "gpu.topology.duplicate", spec: "DESIGN 4.4", checked: "each report is of another device" };
const SETS: Check = Check {
    id: "gpu.topology.sets",
    spec: "DESIGN 4.4",
    checked: "all GPUs name the same switches, and all switches the same GPUs",
};
const UNLISTED: Check = Check {
    id: "gpu.topology.unlisted",
    spec: "DESIGN 4.4",
    checked: "each device is named by those on the other side of its links",
};
const MISSING: Check = Check {
    id: "gpu.topology.missing",
    spec: "DESIGN 4.4",
    checked: "each device that another one names signed too",
};

/// Compares what devices signed of each other; whether nothing contradicts that they are one
/// machine. Devices whose own evidence does not hold have no say.
pub(crate) fn judge_topology(judged: &[Judged<'_>], basis: Basis<'_>, findings: &mut Findings) -> bool {
    let devices: Vec<_> = judged.iter().filter(|device| device.holds()).collect();
    let facts: Vec<_> = devices.iter().map(|device| device.judgement.facts.clone()).collect();
    let (mut said, mut one_machine) = (Said::default(), true);
    let machine = topology(&facts);
    // Where both sides signed, the one that did not is hidden; a side that is silent whole may not be able to.
    let both = !machine.gpus.is_empty() && !machine.switches.is_empty();
    let missing = if both { Severity::Warning } else { Severity::Info };
    for fault in machine.faults {
        let (check, severity, place) = match fault {
            TopologyFault::Duplicate { device, .. } => (DUPLICATE, Severity::Fatal, Some(device)),
            TopologyFault::SwitchSet { device } | TopologyFault::GpuSet { device } => {
                (SETS, Severity::Warning, Some(device))
            }
            TopologyFault::SwitchUnlisted { .. } | TopologyFault::GpuUnlisted { .. } => {
                (UNLISTED, Severity::Warning, None)
            }
            TopologyFault::SwitchMissing { .. } | TopologyFault::GpuMissing { .. } => {
                (MISSING, missing, None)
            }
            // Each device's own checks say it.
            TopologyFault::NoIdentity { .. } | TopologyFault::Nonce { .. } => continue,
        };
        let device = place.and_then(|place| devices.get(place)).or_else(|| devices.first());
        let severity = device.map_or(severity, |device| device.severity(severity, basis));
        one_machine &= basis.policy.severity(check.id, severity) <= Severity::Info;
        let label = place.and_then(|place| devices.get(place)).map_or("all", |device| device.label.as_str());
        said.add(check, severity, label, &text(&fault));
    }
    said.tell(findings);
    one_machine
}

fn text(fault: &TopologyFault) -> String {
    match fault {
        TopologyFault::Duplicate { pdi, .. } => format!("device {pdi}, which was there already"),
        TopologyFault::SwitchSet { .. } => "other switches than the first GPU's".to_owned(),
        TopologyFault::GpuSet { .. } => "other GPUs than the first switch's".to_owned(),
        other => other.to_string(),
    }
}
