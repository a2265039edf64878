//! Elements of certificates, byte by byte.

pub const BASIC: &str = "2.5.29.19";
pub const USAGE: &str = "2.5.29.15";

/// One element.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let header = match len {
        0..=0x7f => vec![tag, u8::try_from(len).unwrap()],
        0x80..=0xff => vec![tag, 0x81, u8::try_from(len).unwrap()],
        _ => [&[tag, 0x82][..], &u16::try_from(len).unwrap().to_be_bytes()].concat(),
    };
    [&header, content].concat()
}

pub fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub fn oid(dotted: &str) -> Vec<u8> {
    tlv(6, const_oid::ObjectIdentifier::new_unwrap(dotted).as_bytes())
}

pub fn utf8(text: &str) -> Vec<u8> {
    tlv(0x0c, text.as_bytes())
}

/// A name of these attributes.
pub fn name(attributes: &[(&str, &str)]) -> Vec<u8> {
    let rdns: Vec<_> =
        attributes.iter().map(|(kind, text)| tlv(0x31, &seq(&[&oid(kind), &utf8(text)]))).collect();
    tlv(0x30, &rdns.concat())
}

pub fn common(text: &str) -> Vec<u8> {
    name(&[("2.5.4.3", text)])
}

pub fn extension(kind: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(1, &[0xff]) } else { vec![] };
    seq(&[&oid(kind), &critical, &tlv(4, value)])
}

/// keyUsage with one bit, counted as RFC 5280 does.
pub fn usage(bit: u8) -> Vec<u8> {
    extension(USAGE, true, &tlv(3, &[7 - bit, 0x80 >> bit]))
}

pub fn basic(ca: bool, path_len: Option<u8>) -> Vec<u8> {
    let ca = if ca { tlv(1, &[0xff]) } else { vec![] };
    let path_len = path_len.map(|n| tlv(2, &[n])).unwrap_or_default();
    extension(BASIC, true, &seq(&[&ca, &path_len]))
}
