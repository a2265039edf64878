//! A cursor over DER (X.690): field and offset in every error, nothing copied, no recursion.

use const_oid::ObjectIdentifier;

use crate::error::{X509Error, value};
use crate::quirk::{Quirk, Quirks};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The deepest nesting that is read; a platform certificate's components need 11.
const MAX_DEPTH: usize = 16;

/// `[n]`, primitive.
pub(crate) const fn context(n: u8) -> u8 {
    0x80 | n
}

/// `[n]`, constructed.
pub(crate) const fn constructed(n: u8) -> u8 {
    0xa0 | n
}

/// One element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tlv<'a> {
    pub(crate) tag: u8,
    /// Its content.
    pub(crate) value: &'a [u8],
    /// Tag, length and content.
    pub(crate) raw: &'a [u8],
    /// Offset of the tag in the outermost input.
    pub(crate) offset: usize,
}

impl<'a> Tlv<'a> {
    /// Offset of the content.
    pub(crate) const fn start(&self) -> usize {
        self.offset + (self.raw.len() - self.value.len())
    }

    /// A cursor over the content.
    pub(crate) const fn reader(&self) -> Reader<'a> {
        Reader { rest: self.value, offset: self.start() }
    }

    pub(crate) fn expect(self, tag: u8, field: &'static str) -> Result<Self, X509Error> {
        match self.tag == tag {
            true => Ok(self),
            false => Err(X509Error::Tag { field, offset: self.offset, expected: tag, seen: self.tag }),
        }
    }
}

/// A cursor over elements.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A cursor over `bytes`, which lie at `offset` of the outermost input.
    pub(crate) const fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { rest: bytes, offset }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn next(&mut self, field: &'static str) -> Result<Tlv<'a>, X509Error> {
        let (tag, header, len) = header(self.rest, field, self.offset)?;
        let truncated = X509Error::Truncated { field, offset: self.offset };
        let (raw, rest) = self.rest.split_at_checked(header + len).ok_or(truncated)?;
        let tlv = Tlv { tag, value: raw.get(header..).unwrap_or_default(), raw, offset: self.offset };
        self.rest = rest;
        self.offset += raw.len();
        Ok(tlv)
    }

    pub(crate) fn expect(&mut self, tag: u8, field: &'static str) -> Result<Tlv<'a>, X509Error> {
        self.next(field)?.expect(tag, field)
    }

    /// The next element when it has this tag.
    pub(crate) fn optional(&mut self, tag: u8, field: &'static str) -> Result<Option<Tlv<'a>>, X509Error> {
        match self.rest.first() == Some(&tag) {
            true => self.next(field).map(Some),
            false => Ok(None),
        }
    }

    /// Ends the sequence; anything left over is refused.
    pub(crate) const fn finish(self, field: &'static str) -> Result<(), X509Error> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(X509Error::Trailing { field, offset: self.offset }),
        }
    }
}

/// Tag, length of the header and of the content; the content may not be there.
pub(crate) fn header(
    bytes: &[u8],
    field: &'static str,
    offset: usize,
) -> Result<(u8, usize, usize), X509Error> {
    let truncated = X509Error::Truncated { field, offset };
    let (tag, first) = match bytes {
        [tag, first, ..] => (*tag, *first),
        _ => return Err(truncated),
    };
    if tag & 0x1f == 0x1f {
        return Err(value(field, offset, "a tag of more than one byte"));
    }
    let count = usize::from(first & 0x7f);
    match first {
        0..=0x7f => Ok((tag, 2, count)),
        0x81..=0x83 => {
            let digits = bytes.get(2..2 + count).ok_or(truncated)?;
            let len = digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
            // X.690 10.1: the fewest octets.
            match len < 0x80 || digits.first() == Some(&0) {
                true => Err(X509Error::Length { field, offset }),
                false => Ok((tag, 2 + count, len)),
            }
        }
        _ => Err(X509Error::Length { field, offset }),
    }
}

/// Walks every element, those that nobody reads included: lengths must fit and nesting is bounded.
pub(crate) fn check_nesting(bytes: &[u8]) -> Result<(), X509Error> {
    // Ends of the constructed elements that are open.
    let mut open = [0_usize; MAX_DEPTH];
    let mut depth = 0_usize;
    let mut offset = 0;
    while offset < bytes.len() {
        while depth > 0 && open.get(depth - 1).is_some_and(|end| *end <= offset) {
            depth -= 1;
        }
        let end = match depth {
            0 => bytes.len(),
            n => open.get(n - 1).copied().unwrap_or_default(),
        };
        let rest = bytes.get(offset..end).unwrap_or_default();
        let (tag, head, len) = header(rest, "element", offset)?;
        if head + len > rest.len() {
            return Err(X509Error::Truncated { field: "element", offset });
        }
        match tag & 0x20 != 0 {
            true => {
                *open.get_mut(depth).ok_or(X509Error::TooDeep { offset })? = offset + head + len;
                depth += 1;
                offset += head;
            }
            false => offset += head + len,
        }
    }
    Ok(())
}

/// INTEGER content in its shortest form (X.690 8.3.2), sign included.
pub(crate) fn integer<'a>(tlv: Tlv<'a>, field: &'static str) -> Result<&'a [u8], X509Error> {
    let bytes = tlv.expect(INTEGER, field)?.value;
    match bytes {
        [] => Err(value(field, tlv.offset, "an empty integer")),
        [0, next, ..] if *next < 0x80 => Err(value(field, tlv.offset, "an integer with a needless zero")),
        [0xff, next, ..] if *next >= 0x80 => Err(value(field, tlv.offset, "an integer with needless ones")),
        _ => Ok(bytes),
    }
}

/// A positive INTEGER's magnitude, without the leading zero.
pub(crate) fn unsigned<'a>(tlv: Tlv<'a>, field: &'static str) -> Result<&'a [u8], X509Error> {
    match integer(tlv, field)? {
        [first, ..] if *first >= 0x80 => Err(value(field, tlv.offset, "negative")),
        [0, rest @ ..] if !rest.is_empty() => Ok(rest),
        bytes => Ok(bytes),
    }
}

pub(crate) fn small(tlv: Tlv<'_>, tag: u8, field: &'static str) -> Result<u32, X509Error> {
    let integer_tlv = Tlv { tag: INTEGER, ..tlv.expect(tag, field)? };
    let bytes = unsigned(integer_tlv, field)?;
    match bytes.len() {
        0..=4 => Ok(bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte))),
        _ => Err(value(field, tlv.offset, "too large")),
    }
}

