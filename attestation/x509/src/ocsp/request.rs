//! OCSPRequest (RFC 6960 4.1): one certificate, unsigned, with a nonce where one is wanted.

use super::cert_id::{CertId, CertIdHash};
use super::extensions::{Extensions, MAX_NONCE};
use crate::certificate::Certificate;
use crate::der::{OCTET_STRING, OID, Reader, SEQUENCE, constructed};
use crate::error::{X509Error, value};
use crate::oids;

/// The longest request that is read.
const MAX: usize = 4 << 10;

/// A request about `certificate`, which `issuer` issued: DER, to be sent by POST as
/// `application/ocsp-request` (RFC 6960 A.1). 32 random bytes are the nonce to send (RFC 9654 2.1); they come
/// from the caller.
///
/// # Errors
/// [`X509Error::Value`]: the nonce has not 1 to 128 octets, or the issuer's name is another one.
pub fn request(
    hash: CertIdHash,
    certificate: &Certificate,
    issuer: &Certificate,
    nonce: Option<&[u8]>,
) -> Result<Vec<u8>, X509Error> {
    if certificate.issuer.as_bytes() != issuer.subject.as_bytes() {
        return Err(value("issuer", 0, "not the issuer's name"));
    }
    if nonce.is_some_and(|nonce| nonce.is_empty() || nonce.len() > MAX_NONCE) {
        return Err(value("nonce", 0, "not 1 to 128 octets"));
    }
    let list = sequence(&[&sequence(&[&CertId::encode(hash, certificate, issuer)])]);
    let extensions = nonce.map(nonce_extension).unwrap_or_default();
    Ok(sequence(&[&sequence(&[&list, &extensions])]))
}

fn nonce_extension(nonce: &[u8]) -> Vec<u8> {
    let extension = sequence(&[&element(OID, oids::OCSP_NONCE.as_bytes()), &octets(&octets(nonce))]);
    element(constructed(2), &sequence(&[&extension]))
}

/// The nonce of a request of the form that [`request`] writes.
///
/// # Errors
/// [`X509Error`] names field and offset.
pub fn nonce(der: &[u8]) -> Result<Option<Vec<u8>>, X509Error> {
    const FIELD: &str = "OCSPRequest";
    if der.len() > MAX {
        return Err(X509Error::Oversized { field: FIELD, len: der.len(), max: MAX });
    }
    let mut outer = Reader::new(der, 0);
    let mut whole = outer.expect(SEQUENCE, FIELD)?.reader();
    outer.finish(FIELD)?;
    let mut tbs = whole.expect(SEQUENCE, "tbsRequest")?.reader();
    whole.finish(FIELD)?;
    let mut list = tbs.expect(SEQUENCE, "requestList")?.reader();
    let mut one = list.expect(SEQUENCE, "request")?.reader();
    CertId::read(&mut one)?;
    one.finish("request")?;
    list.finish("requestList")?;
    let extensions = Extensions::read(&mut tbs, constructed(2), "requestExtensions")?;
    tbs.finish("tbsRequest")?;
    Ok(extensions.nonce)
}

/// One element of DER. What is written here is shorter than 64 KiB by far.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let head = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, content].concat()
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

pub(super) fn octets(content: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, content)
}
