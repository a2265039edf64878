//! Calls for a device's own evidence: a recorded report, given again.
//!
//! The report is signed over the nonce that its device was asked with when it was recorded. Whoever judges
//! it finds that the nonce is not theirs, as with any report that is replayed.

use crate::fault::FaultKind;
use crate::ffi::{INVALID_ARGUMENT, NOT_SUPPORTED, moment, status};
use crate::scenario::Gpu;
use crate::simulation::{Code, Moment};
use nvml_wrapper_sys::bindings::{
    nvmlConfComputeGpuAttestationReport_t, nvmlConfComputeGpuCertificate_t, nvmlDevice_t, nvmlReturn_t,
};
use std::ffi::c_uint;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Where the nonce is in a request (DSP0274 1.1, 10.11), with which a report begins.
const NONCE: std::ops::Range<usize> = 4..36;

/// Longest report and chain that NVML's structures hold.
const REPORT: usize = 8192;
const CHAIN: usize = 5120;

/// Why a recorded report can't be given.
#[derive(Debug, Error)]
pub(crate) enum ReplayError {
    #[error("reading {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} is not of hexadecimal digits")]
    Digits(PathBuf),
    #[error("{0} is longer than NVML has room for")]
    Long(PathBuf),
    #[error("a GPU needs both keys, report and chain, or neither")]
    Half,
}

/// A recorded report and the chain of the key that signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replay {
    report: Vec<u8>,
    chain: Vec<u8>,
}

impl Replay {
    /// Reads what the scenario names for a GPU.
    pub(crate) fn load(folder: &Path, gpu: &Gpu) -> Result<Option<Self>, ReplayError> {
        let (report, chain) = match (&gpu.report, &gpu.chain) {
            (Some(report), Some(chain)) => (folder.join(report), folder.join(chain)),
            (None, None) => return Ok(None),
            _ => return Err(ReplayError::Half),
        };
        let text = String::from_utf8(read(&report)?).map_err(|_| ReplayError::Digits(report.clone()))?;
        let bytes = hex::decode(text.trim()).map_err(|_| ReplayError::Digits(report.clone()))?;
        let replay = Self { report: bytes, chain: read(&chain)? };
        match () {
            () if replay.report.len() > REPORT => Err(ReplayError::Long(report)),
            () if replay.chain.len() > CHAIN => Err(ReplayError::Long(chain)),
            () => Ok(Some(replay)),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ReplayError> {
    std::fs::read(path).map_err(|source| ReplayError::Read { path: path.to_owned(), source })
}

/// Copies bytes to the start of a buffer that is longer; its length for C, or the fault's.
fn fill(gpu: &Moment, bytes: &[u8], buffer: &mut [u8], absurd: FaultKind) -> c_uint {
    for (slot, byte) in buffer.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    let len = c_uint::try_from(bytes.len()).unwrap_or(c_uint::MAX);
    if gpu.faulty(absurd) { c_uint::MAX - 7 } else { len }
}

/// # Safety
/// `out` is null or valid for reads and writes.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetConfComputeGpuAttestationReport(
    device: nvmlDevice_t,
    out: *mut nvmlConfComputeGpuAttestationReport_t,
) -> nvmlReturn_t {
    // SAFETY: null or valid for reads and writes by the caller's contract.
    let out = unsafe { out.as_mut() }.ok_or(INVALID_ARGUMENT);
    status(moment(device).and_then(|gpu| report(&gpu, out?)))
}

fn report(gpu: &Moment, out: &mut nvmlConfComputeGpuAttestationReport_t) -> Result<(), Code> {
    while gpu.faulty(FaultKind::HangingReport) {
        std::thread::sleep(Duration::from_secs(1));
    }
    let replay = gpu.replay().ok_or(NOT_SUPPORTED)?;
    (out.isCecAttestationReportPresent, out.cecAttestationReportSize) = (0, 0);
    let asked = out.nonce;
    out.attestationReportSize =
        fill(gpu, &replay.report, &mut out.attestationReport, FaultKind::AbsurdReportSize);
    if let Some(nonce) = out.attestationReport.get_mut(NONCE).filter(|_| gpu.gpu.echo_nonce) {
        nonce.copy_from_slice(&asked);
    }
    Ok(())
}

/// # Safety
/// `out` is null or valid for reads and writes.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetConfComputeGpuCertificate(
    device: nvmlDevice_t,
    out: *mut nvmlConfComputeGpuCertificate_t,
) -> nvmlReturn_t {
    // SAFETY: null or valid for reads and writes by the caller's contract.
    let out = unsafe { out.as_mut() }.ok_or(INVALID_ARGUMENT);
    status(moment(device).and_then(|gpu| certificate(&gpu, out?)))
}

fn certificate(gpu: &Moment, out: &mut nvmlConfComputeGpuCertificate_t) -> Result<(), Code> {
    let replay = gpu.replay().ok_or(NOT_SUPPORTED)?;
    out.certChainSize = 0;
    out.attestationCertChainSize =
        fill(gpu, &replay.chain, &mut out.attestationCertChain, FaultKind::AbsurdChainSize);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(report: Option<&str>, chain: Option<&str>) -> Gpu {
        Gpu {
            uuid: String::new(),
            serial: String::new(),
            bus_id: String::new(),
            pdi: None,
            energy_at_boot_mj: 0,
            report: report.map(Into::into),
            chain: chain.map(Into::into),
            echo_nonce: false,
        }
    }

    #[test]
    fn reports_are_read_from_the_scenarios_folder_and_bounded() {
        let folder = std::env::temp_dir().join(format!("assay-nvml-sim-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
        write("good.hex", b"11e0\n");
        write("odd.hex", b"11e");
        write("long.hex", &[b'0'; 2 * REPORT + 2]);
        write("chain.pem", b"pem");
        let load = |report, chain| Replay::load(&folder, &gpu(report, chain));
        let good = load(Some("good.hex"), Some("chain.pem")).unwrap();
        assert_eq!(good, Some(Replay { report: vec![0x11, 0xe0], chain: b"pem".to_vec() }));
        assert!(matches!(load(None, None), Ok(None)));
        assert!(matches!(load(Some("good.hex"), None), Err(ReplayError::Half)));
        assert!(matches!(load(Some("odd.hex"), Some("chain.pem")), Err(ReplayError::Digits(_))));
        assert!(matches!(load(Some("long.hex"), Some("chain.pem")), Err(ReplayError::Long(_))));
        assert!(matches!(load(Some("none.hex"), Some("chain.pem")), Err(ReplayError::Read { .. })));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
