//! The one error type of this crate: what was wrong, in which field, at which byte.

use crate::alg::{Curve, HashAlg, Scheme};

/// Why a TPM structure was refused, a signature does not hold, or a credential can't be made.
///
/// `offset` counts bytes from the start of the structure being parsed and points at the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TpmError {
    /// The input ends inside a field.
    #[error("{field}: input ends inside the field at byte {offset}")]
    Truncated {
        /// Field that could not be read whole.
        field: &'static str,
        /// Where the field starts.
        offset: usize,
    },
    /// Bytes are left over after the structure.
    #[error("bytes are left over from byte {offset} on")]
    TrailingBytes {
        /// First byte that belongs to nothing.
        offset: usize,
    },
    /// A field holds a value that the specification does not allow there.
    #[error("{field}: value {value:#x} at byte {offset} is not allowed")]
    BadValue {
        /// Field name of Part 2.
        field: &'static str,
        /// Where the field starts.
        offset: usize,
        /// The value found; for a buffer, its length.
        value: u64,
    },
    /// A length or count exceeds the limit of its type.
    #[error("{field}: {size} at byte {offset} exceeds the limit {max}")]
    TooLarge {
        /// Field name of Part 2.
        field: &'static str,
        /// Where the field starts.
        offset: usize,
        /// Length or count found.
        size: u64,
        /// Largest one allowed.
        max: u64,
    },
    /// A value that the specification allows and this crate refuses to handle.
    #[error("{field}: value {value:#x} at byte {offset} is not supported")]
    Unsupported {
        /// Field name of Part 2.
        field: &'static str,
        /// Where the field starts.
        offset: usize,
        /// The identifier found.
        value: u64,
    },
    /// A PCR selection names one bank twice.
    #[error("pcrSelect: bank {alg} is selected a second time at byte {offset}")]
    DuplicateBank {
        /// The bank.
        alg: HashAlg,
        /// Where the second entry starts.
        offset: usize,
    },
    /// An attestation of one type was presented where another is due.
    #[error("attestation type is {found:#06x}, {expected:#06x} is due")]
    AttestType {
        /// `TPM_ST_ATTEST_*` that the caller asked for.
        expected: u16,
        /// `TPM_ST_ATTEST_*` that was signed.
        found: u16,
    },
    /// A hash that is too weak for this use.
    #[error("{purpose}: hash {alg} is too weak")]
    WeakHash {
        /// What the hash would have been used for.
        purpose: &'static str,
        /// The hash.
        alg: HashAlg,
    },
    /// The RSA modulus is shorter than 2048 bits, or longer than 4096.
    #[error("RSA key of {bits} bits, 2048 to 4096 are allowed")]
    RsaKeySize {
        /// Length of the modulus.
        bits: u64,
    },
    /// The RSA modulus can't be one (even, or its top bit is clear).
    #[error("RSA modulus is malformed")]
    RsaModulus,
    /// The RSA public exponent is even, below 3, or longer than 33 bits.
    #[error("RSA public exponent {exponent} is not allowed")]
    RsaExponent {
        /// The exponent.
        exponent: u64,
    },
    /// The coordinates are no point of the curve.
    #[error("public point is not on curve {curve}")]
    PointNotOnCurve {
        /// The curve named by the key.
        curve: Curve,
    },
    /// The key's attributes do not allow signing.
    #[error("key is not a signing key")]
    NotSigningKey,
    /// The signature's scheme is not the one the key was made with.
    #[error("signature scheme {signature:?} differs from the key's {key:?}")]
    SchemeMismatch {
        /// The key's scheme.
        key: Scheme,
        /// The signature's scheme.
        signature: Scheme,
    },
    /// An RSA signature for an ECC key, or the reverse.
    #[error("signature algorithm does not fit the key type")]
    KeyTypeMismatch,
    /// The signature's numbers are outside their range (zero, or not below order or modulus).
    #[error("signature value is out of range")]
    SignatureRange,
    /// The signature does not hold for this message under this key.
    #[error("signature does not hold")]
    SignatureInvalid,
    /// The key can't receive a credential: it is not a restricted, fixed decryption key.
    #[error("key is not a restricted decryption key fixed to its TPM with AES-CFB")]
    NotCredentialKey,
    /// A credential's secret is empty or longer than the key's name digest.
    #[error("secret of {len} bytes, 1 to {max} are allowed")]
    SecretLength {
        /// Length given.
        len: usize,
        /// Longest one the TPM takes.
        max: usize,
    },
    /// The seed could not be encrypted to the RSA key.
    #[error("encrypt the credential's seed to the RSA key")]
    SeedEncryption,
}
