//! The edge to C: handles, out parameters, strings and statuses.

use crate::fault::FaultKind;
use crate::simulation::{self, Code, Moment};
use nvml_wrapper_sys::bindings as nvml;
use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlReturn_t};
use std::ffi::{c_char, c_uint};
use std::ptr;

pub(crate) const INVALID_ARGUMENT: Code = nvml::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
pub(crate) const INSUFFICIENT_SIZE: Code = nvml::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
pub(crate) const NOT_SUPPORTED: Code = nvml::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;

/// Handles are numbers in pointers' clothing, and never followed: `STEP` for GPU 0, twice that for 1.
const STEP: usize = 0x1000;

/// The handle of a GPU.
pub(crate) fn handle(index: usize) -> nvmlDevice_t {
    ptr::without_provenance_mut((index + 1) * STEP)
}

/// The GPU behind a handle, now; a handle that we did not give is an invalid argument.
pub(crate) fn moment(device: nvmlDevice_t) -> Result<Moment, Code> {
    let simulation = simulation::current()?;
    let address = device.addr();
    let index = (address / STEP).checked_sub(1).filter(|_| address.is_multiple_of(STEP));
    simulation.moment(index.ok_or(INVALID_ARGUMENT)?)
}

/// A result as C sees it.
pub(crate) fn status(result: Result<(), Code>) -> nvmlReturn_t {
    result.err().unwrap_or(nvml::nvmlReturn_enum_NVML_SUCCESS)
}

/// Stores an out parameter.
///
/// # Safety
/// `out` is null or valid for one write of `T`.
pub(crate) unsafe fn put<T>(out: *mut T, value: T) -> Result<(), Code> {
    if out.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, and then valid for a write by this function's contract.
    unsafe { out.write(value) };
    Ok(())
}

/// Stores a string and its end.
///
/// # Safety
/// `out` is null or valid for `size` bytes of writes.
pub(crate) unsafe fn put_str(out: *mut c_char, size: c_uint, text: &str) -> Result<(), Code> {
    let size = usize::try_from(size).map_err(|_| INVALID_ARGUMENT)?;
    if out.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    if text.len() >= size {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: `text.len() + 1 <= size` bytes from `out` are valid by this function's contract, and a
    // caller's buffer does not overlap our string.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr().cast(), out, text.len());
        out.add(text.len()).write(0);
    }
    Ok(())
}

/// Stores a string of a GPU, or a buffer full of letters if that is the scenario's fault.
///
/// # Safety
/// As [`put_str`].
pub(crate) unsafe fn put_gpu_str(
    moment: &Moment,
    out: *mut c_char,
    size: c_uint,
    text: &str,
) -> Result<(), Code> {
    if !moment.faulty(FaultKind::UnterminatedStrings) {
        // SAFETY: the same contract.
        return unsafe { put_str(out, size, text) };
    }
    let size = usize::try_from(size).map_err(|_| INVALID_ARGUMENT)?;
    if out.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: `out` is valid for `size` bytes by this function's contract.
    unsafe { ptr::write_bytes(out, b'A', size) };
    Ok(())
}

/// A 32-bit reading.
pub(crate) fn uint(value: u64) -> c_uint {
    c_uint::try_from(value).unwrap_or(c_uint::MAX)
}
