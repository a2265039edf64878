//! Extensions (RFC 5280 4.2): the ones that are judged are read, the others are kept by name.

use const_oid::ObjectIdentifier;

use crate::der::{self, BOOLEAN, INTEGER, OCTET_STRING, Reader, SEQUENCE, SET, Tlv, constructed, context};
use crate::error::{X509Error, value};
use crate::name::Name;
use crate::oids;
use crate::quirk::{Quirk, Quirks};

/// The most extensions, and the most values of one of them.
const MAX: usize = 32;

/// BasicConstraints (4.2.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether the subject is an authority.
    pub ca: bool,
    /// How many intermediates may follow below it.
    pub path_len: Option<u32>,
}

/// KeyUsage (4.2.1.3), bit 0 lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage(pub u16);

impl KeyUsage {
    /// `digitalSignature`.
    pub const DIGITAL_SIGNATURE: Self = Self(1);
    /// `keyEncipherment`.
    pub const KEY_ENCIPHERMENT: Self = Self(1 << 2);
    /// `keyAgreement`.
    pub const KEY_AGREEMENT: Self = Self(1 << 4);
    /// `keyCertSign`.
    pub const KEY_CERT_SIGN: Self = Self(1 << 5);

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// An otherName of a subjectAltName (4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherName {
    /// Its type.
    pub kind: ObjectIdentifier,
    /// DER of its value.
    pub value: Vec<u8>,
}

/// SubjectAltName (4.2.1.6), as far as the TCG's profiles use it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AltName {
    /// Whether the extension is critical.
    pub critical: bool,
    /// The directoryNames.
    pub directory: Vec<Name>,
    /// The otherNames.
    pub other: Vec<OtherName>,
}

/// tPMSpecification (EK profile 2.5, 3.1.3): what the TPM was built to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmSpecification {
    /// `2.0`.
    pub family: String,
    /// Level.
    pub level: u32,
    /// Revision, such as 138 for 1.38.
    pub revision: u32,
}

/// What a certificate's extensions say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensions {
    /// All types in order, and whether each is critical.
    pub types: Vec<(ObjectIdentifier, bool)>,
    /// BasicConstraints.
    pub basic_constraints: Option<BasicConstraints>,
    /// KeyUsage.
    pub key_usage: Option<KeyUsage>,
    /// ExtendedKeyUsage; `None` when absent.
    pub purposes: Option<Vec<ObjectIdentifier>>,
    /// SubjectAltName.
    pub alt_name: Option<AltName>,
    /// SubjectKeyIdentifier.
    pub subject_key_id: Option<Vec<u8>>,
    /// keyIdentifier of AuthorityKeyIdentifier.
    pub authority_key_id: Option<Vec<u8>>,
    /// Policies of CertificatePolicies.
    pub policies: Vec<ObjectIdentifier>,
    /// tPMSpecification of SubjectDirectoryAttributes.
    pub specification: Option<TpmSpecification>,
    /// Where the certificate says that its issuer's certificate lies: an outside string.
    pub issuer_urls: Vec<String>,
    /// Where the certificate says that its OCSP responder is: an outside string.
    pub ocsp_urls: Vec<String>,
    /// Types and values of those that are none of the above.
    unread: Vec<(ObjectIdentifier, Vec<u8>)>,
}

impl Extensions {
    /// `Extensions`, the SEQUENCE OF.
    pub(crate) fn read(list: Tlv<'_>, quirks: &mut Quirks) -> Result<Self, X509Error> {
        const FIELD: &str = "extensions";
        let mut this = Self::default();
        let mut reader = list.expect(SEQUENCE, FIELD)?.reader();
        while !reader.is_empty() {
            let extension = reader.expect(SEQUENCE, FIELD)?;
            let mut parts = extension.reader();
            let oid = der::oid(parts.next(FIELD)?, FIELD)?;
            let critical = der::default_false(&mut parts, BOOLEAN, FIELD, quirks)?;
            let content = parts.expect(OCTET_STRING, FIELD)?;
            parts.finish(FIELD)?;
            if this.types.len() == MAX {
                return Err(X509Error::TooMany { field: FIELD, offset: extension.offset, max: MAX });
            }
            if this.has(oid) {
                return Err(value(FIELD, extension.offset, "the same extension twice"));
            }
            this.types.push((oid, critical));
            this.read_one(oid, critical, content, quirks)?;
        }
        Ok(this)
    }

