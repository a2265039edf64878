//! `UEFI_VARIABLE_DATA`: how firmware logs a variable (PFP 1.06, section 10.2.6).

use crate::cursor::Cursor;
use crate::{BootError, MAX_EVENT_BYTES};

/// EFI_GLOBAL_VARIABLE in its memory encoding: SecureBoot, PK, KEK, boot variables (UEFI 2.10, 3.3).
pub const EFI_GLOBAL_VARIABLE: [u8; 16] =
    [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
/// EFI_IMAGE_SECURITY_DATABASE_GUID in its memory encoding: db and dbx (UEFI 2.10, 32.4.1).
pub const EFI_IMAGE_SECURITY_DATABASE: [u8; 16] =
    [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];

/// A UEFI variable as an event's data carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UefiVariable {
    /// Vendor GUID in its memory encoding (first three fields little-endian).
    pub guid: [u8; 16],
    /// Name: UTF-16, as a string.
    pub name: String,
    /// Value; empty for a variable that is not set.
    pub value: Vec<u8>,
}

impl UefiVariable {
    /// Reads exactly one variable.
    ///
    /// # Errors
    /// [`BootError::ReadField`] or [`BootError::CheckField`], with offsets from the start of `data`.
    pub fn parse(data: &[u8]) -> Result<Self, BootError> {
        let mut cursor = Cursor::new(data, 0);
        let guid = cursor.array("VariableName")?;
        let name_len = len(&mut cursor, "UnicodeNameLength", 2)?;
        let value_len = len(&mut cursor, "VariableDataLength", 1)?;
        let offset = cursor.offset();
        let name = utf16(cursor.take(name_len, "UnicodeName")?)
            .ok_or(BootError::CheckField { field: "UnicodeName", offset })?;
        let value = cursor.take(value_len, "VariableData")?.to_vec();
        if cursor.remaining() > 0 {
            let offset = cursor.offset();
            return Err(BootError::CheckField { field: "end of UEFI_VARIABLE_DATA", offset });
        }
        Ok(Self { guid, name, value })
    }

    /// The variable as event data.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let name: Vec<u8> = self.name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let units = u64::try_from(name.len() / 2).unwrap_or(u64::MAX);
        let value_len = u64::try_from(self.value.len()).unwrap_or(u64::MAX);
        [&self.guid[..], &units.to_le_bytes(), &value_len.to_le_bytes(), &name, &self.value].concat()
    }
}

/// A count of units of `unit` bytes, in bytes; no more than an event may have.
fn len(cursor: &mut Cursor<'_>, field: &'static str, unit: usize) -> Result<usize, BootError> {
    let offset = cursor.offset();
    let units = usize::try_from(cursor.u64(field)?).ok();
    let bytes = units.and_then(|units| units.checked_mul(unit));
    let bytes = bytes.filter(|bytes| *bytes <= MAX_EVENT_BYTES);
    bytes.ok_or(BootError::CheckField { field, offset })
}

/// UTF-16LE text; `None` for half a unit or an unpaired surrogate.
pub(crate) fn utf16(bytes: &[u8]) -> Option<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable() -> UefiVariable {
        UefiVariable { guid: EFI_GLOBAL_VARIABLE, name: "SecureBoot".into(), value: vec![1] }
    }

    fn refused(data: &[u8]) -> &'static str {
        match UefiVariable::parse(data).unwrap_err() {
            BootError::ReadField { field, .. } | BootError::CheckField { field, .. } => field,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn encoding_round_trips() {
        assert_eq!(UefiVariable::parse(&variable().encode()), Ok(variable()));
        let empty = UefiVariable { value: vec![], name: "ключ".into(), ..variable() };
        assert_eq!(UefiVariable::parse(&empty.encode()), Ok(empty));
    }

    #[test]
    fn every_cut_is_refused_and_so_is_a_byte_more() {
        let data = variable().encode();
        for cut in 0..data.len() {
            assert!(UefiVariable::parse(&data[..cut]).is_err(), "{cut}");
        }
        assert_eq!(refused(&[&data[..], &[0]].concat()), "end of UEFI_VARIABLE_DATA");
    }

    #[test]
    fn lengths_that_overflow_and_broken_names_are_refused() {
        let mut data = variable().encode();
        data[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(refused(&data), "UnicodeNameLength");
        let mut data = variable().encode();
        data[24..32].copy_from_slice(&(1u64 << 40).to_le_bytes());
        assert_eq!(refused(&data), "VariableDataLength");
        let mut data = variable().encode();
        data[32..34].copy_from_slice(&0xd800u16.to_le_bytes());
        assert_eq!(refused(&data), "UnicodeName");
    }
}
