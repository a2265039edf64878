//! What can be wrong with a certificate or a store, before anyone judges what it says.

/// Bytes that are no certificate, or a store that can't be used. One value names one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum X509Error {
    /// More bytes than any certificate has.
    #[error("{field}: {len} bytes, at most {max} are read")]
    Oversized {
        /// What was being read.
        field: &'static str,
        /// Its length.
        len: usize,
        /// The longest one that is read.
        max: usize,
    },
    /// The bytes end inside an element.
    #[error("{field}: ends early at offset {offset}")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// Offset of the element that isn't whole.
        offset: usize,
    },
    /// An element of another type.
    #[error("{field}: tag {seen:#04x} at offset {offset}, expected {expected:#04x}")]
    Tag {
        /// What was being read.
        field: &'static str,
        /// Offset of the tag.
        offset: usize,
        /// The tag that belongs there.
        expected: u8,
        /// The tag that is there.
        seen: u8,
    },
    /// An indefinite length, or one that isn't written in its shortest form (X.690 10.1).
    #[error("{field}: length at offset {offset} is not DER")]
    Length {
        /// What was being read.
        field: &'static str,
        /// Offset of the element.
        offset: usize,
    },
    /// Something follows where nothing may.
    #[error("{field}: trailing bytes at offset {offset}")]
    Trailing {
        /// What was being read.
        field: &'static str,
        /// Offset of the first byte too many.
        offset: usize,
    },
    /// Elements nested deeper than any certificate needs.
    #[error("nested too deep at offset {offset}")]
    TooDeep {
        /// Offset of the element.
        offset: usize,
    },
    /// More elements than are read.
    #[error("{field}: more than {max} at offset {offset}")]
    TooMany {
        /// What was being read.
        field: &'static str,
        /// Offset of the first one too many.
        offset: usize,
        /// How many are read.
        max: usize,
    },
    /// A value that has no meaning there.
    #[error("{field} at offset {offset}: {detail}")]
    Value {
        /// What was being read.
        field: &'static str,
        /// Offset of the value.
        offset: usize,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Text that is no PEM of a certificate (RFC 7468).
    #[error("PEM: {detail}")]
    Pem {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A vendor file that isn't TOML of its schema.
    #[error("vendor file: {detail}")]
    VendorFile {
        /// What the parser says, with line and column.
        detail: String,
    },
    /// An entry of a vendor file that can't be believed.
    #[error("vendor file: {entry}: {field}: {detail}")]
    VendorEntry {
        /// Name of the entry.
        entry: String,
        /// The key.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

pub(crate) const fn value(field: &'static str, offset: usize, detail: &'static str) -> X509Error {
    X509Error::Value { field, offset, detail }
}