    /// Whether an extension of this type is there.
    #[must_use]
    pub fn has(&self, oid: ObjectIdentifier) -> bool {
        self.types.iter().any(|(seen, _)| *seen == oid)
    }

    /// The value of an extension that is kept as bytes, its OCTET STRING unwrapped.
    #[must_use]
    pub fn unread(&self, oid: ObjectIdentifier) -> Option<&[u8]> {
        self.unread.iter().find(|(seen, _)| *seen == oid).map(|(_, value)| value.as_slice())
    }

    /// The types that are critical.
    pub fn critical(&self) -> impl Iterator<Item = ObjectIdentifier> {
        self.types.iter().filter(|(_, critical)| *critical).map(|(oid, _)| *oid)
    }

    /// A critical extension that this crate doesn't know (4.2: refuse the certificate).
    #[must_use]
    pub fn unknown_critical(&self) -> Option<ObjectIdentifier> {
        // Policies are read, and no judgement here depends on them.
        const KNOWN: [ObjectIdentifier; 6] = [
            oids::KEY_USAGE,
            oids::SUBJECT_ALT_NAME,
            oids::BASIC_CONSTRAINTS,
            oids::CERTIFICATE_POLICIES,
            oids::EXT_KEY_USAGE,
            oids::SUBJECT_DIRECTORY,
        ];
        self.types.iter().find(|(oid, critical)| *critical && !KNOWN.contains(oid)).map(|(oid, _)| *oid)
    }

    fn read_one(
        &mut self,
        oid: ObjectIdentifier,
        critical: bool,
        value: Tlv<'_>,
        quirks: &mut Quirks,
    ) -> Result<(), X509Error> {
        let mut content = value.reader();
        let reader = &mut content;
        match oid {
            oids::BASIC_CONSTRAINTS => self.basic_constraints = Some(basic_constraints(reader, quirks)?),
            oids::KEY_USAGE => {
                self.key_usage = Some(KeyUsage(der::named_bits(reader.next("keyUsage")?, "keyUsage")?));
            }
            oids::EXT_KEY_USAGE => self.purposes = Some(identifiers(reader, "extKeyUsage")?),
            oids::SUBJECT_ALT_NAME => self.alt_name = Some(AltName { critical, ..alt_name(reader, quirks)? }),
            oids::SUBJECT_KEY_ID => {
                const FIELD: &str = "subjectKeyIdentifier";
                self.subject_key_id = Some(reader.expect(OCTET_STRING, FIELD)?.value.to_vec());
            }
            oids::AUTHORITY_KEY_ID => {
                const FIELD: &str = "authorityKeyIdentifier";
                let mut parts = reader.expect(SEQUENCE, FIELD)?.reader();
                self.authority_key_id = parts.optional(context(0), FIELD)?.map(|id| id.value.to_vec());
            }
            oids::CERTIFICATE_POLICIES => self.policies = policies(reader)?,
            oids::SUBJECT_DIRECTORY => self.specification = specification(reader)?,
            oids::AUTHORITY_INFO => (self.issuer_urls, self.ocsp_urls) = access_urls(reader)?,
            _ => {
                self.unread.push((oid, value.value.to_vec()));
                return Ok(());
            }
        }
        content.finish("extnValue")
    }
}

fn basic_constraints(reader: &mut Reader<'_>, quirks: &mut Quirks) -> Result<BasicConstraints, X509Error> {
    const FIELD: &str = "basicConstraints";
    let mut parts = reader.expect(SEQUENCE, FIELD)?.reader();
    let ca = der::default_false(&mut parts, BOOLEAN, FIELD, quirks)?;
    let path_len = parts.optional(INTEGER, FIELD)?.map(|tlv| der::small(tlv, INTEGER, FIELD)).transpose()?;
    parts.finish(FIELD)?;
    Ok(BasicConstraints { ca, path_len })
}

fn identifiers(reader: &mut Reader<'_>, field: &'static str) -> Result<Vec<ObjectIdentifier>, X509Error> {
    let mut list = reader.expect(SEQUENCE, field)?.reader();
    let mut oids = Vec::new();
    while !list.is_empty() {
        let tlv = list.next(field)?;
        limit(oids.len(), field, tlv.offset)?;
        oids.push(der::oid(tlv, field)?);
    }
    Ok(oids)
}

const fn limit(seen: usize, field: &'static str, offset: usize) -> Result<(), X509Error> {
    match seen < MAX {
        true => Ok(()),
        false => Err(X509Error::TooMany { field, offset, max: MAX }),
    }
}

