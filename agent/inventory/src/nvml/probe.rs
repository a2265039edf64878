//! Asks the library and turns its answers into facts. Runs in the child.

use super::attestation::{GpuAttestation, attest};
use super::facts::{
    DeviceFacts, DeviceState, GpuFacts, GpuInventory, LinkFacts, MemoryFacts, PciFacts, PowerFacts,
    ProcessFact, UtilizationFacts,
};
use super::{GpuStatus, MAX_GPUS, raw};
use crate::Fact;
use assay_gpu::{GpuSample, Readings};
use nix::time::{ClockId, clock_gettime};
use nvml_wrapper::enum_wrappers::device::{Clock, GpuVirtualizationMode, TemperatureSensor};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::{Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor};
use nvml_wrapper_sys::bindings::field_id::{
    NVML_FI_DEV_PCIE_COUNT_RX_BYTES, NVML_FI_DEV_PCIE_COUNT_TX_BYTES,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MIB_SHIFT: u32 = 20;
/// The library's longest buffer for a string; a string as long as this has no end.
const MAX_TEXT: usize = 95;
/// More processes on one GPU than this are not listed.
const MAX_PROCESSES: usize = 1024;

/// The library, opened when it is first needed and again after it was not there.
pub(super) struct Probe {
    library: PathBuf,
    nvml: Option<Nvml>,
    simulated: bool,
}

impl Probe {
    pub(super) fn new(library: &Path) -> Self {
        Self { library: library.to_owned(), nvml: None, simulated: false }
    }

    /// All GPUs and their facts.
    pub(super) fn inventory(&mut self) -> GpuInventory {
        match self.open() {
            Ok((nvml, simulated)) => inventory(nvml, simulated),
            Err(status) => GpuInventory::without_gpus(status, self.simulated),
        }
    }

    /// One sample per GPU.
    pub(super) fn samples(&mut self) -> Result<Vec<GpuSample>, GpuStatus> {
        let (nvml, _) = self.open()?;
        let indices = indices(nvml)?;
        Ok(indices.into_iter().map(|index| sample(nvml, index)).collect())
    }

    /// One GPU's own signed report over `nonce`.
    pub(super) fn attestation(&mut self, gpu: u8, nonce: &[u8; 32]) -> Result<GpuAttestation, GpuStatus> {
        let (nvml, simulated) = self.open()?;
        match nvml.device_by_index(u32::from(gpu)) {
            Ok(device) => Ok(attest(&device, nonce, simulated)),
            Err(error) => Ok(GpuAttestation::unasked(simulated, &error.to_string())),
        }
    }

    fn open(&mut self) -> Result<(&Nvml, bool), GpuStatus> {
        let nvml = match self.nvml.take() {
            Some(nvml) => nvml,
            None => self.load().map_err(|error| status(&error))?,
        };
        Ok((self.nvml.insert(nvml), self.simulated))
    }

    fn load(&mut self) -> Result<Nvml, NvmlError> {
        let path = self.library.as_os_str();
        self.simulated = raw::is_simulated(path)?;
        Nvml::builder().lib_path(path).init()
    }
}

/// What an error of initialization means.
fn status(error: &NvmlError) -> GpuStatus {
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
            GpuStatus::LibraryMissing { reason: error.to_string() }
        }
        NvmlError::DriverNotLoaded => GpuStatus::DriverNotLoaded,
        NvmlError::LibRmVersionMismatch => GpuStatus::VersionMismatch,
        NvmlError::NoPermission => GpuStatus::NoPermission,
        other => GpuStatus::Failed { reason: other.to_string() },
    }
}

fn inventory(nvml: &Nvml, simulated: bool) -> GpuInventory {
    let indices = match indices(nvml) {
        Ok(indices) => indices,
        Err(status) => return GpuInventory::without_gpus(status, simulated),
    };
    GpuInventory {
        status: GpuStatus::Ready,
        simulated,
        driver: text(nvml.sys_driver_version()),
        nvml_version: text(nvml.sys_nvml_version()),
        cuda_version: fact(nvml.sys_cuda_driver_version()).map(cuda_version),
        gpus: indices.into_iter().map(|index| gpu(nvml, index)).collect(),
    }
}

fn cuda_version(version: i32) -> String {
    format!("{}.{}", cuda_driver_version_major(version), cuda_driver_version_minor(version))
}

/// The indices of all GPUs, if the library's count is one that a machine can have.
fn indices(nvml: &Nvml) -> Result<Vec<u8>, GpuStatus> {
    let count = nvml.device_count().map_err(|error| status(&error))?;
    let sane = u8::try_from(count).ok().filter(|count| usize::from(*count) <= MAX_GPUS);
    let count =
        sane.ok_or_else(|| GpuStatus::Failed { reason: format!("the library counts {count} GPUs") })?;
    Ok((0..count).collect())
}

