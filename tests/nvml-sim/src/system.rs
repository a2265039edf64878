//! Calls about the library and the machine.

use crate::fault::FaultKind;
use crate::ffi::{INVALID_ARGUMENT, handle, put, put_str, status};
use crate::simulation;
use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlReturn_t};
use std::ffi::{CStr, c_char, c_int, c_uint};

/// Marks this library as a simulation; its presence is what counts.
#[unsafe(no_mangle)]
extern "C" fn assay_nvml_simulated() -> c_uint {
    1
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> nvmlReturn_t {
    status(simulation::init())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> nvmlReturn_t {
    status(simulation::init())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> nvmlReturn_t {
    status(simulation::shutdown())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(result: nvmlReturn_t) -> *const c_char {
    let text: &'static CStr = match result {
        0 => c"Success",
        1 => c"Uninitialized",
        2 => c"Invalid Argument",
        3 => c"Not Supported",
        6 => c"Not Found",
        7 => c"Insufficient Size",
        9 => c"Driver Not Loaded",
        15 => c"GPU is lost",
        18 => c"Driver/library version mismatch",
        25 => c"Argument version mismatch",
        _ => c"Unknown Error",
    };
    text.as_ptr()
}

/// # Safety
/// `version` is null or valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(version: *mut c_char, length: c_uint) -> nvmlReturn_t {
    // SAFETY: the caller's contract is `put_str`'s.
    status(
        simulation::current().and_then(|s| unsafe { put_str(version, length, &s.scenario.driver_version) }),
    )
}

/// # Safety
/// `version` is null or valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetNVMLVersion(version: *mut c_char, length: c_uint) -> nvmlReturn_t {
    // SAFETY: the caller's contract is `put_str`'s.
    status(simulation::current().and_then(|s| unsafe { put_str(version, length, &s.scenario.nvml_version) }))
}

/// # Safety
/// `version` is null or valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: *mut c_int) -> nvmlReturn_t {
    // SAFETY: the caller's contract is `put`'s.
    status(simulation::current().and_then(|s| unsafe { put(version, s.scenario.cuda_version) }))
}

/// # Safety
/// `count` is null or valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> nvmlReturn_t {
    let result = simulation::current().and_then(|simulation| {
        let absurd = simulation.faulty(FaultKind::AbsurdGpuCount, None);
        let gpus = c_uint::try_from(simulation.scenario.gpu.len()).unwrap_or(c_uint::MAX);
        // SAFETY: the caller's contract is `put`'s.
        unsafe { put(count, if absurd { c_uint::MAX - 1 } else { gpus }) }
    });
    status(result)
}

/// # Safety
/// `device` is null or valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut nvmlDevice_t) -> nvmlReturn_t {
    let result = simulation::current().and_then(|simulation| {
        let index = usize::try_from(index).map_err(|_| INVALID_ARGUMENT)?;
        if index >= simulation.scenario.gpu.len() {
            return Err(INVALID_ARGUMENT);
        }
        simulation.suffer_opening(index)?;
        // SAFETY: the caller's contract is `put`'s.
        unsafe { put(device, handle(index)) }
    });
    status(result)
}
