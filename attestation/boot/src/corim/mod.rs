//! CoRIM, the IETF's format for reference values (draft-ietf-rats-corim): releases out and in, and
//! other people's manifests as far as they hold measurements.
//!
//! CoRIM is CBOR with tags, which this network's own encoding forbids: so this is a codec apart.
//! It reads any encoding of a CoRIM within the limits below, indefinite lengths included, and
//! writes the deterministic one. A manifest's profile may add rules; those of profiles that are
//! about TPMs are checked ([`Corim::parse`]). Signatures of CoRIMs are not: a release travels in an
//! envelope of our own.

mod model;
mod profile;
mod read;
mod release;
mod value;
mod write;

pub use model::{
    Class, Comid, Corim, CorimDigest, CorimTag, CryptoKey, DigestAlg, Environment, Identifier, KeyTriple,
    Measurement, MeasurementKey, MeasurementValues, Profile, Svn, TagId, Triple, Validity,
};
pub use profile::{PARSEC_TPM_PROFILE, RELEASE_PROFILE};

/// Longest CoRIM accepted, in bytes.
pub const MAX_CORIM_BYTES: usize = 256 << 10;
/// Deepest nesting accepted, of each encoded item.
pub const MAX_CORIM_DEPTH: usize = 24;

/// What is wrong with a CoRIM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorimFault {
    /// More than [`MAX_CORIM_BYTES`].
    #[error("longer than {MAX_CORIM_BYTES} bytes")]
    TooLong,
    /// Not well-formed CBOR, or more than one item.
    #[error("malformed CBOR")]
    Malformed,
    /// Nested deeper than [`MAX_CORIM_DEPTH`].
    #[error("nesting too deep")]
    Depth,
    /// A map has a key twice.
    #[error("repeated map key")]
    RepeatedKey,
    /// Not an unsigned CoRIM: tag 501 is not there.
    #[error("not an unsigned CoRIM (tag 501)")]
    NotCorim,
    /// Something that the draft or the profile asks for is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Something has a type or value that the draft or the profile does not allow.
    #[error("{0} has a type or value that is not allowed")]
    Shape(&'static str),
    /// Something is there that the profile does not allow.
    #[error("{0} is not allowed here")]
    Unexpected(&'static str),
    /// Another profile than the reader asked for.
    #[error("not of the profile asked for")]
    Profile,
    /// A release's time is not a whole second, which is all that CoRIM's times can say.
    #[error("time is not in whole seconds")]
    Time,
}
