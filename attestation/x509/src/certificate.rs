//! X.509 certificates (RFC 5280 4.1), read as they are; nothing is believed here.

use std::fmt;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::der::{self, Reader, SEQUENCE, constructed};
use crate::error::{X509Error, value};
use crate::extension::{Extensions, KeyUsage};
use crate::key::PublicKey;
use crate::name::Name;
use crate::nv;
use crate::quirk::{Quirk, Quirks};
use crate::signature::{SignatureAlgorithm, SignatureFault, verify_spki};
use crate::time::{Seconds, time};

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    tbs: Range<usize>,
    algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    /// 1 to 3.
    pub version: u8,
    /// Content of the INTEGER, sign included.
    pub serial: Vec<u8>,
    /// Who signed it, by its own word.
    pub issuer: Name,
    /// Whom it is about.
    pub subject: Name,
    /// First second of its validity.
    pub not_before: Seconds,
    /// Last second of its validity.
    pub not_after: Seconds,
    /// The subject's key.
    pub key: PublicKey,
    /// The bits that OCSP's key hashes are over.
    key_bits: Vec<u8>,
    /// Extensions; all absent before version 3.
    pub extensions: Extensions,
    /// What had to be overlooked to read it.
    pub quirks: Quirks,
}

impl Certificate {
    /// Reads a certificate as it lies in NV memory: [`Quirk::NvPadding`] and [`Quirk::NvHeader`] allowed.
    ///
    /// # Errors
    /// As [`Certificate::parse`].
    pub fn from_nv(nv: &[u8]) -> Result<Self, X509Error> {
        let mut quirks = Quirks::new();
        let der = nv::trim(nv, &mut quirks)?;
        Self::read(der, quirks)
    }

    /// Reads a file: PEM when it is text with a certificate, otherwise as [`Certificate::from_nv`].
    ///
    /// # Errors
    /// As [`Certificate::parse`], and [`X509Error::Pem`].
    pub fn from_file(bytes: &[u8]) -> Result<Self, X509Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN") => Self::parse(&nv::pem_to_der(text)?),
            _ => Self::from_nv(bytes),
        }
    }

    /// Reads exactly one certificate's DER.
    ///
    /// # Errors
    /// [`X509Error`] names the field and its offset.
    pub fn parse(der: &[u8]) -> Result<Self, X509Error> {
        Self::read(der, Quirks::new())
    }

    fn read(bytes: &[u8], mut quirks: Quirks) -> Result<Self, X509Error> {
        const FIELD: &str = "certificate";
        if bytes.len() > nv::MAX_NV {
            return Err(X509Error::Oversized { field: FIELD, len: bytes.len(), max: nv::MAX_NV });
        }
        der::check_nesting(bytes)?;
        let mut outer = Reader::new(bytes, 0);
        let mut whole = outer.expect(SEQUENCE, FIELD)?.reader();
        outer.finish(FIELD)?;
        let tbs = whole.expect(SEQUENCE, "tbsCertificate")?;
        let offset = whole.offset();
        let (algorithm, raw) = SignatureAlgorithm::read(&mut whole, &mut quirks)?;
        let signature = der::octets(whole.next("signatureValue")?, "signatureValue")?.to_vec();
        whole.finish(FIELD)?;
        let mut reader = tbs.reader();
        let version = version(&mut reader, &mut quirks)?;
        let serial = serial(&mut reader, &mut quirks)?;
        // RFC 5280 4.1.1.2: both must say the same, or the signed one is not the one that is used.
        if SignatureAlgorithm::read(&mut reader, &mut quirks)?.1 != raw {
            return Err(value("signatureAlgorithm", offset, "differs from the signed one"));
        }
        let issuer = Name::read(&mut reader, "issuer", &mut quirks)?;
        let mut validity = reader.expect(SEQUENCE, "validity")?.reader();
        let not_before = time(validity.next("notBefore")?, "notBefore", &mut quirks)?;
        let not_after = time(validity.next("notAfter")?, "notAfter", &mut quirks)?;
        validity.finish("validity")?;
        let subject = Name::read(&mut reader, "subject", &mut quirks)?;
        let key_bits = key_bits(reader.clone())?;
        let key = PublicKey::read(&mut reader, &mut quirks)?;
        let extensions = extensions(&mut reader, version, &mut quirks)?;
        reader.finish("tbsCertificate")?;
        let tbs = tbs.offset..tbs.offset + tbs.raw.len();
        let der = bytes.to_vec();
        Ok(Self {
            der,
            tbs,
            algorithm,
            signature,
            version,
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            key,
            key_bits,
            extensions,
            quirks,
        })
    }

    /// Its DER, without padding or header.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of [`Certificate::der`].
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(&self.der).into())
    }

    /// How it is signed.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Whether the holder of `key` signed it: over the bytes as they came, quirks and all.
    ///
    /// # Errors
    /// [`SignatureFault`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), SignatureFault> {
        let (signed, signature) = self.signed_parts();
        verify_spki(key, self.algorithm, signed, signature)
    }

    /// The bytes that are signed, and the signature.
    pub(crate) fn signed_parts(&self) -> (&[u8], &[u8]) {
        (self.der.get(self.tbs.clone()).unwrap_or_default(), &self.signature)
    }

    /// Content of subjectPublicKey, without the octet of unused bits.
    pub(crate) fn key_bits(&self) -> &[u8] {
        &self.key_bits
    }

    /// Whether `at` lies in its validity.
    #[must_use]
    pub const fn is_valid_at(&self, at: Seconds) -> bool {
        self.not_before <= at && at <= self.not_after
    }

    /// Whether it may sign certificates (RFC 5280 6.1.4 k and n).
    #[must_use]
    pub fn is_ca(&self) -> bool {
        let usage = self.extensions.key_usage;
        self.extensions.basic_constraints.is_some_and(|constraints| constraints.ca)
            && usage.is_none_or(|usage| usage.contains(KeyUsage::KEY_CERT_SIGN))
    }
}

