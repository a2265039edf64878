//! TCG platform certificates (Platform Certificate Profile 1.1): which machine an EK sits in.
//!
//! Attribute certificates (RFC 5755) say whose TPM they are about by issuer and serial number of the
//! EK certificate. The public-key form has no such field here: it is read and never bound.

use const_oid::ObjectIdentifier;

use crate::certificate::{Certificate, serial};
use crate::der::{self, OCTET_STRING, Reader, SEQUENCE, Tlv, constructed};
use crate::error::{X509Error, value};
use crate::extension::{AltName, Extensions, alt_name};
use crate::name::Name;
use crate::nv;
use crate::oids;
use crate::platform_attributes::{self as attributes, Attributes};
use crate::quirk::Quirks;
use crate::signature::{SignatureAlgorithm, SignatureFault, verify_spki};
use crate::time::{Seconds, time};

/// Whose certificate another certificate is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Issuer of the EK certificate.
    pub issuer: Name,
    /// Its serial number, content of the INTEGER.
    pub serial: Vec<u8>,
}

/// What a platform certificate names, empty where it doesn't.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlatformNames {
    /// platformManufacturerStr.
    pub manufacturer: String,
    /// platformModel.
    pub model: String,
    /// platformVersion.
    pub version: String,
    /// platformSerial.
    pub serial: String,
}

/// A platform certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformCertificate {
    signed: Vec<u8>,
    algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    /// Content of its own serial number.
    pub serial: Vec<u8>,
    /// Who signed it, by its own word.
    pub issuer: Name,
    /// The EK certificate it is about; absent in the public-key form.
    pub holder: Option<Holder>,
    /// First second of its validity.
    pub not_before: Seconds,
    /// Last second of its validity.
    pub not_after: Seconds,
    /// The machine.
    pub names: PlatformNames,
    /// Specification and components.
    pub attributes: Attributes,
    /// A critical extension that this crate doesn't know, the targets of RFC 5755 4.3.2 among them.
    pub unknown_critical: Option<ObjectIdentifier>,
    /// What had to be overlooked to read it.
    pub quirks: Quirks,
}

impl PlatformCertificate {
    /// Reads a certificate of either form, with NV padding or without.
    ///
    /// # Errors
    /// [`X509Error`] names the field and its offset.
    pub fn from_nv(bytes: &[u8]) -> Result<Self, X509Error> {
        const FIELD: &str = "platform certificate";
        let mut quirks = Quirks::new();
        let der = nv::trim(bytes, &mut quirks)?;
        der::check_nesting(der)?;
        let mut outer = Reader::new(der, 0);
        let mut whole = outer.expect(SEQUENCE, FIELD)?.reader();
        let info = whole.expect(SEQUENCE, "acinfo")?;
        // A version in [0] opens a public-key certificate, a bare INTEGER an attribute certificate.
        if info.value.first() == Some(&constructed(0)) {
            return Certificate::parse(der).map(|certificate| Self::from_public_key(&certificate, quirks));
        }
        let (algorithm, raw) = SignatureAlgorithm::read(&mut whole, &mut quirks)?;
        let signature = der::octets(whole.next("signatureValue")?, "signatureValue")?.to_vec();
        whole.finish(FIELD)?;
        Self::attribute_certificate(info, algorithm, raw, signature, quirks)
    }

    /// AttributeCertificateInfo (RFC 5755 4.1).
    fn attribute_certificate(
        info: Tlv<'_>,
        algorithm: SignatureAlgorithm,
        raw: &[u8],
        signature: Vec<u8>,
        mut quirks: Quirks,
    ) -> Result<Self, X509Error> {
        let mut reader = info.reader();
        let version = reader.next("version")?;
        if der::small(version, der::INTEGER, "version")? != 1 {
            return Err(value("version", version.offset, "not a version 2 attribute certificate"));
        }
        let holder = Some(holder(&mut reader, &mut quirks)?);
        let issuer = issuer(&mut reader, &mut quirks)?;
        let offset = reader.offset();
        if SignatureAlgorithm::read(&mut reader, &mut quirks)?.1 != raw {
            return Err(value("signature", offset, "differs from the one outside"));
        }
        let serial = serial(&mut reader, &mut quirks)?;
        // RFC 5755 4.2.6: always GeneralizedTime, so that is no quirk here.
        let mut unremarkable = Quirks::new();
        let mut validity = reader.expect(SEQUENCE, "validity")?.reader();
        let not_before = time(validity.next("notBefore")?, "notBefore", &mut unremarkable)?;
        let not_after = time(validity.next("notAfter")?, "notAfter", &mut unremarkable)?;
        validity.finish("validity")?;
        let mut found = Attributes::default();
        attributes::read(&mut reader, &mut found, &mut quirks)?;
        reader.optional(der::BIT_STRING, "issuerUniqueID")?;
        let list = reader.optional(SEQUENCE, "extensions")?;
        let read =
            list.map(|list| extensions(list, &mut found, &mut quirks)).transpose()?.unwrap_or_default();
        reader.finish("acinfo")?;
        let names = names(read.alt_name.as_ref());
        let signed = info.raw.to_vec();
        Ok(Self {
            signed,
            algorithm,
            signature,
            serial,
            issuer,
            holder,
            not_before,
            not_after,
            names,
            attributes: found,
            unknown_critical: read.unknown_critical(),
            quirks,
        })
    }

