//! `MANIFEST.md`: one table row per file, with its length and its meaning.

use std::collections::BTreeMap;

use crate::{Folder, Sheet};

const FILE: &str = "MANIFEST.md";

/// One row of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Length of the file in bytes, as the row says.
    pub bytes: Option<u64>,
    /// Path in the repository that the file is from.
    pub path: String,
    /// Meaning and expected verdict, in words.
    pub meaning: String,
}

impl Row {
    /// Whether the words ask for a refusal: `EXPECT` followed by one of the words for it.
    #[must_use]
    pub fn expects_refusal(&self) -> bool {
        let Some((_, after)) = self.meaning.split_once("EXPECT") else { return false };
        let after = after.to_ascii_lowercase();
        ["reject", "refus", "error", "fail"].iter().any(|word| after.contains(word))
    }

    /// Whether the words ask for anything that [`Row::expects_refusal`] does not read.
    #[must_use]
    pub fn expects_otherwise(&self) -> bool {
        self.meaning.contains("EXPECT") && !self.expects_refusal()
    }
}

/// The rows by file name.
#[derive(Debug, Default)]
pub struct Manifest {
    rows: BTreeMap<String, Row>,
}

impl Manifest {
    /// Reads the table; a folder without one has no rows.
    #[must_use]
    pub fn read(folder: &Folder) -> Self {
        let text = folder.read(FILE).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Self {
        Self { rows: text.lines().filter_map(row).collect() }
    }

    /// The row of a file.
    #[must_use]
    pub fn row(&self, file: &str) -> Option<&Row> {
        self.rows.get(file)
    }

    /// Whether the file's row asks for a refusal; without a row: no.
    #[must_use]
    pub fn expects_refusal(&self, file: &str) -> bool {
        self.row(file).is_some_and(Row::expects_refusal)
    }

    /// Every file named is there with its length, and every `EXPECT` is one that can be read.
    pub(crate) fn judge(&self, folder: &Folder, sheet: &mut Sheet) {
        sheet.cover(FILE);
        for (file, row) in &self.rows {
            let covered = sheet.covers(file);
            let seen =
                folder.read(file).map_or_else(|error| error.to_string(), |bytes| bytes.len().to_string());
            if let Some(bytes) = row.bytes {
                sheet.same(FILE, &format!("length of {file}"), bytes, seen);
            }
            if row.expects_otherwise() {
                sheet.not_judged(file, "manifest", "an EXPECT that no rule reads");
            } else if row.expects_refusal() && !covered {
                sheet.not_judged(file, "manifest", "a refusal is expected, and no rule covers this file");
            }
        }
    }
}

/// `| file | bytes | repo | path | licence | meaning |`; the meaning may hold bars.
fn row(line: &str) -> Option<(String, Row)> {
    let cells: Vec<&str> =
        line.strip_prefix('|')?.trim_end().trim_end_matches('|').splitn(6, '|').map(str::trim).collect();
    let [file, bytes, _, path, _, meaning] = cells.as_slice() else { return None };
    let known = file.contains('/') && !file.contains(' ');
    let row = Row { bytes: bytes.parse().ok(), path: (*path).to_owned(), meaning: (*meaning).to_owned() };
    known.then(|| ((*file).to_owned(), row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(text: &str) -> Row {
        Row { meaning: text.to_owned(), ..Row::default() }
    }

    #[test]
    fn rows_are_read_and_other_lines_are_not() {
        let text = "# x\n| file | bytes | r | p | l | meaning |\n|---|---|---|---|---|---|\n| a/b | 12 | r | p/q | MIT | it | is |\n";
        let manifest = Manifest::parse(text);
        assert_eq!(manifest.rows.len(), 1);
        let row = manifest.row("a/b").unwrap();
        assert_eq!((row.bytes, row.path.as_str(), row.meaning.as_str()), (Some(12), "p/q", "it | is"));
    }

    #[test]
    fn only_the_word_expect_asks_for_a_refusal() {
        for text in ["EXPECT reject", "FAKE: EXPECT chain failure", "zero bytes. EXPECT parse error (x)"] {
            assert!(meaning(text).expects_refusal(), "{text}");
        }
        assert!(!meaning("Expected verdict: reject").expects_refusal());
        assert!(!meaning("fails elsewhere, EXPECT accept").expects_refusal());
        assert!(meaning("EXPECT accept").expects_otherwise());
    }
}
