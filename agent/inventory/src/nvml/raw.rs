//! Calls that nvml-wrapper lacks, or makes with lengths that the library says. The only unsafe code of
//! this crate; it runs in the child.

#![allow(unsafe_code, reason = "symbols of a C library")]

use nvml_wrapper::Device;
use nvml_wrapper::error::{NvmlError, nvml_try};
use nvml_wrapper_sys::bindings::{
    NvmlLib, nvmlConfComputeGpuAttestationReport_t, nvmlConfComputeGpuCertificate_t, nvmlPdi_t,
};
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

/// The device's signed report over `nonce` (`nvmlDeviceGetConfComputeGpuAttestationReport`), as the
/// library filled it in: its sizes are not yet checked against its buffers.
///
/// # Errors
/// `FailedToLoadSymbol` on older drivers, or what the library answers.
pub(super) fn attestation_report(
    device: &Device<'_>,
    nonce: &[u8; 32],
) -> Result<Box<nvmlConfComputeGpuAttestationReport_t>, NvmlError> {
    let symbol = device.nvml().lib().nvmlDeviceGetConfComputeGpuAttestationReport.as_ref();
    let symbol = symbol.map_err(|error| NvmlError::FailedToLoadSymbol(error.to_string()))?;
    let mut report = Box::new(nvmlConfComputeGpuAttestationReport_t {
        isCecAttestationReportPresent: 0,
        attestationReportSize: 0,
        cecAttestationReportSize: 0,
        nonce: *nonce,
        attestationReport: [0; _],
        cecAttestationReport: [0; _],
    });
    // SAFETY: the handle lives as long as `device`, the structure is valid for reads and writes and has
    // the layout of NVML's header.
    nvml_try(unsafe { symbol(device.handle(), &raw mut *report) })?;
    Ok(report)
}

/// The device's certificate chains (`nvmlDeviceGetConfComputeGpuCertificate`), as the library filled them
/// in: their sizes are not yet checked against their buffers.
///
/// # Errors
/// `FailedToLoadSymbol` on older drivers, or what the library answers.
pub(super) fn certificate(device: &Device<'_>) -> Result<Box<nvmlConfComputeGpuCertificate_t>, NvmlError> {
    let symbol = device.nvml().lib().nvmlDeviceGetConfComputeGpuCertificate.as_ref();
    let symbol = symbol.map_err(|error| NvmlError::FailedToLoadSymbol(error.to_string()))?;
    let mut chains = Box::new(nvmlConfComputeGpuCertificate_t {
        certChainSize: 0,
        attestationCertChainSize: 0,
        certChain: [0; _],
        attestationCertChain: [0; _],
    });
    // SAFETY: as for the report.
    nvml_try(unsafe { symbol(device.handle(), &raw mut *chains) })?;
    Ok(chains)
}
