//! Whether several devices are one machine: each GPU names the switches behind its links, each
//! switch the GPUs behind its ports, and both sign it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::architecture::Pdi;
use super::judgement::DeviceFacts;

/// One thing that doesn't fit. Devices are counted in the order they were given, from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyFault {
    /// A device has no identifier.
    #[error("device {device}: no identifier in its certificate")]
    NoIdentity {
        /// The device.
        device: usize,
    },
    /// Two pieces of evidence are of one device.
    #[error("device {device} is {pdi}, which was there already")]
    Duplicate {
        /// The later one.
        device: usize,
        /// Its identifier.
        pdi: Pdi,
    },
    /// A report is for another nonce than the first one.
    #[error("device {device}: another nonce than the first device's")]
    Nonce {
        /// The device.
        device: usize,
    },
    /// A GPU names other switches than the first GPU.
    #[error("device {device}: other switches than the first GPU's")]
    SwitchSet {
        /// The device.
        device: usize,
    },
    /// A switch names other GPUs than the first switch.
    #[error("device {device}: other GPUs than the first switch's")]
    GpuSet {
        /// The device.
        device: usize,
    },
    /// A switch that a GPU names isn't there.
    #[error("switch {pdi} is named by a GPU and has sent no report")]
    SwitchMissing {
        /// The switch.
        pdi: Pdi,
    },
    /// A GPU that a switch names isn't there.
    #[error("GPU {pdi} is named by a switch and has sent no report")]
    GpuMissing {
        /// The GPU.
        pdi: Pdi,
    },
    /// A switch is there that no GPU names.
    #[error("switch {pdi} is named by no GPU")]
    SwitchUnlisted {
        /// The switch.
        pdi: Pdi,
    },
    /// A GPU is there that no switch names.
    #[error("GPU {pdi} is named by no switch")]
    GpuUnlisted {
        /// The GPU.
        pdi: Pdi,
    },
}

impl TopologyFault {
    /// Stable id.
    #[must_use]
    pub const fn id(&self) -> &'static str {
        match self {
            Self::NoIdentity { .. } => "topology-no-identity",
            Self::Duplicate { .. } => "topology-duplicate",
            Self::Nonce { .. } => "topology-nonce",
            Self::SwitchSet { .. } => "topology-switch-set",
            Self::GpuSet { .. } => "topology-gpu-set",
            Self::SwitchMissing { .. } => "topology-switch-missing",
            Self::GpuMissing { .. } => "topology-gpu-missing",
            Self::SwitchUnlisted { .. } => "topology-switch-unlisted",
            Self::GpuUnlisted { .. } => "topology-gpu-unlisted",
        }
    }
}

/// What several devices are together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// Whether they are one closed machine. `None` when only GPUs or only switches are there and what
    /// they say does not contradict: the other side's word is missing.
    pub result: Option<bool>,
    /// The GPUs, in order of their identifiers.
    pub gpus: Vec<Pdi>,
    /// The switches, likewise.
    pub switches: Vec<Pdi>,
    /// What doesn't fit; empty when all does.
    #[serde(skip)]
    pub faults: Vec<TopologyFault>,
}

/// Compares what devices say of each other. It means something for devices whose evidence holds.
#[must_use]
pub fn topology(devices: &[DeviceFacts]) -> Topology {
    let mut faults = Vec::new();
    let own = identities(devices, &mut faults);
    nonces(devices, &mut faults);
    let gpus = Side::of(devices, &own, false);
    let switches = Side::of(devices, &own, true);
    faults.extend(gpus.uneven.iter().map(|device| TopologyFault::SwitchSet { device: *device }));
    faults.extend(switches.uneven.iter().map(|device| TopologyFault::GpuSet { device: *device }));
    let contradicts = !faults.is_empty();
    let (gpu, switch) = (&gpus.present, &switches.present);
    faults.extend(gpus.named.difference(switch).map(|pdi| TopologyFault::SwitchMissing { pdi: *pdi }));
    faults.extend(switches.named.difference(gpu).map(|pdi| TopologyFault::GpuMissing { pdi: *pdi }));
    // Who could name a device must.
    if !gpu.is_empty() {
        faults.extend(switch.difference(&gpus.named).map(|pdi| TopologyFault::SwitchUnlisted { pdi: *pdi }));
    }
    if !switch.is_empty() {
        faults.extend(gpu.difference(&switches.named).map(|pdi| TopologyFault::GpuUnlisted { pdi: *pdi }));
    }
    let both = !gpu.is_empty() && !switch.is_empty();
    let result = match (contradicts, both) {
        (true, _) => Some(false),
        (false, true) => Some(faults.is_empty()),
        (false, false) => None,
    };
    let list = |set: BTreeSet<Pdi>| set.into_iter().collect();
    Topology { result, gpus: list(gpus.present), switches: list(switches.present), faults }
}

/// The devices' identifiers by position, each once.
fn identities(devices: &[DeviceFacts], faults: &mut Vec<TopologyFault>) -> BTreeMap<usize, Pdi> {
    let mut own = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (device, facts) in devices.iter().enumerate() {
        match facts.pdi {
            None => faults.push(TopologyFault::NoIdentity { device }),
            Some(pdi) if !seen.insert(pdi) => faults.push(TopologyFault::Duplicate { device, pdi }),
            Some(pdi) => {
                own.insert(device, pdi);
            }
        }
    }
    own
}

fn nonces(devices: &[DeviceFacts], faults: &mut Vec<TopologyFault>) {
    let first = devices.first().and_then(|facts| facts.request_nonce);
    for (device, facts) in devices.iter().enumerate() {
        if first.is_none() || facts.request_nonce != first {
            faults.push(TopologyFault::Nonce { device });
        }
    }
}

/// All GPUs, or all switches.
struct Side {
    present: BTreeSet<Pdi>,
    /// What they name on the other side.
    named: BTreeSet<Pdi>,
    /// Those that name others than the first of their side does.
    uneven: Vec<usize>,
}

impl Side {
    fn of(devices: &[DeviceFacts], own: &BTreeMap<usize, Pdi>, switches: bool) -> Self {
        let members = devices.iter().enumerate().filter(|(_, f)| f.architecture.is_switch() == switches);
        let mut side = Self { present: BTreeSet::new(), named: BTreeSet::new(), uneven: Vec::new() };
        let mut first: Option<BTreeSet<Pdi>> = None;
        for (device, facts) in members {
            side.present.extend(own.get(&device));
            let names = if switches { &facts.gpu_pdis } else { &facts.switch_pdis };
            let names: BTreeSet<Pdi> = names.iter().copied().collect();
            side.named.extend(&names);
            match &first {
                Some(first) if *first != names => side.uneven.push(device),
                Some(_) => {}
                None => first = Some(names),
            }
        }
        side
    }
}
