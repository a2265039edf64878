//! Files as the command gets them, made into evidence: bounded, and refused with a typed reason.

use assay_gpu::bundle::{self, BundleDevice, BundleError};
use assay_gpu::device::{Architecture, DeviceChain, DeviceError, DeviceEvidence, Report};

/// Longest file with a report, in bytes: hexadecimal, with line ends.
pub const MAX_REPORT: usize = Report::MAX * 2 + 1024;
/// Longest file with a device's certificates.
pub const MAX_CHAIN: usize = 64 << 10;
/// Longest OCSP response.
pub const MAX_OCSP: usize = 64 << 10;

/// One device's evidence, and what its file says beside it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The evidence.
    pub evidence: DeviceEvidence,
    /// The nonce that the bundle states.
    pub nonce: Option<[u8; 32]>,
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
    /// The report cannot be decoded.
    #[error("report")]
    Report(#[source] DeviceError),
    /// The certificates cannot be decoded.
    #[error("chain")]
    Chain(#[source] DeviceError),
    /// The certificates are no text.
    #[error("chain: not UTF-8 at offset {offset}")]
    Text {
        /// The first byte that is none.
        offset: usize,
    },
    /// The bundle cannot be decoded.
    #[error(transparent)]
    Bundle(BundleError),
    /// The second certificate is of no known architecture.
    #[error("chain: certificate 1 is of no known architecture; name it with --arch")]
    Architecture,
}

impl InputError {
    /// Whether it is the file with the certificates that cannot be used.
    pub(super) fn is_of_chain(&self) -> bool {
        matches!(self, Self::Chain(_) | Self::Text { .. } | Self::Architecture)
    }
}

/// A report, hexadecimal or as it is, and its certificates in PEM. Without `architecture` it is what the
/// device's certificate says.
///
/// # Errors
/// [`InputError`] when either cannot be decoded.
pub fn pair(report: &[u8], chain: &[u8], architecture: Option<Architecture>) -> Result<Entry, InputError> {
    let report = unhex(report);
    Report::parse(&report).map_err(InputError::Report)?;
    let text =
        std::str::from_utf8(chain).map_err(|error| InputError::Text { offset: error.valid_up_to() })?;
    let chain = DeviceChain::from_pem(text).map_err(InputError::Chain)?;
    let architecture = match architecture {
        Some(architecture) => architecture,
        None => of_chain(&chain)?,
    };
    let gpu = (!architecture.is_switch()).then_some(0);
    let evidence =
        DeviceEvidence { gpu, architecture, report, chain: chain.der(), ocsp: Vec::new(), simulated: false };
    Ok(Entry { evidence, nonce: None })
}

/// The bytes that hexadecimal digits stand for; anything else as it is.
fn unhex(bytes: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    hex::decode(digits).ok().filter(|bytes| !bytes.is_empty()).unwrap_or_else(|| bytes.to_vec())
}

fn of_chain(chain: &DeviceChain) -> Result<Architecture, InputError> {
    let identity = chain.identity().map_err(InputError::Chain)?;
    Architecture::of_model(&identity.model).ok_or(InputError::Architecture)
}

/// The devices of a bundle, in its order.
///
/// # Errors
/// [`InputError::Bundle`].
pub fn bundle(text: &[u8]) -> Result<Vec<Entry>, InputError> {
    let devices = bundle::parse(text).map_err(InputError::Bundle)?;
    let mut gpus = 0..=u8::MAX;
    let entry = |device: BundleDevice| {
        let nonce = Some(device.nonce);
        let mut evidence = DeviceEvidence::from(device);
        evidence.gpu = if evidence.architecture.is_switch() { None } else { gpus.next() };
        Entry { evidence, nonce }
    };
    Ok(devices.into_iter().map(entry).collect())
}
