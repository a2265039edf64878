//! The two calls that nvml-wrapper lacks. The only unsafe code of this crate; it runs in the child.

#![allow(unsafe_code, reason = "symbols of a C library")]

use nvml_wrapper::Device;
use nvml_wrapper::error::{NvmlError, nvml_try};
use nvml_wrapper_sys::bindings::{NvmlLib, nvmlPdi_t};
use std::ffi::{OsStr, c_uint};

/// A library that exports this symbol says that it is a simulation.
const MARKER: &[u8] = b"assay_nvml_simulated\0";

/// Version of [`nvmlPdi_t`] that we speak.
const PDI_VERSION: usize = 1;

/// Whether the library says that it is a simulation.
///
/// # Errors
/// What the loader says if the library can't be loaded.
pub(super) fn is_simulated(path: &OsStr) -> Result<bool, NvmlError> {
    // SAFETY: loading runs the library's initializers, which may do anything; that is why this process
    // holds nothing worth taking and is under a watchdog.
    let library = unsafe { NvmlLib::new(path) }?;
    // SAFETY: the symbol is looked up and not used, so its type does not matter.
    let marker = unsafe { library.__library.get::<unsafe extern "C" fn() -> c_uint>(MARKER) };
    Ok(marker.is_ok())
}

/// Per-device identifier of the chip (`nvmlDeviceGetPdi`, since driver 580).
///
/// # Errors
/// `FailedToLoadSymbol` on older drivers, or what the library answers.
pub(super) fn pdi(device: &Device<'_>) -> Result<u64, NvmlError> {
    let symbol = device.nvml().lib().nvmlDeviceGetPdi.as_ref();
    let symbol = symbol.map_err(|error| NvmlError::FailedToLoadSymbol(error.to_string()))?;
    let version = c_uint::try_from(size_of::<nvmlPdi_t>() | PDI_VERSION << 24);
    let mut pdi = nvmlPdi_t { version: version.map_err(|_| NvmlError::InvalidArg)?, value: 0 };
    // SAFETY: the handle lives as long as `device`, the structure is valid for writes and says its size
    // and version, which the library checks.
    nvml_try(unsafe { symbol(device.handle(), &raw mut pdi) })?;
    Ok(pdi.value)
}
