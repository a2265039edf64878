//! A device's own signed report and the certificates behind its key. Asked for in the child.

use super::probe::fact;
use super::raw;
use crate::Fact;
use nvml_wrapper::Device;
use nvml_wrapper_sys::bindings::nvmlConfComputeGpuAttestationReport_t as RawReport;
use serde::{Deserialize, Serialize};
use std::ffi::c_uint;

/// What a GPU gives to prove itself to somebody who does not trust this machine.
///
/// Judging it is not this crate's: what comes from here is bounded, and nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuAttestation {
    /// The library says that it is a simulation.
    pub simulated: bool,
    /// Architecture's name.
    pub architecture: Fact<String>,
    /// SPDM request, response and signature; at most 8192 bytes.
    pub report: Fact<Vec<u8>>,
    /// The chain of the key that signs reports, leaf first, PEM; at most 5120 bytes.
    pub chain: Fact<String>,
}

impl GpuAttestation {
    /// Of a device that could not be asked.
    pub(super) fn unasked(simulated: bool, why: &str) -> Self {
        let error = || Fact::Error(why.to_owned());
        Self { simulated, architecture: error(), report: Fact::Error(why.to_owned()), chain: error() }
    }

    /// Report and chain, or in words why this GPU can't be attested. The first thing that is missing
    /// counts: a GPU without a report has no use for its certificates.
    ///
    /// # Errors
    /// One line for people.
    pub fn evidence(&self) -> Result<(&[u8], &str), String> {
        let why = |what: &str, reason: Option<&String>| match reason {
            Some(reason) => format!("{what}: {reason}"),
            None => format!("{what}: driver or hardware do not support it, or confidential computing is off"),
        };
        match (&self.report, &self.chain) {
            (Fact::Value(report), Fact::Value(chain)) => Ok((report, chain)),
            (Fact::NotSupported, _) => Err(why("no signed report", None)),
            (Fact::Error(reason), _) => Err(why("no signed report", Some(reason))),
            (_, Fact::NotSupported) => Err(why("no certificates", None)),
            (_, Fact::Error(reason)) => Err(why("no certificates", Some(reason))),
        }
    }
}

/// Has the device sign a report over `nonce`.
pub(super) fn attest(device: &Device<'_>, nonce: &[u8; 32], simulated: bool) -> GpuAttestation {
    let report = fact(raw::attestation_report(device, nonce)).and_then(|report| sizes(&report));
    // The certificates alone prove nothing, and a device that has no report may take long over them.
    let chain = match &report {
        Fact::Value(_) => chain(device),
        Fact::NotSupported | Fact::Error(_) => Fact::NotSupported,
    };
    let architecture = fact(device.architecture()).map(|architecture| architecture.to_string());
    GpuAttestation { simulated, architecture, report, chain }
}

/// The report, if its size is one that its buffer can have. The report of a board's second chip is judged
/// by nobody here, but a library that lies about its size is not believed in the other one either.
fn sizes(raw: &RawReport) -> Fact<Vec<u8>> {
    if raw.isCecAttestationReportPresent != 0 {
        let cec = within("second report", &raw.cecAttestationReport, raw.cecAttestationReportSize);
        if let Fact::Error(reason) = cec {
            return Fact::Error(reason);
        }
    }
    within("report", &raw.attestationReport, raw.attestationReportSize)
}

fn chain(device: &Device<'_>) -> Fact<String> {
    let raw = match fact(raw::certificate(device)) {
        Fact::Value(raw) => raw,
        Fact::NotSupported => return Fact::NotSupported,
        Fact::Error(reason) => return Fact::Error(reason),
    };
    within("chain", &raw.attestationCertChain, raw.attestationCertChainSize).and_then(pem)
}

/// As much of a buffer as the library says that it has filled.
fn within(what: &str, buffer: &[u8], size: c_uint) -> Fact<Vec<u8>> {
    let filled = usize::try_from(size).ok().and_then(|size| buffer.get(..size));
    match filled {
        Some([]) => Fact::Error(format!("the library gave a {what} of no bytes")),
        Some(filled) => Fact::Value(filled.to_vec()),
        None => {
            let limit = buffer.len();
            Fact::Error(format!("the library claims a {what} of {size} bytes, at most {limit} are possible"))
        }
    }
}

/// PEM is ASCII text; a library may count the string's end with it.
fn pem(mut bytes: Vec<u8>) -> Fact<String> {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    let text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t');
    match String::from_utf8(bytes) {
        Ok(pem) if pem.bytes().all(|byte| text(&byte)) => Fact::Value(pem),
        _ => Fact::Error("the certificates are no text".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(report: c_uint, cec: Option<c_uint>) -> Box<RawReport> {
        Box::new(RawReport {
            isCecAttestationReportPresent: c_uint::from(cec.is_some()),
            attestationReportSize: report,
            cecAttestationReportSize: cec.unwrap_or(u32::MAX),
            nonce: [0; 32],
            attestationReport: [7; 8192],
            cecAttestationReport: [7; 4096],
        })
    }

    #[test]
    fn sizes_are_those_of_the_buffers_or_the_library_is_not_believed() {
        let of = |report, cec| sizes(&raw(report, cec));
        assert_eq!(of(3, None), Fact::Value(vec![7; 3]));
        assert_eq!(of(8192, Some(4096)).value().map(Vec::len), Some(8192));
        for (report, cec) in [(0, None), (8193, None), (u32::MAX, None), (3, Some(4097)), (3, Some(0))] {
            assert!(matches!(of(report, cec), Fact::Error(_)), "{report} {cec:?}");
        }
    }

    #[test]
    fn certificates_are_text() {
        assert_eq!(pem(b"-----\n\0\0".to_vec()), Fact::Value("-----\n".into()));
        assert!(matches!(pem(vec![0xff, 0xfe]), Fact::Error(_)));
        assert!(matches!(pem(b"\x1b[2J".to_vec()), Fact::Error(_)));
    }

    #[test]
    fn what_is_missing_is_said_in_words() {
        let full = GpuAttestation {
            simulated: true,
            architecture: Fact::Value("Hopper".into()),
            report: Fact::Value(vec![1]),
            chain: Fact::Value("x".into()),
        };
        assert_eq!(full.evidence(), Ok((&[1u8][..], "x")));
        let off = GpuAttestation { report: Fact::NotSupported, ..full.clone() };
        assert!(off.evidence().is_err_and(|why| why.contains("confidential computing is off")));
        let broken = GpuAttestation { chain: Fact::Error("no".into()), ..full };
        assert_eq!(broken.evidence(), Err("no certificates: no".into()));
    }
}
