//! Deterministic CBOR, both ways.
//!
//! Types describe themselves with `minicbor`'s derive: maps with integer keys,
//! absent instead of null. What the derive leaves open is closed here: a generic
//! pass checks the encoding rules of RFC 8949 4.2.1, and after decoding the value
//! is encoded again and compared, so that unknown keys and second spellings of
//! the same value are refused with the offset at which they begin.

use minicbor::{Decode, Encode};

use crate::error::{CborFault, Result, WireError};
use crate::limits;

/// The deterministic encoding of a value.
pub fn to_vec<T: Encode<()>>(value: &T) -> Vec<u8> {
    // Writing into a Vec cannot fail, and no `Encode` of ours returns an error of its own.
    minicbor::to_vec(value).unwrap_or_default()
}

/// Decodes exactly one value from exactly these bytes.
///
/// # Errors
/// [`WireError`] names `what`, the rule and the offset.
pub fn from_slice<'b, T>(what: &'static str, bytes: &'b [u8], limit: usize) -> Result<T>
where
    T: Decode<'b, ()> + Encode<()>,
{
    if bytes.len() > limit {
        return Err(WireError::TooLong { what, len: bytes.len(), limit });
    }
    // A byte of input may become a decoded value of many; what is too short for too many items is not counted.
    let items = limits::ITEMS.max(limit / limits::BYTES_PER_ITEM);
    if bytes.len() > items {
        check_items(bytes, items).map_err(|(fault, offset)| WireError::Cbor { what, fault, offset })?;
    }
    // What decodes and encodes to the same bytes is their one encoding. The slower walk that names
    // the broken rule is for the others.
    let decoded = minicbor::decode::<T>(bytes);
    let offset = match &decoded {
        Ok(value) => match to_vec(value) {
            again if again == bytes => return decoded.map_err(|e| shape(what, &e)),
            again => again.iter().zip(bytes).take_while(|(a, b)| a == b).count(),
        },
        Err(_) => 0,
    };
    check(bytes).map_err(|(fault, offset)| WireError::Cbor { what, fault, offset })?;
    match decoded {
        Ok(_) => Err(WireError::Unknown { what, offset }),
        Err(error) => Err(shape(what, &error)),
    }
}

fn shape(what: &'static str, error: &minicbor::decode::Error) -> WireError {
    WireError::Shape { what, detail: error.to_string(), offset: error.position().unwrap_or_default() }
}

/// Checks that `bytes` are one deterministic CBOR item of the kinds that Assay uses, of at most
/// [`limits::ITEMS`] items, itself counted.
///
/// # Errors
/// The broken rule and the offset of the item that breaks it.
pub fn check(bytes: &[u8]) -> std::result::Result<(), (CborFault, usize)> {
    check_items(bytes, limits::ITEMS)
}

fn check_items(bytes: &[u8], items: usize) -> std::result::Result<(), (CborFault, usize)> {
    match (Walk { bytes, items }).item(0, 0)? {
        end if end == bytes.len() => Ok(()),
        end => Err((CborFault::Trailing, end)),
    }
}

type Step = std::result::Result<usize, (CborFault, usize)>;

/// A way through the items of an input.
struct Walk<'a> {
    bytes: &'a [u8],
    /// How many items may still begin.
    items: usize,
}

impl Walk<'_> {
    /// Checks the item at `at` and returns the offset after it.
    fn item(&mut self, at: usize, depth: usize) -> Step {
        if depth > limits::DEPTH {
            return Err((CborFault::Depth, at));
        }
        self.items = self.items.checked_sub(1).ok_or((CborFault::Items, at))?;
        let bytes = self.bytes;
        let initial = *bytes.get(at).ok_or((CborFault::Truncated, at))?;
        let (major, short) = (initial >> 5, initial & 0x1f);
        if major == 7 {
            return if matches!(short, 20 | 21) { Ok(at + 1) } else { Err((CborFault::Simple, at)) };
        }
        let (argument, next) = argument(bytes, at, short)?;
        match major {
            0 | 1 => Ok(next),
            2 => skip(bytes, at, next, argument).map(|(_, end)| end),
            3 => text(bytes, at, next, argument),
            4 => self.array(next, argument, depth),
            5 => self.map(next, argument, depth),
            _ => Err((CborFault::Tag, at)),
        }
    }

    fn array(&mut self, mut at: usize, len: u64, depth: usize) -> Step {
        for _ in 0..len {
            at = self.item(at, depth + 1)?;
        }
        Ok(at)
    }

    fn map(&mut self, mut at: usize, len: u64, depth: usize) -> Step {
        let mut last: Option<&[u8]> = None;
        for _ in 0..len {
            let start = at;
            at = self.item(start, depth + 1)?;
            let key = self.bytes.get(start..at).unwrap_or_default();
            if last.is_some_and(|last| last >= key) {
                return Err((CborFault::KeyOrder, start));
            }
            last = Some(key);
            at = self.item(at, depth + 1)?;
        }
        Ok(at)
    }
}