/// BOOLEAN DEFAULT FALSE: absent is false.
pub(crate) fn default_false(
    reader: &mut Reader<'_>,
    tag: u8,
    field: &'static str,
    quirks: &mut Quirks,
) -> Result<bool, X509Error> {
    let Some(tlv) = reader.optional(tag, field)? else { return Ok(false) };
    match tlv.value {
        [0] => {
            quirks.insert(Quirk::ExplicitDefault);
            Ok(false)
        }
        [0xff] => Ok(true),
        [_] => {
            quirks.insert(Quirk::LooseBoolean);
            Ok(true)
        }
        _ => Err(value(field, tlv.offset, "a boolean of another length than one")),
    }
}

pub(crate) fn oid(tlv: Tlv<'_>, field: &'static str) -> Result<ObjectIdentifier, X509Error> {
    let bytes = tlv.expect(OID, field)?.value;
    ObjectIdentifier::from_bytes(bytes).map_err(|_| value(field, tlv.offset, "not an object identifier"))
}

/// A BIT STRING of whole octets.
pub(crate) fn octets<'a>(tlv: Tlv<'a>, field: &'static str) -> Result<&'a [u8], X509Error> {
    match tlv.expect(BIT_STRING, field)?.value {
        [0, bytes @ ..] => Ok(bytes),
        _ => Err(value(field, tlv.offset, "a bit string that isn't whole octets")),
    }
}

/// The first sixteen named bits of a BIT STRING, bit 0 lowest. Trailing zero bits are no matter.
pub(crate) fn named_bits(tlv: Tlv<'_>, field: &'static str) -> Result<u16, X509Error> {
    let (unused, bytes) = match tlv.expect(BIT_STRING, field)?.value {
        [unused @ 0..=7, bytes @ ..] if bytes.len() <= 2 => (*unused, bytes),
        _ => return Err(value(field, tlv.offset, "not a bit string of at most sixteen bits")),
    };
    let bits =
        bytes.iter().enumerate().fold(0, |bits, (i, byte)| bits | u16::from(byte.reverse_bits()) << (8 * i));
    // X.690 11.2.1: unused bits are zero.
    let used = (bytes.len() * 8).checked_sub(usize::from(unused));
    match used.and_then(|used| 1_u32.checked_shl(u32::try_from(used).ok()?)) {
        Some(limit) if u32::from(bits) < limit => Ok(bits),
        _ => Err(value(field, tlv.offset, "unused bits are set")),
    }
}