fn gpu(nvml: &Nvml, index: u8) -> GpuFacts {
    match nvml.device_by_index(u32::from(index)) {
        Ok(device) => answering(index, &device),
        Err(error) => GpuFacts::bare(index, device_state(&error)),
    }
}

/// A device can be lost between any two calls; its UUID is asked last to see whether it was.
fn answering(index: u8, device: &Device<'_>) -> GpuFacts {
    let facts = device_facts(device);
    match device.uuid() {
        Err(NvmlError::GpuLost) => GpuFacts::bare(index, DeviceState::Lost),
        _ => GpuFacts { index, state: DeviceState::Present, device: Some(Box::new(facts)) },
    }
}

fn device_state(error: &NvmlError) -> DeviceState {
    match error {
        NvmlError::GpuLost => DeviceState::Lost,
        other => DeviceState::Failed { reason: other.to_string() },
    }
}

fn device_facts(device: &Device<'_>) -> DeviceFacts {
    DeviceFacts {
        uuid: text(device.uuid()),
        name: text(device.name()),
        serial: text(device.serial()),
        board_part_number: text(device.board_part_number()),
        vbios: text(device.vbios_version()),
        inforom: text(device.info_rom_image_version()),
        gsp_firmware: text(device.gsp_firmware_version()),
        pdi: fact(raw::pdi(device)),
        minor_number: fact(device.minor_number()),
        architecture: fact(device.architecture()).map(|architecture| architecture.to_string()),
        compute_capability: fact(device.cuda_compute_capability())
            .map(|version| [version.major, version.minor]),
        cuda_cores: fact(device.num_cores()),
        pci: pci(device),
        link: link(device),
        memory: memory(device),
        bar1_mib: fact(device.bar1_memory_info()).map(|bar| bar.total >> MIB_SHIFT),
        power: power(device),
        energy_mj: fact(device.total_energy_consumption()),
        temperature_c: fact(device.temperature(TemperatureSensor::Gpu)),
        utilization: utilization(device),
        sm_clock_mhz: fact(device.clock_info(Clock::SM)),
        memory_clock_mhz: fact(device.clock_info(Clock::Memory)),
        ecc: fact(device.is_ecc_enabled()).map(|ecc| ecc.currently_enabled),
        mig: fact(device.mig_mode()).map(|mode| mode.current != 0),
        persistence: fact(device.is_in_persistent_mode()),
        virtualization: fact(device.virtualization_mode()).map(virtualization),
        processes: processes(device),
    }
}

fn pci(device: &Device<'_>) -> Fact<PciFacts> {
    let facts = fact(device.pci_info());
    facts.and_then(|pci| {
        let ids = (pci.pci_device_id, pci.pci_sub_system_id);
        bounded(pci.bus_id).map(|bus_id| PciFacts { bus_id, device_id: ids.0, subsystem_id: ids.1 })
    })
}

fn link(device: &Device<'_>) -> LinkFacts {
    LinkFacts {
        generation: fact(device.current_pcie_link_gen()),
        max_generation: fact(device.max_pcie_link_gen()),
        width: fact(device.current_pcie_link_width()),
        max_width: fact(device.max_pcie_link_width()),
    }
}

fn memory(device: &Device<'_>) -> Fact<MemoryFacts> {
    fact(device.memory_info()).map(|memory| MemoryFacts {
        total_mib: memory.total >> MIB_SHIFT,
        reserved_mib: memory.reserved >> MIB_SHIFT,
        used_mib: memory.used >> MIB_SHIFT,
        free_mib: memory.free >> MIB_SHIFT,
    })
}

fn power(device: &Device<'_>) -> PowerFacts {
    let limits = || fact(device.power_management_limit_constraints());
    PowerFacts {
        draw_mw: fact(device.power_usage()),
        limit_mw: fact(device.enforced_power_limit()),
        default_limit_mw: fact(device.power_management_limit_default()),
        min_limit_mw: limits().map(|limits| limits.min_limit),
        max_limit_mw: limits().map(|limits| limits.max_limit),
    }
}

fn utilization(device: &Device<'_>) -> Fact<UtilizationFacts> {
    fact(device.utilization_rates())
        .map(|rates| UtilizationFacts { gpu_percent: rates.gpu, memory_percent: rates.memory })
}

fn virtualization(mode: GpuVirtualizationMode) -> String {
    let name = match mode {
        GpuVirtualizationMode::Bare => "bare",
        GpuVirtualizationMode::PassThrough => "pass-through",
        GpuVirtualizationMode::Vgpu => "vgpu",
        GpuVirtualizationMode::HostVgpu | GpuVirtualizationMode::HostVsga => "host",
    };
    name.to_owned()
}

