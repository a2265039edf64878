//! `EFI_DEVICE_PATH_PROTOCOL`: where an image came from (UEFI 2.10, section 10.3). Text is in
//! [`crate::DevicePath`]'s `Display`.

use crate::BootError;
use crate::cursor::Cursor;

const END: u8 = 0x7f;
const END_ENTIRE: u8 = 0xff;
const END_INSTANCE: u8 = 0x01;
/// Type, SubType, Length.
const NODE_HEADER: usize = 4;

/// One node of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePathNode {
    /// Type (UEFI 2.10, table 10.1).
    pub kind: u8,
    /// SubType.
    pub subtype: u8,
    /// What follows the four bytes of header.
    pub data: Vec<u8>,
}

impl DevicePathNode {
    /// Whether the node ends one instance of a path that has several.
    pub(crate) fn ends_instance(&self) -> bool {
        (self.kind, self.subtype) == (END, END_INSTANCE)
    }
}

/// A path: its nodes in order, the final "End Entire Device Path" left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePath {
    /// The nodes; "End This Instance" nodes are among them.
    pub nodes: Vec<DevicePathNode>,
}

impl DevicePath {
    /// Reads a path that fills `data` exactly.
    ///
    /// # Errors
    /// [`BootError::ReadField`] or [`BootError::CheckField`], with offsets from the start of `data`:
    /// a node shorter than its header, an end node with data, bytes after the end, or no end.
    pub fn parse(data: &[u8]) -> Result<Self, BootError> {
        let mut cursor = Cursor::new(data, 0);
        let path = path(&mut cursor)?;
        end(&cursor, "end of EFI_DEVICE_PATH_PROTOCOL")?;
        Ok(path)
    }

    /// Reads paths that fill `data` exactly, as a load option lists them.
    ///
    /// # Errors
    /// As [`DevicePath::parse`].
    pub fn parse_list(data: &[u8]) -> Result<Vec<Self>, BootError> {
        let mut cursor = Cursor::new(data, 0);
        let mut paths = Vec::new();
        while cursor.remaining() > 0 {
            paths.push(path(&mut cursor)?);
        }
        Ok(paths)
    }

    /// The path with its end.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for node in &self.nodes {
            let len = u16::try_from(NODE_HEADER + node.data.len()).unwrap_or(u16::MAX);
            bytes.extend([node.kind, node.subtype]);
            bytes.extend(len.to_le_bytes());
            bytes.extend(&node.data);
        }
        bytes.extend([END, END_ENTIRE, 4, 0]);
        bytes
    }
}

/// Refuses what follows the structure called `field`.
pub(crate) fn end(cursor: &Cursor<'_>, field: &'static str) -> Result<(), BootError> {
    match cursor.remaining() {
        0 => Ok(()),
        _ => Err(BootError::CheckField { field, offset: cursor.offset() }),
    }
}

fn path(cursor: &mut Cursor<'_>) -> Result<DevicePath, BootError> {
    let mut nodes = Vec::new();
    loop {
        let offset = cursor.offset();
        let (kind, subtype) = (cursor.u8("Type")?, cursor.u8("SubType")?);
        let check = |field| BootError::CheckField { field, offset };
        let len =
            usize::from(cursor.u16("Length")?).checked_sub(NODE_HEADER).ok_or_else(|| check("Length"))?;
        let data = cursor.take(len, "device path node")?.to_vec();
        match (kind, subtype) {
            (END, _) if len > 0 => return Err(check("Length")),
            (END, END_ENTIRE) => return Ok(DevicePath { nodes }),
            (END, END_INSTANCE) => nodes.push(DevicePathNode { kind, subtype, data }),
            (END, _) => return Err(check("SubType")),
            _ => nodes.push(DevicePathNode { kind, subtype, data }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(bytes: &[u8]) -> &'static str {
        match DevicePath::parse(bytes) {
            Err(BootError::CheckField { field, .. } | BootError::ReadField { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_path_ends_once_and_at_the_end() {
        let node = DevicePathNode { kind: 4, subtype: 4, data: vec![0x41, 0, 0, 0] };
        let path = DevicePath { nodes: vec![node] };
        let bytes = path.encode();
        assert_eq!(DevicePath::parse(&bytes), Ok(path.clone()));
        assert_eq!(DevicePath::parse_list(&[&bytes[..], &bytes].concat()), Ok(vec![path.clone(), path]));
        assert_eq!(field(&[&bytes[..], &[0]].concat()), "end of EFI_DEVICE_PATH_PROTOCOL");
        assert_eq!(field(&bytes[..8]), "Type");
        assert_eq!(field(&[]), "Type");
        assert_eq!(field(&[0x7f, 0xff, 5, 0, 0]), "Length");
        assert_eq!(field(&[0x7f, 0x02, 4, 0]), "SubType");
        assert_eq!(field(&[1, 1, 3, 0]), "Length");
        assert_eq!(field(&[1, 1, 9, 0, 1]), "device path node");
        let several = [0x7f, 1, 4, 0, 0x7f, 0xff, 4, 0];
        assert_eq!(DevicePath::parse(&several).unwrap().nodes.len(), 1);
    }
}