/// subjectPublicKey of the SubjectPublicKeyInfo that comes next.
fn key_bits(mut reader: Reader<'_>) -> Result<Vec<u8>, X509Error> {
    const FIELD: &str = "subjectPublicKeyInfo";
    let mut info = reader.expect(SEQUENCE, FIELD)?.reader();
    info.expect(SEQUENCE, FIELD)?;
    Ok(der::octets(info.next("subjectPublicKey")?, "subjectPublicKey")?.to_vec())
}

fn version(reader: &mut Reader<'_>, quirks: &mut Quirks) -> Result<u8, X509Error> {
    const FIELD: &str = "version";
    let Some(tagged) = reader.optional(constructed(0), FIELD)? else { return Ok(1) };
    let mut inner = tagged.reader();
    let number = der::small(inner.next(FIELD)?, der::INTEGER, FIELD)?;
    inner.finish(FIELD)?;
    match number {
        0 => {
            quirks.insert(Quirk::ExplicitDefault);
            Ok(1)
        }
        1 => Ok(2),
        2 => Ok(3),
        _ => Err(value(FIELD, tagged.offset, "later than version 3")),
    }
}

/// CertificateSerialNumber (RFC 5280 4.1.2.2).
pub(crate) fn serial(reader: &mut Reader<'_>, quirks: &mut Quirks) -> Result<Vec<u8>, X509Error> {
    const FIELD: &str = "serialNumber";
    const MAX: usize = 64;
    let tlv = reader.next(FIELD)?;
    let bytes = match tlv.expect(der::INTEGER, FIELD)?.value {
        bytes @ [0, next, ..] if *next < 0x80 => {
            quirks.insert(Quirk::PaddedSerial);
            bytes
        }
        _ => der::integer(tlv, FIELD)?,
    };
    if bytes.len() > MAX {
        return Err(X509Error::Oversized { field: FIELD, len: bytes.len(), max: MAX });
    }
    if bytes.first().is_some_and(|first| *first >= 0x80) || bytes.iter().all(|byte| *byte == 0) {
        quirks.insert(Quirk::NonPositiveSerial);
    }
    // A leading zero is the sign of a number of twenty octets.
    if bytes.len() > 21 || (bytes.len() == 21 && bytes.first() != Some(&0)) {
        quirks.insert(Quirk::LongSerial);
    }
    Ok(bytes.to_vec())
}

/// Unique identifiers, which nobody uses, then extensions.
fn extensions(reader: &mut Reader<'_>, version: u8, quirks: &mut Quirks) -> Result<Extensions, X509Error> {
    const FIELD: &str = "extensions";
    for unique_id in [0x81, 0x82] {
        if let Some(tlv) = reader.optional(unique_id, "uniqueIdentifier")?
            && version == 1
        {
            return Err(value("uniqueIdentifier", tlv.offset, "not before version 2"));
        }
    }
    let Some(tagged) = reader.optional(constructed(3), FIELD)? else { return Ok(Extensions::default()) };
    if version != 3 {
        return Err(value(FIELD, tagged.offset, "not before version 3"));
    }
    let mut inner = tagged.reader();
    let list = inner.next(FIELD)?;
    inner.finish(FIELD)?;
    Extensions::read(list, quirks)
}
