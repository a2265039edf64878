//! Whether the firmware that signs reports is the one that its certificate was made for.

use assay_x509::{Certificate, X509Error, fwids};

/// Why a report's firmware digest does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FwidFault {
    /// The certificate's extension can't be read.
    #[error("{0}")]
    Certificate(X509Error),
    /// The certificate names no firmware.
    #[error("the certificate names no firmware")]
    Absent,
    /// The certificate's first digest is not SHA-384.
    #[error("the certificate's first digest is not SHA-384")]
    Algorithm,
    /// The digests differ.
    #[error("the report's firmware is not the certificate's")]
    Mismatch,
}

/// Whether the first firmware digest of `leaf` is `fwid`.
pub(super) fn check(leaf: &Certificate, fwid: &[u8; 48]) -> Result<(), FwidFault> {
    let list = fwids(leaf).map_err(FwidFault::Certificate)?;
    let first = list.first().ok_or(FwidFault::Absent)?;
    let digest = first.sha384().ok_or(FwidFault::Algorithm)?;
    if digest == *fwid { Ok(()) } else { Err(FwidFault::Mismatch) }
}
