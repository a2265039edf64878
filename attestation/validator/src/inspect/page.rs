//! A page for people: problems first, then facts and tables, aligned.

use std::fmt::Write as _;

use crate::text::{plain, styled};

/// Widest last column, in characters; the JSON has everything.
const LAST_COLUMN: usize = 100;
const YELLOW: u8 = 33;
const BOLD: u8 = 1;

/// What is shown of one file.
#[derive(Debug, Default)]
pub(super) struct Page {
    title: String,
    problems: Vec<String>,
    facts: Vec<(String, String)>,
    tables: Vec<Table>,
}

/// Rows under a heading; every row has as many cells as `columns`.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Page {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    pub(super) fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// A name and its value; nothing where the value is empty.
    pub(super) fn fact(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        if !value.is_empty() {
            self.facts.push((name.to_owned(), value));
        }
    }

    pub(super) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// The page as text; everything in it is made harmless.
    pub(super) fn render(&self, file: &str, colour: bool) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}: {}; this is only what it says", plain(file), plain(&self.title));
        for problem in &self.problems {
            let _ = writeln!(out, "  {} {}", styled(colour, YELLOW, "!"), plain(problem));
        }
        let width = self.facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in &self.facts {
            let _ = writeln!(out, "  {name:width$}  {}", plain(value));
        }
        for table in self.tables.iter().filter(|table| !table.rows.is_empty()) {
            table.render(&mut out, colour);
        }
        out
    }
}

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|column| (*column).to_owned()).collect(), rows: Vec::new() }
    }

    /// An empty line, the heading, the rows.
    pub(crate) fn render(&self, out: &mut String, colour: bool) {
        out.push('\n');
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let heading = line(&self.columns, &widths);
        let _ = writeln!(out, "  {}", styled(colour, BOLD, &heading));
        for row in &self.rows {
            let _ = writeln!(out, "  {}", line(row, &widths));
        }
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().chain([&self.columns]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

/// Cells padded to their columns, the last one cut.
fn line(row: &[String], widths: &[usize]) -> String {
    let Some((last, before)) = row.split_last() else { return String::new() };
    let mut line = String::new();
    for (cell, width) in before.iter().zip(widths) {
        let cell = plain(cell);
        let _ = write!(line, "{cell:width$}  ");
    }
    let last = plain(last);
    match last.chars().count() > LAST_COLUMN {
        true => line.extend(last.chars().take(LAST_COLUMN).chain("...".chars())),
        false => line.push_str(&last),
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_first_and_columns_align() {
        let mut page = Page::new("a log");
        page.fact("format", "x");
        page.fact("events", 12);
        page.fact("empty", "");
        page.problem("a quirk");
        let mut table = Table::new(&["pcr", "value"]);
        table.rows = vec![vec!["0".into(), "aa".into()], vec!["11".into(), "b\n".repeat(200)]];
        page.table(table);
        let text = page.render("f\u{1b}", false);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("f\u{fffd}: a log; this is only what it says"));
        assert_eq!(lines.next(), Some("  ! a quirk"));
        assert_eq!(lines.next(), Some("  format  x"));
        assert_eq!(lines.next(), Some("  events  12"));
        assert_eq!(lines.nth(1), Some("  pcr  value"));
        assert_eq!(lines.next(), Some("  0    aa"));
        let long = lines.next().unwrap();
        assert!(long.starts_with("  11   b\u{fffd}b") && long.ends_with("..."), "{long}");
        assert!(!text.contains('\u{1b}'));
        assert!(page.render("f", true).contains("\u{1b}[33m!"));
    }
}
