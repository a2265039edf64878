//! Calls about one GPU.
//!
//! The C contract is the same for all: an out parameter is null or valid for one write of its type, and
//! a buffer is null or valid for as many bytes as its length says.

use crate::fault::FaultKind;
use crate::ffi::{
    INSUFFICIENT_SIZE, INVALID_ARGUMENT, NOT_SUPPORTED, moment, put, put_gpu_str, status, uint,
};
use crate::simulation::{Code, Moment};
use nvml_wrapper_sys::bindings::field_id as field;
use nvml_wrapper_sys::bindings::*;
use std::ffi::{c_char, c_int, c_uint, c_ulonglong};
use std::ptr;

const MIB: u64 = 1 << 20;
const NONE_ID: c_uint = c_uint::MAX;
/// Process that the simulation says is using a busy GPU.
const WORKER_PID: c_uint = 4242;

/// Getters with one out parameter.
macro_rules! value {
    ($($name:ident: $type:ty = |$gpu:ident| $value:expr;)*) => {$(
        /// # Safety
        /// `out` is null or valid for one write.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(device: nvmlDevice_t, out: *mut $type) -> nvmlReturn_t {
            // SAFETY: the caller's contract is `put`'s.
            status(moment(device).and_then(|$gpu| unsafe { put(out, $value) }))
        }
    )*};
}

/// Getters of strings.
macro_rules! string {
    ($($name:ident = |$gpu:ident| $text:expr;)*) => {$(
        /// # Safety
        /// `out` is null or valid for `size` bytes.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(device: nvmlDevice_t, out: *mut c_char, size: c_uint) -> nvmlReturn_t {
            // SAFETY: the caller's contract is `put_gpu_str`'s.
            status(moment(device).and_then(|$gpu| unsafe { put_gpu_str(&$gpu, out, size, $text) }))
        }
    )*};
}

/// Getters with two out parameters.
macro_rules! pair {
    ($($name:ident: $type:ty = |$gpu:ident| $value:expr;)*) => {$(
        /// # Safety
        /// `first` and `second` are null or valid for one write each.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(device: nvmlDevice_t, first: *mut $type, second: *mut $type) -> nvmlReturn_t {
            let result = moment(device).and_then(|$gpu| {
                let [a, b] = $value;
                // SAFETY: the caller's contract is `put`'s, for both.
                unsafe { put(first, a).and_then(|()| put(second, b)) }
            });
            status(result)
        }
    )*};
}

string! {
    nvmlDeviceGetUUID = |gpu| &gpu.gpu.uuid;
    nvmlDeviceGetSerial = |gpu| &gpu.gpu.serial;
    nvmlDeviceGetName = |gpu| &gpu.board().name;
    nvmlDeviceGetBoardPartNumber = |gpu| &gpu.board().part_number;
    nvmlDeviceGetVbiosVersion = |gpu| &gpu.board().vbios;
    nvmlDeviceGetInforomImageVersion = |gpu| &gpu.board().inforom;
}

value! {
    nvmlDeviceGetIndex: c_uint = |gpu| c_uint::try_from(gpu.index).unwrap_or(NONE_ID);
    nvmlDeviceGetMinorNumber: c_uint = |gpu| c_uint::try_from(gpu.index).unwrap_or(NONE_ID);
    nvmlDeviceGetBrand: nvmlBrandType_t = |_gpu| nvmlBrandType_enum_NVML_BRAND_NVIDIA;
    nvmlDeviceGetArchitecture: nvmlDeviceArchitecture_t = |gpu| gpu.board().architecture;
    nvmlDeviceGetNumGpuCores: c_uint = |gpu| gpu.board().cuda_cores;
    nvmlDeviceGetPowerUsage: c_uint = |gpu| uint(gpu.reading.power_mw);
    nvmlDeviceGetEnforcedPowerLimit: c_uint = |gpu| gpu.board().power_limit_mw;
    nvmlDeviceGetPowerManagementDefaultLimit: c_uint = |gpu| gpu.board().power_limit_mw;
    nvmlDeviceGetTotalEnergyConsumption: c_ulonglong = |gpu| gpu.reading.energy_mj;
    nvmlDeviceGetCurrPcieLinkGeneration: c_uint = |gpu| gpu.board().pcie_generation;
    nvmlDeviceGetMaxPcieLinkGeneration: c_uint = |gpu| gpu.board().pcie_generation;
    nvmlDeviceGetCurrPcieLinkWidth: c_uint = |gpu| gpu.board().pcie_width;
    nvmlDeviceGetMaxPcieLinkWidth: c_uint = |gpu| gpu.board().pcie_width;
    nvmlDeviceGetPersistenceMode: nvmlEnableState_t = |_gpu| 1;
    nvmlDeviceGetVirtualizationMode: nvmlGpuVirtualizationMode_t = |_gpu| 0;
    nvmlDeviceGetPerformanceState: nvmlPstates_t = |_gpu| 0;
    nvmlDeviceGetUtilizationRates: nvmlUtilization_t = |gpu| utilization(&gpu);
    nvmlDeviceGetPciInfo_v3: nvmlPciInfo_t = |gpu| pci(&gpu)?;
    nvmlDeviceGetBAR1MemoryInfo: nvmlBAR1Memory_t = |gpu| bar1(&gpu);
    nvmlDeviceGetMemoryInfo: nvmlMemory_t = |gpu| memory_v1(&gpu);
}

