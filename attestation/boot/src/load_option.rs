//! `EFI_LOAD_OPTION`: what Boot#### and Driver#### variables hold (UEFI 2.10, section 3.1.3).

use crate::cursor::Cursor;
use crate::uefi::utf16;
use crate::{BootError, DevicePath};

/// LOAD_OPTION_ACTIVE.
const ACTIVE: u32 = 1;

/// One entry of the firmware's boot menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOption {
    /// Whether the boot manager tries it unasked.
    pub active: bool,
    /// Name in the menu.
    pub description: String,
    /// What to load, first, and paths that belong to it.
    pub paths: Vec<DevicePath>,
    /// What the option passes on, uninterpreted.
    pub optional_data: Vec<u8>,
}

impl LoadOption {
    /// Reads an option that fills `data` exactly.
    ///
    /// # Errors
    /// [`BootError::ReadField`] or [`BootError::CheckField`], with offsets from the start of `data`,
    /// for paths from the start of the list.
    pub fn parse(data: &[u8]) -> Result<Self, BootError> {
        let mut cursor = Cursor::new(data, 0);
        let attributes = cursor.u32("Attributes")?;
        let paths_len = cursor.u16("FilePathListLength")?;
        let description = description(&mut cursor)?;
        let paths = DevicePath::parse_list(cursor.take(paths_len.into(), "FilePathList")?)?;
        let optional_data = cursor.take(cursor.remaining(), "OptionalData")?.to_vec();
        Ok(Self { active: attributes & ACTIVE != 0, description, paths, optional_data })
    }
}

/// UTF-16 up to its NUL.
fn description(cursor: &mut Cursor<'_>) -> Result<String, BootError> {
    let offset = cursor.offset();
    let mut units = Vec::new();
    loop {
        match cursor.array("Description")? {
            [0, 0] => break,
            unit => units.extend(unit),
        }
    }
    utf16(&units).ok_or(BootError::CheckField { field: "Description", offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_read_whole() {
        let path = DevicePath { nodes: vec![] }.encode();
        let head = [&1u32.to_le_bytes()[..], &4u16.to_le_bytes(), b"A\0b\0\0\0"].concat();
        let bytes = [&head[..], &path, b"xyz"].concat();
        let option = LoadOption::parse(&bytes).unwrap();
        assert_eq!((option.active, option.description.as_str(), option.paths.len()), (true, "Ab", 1));
        assert_eq!(option.optional_data, b"xyz");
        assert_eq!(
            LoadOption::parse(&head),
            Err(BootError::ReadField { field: "FilePathList", offset: head.len() })
        );
        assert!(LoadOption::parse(&head[..9]).is_err(), "no NUL");
        let lone = [&1u32.to_le_bytes()[..], &0u16.to_le_bytes(), &[0, 0xd8, 0, 0]].concat();
        assert_eq!(LoadOption::parse(&lone), Err(BootError::CheckField { field: "Description", offset: 6 }));
    }
}
