//! What can be wrong with evidence before anyone judges what it says.

use assay_x509::X509Error;

/// Bytes or text that are no evidence. One value names one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// More than is read.
    #[error("{field}: {len} bytes, at most {max} are read")]
    Oversized {
        /// What was being read.
        field: &'static str,
        /// Its length.
        len: usize,
        /// The longest one that is read.
        max: usize,
    },
    /// More elements than are read.
    #[error("{field}: more than {max}")]
    TooMany {
        /// What was being read.
        field: &'static str,
        /// How many are read.
        max: usize,
    },
    /// The bytes end inside a field.
    #[error("{field}: ends early at offset {offset}")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// Where the field begins.
        offset: usize,
    },
    /// A number that has only one value there.
    #[error("{field} at offset {offset}: {seen:#x}, expected {expected:#x}")]
    Constant {
        /// What was being read.
        field: &'static str,
        /// Where it lies.
        offset: usize,
        /// What is there.
        seen: u64,
        /// What belongs there.
        expected: u64,
    },
    /// A value that has no meaning there.
    #[error("{field} at offset {offset}: {detail}")]
    Value {
        /// What was being read.
        field: &'static str,
        /// Where it lies.
        offset: usize,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// An opaque field of the report has a form that its type doesn't have.
    #[error("opaque field {kind} at offset {offset}: {detail}")]
    Opaque {
        /// The field's type.
        kind: u16,
        /// Where it begins in the report.
        offset: usize,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Something follows where nothing may.
    #[error("{field}: trailing bytes at offset {offset}")]
    Trailing {
        /// What was being read.
        field: &'static str,
        /// Offset of the first byte too many.
        offset: usize,
    },
    /// A certificate that can't be read.
    #[error("certificate {index}: {error}")]
    Certificate {
        /// Its position, the leaf's is 0.
        index: usize,
        /// Why.
        error: X509Error,
    },
    /// The chain has no certificate at this position.
    #[error("no certificate {index}")]
    NoCertificate {
        /// The position.
        index: usize,
    },
    /// The device's certificate names no device.
    #[error("certificate {index}: {detail}")]
    Identity {
        /// Its position.
        index: usize,
        /// What is wrong with its subject.
        detail: &'static str,
    },
    /// Text that is no list of certificates in PEM (RFC 7468).
    #[error("PEM at offset {offset}: {detail}")]
    Pem {
        /// Where the block begins in the text.
        offset: usize,
        /// What is wrong with it.
        detail: &'static str,
    },
}