pair! {
    nvmlDeviceGetCudaComputeCapability: c_int = |gpu| gpu.board().compute_capability;
    nvmlDeviceGetEccMode: nvmlEnableState_t = |_gpu| [1, 1];
    nvmlDeviceGetMigMode: c_uint = |_gpu| [0, 0];
    nvmlDeviceGetPowerManagementLimitConstraints: c_uint = |gpu| {
        [gpu.board().min_power_limit_mw, gpu.board().power_limit_mw]
    };
}

fn utilization(gpu: &Moment) -> nvmlUtilization_t {
    let percent = uint(gpu.reading.utilization_percent);
    nvmlUtilization_t { gpu: percent, memory: percent / 2 }
}

fn bar1(gpu: &Moment) -> nvmlBAR1Memory_t {
    let total = gpu.board().bar1_mib * MIB;
    nvmlBAR1Memory_t { bar1Total: total, bar1Free: total - MIB, bar1Used: MIB }
}

/// Total, reserved, free and used memory in bytes.
fn memory(gpu: &Moment) -> [u64; 4] {
    let (total, reserved) = (gpu.board().memory_mib, gpu.board().memory_reserved_mib);
    let used = gpu.reading.memory_used_mib;
    [total, reserved, total.saturating_sub(reserved + used), used].map(|mib| mib * MIB)
}

/// The first version of the structure counts reserved memory as used.
fn memory_v1(gpu: &Moment) -> nvmlMemory_t {
    let [total, reserved, free, used] = memory(gpu);
    nvmlMemory_t { total, free, used: used + reserved }
}

/// # Safety
/// `out` is null or valid for reads and one write.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    device: nvmlDevice_t,
    out: *mut nvmlMemory_v2_t,
) -> nvmlReturn_t {
    let result = moment(device).and_then(|gpu| {
        // SAFETY: null or valid for reads by the caller's contract.
        let version = unsafe { out.as_ref() }.ok_or(INVALID_ARGUMENT)?.version;
        check_version::<nvmlMemory_v2_t>(version, 2)?;
        let [total, reserved, free, used] = memory(&gpu);
        // SAFETY: the caller's contract is `put`'s.
        unsafe { put(out, nvmlMemory_v2_t { version, total, reserved, free, used }) }
    });
    status(result)
}

/// Structures with a version carry their size in the lower and the version in the upper byte.
fn check_version<T>(version: c_uint, expected: c_uint) -> Result<(), Code> {
    let size = c_uint::try_from(size_of::<T>()).map_err(|_| INVALID_ARGUMENT)?;
    let matches = version == size | expected << 24;
    matches.then_some(()).ok_or(nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
}

/// # Safety
/// `out` is null or valid for reads and one write.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPdi(device: nvmlDevice_t, out: *mut nvmlPdi_t) -> nvmlReturn_t {
    let result = moment(device).and_then(|gpu| {
        // SAFETY: null or valid for reads by the caller's contract.
        let version = unsafe { out.as_ref() }.ok_or(INVALID_ARGUMENT)?.version;
        check_version::<nvmlPdi_t>(version, 1)?;
        let value = gpu.gpu.pdi.ok_or(NOT_SUPPORTED)?;
        // SAFETY: the caller's contract is `put`'s.
        unsafe { put(out, nvmlPdi_t { version, value }) }
    });
    status(result)
}

