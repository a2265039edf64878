//! Extensions of OCSP messages (RFC 6960 4.4): the nonce is read, others may only be there.

use const_oid::ObjectIdentifier;

use crate::der::{self, BOOLEAN, OCTET_STRING, Reader, SEQUENCE, Tlv};
use crate::error::{X509Error, value};
use crate::oids;
use crate::quirk::Quirks;

/// The most extensions of one list.
const MAX: usize = 16;

/// The longest nonce (RFC 9654 2.1).
pub(super) const MAX_NONCE: usize = 128;

/// What one list of extensions says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Extensions {
    pub(super) nonce: Option<Vec<u8>>,
    /// The first critical one that nobody here knows.
    pub(super) unknown_critical: Option<ObjectIdentifier>,
}

impl Extensions {
    /// An optional, explicitly tagged list.
    pub(super) fn read(reader: &mut Reader<'_>, tag: u8, field: &'static str) -> Result<Self, X509Error> {
        let Some(tagged) = reader.optional(tag, field)? else { return Ok(Self::default()) };
        let mut outer = tagged.reader();
        let mut list = outer.expect(SEQUENCE, field)?.reader();
        outer.finish(field)?;
        if list.is_empty() {
            return Err(value(field, tagged.offset, "an empty list"));
        }
        let (mut this, mut seen) = (Self::default(), Vec::new());
        while !list.is_empty() {
            let extension = list.expect(SEQUENCE, field)?;
            let mut parts = extension.reader();
            let oid = der::oid(parts.next(field)?, field)?;
            // Answers are written by machines of authorities: no deviation is known that would need one.
            let mut quirks = Quirks::new();
            let critical = der::default_false(&mut parts, BOOLEAN, field, &mut quirks)?;
            let content = parts.expect(OCTET_STRING, field)?;
            parts.finish(field)?;
            if !quirks.is_empty() {
                return Err(value(field, extension.offset, "a boolean that is not DER"));
            }
            if seen.len() == MAX {
                return Err(X509Error::TooMany { field, offset: extension.offset, max: MAX });
            }
            if seen.contains(&oid) {
                return Err(value(field, extension.offset, "the same extension twice"));
            }
            seen.push(oid);
            match oid {
                oids::OCSP_NONCE => this.nonce = Some(nonce(content)?),
                other if critical => this.unknown_critical = this.unknown_critical.or(Some(other)),
                _ => {}
            }
        }
        Ok(this)
    }
}

/// `Nonce ::= OCTET STRING (SIZE (1..128))` (RFC 9654 2.1).
fn nonce(content: Tlv<'_>) -> Result<Vec<u8>, X509Error> {
    const FIELD: &str = "nonce";
    let mut reader = content.reader();
    let nonce = reader.expect(OCTET_STRING, FIELD)?;
    reader.finish(FIELD)?;
    match nonce.value.len() {
        1..=MAX_NONCE => Ok(nonce.value.to_vec()),
        _ => Err(value(FIELD, nonce.offset, "not 1 to 128 octets")),
    }
}
