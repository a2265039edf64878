//! What the library says of the machine's GPUs.

use super::GpuStatus;
use crate::Fact;
use assay_gpu::GpuIdentity;
use serde::{Deserialize, Serialize};

/// All GPUs that the library knows, or why there are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuInventory {
    /// Whether the library answers.
    pub status: GpuStatus,
    /// The library says that it is a simulation; it can hide that, so only `true` has weight.
    pub simulated: bool,
    /// Version of the kernel driver.
    pub driver: Fact<String>,
    /// Version of the library.
    pub nvml_version: Fact<String>,
    /// Newest CUDA version that the driver supports.
    pub cuda_version: Fact<String>,
    /// The GPUs in the library's order. If the library stopped to answer, as last seen.
    pub gpus: Vec<GpuFacts>,
}

impl GpuInventory {
    /// An inventory without GPUs.
    #[must_use]
    pub fn without_gpus(status: GpuStatus, simulated: bool) -> Self {
        let none = || Fact::Error(status.to_string());
        let (driver, nvml_version, cuda_version) = (none(), none(), none());
        Self { status, simulated, driver, nvml_version, cuda_version, gpus: Vec::new() }
    }

    /// The entries for a session's GPU table: every GPU that is present and can be named.
    #[must_use]
    pub fn identities(&self) -> Vec<GpuIdentity> {
        let driver = self.driver.value().cloned().unwrap_or_default();
        let present = self.gpus.iter().filter(|gpu| gpu.state == DeviceState::Present);
        present.filter_map(|gpu| gpu.identity(&driver, self.simulated)).collect()
    }
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuFacts {
    /// Index in the library's enumeration.
    pub index: u8,
    /// Whether the device answers.
    pub state: DeviceState,
    /// The device's facts; those of a device that does not answer are as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Box<DeviceFacts>>,
}

impl GpuFacts {
    /// A device without facts.
    #[must_use]
    pub fn bare(index: u8, state: DeviceState) -> Self {
        Self { index, state, device: None }
    }

    /// The entry for a session's GPU table; `None` if the device can't be named.
    #[must_use]
    pub fn identity(&self, driver: &str, simulated: bool) -> Option<GpuIdentity> {
        let device = self.device.as_ref()?;
        Some(GpuIdentity {
            index: self.index,
            uuid: device.uuid.value()?.clone(),
            name: device.name.value()?.clone(),
            memory_mib: u32::try_from(device.memory.value()?.total_mib).ok()?,
            pci_bus_id: device.pci.value()?.bus_id.clone(),
            driver: driver.to_owned(),
            simulated,
            vbios: device.vbios.value().cloned(),
            serial: device.serial.value().cloned(),
            pdi: device.pdi.value().copied(),
            power_limit_mw: device.power.limit_mw.value().copied(),
            board_part_number: device.board_part_number.value().cloned(),
            inforom: device.inforom.value().cloned(),
        })
    }
}

/// Whether a device answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DeviceState {
    /// It does.
    Present,
    /// It has fallen off the bus.
    Lost,
    /// The library can't open it.
    Failed {
        /// What the library said.
        reason: String,
    },
    /// The library itself does not answer.
    Silent,
}

/// Facts of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFacts {
    /// The driver's identifier.
    pub uuid: Fact<String>,
    /// Product name.
    pub name: Fact<String>,
    /// Serial number of the board.
    pub serial: Fact<String>,
    /// Part number of the board.
    pub board_part_number: Fact<String>,
    /// Version of the video BIOS.
    pub vbios: Fact<String>,
    /// Version of the image in the board's information ROM.
    pub inforom: Fact<String>,
    /// Version of the firmware on the GPU's system processor.
    pub gsp_firmware: Fact<String>,
    /// Per-device identifier of the chip.
    pub pdi: Fact<u64>,
    /// Number of the device file, N in `/dev/nvidiaN`.
    pub minor_number: Fact<u32>,
    /// Architecture's name.
    pub architecture: Fact<String>,
    /// Compute capability, major and minor.
    pub compute_capability: Fact<[i32; 2]>,
    /// CUDA cores.
    pub cuda_cores: Fact<u32>,
    /// PCI identity.
    pub pci: Fact<PciFacts>,
    /// PCIe link.
    pub link: LinkFacts,
    /// Memory.
    pub memory: Fact<MemoryFacts>,
    /// Size of the aperture through which the CPU sees the memory, in MiB.
    pub bar1_mib: Fact<u64>,
    /// Power and its limits.
    pub power: PowerFacts,
    /// Energy since the driver was loaded, in millijoules.
    pub energy_mj: Fact<u64>,
    /// Temperature, in degrees Celsius.
    pub temperature_c: Fact<u32>,
    /// Utilization.
    pub utilization: Fact<UtilizationFacts>,
    /// Clock of the multiprocessors, in MHz.
    pub sm_clock_mhz: Fact<u32>,
    /// Clock of the memory, in MHz.
    pub memory_clock_mhz: Fact<u32>,
    /// Error correction of the memory is on.
    pub ecc: Fact<bool>,
    /// The device is split into instances.
    pub mig: Fact<bool>,
    /// The driver stays loaded without clients.
    pub persistence: Fact<bool>,
    /// `bare`, `pass-through`, `vgpu` or `host`: what the driver thinks it runs in.
    pub virtualization: Fact<String>,
    /// Processes with a compute context.
    pub processes: Fact<Vec<ProcessFact>>,
}

/// PCI identity of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciFacts {
    /// `domain:bus:device.function`, the domain with eight digits.
    pub bus_id: String,
    /// Device in the upper, vendor in the lower half.
    pub device_id: u32,
    /// The board maker's device and vendor.
    pub subsystem_id: Option<u32>,
}

/// PCIe link of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFacts {
    /// Generation now.
    pub generation: Fact<u32>,
    /// Highest generation that device and slot share.
    pub max_generation: Fact<u32>,
    /// Lanes now.
    pub width: Fact<u32>,
    /// Most lanes that device and slot share.
    pub max_width: Fact<u32>,
}

/// Memory of a device, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryFacts {
    /// All of it.
    pub total_mib: u64,
    /// Kept by driver and firmware.
    pub reserved_mib: u64,
    /// In use by clients.
    pub used_mib: u64,
    /// Free.
    pub free_mib: u64,
}

/// Power of a device, in milliwatts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerFacts {
    /// Draw.
    pub draw_mw: Fact<u32>,
    /// Limit that is enforced.
    pub limit_mw: Fact<u32>,
    /// Limit after a reset.
    pub default_limit_mw: Fact<u32>,
    /// Lowest limit that can be set.
    pub min_limit_mw: Fact<u32>,
    /// Highest limit that can be set.
    pub max_limit_mw: Fact<u32>,
}

/// Utilization of a device over the library's last window, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UtilizationFacts {
    /// Time in which a kernel ran.
    pub gpu_percent: u32,
    /// Time in which memory was read or written.
    pub memory_percent: u32,
}

/// A process that uses a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFact {
    /// Process id in the initial namespace.
    pub pid: u32,
    /// Memory it uses, in MiB, if the library can tell.
    pub memory_mib: Option<u64>,
}
