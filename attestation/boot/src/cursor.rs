//! A bounded little-endian reader whose errors say which field ended where.

use crate::BootError;

/// Reads forward through `bytes`; offsets in errors count from the start of the log.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    /// Offset in the log of `bytes`' first byte.
    base: usize,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes`, which begin at offset `base` of the log.
    pub(crate) fn new(bytes: &'a [u8], base: usize) -> Self {
        Self { bytes, base, at: 0 }
    }

    /// Offset in the log of the next byte.
    pub(crate) fn offset(&self) -> usize {
        self.base.saturating_add(self.at)
    }

    /// Bytes not yet read.
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// The next `len` bytes, called `field` if they are not all there.
    pub(crate) fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], BootError> {
        let cut = BootError::ReadField { field, offset: self.offset() };
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or(cut)?;
        self.at = self.at.saturating_add(len);
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], BootError> {
        let cut = BootError::ReadField { field, offset: self.offset() };
        self.take(N, field)?.try_into().map_err(|_| cut)
    }

    /// One byte.
    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, BootError> {
        self.array::<1>(field).map(u8::from_le_bytes)
    }

    /// Two bytes, little-endian.
    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, BootError> {
        self.array::<2>(field).map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, BootError> {
        self.array::<4>(field).map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, BootError> {
        self.array::<8>(field).map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_field_is_named_with_its_offset() {
        let mut cursor = Cursor::new(&[1, 2, 3], 40);
        assert_eq!(cursor.u16("first"), Ok(0x0201));
        assert_eq!(cursor.offset(), 42);
        assert_eq!(cursor.u32("second"), Err(BootError::ReadField { field: "second", offset: 42 }));
        assert_eq!(cursor.remaining(), 1, "a failed read takes nothing");
        assert_eq!(cursor.u8("third"), Ok(3));
    }

    #[test]
    fn a_length_near_the_end_of_memory_does_not_wrap() {
        let mut cursor = Cursor::new(&[1, 2, 3], usize::MAX);
        assert!(cursor.take(1, "a").is_ok());
        assert!(cursor.take(usize::MAX, "b").is_err());
    }
}
