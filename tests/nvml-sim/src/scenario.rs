//! The scenario file: devices, load and faults.

use crate::fault::Fault;
use serde::Deserialize;
use std::path::PathBuf;

/// One simulated machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) driver_version: String,
    pub(crate) nvml_version: String,
    /// Major version times 1000 plus minor version times 10.
    pub(crate) cuda_version: i32,
    pub(crate) board: Board,
    pub(crate) load: Load,
    pub(crate) gpu: Vec<Gpu>,
    #[serde(default)]
    pub(crate) fault: Vec<Fault>,
}

/// What all GPUs of the machine have in common.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Board {
    pub(crate) name: String,
    pub(crate) part_number: String,
    pub(crate) vbios: String,
    pub(crate) gsp_firmware: String,
    pub(crate) inforom: String,
    /// Device in the upper, vendor in the lower half.
    pub(crate) pci_device_id: u32,
    pub(crate) pci_subsystem_id: u32,
    pub(crate) pcie_generation: u32,
    pub(crate) pcie_width: u32,
    pub(crate) architecture: u32,
    /// Major and minor version.
    pub(crate) compute_capability: [i32; 2],
    pub(crate) cuda_cores: u32,
    pub(crate) memory_mib: u64,
    pub(crate) memory_reserved_mib: u64,
    pub(crate) memory_busy_mib: u64,
    pub(crate) bar1_mib: u64,
    pub(crate) idle_power_mw: u64,
    pub(crate) busy_power_mw: u64,
    pub(crate) power_limit_mw: u32,
    pub(crate) min_power_limit_mw: u32,
    pub(crate) idle_celsius: u64,
    pub(crate) busy_celsius: u64,
    pub(crate) idle_clock_mhz: u32,
    pub(crate) busy_clock_mhz: u32,
    pub(crate) memory_clock_mhz: u32,
    /// PCIe traffic at full load.
    pub(crate) busy_rx_bytes_per_ms: u64,
    pub(crate) busy_tx_bytes_per_ms: u64,
}

/// Utilization over time, the same for all GPUs up to a shift.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    /// Points of time in milliseconds and utilization per mille, joined by lines and repeated for ever.
    pub(crate) curve: Vec<[u64; 2]>,
    /// Each GPU runs ahead of the one before by this much.
    #[serde(default)]
    pub(crate) shift_ms: u64,
}

/// What tells one GPU from another.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gpu {
    pub(crate) uuid: String,
    pub(crate) serial: String,
    /// `domain:bus:device.function`, the domain with eight hexadecimal digits.
    pub(crate) bus_id: String,
    #[serde(default)]
    pub(crate) pdi: Option<u64>,
    /// Energy counter when the machine started, in millijoules.
    #[serde(default)]
    pub(crate) energy_at_boot_mj: u64,
    /// A device's signed report to be given again to whoever asks for one, whatever the nonce: a file of
    /// hexadecimal digits, its path relative to the scenario's folder. Without it the GPU has no report.
    #[serde(default)]
    pub(crate) report: Option<PathBuf>,
    /// The certificates that go with it: a PEM file, leaf first.
    #[serde(default)]
    pub(crate) chain: Option<PathBuf>,
    /// Puts the nonce that is asked for into the report, whose signature then does not hold.
    #[serde(default)]
    pub(crate) echo_nonce: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_scenario_of_the_folder_parses() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let scenario = toml::from_str::<Scenario>(&text);
            assert!(scenario.is_ok(), "{}: {scenario:?}", path.display());
            seen += 1;
        }
        assert!(seen >= 8);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = include_str!("../scenarios/h100x8.toml");
        assert!(toml::from_str::<Scenario>(&format!("sped = 1\n{text}")).is_err());
    }
}
