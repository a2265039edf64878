//! CBOR items with tags: read from any well-formed encoding, written deterministically.

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder, decode};

use super::{CorimFault, MAX_CORIM_BYTES, MAX_CORIM_DEPTH};
use crate::BootError;

/// An item and where it was.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Offset of the item, for byte strings of definite length that of their content.
    pub(super) offset: usize,
    pub(super) value: Value,
}

/// Whatever lies where, the item is the same.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// What an item is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Uint(u64),
    /// -1 - n.
    Negative(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Tag(u64, Box<Node>),
    /// A simple value or float: nothing that is read here has one.
    Simple,
}

pub(super) fn fault(fault: CorimFault, offset: usize) -> BootError {
    BootError::Corim { fault, offset }
}

/// Reads exactly one item, which begins at offset `base` of the manifest.
pub(super) fn parse(bytes: &[u8], base: usize) -> Result<Node, BootError> {
    if bytes.len() > MAX_CORIM_BYTES {
        return Err(fault(CorimFault::TooLong, base));
    }
    let mut reader = Reader { decoder: Decoder::new(bytes), base };
    let node = reader.item(0)?;
    match reader.decoder.position() {
        end if end == bytes.len() => Ok(node),
        end => Err(fault(CorimFault::Malformed, base.saturating_add(end))),
    }
}

struct Reader<'a> {
    decoder: Decoder<'a>,
    base: usize,
}

impl Reader<'_> {
    fn offset(&self) -> usize {
        self.base.saturating_add(self.decoder.position())
    }

    fn item(&mut self, depth: usize) -> Result<Node, BootError> {
        let offset = self.offset();
        if depth > MAX_CORIM_DEPTH {
            return Err(fault(CorimFault::Depth, offset));
        }
        let malformed = |_: decode::Error| fault(CorimFault::Malformed, offset);
        let value = match self.decoder.datatype().map_err(malformed)? {
            Type::Bytes | Type::BytesIndef => return self.bytes(offset),
            Type::String | Type::StringIndef => self.text().map_err(malformed)?,
            Type::Array | Type::ArrayIndef => {
                let len = self.decoder.array().map_err(malformed)?;
                Value::Array(self.items(len, depth)?)
            }
            Type::Map | Type::MapIndef => {
                let len = self.decoder.map().map_err(malformed)?;
                Value::Map(self.entries(len, depth)?)
            }
            Type::Tag => {
                let tag = self.decoder.tag().map_err(malformed)?.as_u64();
                Value::Tag(tag, Box::new(self.item(depth.saturating_add(1))?))
            }
            Type::Bool | Type::Null | Type::Undefined | Type::Simple | Type::F16 | Type::F32 | Type::F64 => {
                self.decoder.skip().map_err(malformed)?;
                Value::Simple
            }
            _ => self.int().map_err(malformed)?,
        };
        Ok(Node { offset, value })
    }

    fn int(&mut self) -> Result<Value, decode::Error> {
        let int = i128::from(self.decoder.int()?);
        let value = |n: i128| u64::try_from(n).map_err(|_| decode::Error::message("integer"));
        if int < 0 { value(-1 - int).map(Value::Negative) } else { value(int).map(Value::Uint) }
    }

    fn bytes(&mut self, offset: usize) -> Result<Node, BootError> {
        let mut bytes = Vec::new();
        let chunks = self.decoder.bytes_iter().map_err(|_| fault(CorimFault::Malformed, offset))?;
        let mut count = 0usize;
        for chunk in chunks {
            bytes.extend(chunk.map_err(|_| fault(CorimFault::Malformed, offset))?);
            count = count.saturating_add(1);
        }
        let content = self.offset().saturating_sub(bytes.len());
        Ok(Node { offset: if count == 1 { content } else { offset }, value: Value::Bytes(bytes) })
    }

    fn text(&mut self) -> Result<Value, decode::Error> {
        let mut text = String::new();
        for chunk in self.decoder.str_iter()? {
            text.push_str(chunk?);
        }
        Ok(Value::Text(text))
    }

    /// Whether another item of a list of `len`, of which `read` are read, follows.
    fn more(&mut self, len: Option<u64>, read: u64) -> Result<bool, BootError> {
        let offset = self.offset();
        let malformed = |_: decode::Error| fault(CorimFault::Malformed, offset);
        match len {
            Some(len) => Ok(read < len),
            None if self.decoder.datatype().map_err(malformed)? == Type::Break => {
                self.decoder.skip().map_err(malformed)?;
                Ok(false)
            }
            None => Ok(true),
        }
    }

    fn items(&mut self, len: Option<u64>, depth: usize) -> Result<Vec<Node>, BootError> {
        let mut items = Vec::new();
        let mut read = 0;
        while self.more(len, read)? {
            items.push(self.item(depth.saturating_add(1))?);
            read += 1;
        }
        Ok(items)
    }

    fn entries(&mut self, len: Option<u64>, depth: usize) -> Result<Vec<(Node, Node)>, BootError> {
        let mut entries = Vec::new();
        let mut read = 0;
        while self.more(len, read)? {
            let key = self.item(depth.saturating_add(1))?;
            entries.push((key, self.item(depth.saturating_add(1))?));
            read += 1;
        }
        repeated_key(&entries)?;
        Ok(entries)
    }
}

