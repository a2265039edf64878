//! Big-endian reading and writing with the field's name and offset in every error.
//!
//! Part 2's canonical form: big-endian integers, and `TPM2B_*` as a 16-bit size and that many bytes.

use crate::error::TpmError;

/// A cursor over outside bytes.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, offset: 0 }
    }

    /// Offset of the next byte.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], TpmError> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(TpmError::Truncated { field, offset: self.offset })?;
        self.rest = rest;
        self.offset += N;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, TpmError> {
        self.array::<1>(field).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, TpmError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, TpmError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, TpmError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A `TPM2B_*`: a 16-bit size of at most `max`, then that many bytes.
    pub(crate) fn sized(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], TpmError> {
        let offset = self.offset;
        let size = usize::from(self.u16(field)?);
        if size > max {
            return Err(too_large(field, offset, size, max));
        }
        let (head, rest) = self.rest.split_at_checked(size).ok_or(TpmError::Truncated { field, offset })?;
        self.rest = rest;
        self.offset += size;
        Ok(head)
    }

    /// Ends parsing; anything left over is refused.
    pub(crate) fn finish(self) -> Result<(), TpmError> {
        if self.rest.is_empty() { Ok(()) } else { Err(TpmError::TrailingBytes { offset: self.offset }) }
    }
}

fn too_large(field: &'static str, offset: usize, size: usize, max: usize) -> TpmError {
    let widen = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    TpmError::TooLarge { field, offset, size: widen(size), max: widen(max) }
}

/// Appends big-endian fields to a byte string.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    /// A `TPM2B_*`; a buffer that a 16-bit size can't describe is refused.
    pub(crate) fn sized(&mut self, field: &'static str, value: &[u8]) -> Result<(), TpmError> {
        let size = u16::try_from(value.len())
            .map_err(|_| too_large(field, self.0.len(), value.len(), usize::from(u16::MAX)))?;
        self.u16(size);
        self.bytes(value);
        Ok(())
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_names_field_and_offset() {
        let mut reader = Reader::new(&[0, 1, 2]);
        assert_eq!(reader.u16("first"), Ok(1));
        assert_eq!(reader.u32("second"), Err(TpmError::Truncated { field: "second", offset: 2 }));
    }

    #[test]
    fn sized_buffers_are_bounded_and_whole() {
        let bytes = [0, 3, b'a', b'b', b'c'];
        assert_eq!(Reader::new(&bytes).sized("b", 3), Ok(&b"abc"[..]));
        let over = TpmError::TooLarge { field: "b", offset: 0, size: 3, max: 2 };
        assert_eq!(Reader::new(&bytes).sized("b", 2), Err(over));
        let short = TpmError::Truncated { field: "b", offset: 0 };
        assert_eq!(Reader::new(&bytes[..4]).sized("b", 3), Err(short));
    }

    #[test]
    fn leftovers_are_refused() {
        let mut reader = Reader::new(&[7, 8]);
        assert_eq!(reader.u8("one"), Ok(7));
        assert_eq!(reader.finish(), Err(TpmError::TrailingBytes { offset: 1 }));
    }

    #[test]
    fn writer_refuses_what_a_size_field_cannot_describe() {
        let mut writer = Writer::default();
        let error = TpmError::TooLarge { field: "b", offset: 0, size: 65_536, max: 65_535 };
        assert_eq!(writer.sized("b", &vec![0; 65_536]), Err(error));
        assert!(writer.into_bytes().is_empty());
    }
}
