//! OCSPResponse (RFC 6960 4.2), read and not believed.

use std::ops::Range;

use super::cert_id::{CertId, IssuerNames};
use super::extensions::Extensions;
use super::fault::Refusal;
use super::judge::Revoked;
use crate::certificate::Certificate;
use crate::der::{self, OCTET_STRING, Reader, SEQUENCE, Tlv, constructed, context};
use crate::error::{X509Error, value};
use crate::name::Name;
use crate::oids;
use crate::quirk::Quirks;
use crate::signature::SignatureAlgorithm;
use crate::time::{Seconds, generalized};

const ENUMERATED: u8 = 0x0a;

/// The most statuses and the most certificates in one answer.
const MAX_SINGLES: usize = 32;
const MAX_CERTIFICATES: usize = 8;

/// An answer, or a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspResponse {
    pub(super) der: Vec<u8>,
    pub(super) content: Result<Box<Basic>, Refusal>,
}

/// BasicOCSPResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Basic {
    /// Where tbsResponseData lies in the answer.
    pub(super) signed: Range<usize>,
    pub(super) responder: ResponderId,
    pub(super) produced_at: Seconds,
    pub(super) singles: Vec<Single>,
    pub(super) extensions: Extensions,
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) signature: Vec<u8>,
    pub(super) certificates: Vec<Certificate>,
}

/// Who signed, by his own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResponderId {
    /// DER of his name.
    Name(Vec<u8>),
    /// SHA-1 of his key.
    Key(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertStatus {
    Good,
    Revoked(Revoked),
    Unknown,
}

/// SingleResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Single {
    pub(super) id: CertId,
    pub(super) status: CertStatus,
    pub(super) this_update: Seconds,
    pub(super) next_update: Option<Seconds>,
    pub(super) extensions: Extensions,
}

impl OcspResponse {
    /// The longest answer that is read, in bytes.
    pub const MAX: usize = 32 << 10;

    /// Reads an answer's DER.
    ///
    /// # Errors
    /// [`X509Error`] names the field and its offset.
    pub fn parse(bytes: &[u8]) -> Result<Self, X509Error> {
        const FIELD: &str = "OCSPResponse";
        if bytes.len() > Self::MAX {
            return Err(X509Error::Oversized { field: FIELD, len: bytes.len(), max: Self::MAX });
        }
        der::check_nesting(bytes)?;
        let mut outer = Reader::new(bytes, 0);
        let mut whole = outer.expect(SEQUENCE, FIELD)?.reader();
        outer.finish(FIELD)?;
        let refusal = refusal(whole.next("responseStatus")?)?;
        let content = match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(Box::new(response_bytes(&mut whole)?)),
        };
        whole.finish(FIELD)?;
        Ok(Self { der: bytes.to_vec(), content })
    }

    /// The answer as it came.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Why the responder gave no answer, where it gave none.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.content.as_ref().err().copied()
    }

    /// Whether it speaks of this certificate of this issuer, by its own word: nothing of it is believed by that.
    #[must_use]
    pub fn is_about(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        let names = IssuerNames::of(issuer);
        let basic = self.content.as_ref();
        basic.is_ok_and(|basic| {
            basic.singles.iter().any(|single| single.id.names(&certificate.serial, &names))
        })
    }

    /// The bytes that are signed.
    pub(super) fn signed(&self, basic: &Basic) -> &[u8] {
        self.der.get(basic.signed.clone()).unwrap_or_default()
    }
}

/// OCSPResponseStatus; `None` for successful.
fn refusal(tlv: Tlv<'_>) -> Result<Option<Refusal>, X509Error> {
    match der::small(tlv, ENUMERATED, "responseStatus")? {
        0 => Ok(None),
        1 => Ok(Some(Refusal::MalformedRequest)),
        2 => Ok(Some(Refusal::InternalError)),
        3 => Ok(Some(Refusal::TryLater)),
        5 => Ok(Some(Refusal::SignatureRequired)),
        6 => Ok(Some(Refusal::Unauthorized)),
        _ => Err(value("responseStatus", tlv.offset, "no status of RFC 6960")),
    }
}

fn response_bytes(reader: &mut Reader<'_>) -> Result<Basic, X509Error> {
    const FIELD: &str = "responseBytes";
    let mut tagged = reader.expect(constructed(0), FIELD)?.reader();
    let mut parts = tagged.expect(SEQUENCE, FIELD)?.reader();
    tagged.finish(FIELD)?;
    let kind = parts.next("responseType")?;
    if der::oid(kind, "responseType")? != oids::OCSP_BASIC {
        return Err(value("responseType", kind.offset, "not id-pkix-ocsp-basic"));
    }
    let content = parts.expect(OCTET_STRING, FIELD)?;
    parts.finish(FIELD)?;
    der::check_nesting(content.value)?;
    basic(content.reader())
}

