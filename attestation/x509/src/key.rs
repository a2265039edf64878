//! Subject public keys (RFC 5280 4.1.2.7) and whether they are a TPM's key.

use assay_tpm::{Curve, KeyKind, Public};
use const_oid::ObjectIdentifier;

use crate::der::{self, NULL, Reader, SEQUENCE};
use crate::error::{X509Error, value};
use crate::oids;
use crate::quirk::{Quirk, Quirks};

/// Curves that a certificate's key may lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EcCurve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1: authorities only, no TPM has an EK on it in a certificate profile.
    P521,
}

impl EcCurve {
    /// Bytes of one coordinate.
    #[must_use]
    pub const fn field_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// A subject's public key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PublicKey {
    /// RSA (RFC 8017 A.1.1), big-endian without leading zeros.
    Rsa {
        /// Modulus.
        modulus: Vec<u8>,
        /// Public exponent.
        exponent: Vec<u8>,
    },
    /// A point on a named curve, as written: not yet known to lie on it.
    Ec {
        /// The curve.
        curve: EcCurve,
        /// SEC 1 2.3.3 octets.
        point: Vec<u8>,
    },
    /// Another algorithm, or a curve by another name or none.
    Other(ObjectIdentifier),
}

impl PublicKey {
    /// SubjectPublicKeyInfo.
    pub(crate) fn read(reader: &mut Reader<'_>, quirks: &mut Quirks) -> Result<Self, X509Error> {
        const FIELD: &str = "subjectPublicKeyInfo";
        let mut info = reader.expect(SEQUENCE, FIELD)?.reader();
        let mut algorithm = info.expect(SEQUENCE, FIELD)?.reader();
        let oid = der::oid(algorithm.next(FIELD)?, FIELD)?;
        let key = info.next("subjectPublicKey")?;
        info.finish(FIELD)?;
        let octets = der::octets(key, "subjectPublicKey")?;
        let inner = Reader::new(octets, key.start() + 1);
        match oid {
            oids::RSA_ENCRYPTION => {
                match algorithm.optional(NULL, FIELD)? {
                    Some(null) if !null.value.is_empty() => {
                        return Err(value(FIELD, null.offset, "a NULL with content"));
                    }
                    Some(_) => {}
                    None => {
                        quirks.insert(Quirk::MissingNull);
                    }
                }
                algorithm.finish(FIELD)?;
                rsa(inner)
            }
            oids::RSAES_OAEP => {
                quirks.insert(Quirk::OaepKey);
                rsa(inner)
            }
            oids::EC_PUBLIC_KEY => {
                let parameters = algorithm.next(FIELD)?;
                algorithm.finish(FIELD)?;
                let curve = match parameters.tag {
                    der::OID => der::oid(parameters, FIELD)?,
                    _ => return Ok(Self::Other(oid)),
                };
                let point = octets.to_vec();
                Ok(match curve {
                    oids::SECP256R1 => Self::Ec { curve: EcCurve::P256, point },
                    oids::SECP384R1 => Self::Ec { curve: EcCurve::P384, point },
                    oids::SECP521R1 => Self::Ec { curve: EcCurve::P521, point },
                    other => Self::Other(other),
                })
            }
            other => Ok(Self::Other(other)),
        }
    }

    /// The key of a TPM public area.
    #[must_use]
    pub fn of(public: &Public) -> Self {
        match public.kind() {
            KeyKind::Rsa { modulus, exponent, .. } => Self::Rsa {
                modulus: strip(modulus).to_vec(),
                exponent: strip(&exponent.to_be_bytes()).to_vec(),
            },
            KeyKind::Ecc { curve, x, y } => {
                let curve = match curve {
                    Curve::P256 => EcCurve::P256,
                    Curve::P384 => EcCurve::P384,
                };
                Self::Ec { curve, point: [&[4], x.as_slice(), y].concat() }
            }
        }
    }

    /// Bits of the modulus or of the field; 0 for a key that nobody here knows.
    #[must_use]
    pub fn bits(&self) -> usize {
        match self {
            Self::Rsa { modulus, .. } => {
                let unused = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
                modulus.len() * 8 - unused
            }
            Self::Ec { curve: EcCurve::P521, .. } => 521,
            Self::Ec { curve, .. } => curve.field_len() * 8,
            Self::Other(_) => 0,
        }
    }

    /// `RSA-2048`, `P-256` and the like.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Rsa { .. } => format!("RSA-{}", self.bits()),
            Self::Ec { .. } => format!("P-{}", self.bits()),
            Self::Other(oid) => format!("algorithm {oid}"),
        }
    }

    /// Whether it is the key of this TPM public area.
    #[must_use]
    pub fn is(&self, public: &Public) -> bool {
        *self == Self::of(public)
    }
}

fn rsa(mut reader: Reader<'_>) -> Result<PublicKey, X509Error> {
    const FIELD: &str = "RSAPublicKey";
    let mut numbers = reader.expect(SEQUENCE, FIELD)?.reader();
    reader.finish(FIELD)?;
    let modulus = der::unsigned(numbers.next("modulus")?, "modulus")?.to_vec();
    let exponent = der::unsigned(numbers.next("publicExponent")?, "publicExponent")?.to_vec();
    numbers.finish(FIELD)?;
    Ok(PublicKey::Rsa { modulus, exponent })
}

fn strip(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}