/// The text of a character string; empty for any other type. Control characters are left out.
pub(crate) fn text(tlv: &Tlv<'_>) -> String {
    const MAX_CHARS: usize = 256;
    let decoded = match tlv.tag {
        // UTF8String, NumericString, PrintableString, IA5String, VisibleString, and their
        // implicitly tagged forms, of which nobody can tell more.
        0x0c | 0x12 | 0x13 | 0x16 | 0x1a | 0x80..=0x8f => String::from_utf8_lossy(tlv.value).into_owned(),
        // TeletexString, as everyone writes it: Latin-1.
        0x14 => tlv.value.iter().map(|byte| char::from(*byte)).collect(),
        // BMPString.
        0x1e => {
            let units = tlv.value.chunks_exact(2).map(|pair| match pair {
                [high, low] => u16::from_be_bytes([*high, *low]),
                _ => 0,
            });
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => String::new(),
    };
    decoded.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_shortest_and_definite() {
        let ok = |bytes: &[u8]| header(bytes, "x", 0);
        assert_eq!(ok(&[4, 1, 9]), Ok((4, 2, 1)));
        assert_eq!(ok(&[4, 0x81, 0x80]), Ok((4, 3, 128)));
        let bad = Err(X509Error::Length { field: "x", offset: 0 });
        for bytes in
            [&[4, 0x80][..], &[4, 0x81, 0x7f], &[4, 0x82, 0, 0x80], &[4, 0x84, 1, 0, 0, 0], &[4, 0xff]]
        {
            assert_eq!(ok(bytes), bad, "{bytes:?}");
        }
        assert_eq!(ok(&[4, 0x82, 1]), Err(X509Error::Truncated { field: "x", offset: 0 }));
        assert!(ok(&[0x1f, 1, 1]).is_err());
    }

    #[test]
    fn nesting_is_bounded_and_whole() {
        let mut deep = vec![0x30, 0];
        for _ in 1..MAX_DEPTH {
            deep = [vec![0x30, u8::try_from(deep.len()).unwrap()], deep].concat();
        }
        assert_eq!(check_nesting(&deep), Ok(()));
        let deeper = [vec![0x30, u8::try_from(deep.len()).unwrap()], deep].concat();
        assert_eq!(check_nesting(&deeper), Err(X509Error::TooDeep { offset: 32 }));
        assert!(check_nesting(&[0x30, 2, 4, 1]).is_err(), "an element longer than its parent");
        assert!(check_nesting(&[0x30, 2, 0x30, 0x80]).is_err(), "an indefinite length inside");
    }

    #[test]
    fn integers_and_bits_have_one_form() {
        let tlv = |tag, value| Tlv { tag, value, raw: value, offset: 0 };
        assert_eq!(unsigned(tlv(INTEGER, &[0, 0x80]), "n"), Ok(&[0x80][..]));
        for bad in [&[][..], &[0, 1], &[0xff, 0x80], &[0x80]] {
            assert!(unsigned(tlv(INTEGER, bad), "n").is_err(), "{bad:?}");
        }
        assert_eq!(named_bits(tlv(BIT_STRING, &[5, 0x20]), "b"), Ok(1 << 2));
        assert_eq!(named_bits(tlv(BIT_STRING, &[7, 0, 0x80]), "b"), Ok(1 << 8));
        assert!(named_bits(tlv(BIT_STRING, &[5, 0x21]), "b").is_err(), "a set bit that isn't there");
        assert!(named_bits(tlv(BIT_STRING, &[8, 0]), "b").is_err());
        assert_eq!(octets(tlv(BIT_STRING, &[0, 7]), "b"), Ok(&[7][..]));
        assert!(octets(tlv(BIT_STRING, &[1, 6]), "b").is_err());
    }
}
