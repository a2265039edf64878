//! Attributes of platform certificates (Platform Certificate Profile 1.1, 3.1): components and properties.

use crate::der::{self, OCTET_STRING, Reader, SEQUENCE, SET, Tlv, constructed, context};
use crate::error::X509Error;
use crate::oids;
use crate::quirk::Quirks;

/// The most attributes, components or properties.
const MAX: usize = 256;

/// One component of a platform (3.1.6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Component {
    /// componentManufacturer.
    pub manufacturer: String,
    /// componentModel.
    pub model: String,
    /// componentSerial; empty when absent.
    pub serial: String,
    /// componentRevision; empty when absent.
    pub revision: String,
    /// Whether it can be replaced in the field.
    pub replaceable: bool,
}

/// What the attributes say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// TCG platform specification: major, minor and revision.
    pub specification: Option<[u32; 3]>,
    /// Components, in order.
    pub components: Vec<Component>,
    /// Names and values, in order.
    pub properties: Vec<(String, String)>,
}

/// SEQUENCE OF Attribute; unknown ones are skipped.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    found: &mut Attributes,
    quirks: &mut Quirks,
) -> Result<(), X509Error> {
    const FIELD: &str = "attributes";
    let mut list = reader.expect(SEQUENCE, FIELD)?.reader();
    let mut seen = 0;
    while !list.is_empty() {
        let attribute = list.expect(SEQUENCE, FIELD)?;
        limit(seen, FIELD, attribute.offset)?;
        seen += 1;
        let mut parts = attribute.reader();
        let oid = der::oid(parts.next(FIELD)?, FIELD)?;
        let mut values = parts.expect(SET, FIELD)?.reader();
        parts.finish(FIELD)?;
        match oid {
            oids::PLATFORM_SPECIFICATION => found.specification = Some(specification(&mut values)?),
            oids::PLATFORM_CONFIGURATION_V1 | oids::PLATFORM_CONFIGURATION_V2 => {
                configuration(values.expect(SEQUENCE, FIELD)?, found, quirks)?;
            }
            _ => {}
        }
    }
    Ok(())
}

const fn limit(seen: usize, field: &'static str, offset: usize) -> Result<(), X509Error> {
    match seen < MAX {
        true => Ok(()),
        false => Err(X509Error::TooMany { field, offset, max: MAX }),
    }
}

fn specification(values: &mut Reader<'_>) -> Result<[u32; 3], X509Error> {
    const FIELD: &str = "tCGPlatformSpecification";
    let mut outer = values.expect(SEQUENCE, FIELD)?.reader();
    let mut version = outer.expect(SEQUENCE, FIELD)?.reader();
    let mut number = || der::small(version.next(FIELD)?, der::INTEGER, FIELD);
    Ok([number()?, number()?, number()?])
}

/// PlatformConfiguration: components, their URI, properties and their URI, each optional.
fn configuration(tlv: Tlv<'_>, found: &mut Attributes, quirks: &mut Quirks) -> Result<(), X509Error> {
    const FIELD: &str = "platformConfiguration";
    let mut parts = tlv.reader();
    while !parts.is_empty() {
        let part = parts.next(FIELD)?;
        let mut list = part.reader();
        match part.tag {
            tag if tag == constructed(0) => {
                while !list.is_empty() {
                    let one = list.expect(SEQUENCE, FIELD)?;
                    limit(found.components.len(), FIELD, one.offset)?;
                    found.components.push(component(one, quirks)?);
                }
            }
            // Properties in version 1, a URI in version 2, where properties are [2].
            tag if tag == constructed(1) || tag == constructed(2) => {
                while !list.is_empty() {
                    let one = list.next(FIELD)?;
                    limit(found.properties.len(), FIELD, one.offset)?;
                    if one.tag == SEQUENCE {
                        let mut pair = one.reader();
                        let name = der::text(&pair.next(FIELD)?);
                        found.properties.push((name, der::text(&pair.next(FIELD)?)));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// ComponentIdentifier: class, manufacturer, model, then optional fields by tag.
fn component(tlv: Tlv<'_>, quirks: &mut Quirks) -> Result<Component, X509Error> {
    const FIELD: &str = "componentIdentifier";
    let mut parts = tlv.reader();
    // componentClass: four octets in version 1, registry and octets in version 2.
    if parts.optional(OCTET_STRING, FIELD)?.is_none() {
        parts.optional(SEQUENCE, FIELD)?;
    }
    let manufacturer = der::text(&parts.next(FIELD)?);
    let model = der::text(&parts.next(FIELD)?);
    let mut optional = |n| -> Result<String, X509Error> {
        Ok(parts.optional(context(n), FIELD)?.map(|tlv| der::text(&tlv)).unwrap_or_default())
    };
    let (serial, revision) = (optional(0)?, optional(1)?);
    parts.optional(context(2), FIELD)?;
    let replaceable = der::default_false(&mut parts, context(3), FIELD, quirks)?;
    // Addresses, certificates and status: not read.
    Ok(Component { manufacturer, model, serial, revision, replaceable })
}
