//! Files as the command gets them, made into evidence: bounded, and refused with a typed reason.

use assay_gpu::bundle::{self, BundleDevice, BundleError, EntryFault};
use assay_gpu::device::{Architecture, Check, Checks, DeviceEvidence, Report};

/// Longest file with a report, in bytes: hexadecimal, with line ends.
pub const MAX_REPORT: usize = Report::MAX * 2 + 1024;
/// Longest file with a device's certificates.
pub const MAX_CHAIN: usize = 64 << 10;
/// Longest OCSP response.
pub const MAX_OCSP: usize = 64 << 10;

/// The first byte of a report, which is no hexadecimal digit.
const SPDM_VERSION: u8 = 0x11;

/// One device's evidence, and what its file says beside it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The evidence as far as it can be read.
    pub evidence: DeviceEvidence,
    /// What it is said to be, or shows; where nothing shows it the evidence is judged as a GPU's and fails.
    pub architecture: Option<Architecture>,
    /// The nonce that the bundle states.
    pub nonce: Option<[u8; 32]>,
    /// What could not be read: each fails the check that needed it.
    pub faults: Vec<EntryFault>,
}

/// Bytes that are no evidence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// More bytes than any of its kind may have.
    #[error("more than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The bundle cannot be decoded.
    #[error(transparent)]
    Bundle(BundleError),
}

/// A report, hexadecimal or as it is, and its certificates in PEM. Without `architecture` it is what the
/// evidence shows. Bytes that are neither are a device whose checks fail.
#[must_use]
pub fn pair(report: &[u8], chain: &[u8], architecture: Option<Architecture>) -> Entry {
    let (chain, fault) = bundle::certificates(chain);
    let mut faults: Vec<EntryFault> = fault.into_iter().collect();
    let report = bytes_of(report).unwrap_or_else(|error| {
        faults.push(EntryFault::Digits(error));
        Vec::new()
    });
    Entry::new(BundleDevice { architecture, nonce: None, report, chain, faults })
}

/// A report begins with a byte that no text has.
fn bytes_of(report: &[u8]) -> Result<Vec<u8>, BundleError> {
    match report.first() {
        Some(&SPDM_VERSION) => Ok(report.to_vec()),
        _ => bundle::report_from_hex(&String::from_utf8_lossy(report)),
    }
}

/// The devices of a bundle, in its order.
///
/// # Errors
/// [`InputError::Bundle`].
pub fn bundle(text: &[u8]) -> Result<Vec<Entry>, InputError> {
    let devices = bundle::parse(text).map_err(InputError::Bundle)?;
    Ok(devices.into_iter().map(Entry::new).collect())
}

impl Entry {
    fn new(device: BundleDevice) -> Self {
        let BundleDevice { architecture, nonce, report, chain, faults } = device;
        let architecture = architecture.or_else(|| DeviceEvidence::seen(&report, &chain));
        let kind = architecture.unwrap_or(Architecture::Hopper);
        let evidence = DeviceEvidence {
            gpu: None,
            architecture: kind,
            report,
            chain,
            ocsp: Vec::new(),
            simulated: false,
        };
        Self { evidence, architecture, nonce, faults }
    }

    /// Fails the checks that needed what could not be read.
    pub(super) fn fail(&self, checks: &mut Checks) {
        for fault in &self.faults {
            let no = || Check::no(fault);
            match fault {
                EntryFault::Form => (checks.signature, checks.chain) = (no(), no()),
                EntryFault::Nonce => checks.nonce = no(),
                EntryFault::Report { .. } | EntryFault::Digits(_) => checks.signature = no(),
                EntryFault::Architecture | EntryFault::Certificates | EntryFault::Pem(_) => {
                    checks.chain = no();
                }
            }
        }
    }
}
