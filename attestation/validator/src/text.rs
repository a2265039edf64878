//! Output for people: text of strangers made harmless, colours on a terminal only.

use std::io::IsTerminal as _;

/// One line without control characters: a stranger's text can't move the cursor,
/// colour the terminal or start a line that looks like ours.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_bidi(c) { '\u{fffd}' } else { c }).collect()
}

/// Characters that reorder what stands around them (Unicode TR 9 2).
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether to colour standard output.
pub(crate) fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A style by its SGR number (ECMA-48 8.3.117), or the text as it is.
pub(crate) fn styled(colour: bool, sgr: u8, text: &str) -> String {
    match colour {
        true => format!("\u{1b}[{sgr}m{text}\u{1b}[0m"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_get_one_plain_line() {
        assert_eq!(plain("a\n✓ b\u{1b}[2J\u{202e}c"), "a\u{fffd}✓ b\u{fffd}[2J\u{fffd}c");
        assert_eq!(styled(false, 31, "x"), "x");
        assert_eq!(styled(true, 31, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