/// The argument of the item at `at` (RFC 8949 3), in its shortest form only.
fn argument(bytes: &[u8], at: usize, short: u8) -> std::result::Result<(u64, usize), (CborFault, usize)> {
    let (width, smallest) = match short {
        0..=23 => return Ok((u64::from(short), at + 1)),
        24 => (1, 24),
        25 => (2, 1 << 8),
        26 => (4, 1 << 16),
        27 => (8, 1 << 32),
        31 => return Err((CborFault::Indefinite, at)),
        _ => return Err((CborFault::Simple, at)),
    };
    let raw = bytes.get(at + 1..at + 1 + width).ok_or((CborFault::Truncated, at))?;
    let value = raw.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    if value < smallest {
        return Err((CborFault::NotShortest, at));
    }
    Ok((value, at + 1 + width))
}

/// The content of a string of `len` bytes that starts at `from`, and the offset after it.
fn skip(
    bytes: &[u8],
    at: usize,
    from: usize,
    len: u64,
) -> std::result::Result<(&[u8], usize), (CborFault, usize)> {
    let end =
        usize::try_from(len).ok().and_then(|len| from.checked_add(len)).ok_or((CborFault::Truncated, at))?;
    bytes.get(from..end).map(|content| (content, end)).ok_or((CborFault::Truncated, at))
}