fn basic(mut outer: Reader<'_>) -> Result<Basic, X509Error> {
    const FIELD: &str = "BasicOCSPResponse";
    let mut whole = outer.expect(SEQUENCE, FIELD)?.reader();
    outer.finish(FIELD)?;
    let data = whole.expect(SEQUENCE, "tbsResponseData")?;
    let (algorithm, _) = SignatureAlgorithm::read(&mut whole, &mut Quirks::new())?;
    let signature = der::octets(whole.next("signature")?, "signature")?.to_vec();
    let certificates = certificates(&mut whole)?;
    whole.finish(FIELD)?;
    let mut reader = data.reader();
    // X.690 11.5: version 1 is the DEFAULT, and there is no other.
    if let Some(version) = reader.optional(constructed(0), "version")? {
        return Err(value("version", version.offset, "another version than 1, or 1 written out"));
    }
    let responder = responder_id(&mut reader)?;
    let produced_at = generalized(reader.next("producedAt")?, "producedAt")?;
    let singles = singles(&mut reader)?;
    let extensions = Extensions::read(&mut reader, constructed(1), "responseExtensions")?;
    reader.finish("tbsResponseData")?;
    let signed = data.offset..data.offset + data.raw.len();
    Ok(Basic { signed, responder, produced_at, singles, extensions, algorithm, signature, certificates })
}

fn certificates(reader: &mut Reader<'_>) -> Result<Vec<Certificate>, X509Error> {
    const FIELD: &str = "certs";
    let Some(tagged) = reader.optional(constructed(0), FIELD)? else { return Ok(Vec::new()) };
    let mut outer = tagged.reader();
    let mut list = outer.expect(SEQUENCE, FIELD)?.reader();
    outer.finish(FIELD)?;
    let mut certificates = Vec::new();
    while !list.is_empty() {
        let one = list.next(FIELD)?;
        if certificates.len() == MAX_CERTIFICATES {
            return Err(X509Error::TooMany { field: FIELD, offset: one.offset, max: MAX_CERTIFICATES });
        }
        let certificate = Certificate::parse(one.raw);
        certificates.push(certificate.map_err(|_| value(FIELD, one.offset, "not a certificate"))?);
    }
    Ok(certificates)
}

fn responder_id(reader: &mut Reader<'_>) -> Result<ResponderId, X509Error> {
    const FIELD: &str = "responderID";
    let tagged = reader.next(FIELD)?;
    let mut inner = tagged.reader();
    let id = match tagged.tag {
        0xa1 => ResponderId::Name(Name::read(&mut inner, FIELD, &mut Quirks::new())?.as_bytes().to_vec()),
        0xa2 => ResponderId::Key(inner.expect(OCTET_STRING, FIELD)?.value.to_vec()),
        _ => return Err(value(FIELD, tagged.offset, "neither a name nor a key hash")),
    };
    inner.finish(FIELD)?;
    Ok(id)
}

fn singles(reader: &mut Reader<'_>) -> Result<Vec<Single>, X509Error> {
    const FIELD: &str = "responses";
    let mut list = reader.expect(SEQUENCE, FIELD)?.reader();
    let mut singles = Vec::new();
    while !list.is_empty() {
        if singles.len() == MAX_SINGLES {
            return Err(X509Error::TooMany { field: FIELD, offset: list.offset(), max: MAX_SINGLES });
        }
        let mut parts = list.expect(SEQUENCE, FIELD)?.reader();
        let id = CertId::read(&mut parts)?;
        let status = cert_status(parts.next("certStatus")?)?;
        let this_update = generalized(parts.next("thisUpdate")?, "thisUpdate")?;
        let next_update = explicit_time(&mut parts)?;
        let extensions = Extensions::read(&mut parts, constructed(1), "singleExtensions")?;
        parts.finish(FIELD)?;
        singles.push(Single { id, status, this_update, next_update, extensions });
    }
    Ok(singles)
}

fn explicit_time(reader: &mut Reader<'_>) -> Result<Option<Seconds>, X509Error> {
    const FIELD: &str = "nextUpdate";
    let Some(tagged) = reader.optional(constructed(0), FIELD)? else { return Ok(None) };
    let mut inner = tagged.reader();
    let time = generalized(inner.next(FIELD)?, FIELD)?;
    inner.finish(FIELD)?;
    Ok(Some(time))
}

/// CertStatus; good and unknown are implicit NULLs.
fn cert_status(tlv: Tlv<'_>) -> Result<CertStatus, X509Error> {
    const FIELD: &str = "certStatus";
    match (tlv.tag, tlv.value) {
        (tag, []) if tag == context(0) => Ok(CertStatus::Good),
        (tag, []) if tag == context(2) => Ok(CertStatus::Unknown),
        (tag, _) if tag == constructed(1) => {
            let mut parts = tlv.reader();
            let at = generalized(parts.next("revocationTime")?, "revocationTime")?;
            let reason = reason(&mut parts)?;
            parts.finish(FIELD)?;
            Ok(CertStatus::Revoked(Revoked { at, reason }))
        }
        _ => Err(value(FIELD, tlv.offset, "neither good, revoked nor unknown")),
    }
}

/// CRLReason (RFC 5280 5.3.1); 7 is not used.
fn reason(reader: &mut Reader<'_>) -> Result<Option<u8>, X509Error> {
    const FIELD: &str = "revocationReason";
    let Some(tagged) = reader.optional(constructed(0), FIELD)? else { return Ok(None) };
    let mut inner = tagged.reader();
    let number = inner.next(FIELD)?;
    inner.finish(FIELD)?;
    match u8::try_from(der::small(number, ENUMERATED, FIELD)?) {
        Ok(reason @ (0..=6 | 8..=10)) => Ok(Some(reason)),
        _ => Err(value(FIELD, number.offset, "no reason of RFC 5280")),
    }
}
