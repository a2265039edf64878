//! Distinguished names (RFC 5280 4.1.2.4): compared as bytes, shown as text.

use std::fmt;

use const_oid::ObjectIdentifier;

use crate::der::{self, Reader, SEQUENCE, SET};
use crate::error::X509Error;
use crate::oids;
use crate::quirk::{Quirk, Quirks};

/// The most attributes of one name; real ones have up to eight.
const MAX_ATTRIBUTES: usize = 32;

/// A distinguished name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Name {
    raw: Vec<u8>,
    attributes: Vec<(ObjectIdentifier, String)>,
}

impl Name {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        field: &'static str,
        quirks: &mut Quirks,
    ) -> Result<Self, X509Error> {
        let sequence = reader.expect(SEQUENCE, field)?;
        let mut attributes = Vec::new();
        let mut sets = sequence.reader();
        while !sets.is_empty() {
            let mut members = sets.expect(SET, field)?.reader();
            let mut previous: &[u8] = &[];
            while !members.is_empty() {
                let member = members.expect(SEQUENCE, field)?;
                if attributes.len() == MAX_ATTRIBUTES {
                    return Err(X509Error::TooMany { field, offset: member.offset, max: MAX_ATTRIBUTES });
                }
                if member.raw < previous {
                    quirks.insert(Quirk::UnsortedSet);
                }
                previous = member.raw;
                let mut parts = member.reader();
                let oid = der::oid(parts.next(field)?, field)?;
                let text = der::text(&parts.next(field)?);
                parts.finish(field)?;
                attributes.push((oid, text));
            }
        }
        Ok(Self { raw: sequence.raw.to_vec(), attributes })
    }

    /// The DER that it was read from; two names are the same when these bytes are.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// Whether it has no attribute.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// Types and texts in order; the text is empty where the value is no character string.
    #[must_use]
    pub fn attributes(&self) -> &[(ObjectIdentifier, String)] {
        &self.attributes
    }

    /// Whether both say the same, however their strings are encoded. A name with an attribute that is
    /// no text, or with none, is like no other.
    #[must_use]
    pub fn is_same_text(&self, other: &Self) -> bool {
        let all_text = self.attributes.iter().all(|(_, text)| !text.is_empty());
        !self.is_empty() && all_text && self.attributes == other.attributes
    }

    /// Its serialNumber, when it has exactly one.
    #[must_use]
    pub fn serial_number(&self) -> Option<&str> {
        self.only(oids::SERIAL_NUMBER)
    }

    /// Its commonName, when it has exactly one.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.only(oids::COMMON_NAME)
    }

    fn only(&self, oid: ObjectIdentifier) -> Option<&str> {
        let mut values = self.values(oid);
        values.next().filter(|_| values.next().is_none())
    }

    /// Texts of one type, in order.
    pub(crate) fn values(&self, oid: ObjectIdentifier) -> impl Iterator<Item = &str> {
        self.attributes.iter().filter(move |(seen, _)| *seen == oid).map(|(_, text)| text.as_str())
    }
}

/// For people: `CN=..., O=...`, in the order of the certificate.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (oid, text)) in self.attributes.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            // RFC 4519.
            match oid.as_bytes() {
                [0x55, 0x04, 3] => write!(f, "{separator}CN={text}")?,
                [0x55, 0x04, 6] => write!(f, "{separator}C={text}")?,
                [0x55, 0x04, 7] => write!(f, "{separator}L={text}")?,
                [0x55, 0x04, 8] => write!(f, "{separator}ST={text}")?,
                [0x55, 0x04, 10] => write!(f, "{separator}O={text}")?,
                [0x55, 0x04, 11] => write!(f, "{separator}OU={text}")?,
                _ => write!(f, "{separator}{oid}={text}")?,
            }
        }
        Ok(())
    }
}