fn text(bytes: &[u8], at: usize, from: usize, len: u64) -> Step {
    let (content, end) = skip(bytes, at, from, len)?;
    std::str::from_utf8(content).map_err(|_| (CborFault::Utf8, at))?;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    #[cbor(map)]
    struct Pair {
        #[n(0)]
        a: u64,
        #[n(1)]
        b: Option<u8>,
    }

    fn decode(hex: &str) -> Result<Pair> {
        from_slice("pair", &hex::decode(hex).unwrap(), 64)
    }

    #[test]
    fn the_one_encoding_is_accepted() {
        assert_eq!(decode("a1001864"), Ok(Pair { a: 100, b: None }));
        assert_eq!(decode("a200010102"), Ok(Pair { a: 1, b: Some(2) }));
        assert_eq!(to_vec(&Pair { a: 1, b: Some(2) }), hex::decode("a200010102").unwrap());
    }

    #[test]
    fn every_other_encoding_is_refused() {
        let fault = |hex| match decode(hex) {
            Err(WireError::Cbor { fault, offset, .. }) => (fault, offset),
            other => panic!("{hex}: {other:?}"),
        };
        assert_eq!(fault("a1001801"), (CborFault::NotShortest, 2));
        assert_eq!(fault("a1001900ff"), (CborFault::NotShortest, 2));
        assert_eq!(fault("a1001a0000ffff"), (CborFault::NotShortest, 2));
        assert_eq!(fault("a1001b00000000ffffffff"), (CborFault::NotShortest, 2));
        assert_eq!(fault("bf0001ff"), (CborFault::Indefinite, 0));
        assert_eq!(fault("a201020001"), (CborFault::KeyOrder, 3));
        assert_eq!(fault("a200010002"), (CborFault::KeyOrder, 3));
        assert_eq!(fault("a100f6"), (CborFault::Simple, 2));
        assert_eq!(fault("a100f93c00"), (CborFault::Simple, 2));
        assert_eq!(fault("a100c101"), (CborFault::Tag, 2));
        assert_eq!(fault("a10001ff"), (CborFault::Trailing, 3));
        assert_eq!(fault("a100"), (CborFault::Truncated, 2));
        assert_eq!(fault("a10061ff"), (CborFault::Utf8, 2));
        assert_eq!(fault("a1005bffffffffffffffff"), (CborFault::Truncated, 2));
        assert_eq!(fault("818181818181818181818181818101"), (CborFault::Depth, 13));
    }

    #[test]
    fn the_smallest_number_of_each_width_is_in_its_shortest_form() {
        for bytes in
            ["17", "1818", "18ff", "190100", "19ffff", "1a00010000", "1affffffff", "1b0000000100000000"]
        {
            assert_eq!(check(&hex::decode(bytes).unwrap()), Ok(()), "{bytes}");
        }
        let number = |hex: &str| from_slice::<u64>("number", &hex::decode(hex).unwrap(), 9);
        assert_eq!(number("1b0123456789abcdef"), Ok(0x0123_4567_89ab_cdef));
        assert_eq!(check(&[0x59, 1, 2]), Err((CborFault::Truncated, 0)), "a length of both its bytes");
    }

    #[test]
    fn booleans_are_one_byte() {
        assert_eq!(check(&[0x83, 0xf4, 0xf5, 0x01]), Ok(()));
        assert_eq!(check(&[0xf4, 0xf5]), Err((CborFault::Trailing, 1)));
    }

    #[test]
    fn arrays_and_maps_nest_to_the_limit_and_no_deeper() {
        let nest = |unit: &[u8], depth: usize, innermost: &[u8]| [&unit.repeat(depth), innermost].concat();
        for (array, length) in [(&[0x81][..], 1), (&[0xa1, 0x00], 2)] {
            assert_eq!(check(&nest(array, limits::DEPTH, &[0])), Ok(()), "{length}");
            let deeper = Err((CborFault::Depth, length * limits::DEPTH + 1));
            assert_eq!(check(&nest(array, limits::DEPTH + 1, &[0])), deeper, "{length}");
        }
        // Inside keys: a map whose key is a map, and so on.
        let keys = |depth: usize| [vec![0xa1; depth], vec![0], vec![0; depth]].concat();
        assert_eq!(check(&keys(limits::DEPTH)), Ok(()));
        assert_eq!(check(&keys(limits::DEPTH + 1)), Err((CborFault::Depth, limits::DEPTH + 1)));
    }

    #[test]
    fn as_many_bytes_as_the_limit_and_no_more() {
        assert_eq!(from_slice("number", &[0x18, 24], 2), Ok(24u64));
        let long = WireError::TooLong { what: "number", len: 2, limit: 1 };
        assert_eq!(from_slice::<u64>("number", &[0x18, 24], 1), Err(long));
    }

    #[test]
    fn no_more_items_than_the_limit() {
        let list = |items: usize| to_vec(&vec![minicbor::bytes::ByteVec::from(vec![]); items]);
        let (fits, over) = (list(limits::ITEMS - 1), list(limits::ITEMS));
        let offset = over.len() - 1;
        assert_eq!(check(&fits), Ok(()));
        assert_eq!(check(&over), Err((CborFault::Items, offset)));
        let read =
            |bytes: &[u8]| from_slice::<Vec<minicbor::bytes::ByteVec>>("list", bytes, limits::ENVELOPE);
        assert_eq!(read(&fits).map(|list| list.len()), Ok(limits::ITEMS - 1));
        assert_eq!(read(&over), Err(WireError::Cbor { what: "list", fault: CborFault::Items, offset }));
        // A limit above an envelope's brings its items with it.
        let state = (limits::ITEMS + 1) * limits::BYTES_PER_ITEM;
        let read = |limit| from_slice::<Vec<minicbor::bytes::ByteVec>>("list", &over, limit).is_ok();
        assert_eq!([read(state - 1), read(state)], [false, true]);
    }

    #[test]
    fn unknown_keys_and_missing_fields_are_refused() {
        assert_eq!(decode("a200010203"), Err(WireError::Unknown { what: "pair", offset: 0 }));
        assert!(matches!(decode("a10102"), Err(WireError::Shape { .. })));
        assert!(matches!(decode("a1006161"), Err(WireError::Shape { .. })));
        assert!(matches!(from_slice::<Pair>("pair", &[0; 65], 64), Err(WireError::TooLong { .. })));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = check(&bytes);
            let _ = from_slice::<Pair>("pair", &bytes, 1024);
        }

        #[test]
        fn what_is_written_is_read(a: u64, b: Option<u8>) {
            let bytes = to_vec(&Pair { a, b });
            proptest::prop_assert_eq!(from_slice::<Pair>("pair", &bytes, 64), Ok(Pair { a, b }));
        }
    }
}