/// The address of `domain:bus:device.function` with eight digits of domain, and its short form.
fn pci(gpu: &Moment) -> Result<nvmlPciInfo_t, Code> {
    let text = gpu.gpu.bus_id.as_str();
    let number = |range| text.get(range).and_then(|hex| c_uint::from_str_radix(hex, 16).ok());
    let parts = number(0..8).zip(number(9..11)).zip(number(12..14));
    let ((domain, bus), device) = parts.ok_or(INVALID_ARGUMENT)?;
    Ok(nvmlPciInfo_t {
        busIdLegacy: chars(text.get(4..).unwrap_or_default()),
        domain,
        bus,
        device,
        pciDeviceId: gpu.board().pci_device_id,
        pciSubSystemId: gpu.board().pci_subsystem_id,
        busId: chars(text),
    })
}

/// A string in a fixed array, cut so that its end fits.
fn chars<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    for (slot, byte) in array.iter_mut().take(N - 1).zip(text.bytes()) {
        *slot = c_char::from_ne_bytes([byte]);
    }
    array
}

/// # Safety
/// `out` is null or valid for 80 bytes, the size that this call's callers know.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetGspFirmwareVersion(device: nvmlDevice_t, out: *mut c_char) -> nvmlReturn_t {
    // SAFETY: the caller's contract is `put_gpu_str`'s for 80 bytes.
    status(moment(device).and_then(|gpu| unsafe { put_gpu_str(&gpu, out, 80, &gpu.board().gsp_firmware) }))
}

/// # Safety
/// `out` is null or valid for one write.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetTemperature(
    device: nvmlDevice_t,
    sensor: nvmlTemperatureSensors_t,
    out: *mut c_uint,
) -> nvmlReturn_t {
    if sensor != nvmlTemperatureSensors_enum_NVML_TEMPERATURE_GPU {
        return INVALID_ARGUMENT;
    }
    // SAFETY: the caller's contract is `put`'s.
    status(moment(device).and_then(|gpu| unsafe { put(out, uint(gpu.reading.celsius)) }))
}

/// # Safety
/// `out` is null or valid for one write.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetClockInfo(
    device: nvmlDevice_t,
    clock: nvmlClockType_t,
    out: *mut c_uint,
) -> nvmlReturn_t {
    let result = moment(device).and_then(|gpu| {
        let core = if gpu.reading.busy { gpu.board().busy_clock_mhz } else { gpu.board().idle_clock_mhz };
        let memory = clock == nvmlClockType_enum_NVML_CLOCK_MEM;
        // SAFETY: the caller's contract is `put`'s.
        unsafe { put(out, if memory { gpu.board().memory_clock_mhz } else { core }) }
    });
    status(result)
}

/// # Safety
/// `count` is null or valid for reads and writes, `out` is null or valid for `count` writes.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    out: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    let result = moment(device).and_then(|gpu| {
        // SAFETY: null or valid for reads by the caller's contract.
        let room = *unsafe { count.as_ref() }.ok_or(INVALID_ARGUMENT)?;
        let needed = process_count(&gpu);
        // SAFETY: the caller's contract is `put`'s.
        unsafe { put(count, needed)? };
        if needed > room {
            return Err(INSUFFICIENT_SIZE);
        }
        // SAFETY: there is room for the one process, so `out` is null or valid for it.
        if needed > 0 { unsafe { put(out, worker(&gpu)) } } else { Ok(()) }
    });
    status(result)
}

/// The fault's list needs 2.4 GB: enough to hurt a machine that would try.
fn process_count(gpu: &Moment) -> c_uint {
    let sane = c_uint::from(gpu.reading.busy);
    if gpu.faulty(FaultKind::AbsurdProcessCount) { 100_000_000 } else { sane }
}

fn worker(gpu: &Moment) -> nvmlProcessInfo_t {
    nvmlProcessInfo_t {
        pid: WORKER_PID,
        usedGpuMemory: gpu.reading.memory_used_mib * MIB,
        gpuInstanceId: NONE_ID,
        computeInstanceId: NONE_ID,
    }
}

