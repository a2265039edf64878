//! Text out of bytes that a machine under suspicion wrote: printable, whatever they hold.

use crate::uefi::utf16;

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text with control characters, which could steer a terminal, written as escapes.
pub(crate) fn printable(text: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// UTF-16LE text that ends in its only NUL.
pub(crate) fn utf16_until_nul(bytes: &[u8]) -> Option<String> {
    let text = utf16(bytes)?;
    text.strip_suffix('\0').filter(|text| !text.contains('\0')).map(str::to_owned)
}

/// Text as loaders log it: UTF-8, or ASCII in UTF-16LE (any bytes are some UTF-16), with or without
/// one NUL at its end. `None` where it is neither, or empty.
pub(crate) fn logged_text(data: &[u8]) -> Option<String> {
    let utf8 = std::str::from_utf8(data).ok().map(str::to_owned);
    let wide = utf16(data).filter(|text| text.is_ascii());
    [utf8, wide].into_iter().flatten().find_map(|text| {
        let text = text.strip_suffix('\0').unwrap_or(&text).to_owned();
        let clean = text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t'));
        (clean && !text.is_empty()).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn loaders_text_is_found_in_either_encoding() {
        assert_eq!(logged_text(b"grub_cmd: x\0").as_deref(), Some("grub_cmd: x"));
        assert_eq!(logged_text(&wide(".linux\0")).as_deref(), Some(".linux"));
        assert_eq!(logged_text(&wide(".linux")).as_deref(), Some(".linux"));
        assert_eq!(logged_text(b"\0"), None);
        assert_eq!(logged_text(&[1, 2, 3]), None);
        assert_eq!(logged_text(&crate::EFI_GLOBAL_VARIABLE), None, "a GUID");
        assert_eq!(logged_text(&[]), None);
    }

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(printable("a\u{1b}[2J\u{9b}é"), "a\\u{1b}[2J\\u{9b}é");
        assert_eq!(utf16_until_nul(&wide("a\0b\0")), None);
        assert_eq!(utf16_until_nul(&wide("ab")), None);
        assert_eq!(utf16_until_nul(&wide("ab\0")).as_deref(), Some("ab"));
    }
}
