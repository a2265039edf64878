//! Why bytes were refused.

/// A message could not be decoded, encoded or verified.
///
/// `what` names the structure, `offset` counts bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Longer than the limit for this structure.
    #[error("{what}: {len} bytes, more than the {limit} allowed")]
    TooLong {
        /// The structure.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not deterministic CBOR (RFC 8949 4.2.1) or a CBOR feature that Assay does not use.
    #[error("{what}: {fault} at offset {offset}")]
    Cbor {
        /// The structure.
        what: &'static str,
        /// Which rule was broken.
        fault: CborFault,
        /// Where.
        offset: usize,
    },
    /// Well-formed CBOR of the wrong shape: a missing or mistyped field.
    #[error("{what}: {detail} at offset {offset}")]
    Shape {
        /// The structure.
        what: &'static str,
        /// What the decoder expected.
        detail: String,
        /// Where.
        offset: usize,
    },
    /// The value holds something that this structure does not have, such as an unknown key.
    #[error("{what}: unknown or misplaced content at offset {offset}")]
    Unknown {
        /// The structure.
        what: &'static str,
        /// First byte that the structure would not have written.
        offset: usize,
    },
    /// The envelope's header is not the one Assay writes (RFC 9052 3).
    #[error("envelope header: {0}")]
    Header(&'static str),
    /// The envelope is of another kind than the reader asked for.
    #[error("envelope holds {seen}, expected {expected}")]
    Kind {
        /// What was asked for.
        expected: &'static str,
        /// What the content type says.
        seen: &'static str,
    },
    /// The bytes are not a point on Ed25519.
    #[error("not an Ed25519 public key")]
    Key,
    /// The signature does not hold under the key (ZIP 215).
    #[error("signature does not hold")]
    Signature,
}

/// Which rule of deterministic CBOR was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CborFault {
    /// The item ends after the input does.
    #[error("truncated item")]
    Truncated,
    /// Bytes follow the item.
    #[error("trailing bytes")]
    Trailing,
    /// An integer or length is not in its shortest form.
    #[error("integer not in shortest form")]
    NotShortest,
    /// Indefinite length.
    #[error("indefinite length")]
    Indefinite,
    /// Map keys are not in strictly ascending order of their encodings.
    #[error("map key out of order or repeated")]
    KeyOrder,
    /// A float, null, undefined or another simple value.
    #[error("simple value or float")]
    Simple,
    /// A tag other than the envelope's own.
    #[error("tag")]
    Tag,
    /// Text that is not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// Nested deeper than [`crate::limits::DEPTH`].
    #[error("nesting too deep")]
    Depth,
    /// More items than [`crate::limits::ITEMS`].
    #[error("too many items")]
    Items,
}

/// A wire result.
pub(crate) type Result<T> = std::result::Result<T, WireError>;