fn processes(device: &Device<'_>) -> Fact<Vec<ProcessFact>> {
    fact(device.running_compute_processes()).map(|list| {
        let facts = list.into_iter().take(MAX_PROCESSES).map(|process| ProcessFact {
            pid: process.pid,
            memory_mib: match process.used_gpu_memory {
                UsedGpuMemory::Used(bytes) => Some(bytes >> MIB_SHIFT),
                UsedGpuMemory::Unavailable => None,
            },
        });
        facts.collect()
    })
}

fn sample(nvml: &Nvml, index: u8) -> GpuSample {
    let t_ms = monotonic_ms();
    let readings = nvml.device_by_index(u32::from(index)).and_then(|device| readings(&device));
    match readings {
        Ok(readings) => GpuSample { readings, ..GpuSample::empty(index, t_ms) },
        Err(NvmlError::GpuLost) => GpuSample::lost(index, t_ms),
        Err(_) => GpuSample::empty(index, t_ms),
    }
}

/// Values that the device does not give are absent; only a lost device is an error.
fn readings(device: &Device<'_>) -> Result<Readings, NvmlError> {
    let [pcie_rx_bytes, pcie_tx_bytes] = pcie(device)?;
    Ok(Readings {
        energy_mj: given(device.total_energy_consumption())?,
        utilization_percent: given(device.utilization_rates())?.map(|rates| rates.gpu),
        memory_used_mib: given(device.memory_info())?.map(|memory| memory.used >> MIB_SHIFT),
        power_mw: given(device.power_usage())?,
        temperature_c: given(device.temperature(TemperatureSensor::Gpu))?,
        pcie_rx_bytes,
        pcie_tx_bytes,
    })
}

/// The PCIe counters by field values: the call that measures throughput instead takes 20 ms.
fn pcie(device: &Device<'_>) -> Result<[Option<u64>; 2], NvmlError> {
    let ids = [FieldId(NVML_FI_DEV_PCIE_COUNT_RX_BYTES), FieldId(NVML_FI_DEV_PCIE_COUNT_TX_BYTES)];
    let values = given(device.field_values_for(&ids))?.unwrap_or_default();
    let mut counters = values.into_iter().map(|value| counter(value.and_then(|sample| sample.value)));
    Ok([counters.next().flatten(), counters.next().flatten()])
}

fn counter(value: Result<SampleValue, NvmlError>) -> Option<u64> {
    match value.ok()? {
        SampleValue::U32(value) => Some(u64::from(value)),
        SampleValue::U64(value) => Some(value),
        SampleValue::I64(value) => u64::try_from(value).ok(),
        SampleValue::F64(_) => None,
    }
}

fn given<T>(result: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(NvmlError::GpuLost) => Err(NvmlError::GpuLost),
        Err(_) => Ok(None),
    }
}

/// Milliseconds of the machine's monotonic clock.
fn monotonic_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// A symbol that an older library lacks is a fact that it does not support.
pub(super) fn fact<T>(result: Result<T, NvmlError>) -> Fact<T> {
    match result {
        Ok(value) => Fact::Value(value),
        Err(NvmlError::NotSupported | NvmlError::FunctionNotFound | NvmlError::FailedToLoadSymbol(_)) => {
            Fact::NotSupported
        }
        Err(error) => Fact::Error(error.to_string()),
    }
}

fn text(result: Result<String, NvmlError>) -> Fact<String> {
    fact(result).and_then(bounded)
}

/// A string that a library can have meant.
fn bounded(text: String) -> Fact<String> {
    if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return Fact::Error("a string without an end, or with control characters".to_owned());
    }
    Fact::Value(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_driver_lacks_is_not_an_error() {
        assert_eq!(fact::<u8>(Err(NvmlError::NotSupported)), Fact::NotSupported);
        assert_eq!(fact::<u8>(Err(NvmlError::FailedToLoadSymbol("nvmlNew".into()))), Fact::NotSupported);
        assert!(matches!(fact::<u8>(Err(NvmlError::Unknown)), Fact::Error(_)));
    }

    #[test]
    fn strings_have_an_end_and_no_control_characters() {
        assert_eq!(bounded("x".repeat(95)), Fact::Value("x".repeat(95)));
        assert!(matches!(bounded("x".repeat(96)), Fact::Error(_)));
        assert!(matches!(bounded("a\u{1b}[2J".into()), Fact::Error(_)));
    }

    #[test]
    fn counters_come_in_several_widths() {
        assert_eq!(counter(Ok(SampleValue::U32(7))), Some(7));
        assert_eq!(counter(Ok(SampleValue::I64(-1))), None);
        assert_eq!(counter(Err(NvmlError::NotSupported)), None);
    }

    #[test]
    fn only_loss_spoils_a_sample() {
        assert!(matches!(given::<u8>(Err(NvmlError::GpuLost)), Err(NvmlError::GpuLost)));
        assert!(matches!(given::<u8>(Err(NvmlError::Unknown)), Ok(None)));
    }
}