/// GeneralNames; some platform certificates have a bare Name instead of a directoryName.
pub(crate) fn alt_name(reader: &mut Reader<'_>, quirks: &mut Quirks) -> Result<AltName, X509Error> {
    const FIELD: &str = "subjectAltName";
    let mut alt = AltName::default();
    let mut whole = reader.clone();
    let list = reader.expect(SEQUENCE, FIELD)?;
    if list.value.first() == Some(&SET) {
        quirks.insert(Quirk::BareName);
        alt.directory.push(Name::read(&mut whole, FIELD, quirks)?);
        return Ok(alt);
    }
    let mut names = list.reader();
    let mut seen = 0;
    while !names.is_empty() {
        let name = names.next(FIELD)?;
        limit(seen, FIELD, name.offset)?;
        seen += 1;
        let mut inner = name.reader();
        match name.tag {
            0xa0 => {
                let kind = der::oid(inner.next(FIELD)?, FIELD)?;
                let content = inner.expect(constructed(0), FIELD)?;
                inner.finish(FIELD)?;
                alt.other.push(OtherName { kind, value: content.value.to_vec() });
            }
            0xa4 => {
                alt.directory.push(Name::read(&mut inner, FIELD, quirks)?);
                inner.finish(FIELD)?;
            }
            // rfc822Name to registeredID: of no use here.
            0x81 | 0x82 | 0xa3 | 0xa5 | 0x86 | 0x87 | 0x88 => {}
            _ => return Err(value(FIELD, name.offset, "no general name")),
        }
    }
    Ok(alt)
}

fn policies(reader: &mut Reader<'_>) -> Result<Vec<ObjectIdentifier>, X509Error> {
    const FIELD: &str = "certificatePolicies";
    let mut list = reader.expect(SEQUENCE, FIELD)?.reader();
    let mut oids = Vec::new();
    while !list.is_empty() {
        let policy = list.expect(SEQUENCE, FIELD)?;
        limit(oids.len(), FIELD, policy.offset)?;
        oids.push(der::oid(policy.reader().next(FIELD)?, FIELD)?);
    }
    Ok(oids)
}

fn specification(reader: &mut Reader<'_>) -> Result<Option<TpmSpecification>, X509Error> {
    const FIELD: &str = "subjectDirectoryAttributes";
    let mut list = reader.expect(SEQUENCE, FIELD)?.reader();
    let mut found = None;
    let mut seen = 0;
    while !list.is_empty() {
        let attribute = list.expect(SEQUENCE, FIELD)?;
        limit(seen, FIELD, attribute.offset)?;
        seen += 1;
        let mut parts = attribute.reader();
        let oid = der::oid(parts.next(FIELD)?, FIELD)?;
        let values = parts.expect(SET, FIELD)?;
        parts.finish(FIELD)?;
        if oid == oids::TPM_SPECIFICATION {
            let mut parts = values.reader().expect(SEQUENCE, FIELD)?.reader();
            found = Some(TpmSpecification {
                family: der::text(&parts.next(FIELD)?),
                level: der::small(parts.next(FIELD)?, INTEGER, FIELD)?,
                revision: der::small(parts.next(FIELD)?, INTEGER, FIELD)?,
            });
        }
    }
    Ok(found)
}

/// AuthorityInfoAccess (4.2.2.1): URLs of the issuer's certificate, and of its OCSP responder.
fn access_urls(reader: &mut Reader<'_>) -> Result<(Vec<String>, Vec<String>), X509Error> {
    const FIELD: &str = "authorityInfoAccess";
    let mut list = reader.expect(SEQUENCE, FIELD)?.reader();
    let mut urls = (Vec::new(), Vec::new());
    let mut seen = 0;
    while !list.is_empty() {
        let access = list.expect(SEQUENCE, FIELD)?;
        limit(seen, FIELD, access.offset)?;
        seen += 1;
        let mut parts = access.reader();
        let method = der::oid(parts.next(FIELD)?, FIELD)?;
        let location = parts.next(FIELD)?;
        parts.finish(FIELD)?;
        if location.tag != context(6) {
            continue;
        }
        match method {
            oids::CA_ISSUERS => urls.0.push(der::text(&location)),
            oids::OCSP => urls.1.push(der::text(&location)),
            _ => {}
        }
    }
    Ok(urls)
}