    fn from_public_key(certificate: &Certificate, mut quirks: Quirks) -> Self {
        quirks.extend(&certificate.quirks);
        let (signed, signature) = certificate.signed_parts();
        Self {
            signed: signed.to_vec(),
            algorithm: certificate.algorithm(),
            signature: signature.to_vec(),
            serial: certificate.serial.clone(),
            issuer: certificate.issuer.clone(),
            holder: None,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            names: names(certificate.extensions.alt_name.as_ref()),
            attributes: Attributes::default(),
            unknown_critical: certificate.extensions.unknown_critical(),
            quirks,
        }
    }

    /// Whether it is about the TPM with this EK certificate.
    ///
    /// Names are compared as text too: platform makers re-encode the TPM maker's.
    #[must_use]
    pub fn is_about(&self, ek: &Certificate) -> bool {
        self.holder
            .as_ref()
            .is_some_and(|holder| holder.serial == ek.serial && holder.issuer.is_same_text(&ek.issuer))
    }

    /// Checks that the holder of this authority's key signed it.
    ///
    /// # Errors
    /// [`SignatureFault`]; [`SignatureFault::KeyMismatch`] when the authority has another name.
    pub fn verify(&self, authority: &Certificate) -> Result<(), SignatureFault> {
        match self.issuer.is_same_text(&authority.subject) {
            true => verify_spki(&authority.key, self.algorithm, &self.signed, &self.signature),
            false => Err(SignatureFault::KeyMismatch),
        }
    }
}

/// Holder with baseCertificateID, the form that the profile asks for (3.1).
fn holder(reader: &mut Reader<'_>, quirks: &mut Quirks) -> Result<Holder, X509Error> {
    const FIELD: &str = "holder";
    let mut choices = reader.expect(SEQUENCE, FIELD)?.reader();
    let mut id = choices.expect(constructed(0), FIELD)?.reader();
    let issuer = one_name(&mut id, FIELD, quirks)?;
    let serial = serial(&mut id, quirks)?;
    id.optional(der::BIT_STRING, FIELD)?;
    id.finish(FIELD)?;
    // entityName and objectDigestInfo may follow and say the same in other words.
    choices.optional(constructed(1), FIELD)?;
    choices.optional(constructed(2), FIELD)?;
    choices.finish(FIELD)?;
    Ok(Holder { issuer, serial })
}

/// AttCertIssuer, v2Form with issuerName.
fn issuer(reader: &mut Reader<'_>, quirks: &mut Quirks) -> Result<Name, X509Error> {
    const FIELD: &str = "issuer";
    let mut form = reader.expect(constructed(0), FIELD)?.reader();
    one_name(&mut form, FIELD, quirks)
}

fn one_name(reader: &mut Reader<'_>, field: &'static str, quirks: &mut Quirks) -> Result<Name, X509Error> {
    let offset = reader.offset();
    let mut names = alt_name(reader, quirks)?.directory.into_iter();
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name),
        _ => Err(value(field, offset, "not one directoryName")),
    }
}

/// All of them, and attributes that older certificates keep here.
fn extensions(list: Tlv<'_>, found: &mut Attributes, quirks: &mut Quirks) -> Result<Extensions, X509Error> {
    let read = Extensions::read(list, quirks)?;
    let mut reader = list.reader();
    while !reader.is_empty() {
        let mut parts = reader.expect(SEQUENCE, "extensions")?.reader();
        let oid = der::oid(parts.next("extensions")?, "extensions")?;
        parts.optional(der::BOOLEAN, "extensions")?;
        if oid == oids::SUBJECT_DIRECTORY {
            let mut content = parts.expect(OCTET_STRING, "extensions")?.reader();
            attributes::read(&mut content, found, quirks)?;
        }
    }
    Ok(read)
}

fn names(alt: Option<&AltName>) -> PlatformNames {
    let directory = alt.map(|alt| alt.directory.as_slice()).unwrap_or_default();
    let [manufacturer, model, version, serial] = std::array::from_fn(|i| {
        let oids = [oids::PLATFORM.get(i), oids::PLATFORM_V1.get(i)].into_iter().flatten();
        let mut values = oids.flat_map(|oid| directory.iter().flat_map(|name| name.values(*oid)));
        values.next().unwrap_or_default().to_owned()
    });
    PlatformNames { manufacturer, model, version, serial }
}
