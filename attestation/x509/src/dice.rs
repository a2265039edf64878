//! What a DICE layer's certificate says of the firmware that holds its key: DiceTcbInfo (TCG DICE
//! Attestation Architecture 1.1, 6.1.1) and its predecessor, the composite device id of RIoT.

use const_oid::ObjectIdentifier;

use crate::certificate::Certificate;
use crate::der::{self, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, constructed, context};
use crate::error::{X509Error, value};
use crate::key::PublicKey;
use crate::oids;
use crate::quirk::Quirks;

/// The most firmware digests of one DiceTcbInfo that are read.
const MAX_FWIDS: usize = 16;

/// A firmware identifier: a digest and its algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fwid {
    /// The hash.
    pub algorithm: ObjectIdentifier,
    /// The digest.
    pub digest: Vec<u8>,
}

impl Fwid {
    /// The digest, when it is SHA-384's.
    #[must_use]
    pub fn sha384(&self) -> Option<[u8; 48]> {
        (self.algorithm == oids::SHA384).then(|| self.digest.as_slice().try_into().ok()).flatten()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, X509Error> {
        const FIELD: &str = "fwid";
        let mut parts = reader.expect(SEQUENCE, FIELD)?.reader();
        let algorithm = der::oid(parts.expect(OID, FIELD)?, FIELD)?;
        let digest = parts.expect(OCTET_STRING, FIELD)?.value.to_vec();
        parts.finish(FIELD)?;
        Ok(Self { algorithm, digest })
    }
}

/// The firmware digests of a certificate, the first layer's first; empty when it names none.
///
/// # Errors
/// [`X509Error`] for an extension of another form, for one without a digest, and for a certificate
/// with both extensions. Offsets count from the extension's value.
pub fn fwids(certificate: &Certificate) -> Result<Vec<Fwid>, X509Error> {
    let extensions = &certificate.extensions;
    match (extensions.unread(oids::COMPOSITE_DEVICE_ID), extensions.unread(oids::DICE_TCB_INFO)) {
        (None, None) => Ok(Vec::new()),
        (Some(id), None) => composite_device_id(id).map(|fwid| vec![fwid]),
        (None, Some(info)) => tcb_info(info),
        (Some(_), Some(_)) => Err(value("DiceTcbInfo", 0, "beside a composite device id")),
    }
}

/// `SEQUENCE { version INTEGER, deviceID SubjectPublicKeyInfo, fwid FWID }`.
fn composite_device_id(bytes: &[u8]) -> Result<Fwid, X509Error> {
    const FIELD: &str = "compositeDeviceID";
    let mut outer = Reader::new(bytes, 0);
    let mut parts = outer.expect(SEQUENCE, FIELD)?.reader();
    outer.finish(FIELD)?;
    der::small(parts.next(FIELD)?, INTEGER, FIELD)?;
    PublicKey::read(&mut parts, &mut Quirks::new())?;
    let fwid = Fwid::read(&mut parts)?;
    parts.finish(FIELD)?;
    Ok(fwid)
}

/// `SEQUENCE` of optional members, implicitly tagged in order.
fn tcb_info(bytes: &[u8]) -> Result<Vec<Fwid>, X509Error> {
    const FIELD: &str = "DiceTcbInfo";
    let mut outer = Reader::new(bytes, 0);
    let mut parts = outer.expect(SEQUENCE, FIELD)?.reader();
    outer.finish(FIELD)?;
    // vendor, model, version.
    for tag in 0..3 {
        parts.optional(context(tag), FIELD)?;
    }
    // svn, layer, index.
    for tag in 3..6 {
        if let Some(number) = parts.optional(context(tag), FIELD)? {
            der::small(number, context(tag), FIELD)?;
        }
    }
    let mut fwids = Vec::new();
    if let Some(list) = parts.optional(constructed(6), FIELD)? {
        let mut list = list.reader();
        while !list.is_empty() {
            if fwids.len() == MAX_FWIDS {
                return Err(X509Error::TooMany { field: "fwids", offset: list.offset(), max: MAX_FWIDS });
            }
            fwids.push(Fwid::read(&mut list)?);
        }
    }
    // flags, vendorInfo, type, flagsMask.
    for tag in 7..11 {
        parts.optional(context(tag), FIELD)?;
    }
    // integrityRegisters.
    parts.optional(constructed(11), FIELD)?;
    let end = parts.offset();
    parts.finish(FIELD)?;
    if fwids.is_empty() { Err(value("fwids", end, "no firmware digest")) } else { Ok(fwids) }
}
