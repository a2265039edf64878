//! A cursor over a report's bytes: field and offset in every error.

use super::error::DeviceError;

/// What is left to read, and where it lies in the report.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, offset: 0 }
    }

    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DeviceError> {
        let truncated = DeviceError::Truncated { field, offset: self.offset };
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(truncated)?;
        self.rest = rest;
        self.offset += len;
        Ok(taken)
    }

    /// A cursor over the next `len` bytes.
    pub(super) fn sub(&mut self, len: usize, field: &'static str) -> Result<Self, DeviceError> {
        let offset = self.offset;
        Ok(Self { rest: self.take(len, field)?, offset })
    }

    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DeviceError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    /// A little-endian number of `N` bytes, at most 8.
    pub(super) fn number<const N: usize>(&mut self, field: &'static str) -> Result<u64, DeviceError> {
        let bytes = self.array::<N>(field)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number * 256 + u64::from(*byte)))
    }

    /// A little-endian number that has only one value.
    pub(super) fn constant<const N: usize>(
        &mut self,
        field: &'static str,
        expected: u64,
    ) -> Result<(), DeviceError> {
        let offset = self.offset;
        let seen = self.number::<N>(field)?;
        if seen == expected { Ok(()) } else { Err(DeviceError::Constant { field, offset, seen, expected }) }
    }
}