/// # Safety
/// `count` is null or valid for one write.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    _out: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    // SAFETY: the caller's contract is `put`'s.
    status(moment(device).and_then(|_| unsafe { put(count, 0) }))
}

/// # Safety
/// `values` is null or valid for `count` reads and writes.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetFieldValues(
    device: nvmlDevice_t,
    count: c_int,
    values: *mut nvmlFieldValue_t,
) -> nvmlReturn_t {
    let result = moment(device).and_then(|gpu| {
        let count = usize::try_from(count).map_err(|_| INVALID_ARGUMENT)?;
        if values.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: not null, and then valid for `count` values by the caller's contract.
        let values = unsafe { &mut *ptr::slice_from_raw_parts_mut(values, count) };
        values.iter_mut().for_each(|value| fill(&gpu, value));
        Ok(())
    });
    status(result)
}

fn fill(gpu: &Moment, value: &mut nvmlFieldValue_t) {
    let found = match value.fieldId {
        field::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION => Some(gpu.reading.energy_mj),
        field::NVML_FI_DEV_PCIE_COUNT_TX_BYTES => Some(gpu.reading.tx_bytes),
        field::NVML_FI_DEV_PCIE_COUNT_RX_BYTES => Some(gpu.reading.rx_bytes),
        _ => None,
    };
    value.nvmlReturn = if found.is_some() { nvmlReturn_enum_NVML_SUCCESS } else { NOT_SUPPORTED };
    value.valueType = nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
    value.value = nvmlValue_t { ullVal: found.unwrap_or(0) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::install;

    /// The only test of this state, since the library has one for the whole process.
    #[test]
    fn the_interface_keeps_its_contract() {
        install(include_str!("../scenarios/h100x8.toml"));
        let device = crate::ffi::handle(3);
        strings(device);
        versions(device);
        arguments(device);
        fields(device);
    }

    fn strings(device: nvmlDevice_t) {
        let mut buffer = [1; 96];
        // SAFETY: the buffer has the size we say.
        assert_eq!(unsafe { nvmlDeviceGetUUID(device, buffer.as_mut_ptr(), 96) }, 0);
        assert_eq!(buffer[40], 0, "the end of the string");
        // SAFETY: the buffer is larger than we say.
        let short = unsafe { nvmlDeviceGetUUID(device, buffer.as_mut_ptr(), 40) };
        assert_eq!(short, INSUFFICIENT_SIZE);
    }

    fn versions(device: nvmlDevice_t) {
        let mut pdi = nvmlPdi_t { version: 0, value: 0 };
        // SAFETY: a valid structure.
        let refused = unsafe { nvmlDeviceGetPdi(device, &raw mut pdi) };
        assert_eq!(refused, nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
        pdi.version = 0x0100_0010;
        // SAFETY: a valid structure.
        assert_eq!(unsafe { nvmlDeviceGetPdi(device, &raw mut pdi) }, 0);
        assert_ne!(pdi.value, 0);
    }

    fn arguments(device: nvmlDevice_t) {
        let mut value = 0;
        for bad in [ptr::null_mut(), crate::ffi::handle(8), ptr::without_provenance_mut(0x1001)] {
            // SAFETY: the handle is never followed, the out parameter is valid.
            assert_eq!(unsafe { nvmlDeviceGetPowerUsage(bad, &raw mut value) }, INVALID_ARGUMENT);
        }
        // SAFETY: null is allowed.
        assert_eq!(unsafe { nvmlDeviceGetPowerUsage(device, ptr::null_mut()) }, INVALID_ARGUMENT);
    }

    fn fields(device: nvmlDevice_t) {
        let empty = |id| nvmlFieldValue_t {
            fieldId: id,
            scopeId: 0,
            timestamp: 0,
            latencyUsec: 0,
            valueType: 0,
            nvmlReturn: 99,
            value: nvmlValue_t { ullVal: 0 },
        };
        let mut values = [empty(field::NVML_FI_DEV_PCIE_COUNT_RX_BYTES), empty(1)];
        // SAFETY: two valid values.
        assert_eq!(unsafe { nvmlDeviceGetFieldValues(device, 2, values.as_mut_ptr()) }, 0);
        assert_eq!([values[0].nvmlReturn, values[1].nvmlReturn], [0, NOT_SUPPORTED]);
    }
}
