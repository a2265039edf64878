//! GUIDs in their memory encoding (UEFI 2.10, appendix A), to and from text.

/// A GUID of these fields in its memory encoding: the first three little-endian.
pub(crate) const fn guid(a: u32, b: u16, c: u16, d: [u8; 8]) -> [u8; 16] {
    let ([a0, a1, a2, a3], [b0, b1], [c0, c1]) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let [d0, d1, d2, d3, d4, d5, d6, d7] = d;
    [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7]
}

/// RFC 4122 text of a GUID in its memory encoding.
#[must_use]
pub fn guid_text(guid: &[u8; 16]) -> String {
    let [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, node @ ..] = *guid;
    let node: String = node.iter().map(|byte| format!("{byte:02x}")).collect();
    let a = u32::from_le_bytes([a0, a1, a2, a3]);
    let [b, c] = [u16::from_le_bytes([b0, b1]), u16::from_le_bytes([c0, c1])];
    format!("{a:08x}-{b:04x}-{c:04x}-{d0:02x}{d1:02x}-{node}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EFI_GLOBAL_VARIABLE;

    #[test]
    fn fields_and_text_agree() {
        let global = guid(0x8be4_df61, 0x93ca, 0x11d2, [0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
        assert_eq!(global, EFI_GLOBAL_VARIABLE);
        assert_eq!(guid_text(&global), "8be4df61-93ca-11d2-aa0d-00e098032b8c");
    }
}