/// Keys are compared by their deterministic encoding, sorted, so that a long map takes no square of time.
fn repeated_key(entries: &[(Node, Node)]) -> Result<(), BootError> {
    let mut keys: Vec<(Vec<u8>, usize)> =
        entries.iter().map(|(key, _)| (to_vec(&key.value), key.offset)).collect();
    keys.sort_unstable();
    let repeated = keys.windows(2).find_map(|pair| match pair {
        [(one, _), (two, offset)] if one == two => Some(*offset),
        _ => None,
    });
    repeated.map_or(Ok(()), |offset| Err(fault(CorimFault::RepeatedKey, offset)))
}

/// The deterministic encoding (RFC 8949, section 4.2.1).
pub(super) fn to_vec(value: &Value) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // Writing into a Vec can't fail.
    let _ = write(&mut encoder, value);
    encoder.into_writer()
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn write(encoder: &mut Encoder<Vec<u8>>, value: &Value) -> Written {
    match value {
        Value::Uint(n) => encoder.u64(*n)?.ok(),
        Value::Negative(n) => negative(encoder, *n),
        Value::Bytes(bytes) => encoder.bytes(bytes)?.ok(),
        Value::Text(text) => encoder.str(text)?.ok(),
        Value::Array(items) => {
            encoder.array(items.len() as u64)?;
            items.iter().try_for_each(|item| write(encoder, &item.value))
        }
        Value::Map(entries) => {
            encoder.map(entries.len() as u64)?;
            let encoded = entries.iter().map(|(key, value)| (to_vec(&key.value), value));
            let mut sorted: Vec<_> = encoded.collect();
            sorted.sort_unstable_by(|one, two| one.0.cmp(&two.0));
            sorted.iter().try_for_each(|(key, value)| {
                encoder.writer_mut().extend(key);
                write(encoder, &value.value)
            })
        }
        Value::Tag(tag, item) => {
            encoder.tag(Tag::new(*tag))?;
            write(encoder, &item.value)
        }
        Value::Simple => encoder.null()?.ok(),
    }
}

fn negative(encoder: &mut Encoder<Vec<u8>>, n: u64) -> Written {
    match minicbor::data::Int::try_from(-1 - i128::from(n)) {
        Ok(int) => encoder.int(int)?.ok(),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(hex: &str) -> Result<Value, BootError> {
        parse(&hex::decode(hex).unwrap(), 0).map(|node| node.value)
    }

    #[test]
    fn every_encoding_of_a_value_is_that_value() {
        assert_eq!(read("1800"), Ok(Value::Uint(0)));
        assert_eq!(read("3bffffffffffffffff"), Ok(Value::Negative(u64::MAX)));
        assert_eq!(read("9f01ff"), read("8101"));
        assert_eq!(read("bf0102ff"), read("a10102"));
        assert_eq!(read("5f41aa41bbff"), Ok(Value::Bytes(vec![0xaa, 0xbb])));
        assert_eq!(read("7f6161ff"), Ok(Value::Text("a".into())));
        assert_eq!(read("a2020a0109").map(|value| to_vec(&value)), Ok(hex::decode("a20109020a").unwrap()));
        assert_eq!(read("3bffffffffffffffff").map(|value| to_vec(&value)).unwrap()[0], 0x3b);
        assert_eq!(read("f93c00"), Ok(Value::Simple));
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_offset() {
        let refused = |hex, wanted, offset| assert_eq!(read(hex), Err(fault(wanted, offset)), "{hex}");
        refused("", CorimFault::Malformed, 0);
        refused("0101", CorimFault::Malformed, 1);
        refused("8201", CorimFault::Malformed, 2);
        refused("9bffffffffffffffff01", CorimFault::Malformed, 10);
        refused("a201020103", CorimFault::RepeatedKey, 3);
        refused("a20102180103", CorimFault::RepeatedKey, 3);
        refused("ff", CorimFault::Malformed, 0);
        refused("61ff", CorimFault::Malformed, 0);
        refused(&format!("{}01", "81".repeat(26)), CorimFault::Depth, 25);
    }

    #[test]
    fn bytes_say_where_their_content_is() {
        let node = parse(&hex::decode("8143aabbcc").unwrap(), 100).unwrap();
        let Value::Array(items) = node.value else { panic!() };
        assert_eq!(items[0].offset, 102);
    }
}
