//! What people and programs see: aligned columns, colour on terminals only, JSON.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;

/// Version of every `--json` output of this program.
pub(crate) const SCHEMA: u32 = 1;

/// How a word is shown on a terminal (ECMA-48 8.3.117, SGR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it comes.
    Plain,
    /// A heading.
    Bold,
    /// Less important.
    Dim,
    /// Good.
    Green,
    /// Look here.
    Yellow,
    /// Bad.
    Red,
}

/// Whether to colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    /// Colour on a terminal, unless `NO_COLOR` is set to something.
    pub(crate) fn stdout() -> Self {
        Self(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    /// `text` in `tone`.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            _ if !self.0 => return text.to_owned(),
            Tone::Bold => "1",
            Tone::Dim => "2",
            Tone::Green => "32",
            Tone::Yellow => "33",
            Tone::Red => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What others chose (device names, paths, a validator's words) without what would move the cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A page of sections.
#[derive(Debug)]
pub(crate) struct Page {
    paint: Paint,
    text: String,
}

impl Page {
    /// An empty page.
    pub(crate) fn new(paint: Paint) -> Self {
        Self { paint, text: String::new() }
    }

    /// Starts a section.
    pub(crate) fn section(&mut self, title: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{gap}{}", self.paint.tone(Tone::Bold, title));
    }

    /// `key  value`, keys in a column of their own.
    pub(crate) fn fact(&mut self, key: &str, value: &str) {
        self.toned(key, Tone::Plain, value);
    }

    /// As [`Page::fact`], the value in `tone`.
    pub(crate) fn toned(&mut self, key: &str, tone: Tone, value: &str) {
        let value = self.paint.tone(tone, &plain(value));
        let _ = writeln!(self.text, "  {}  {value}", self.paint.tone(Tone::Dim, &format!("{key:<14}")));
    }

    /// A line as it is.
    pub(crate) fn line(&mut self, tone: Tone, text: &str) {
        let _ = writeln!(self.text, "  {}", self.paint.tone(tone, &plain(text)));
    }

    /// A mark in `tone`, a code and a text, in columns.
    pub(crate) fn marked(&mut self, tone: Tone, mark: &str, code: &str, text: &str) {
        let mark = self.paint.tone(tone, &format!("{mark:<4}"));
        let _ = writeln!(self.text, "  {mark}  {code:<24}  {}", plain(text));
    }

    /// Rows under a heading, each column as wide as its widest cell.
    pub(crate) fn table(&mut self, heading: &[&str], rows: &[Vec<String>]) {
        let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
        let widths = widths(&heading, &rows);
        let head = aligned(&heading, &widths);
        let _ = writeln!(self.text, "  {}", self.paint.tone(Tone::Dim, &head));
        for row in &rows {
            let _ = writeln!(self.text, "  {}", aligned(row, &widths));
        }
    }

    /// Prints the page.
    pub(crate) fn print(self) -> io::Result<()> {
        out(&self.text)
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn widths(heading: &[String], rows: &[Vec<String>]) -> Vec<usize> {
    let cell = |row: &[String], column: usize| row.get(column).map_or(0, |text| text.chars().count());
    (0..heading.len())
        .map(|column| {
            rows.iter().map(|row| cell(row, column)).chain([cell(heading, column)]).max().unwrap_or(0)
        })
        .collect()
}

fn aligned(row: &[String], widths: &[usize]) -> String {
    let cells: Vec<String> = row.iter().zip(widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
    cells.join("  ").trim_end().to_owned()
}

/// Writes to standard output. A reader that left early (`| head`) is no error.
pub(crate) fn out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Writes a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    out(&format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_where_asked_and_never_lets_foreign_escapes_through() {
        assert_eq!(Paint(false).tone(Tone::Red, "x"), "x");
        assert_eq!(Paint(true).tone(Tone::Red, "x"), "\x1b[31mx\x1b[0m");
        let mut page = Page::new(Paint(false));
        page.fact("name", "GPU\x1b[2J\n");
        assert!(!page.text().contains('\x1b') && page.text().lines().count() == 1);
    }

    #[test]
    fn columns_line_up() {
        let mut page = Page::new(Paint(false));
        page.section("Jobs");
        page.table(&["job", "state"], &[vec!["a".into(), "exit 0".into()], vec!["long".into(), "".into()]]);
        assert_eq!(page.text(), "Jobs\n  job   state\n  a     exit 0\n  long\n");
    }
}
