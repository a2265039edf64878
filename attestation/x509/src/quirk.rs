//! Deviations from DER and RFC 5280 that real certificates have and that are read all the same.
//!
//! Each is named, and a certificate says which it needed. None changes what a signature covers:
//! that is checked over the bytes as they came.

use std::collections::BTreeSet;

/// One deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quirk {
    /// `0x00` or `0xff` up to the end of the NV index follows the certificate.
    NvPadding,
    /// The header of the TCG's older NV layout precedes it (PC Client 1.21, 7.4.5: `0x1001`).
    NvHeader,
    /// A SET OF isn't in ascending order (X.690 11.6).
    UnsortedSet,
    /// A value that equals its DEFAULT is written out (X.690 11.5).
    ExplicitDefault,
    /// A BOOLEAN is true with other bits than `0xff` (X.690 11.1).
    LooseBoolean,
    /// The key is labelled id-RSAES-OAEP instead of rsaEncryption (EK profile 1.0, 3.2.7).
    OaepKey,
    /// The serial number is negative or zero (RFC 5280 4.1.2.2).
    NonPositiveSerial,
    /// The serial number is longer than 20 octets (RFC 5280 4.1.2.2).
    LongSerial,
    /// The serial number has needless leading zeros (X.690 8.3.2).
    PaddedSerial,
    /// A date before 2050 is written as GeneralizedTime (RFC 5280 4.1.2.5).
    GeneralizedTime,
    /// The subjectAltName is a Name itself, not GeneralNames with one (Platform profile 1.0, 3.2.3).
    BareName,
    /// An RSA algorithm has no NULL parameters (RFC 4055 2.1 asks for them).
    MissingNull,
}

impl Quirk {
    /// Stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NvPadding => "nv-padding",
            Self::NvHeader => "nv-header",
            Self::UnsortedSet => "unsorted-set",
            Self::ExplicitDefault => "explicit-default",
            Self::LooseBoolean => "loose-boolean",
            Self::OaepKey => "oaep-key",
            Self::NonPositiveSerial => "non-positive-serial",
            Self::LongSerial => "long-serial",
            Self::PaddedSerial => "padded-serial",
            Self::GeneralizedTime => "generalized-time",
            Self::BareName => "bare-name",
            Self::MissingNull => "missing-null",
        }
    }
}

/// The deviations that one certificate needed.
pub type Quirks = BTreeSet<Quirk>;
