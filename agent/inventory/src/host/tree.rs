//! Reads of small files below a root.

use crate::Fact;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Longest file that is read; the description of 500 processors has 700 KiB.
const MAX_FILE: u64 = 4 << 20;
/// Most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 4096;

/// A machine's files below a root.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The tree below a folder of this one.
    pub(super) fn at(&self, path: &str) -> Self {
        Self { root: self.root.join(path) }
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// A file's text without white space around it; an absent or empty file is "not supported".
    pub(super) fn text(&self, path: &str) -> Fact<String> {
        match self.bytes(path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).trim().to_owned();
                Some(text).filter(|text| !text.is_empty()).into()
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Fact::NotSupported,
            Err(error) => Fact::Error(error.to_string()),
        }
    }

    fn bytes(&self, path: &str) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.root.join(path))?.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A file with one decimal number.
    pub(super) fn number<T: FromStr>(&self, path: &str) -> Fact<T> {
        self.text(path).and_then(|text| {
            text.parse().map_or_else(|_| Fact::Error(format!("not a number: {text:.32}")), Fact::Value)
        })
    }

    /// A file with 0 or 1.
    pub(super) fn flag(&self, path: &str) -> Fact<bool> {
        self.number::<u8>(path).map(|value| value != 0)
    }

    /// A file with one hexadecimal number after `0x`.
    pub(super) fn hex(&self, path: &str) -> Fact<u32> {
        self.text(path).and_then(|text| {
            let digits = text.strip_prefix("0x").unwrap_or(&text);
            u32::from_str_radix(digits, 16)
                .map_or_else(|_| Fact::Error(format!("not a hexadecimal number: {text:.32}")), Fact::Value)
        })
    }

    /// The last part of a symbolic link's target; no link is "not supported".
    pub(super) fn link(&self, path: &str) -> Fact<String> {
        match std::fs::read_link(self.root.join(path)) {
            Ok(target) => target.file_name().map(|name| name.to_string_lossy().into_owned()).into(),
            Err(error) if error.kind() == ErrorKind::NotFound => Fact::NotSupported,
            Err(error) => Fact::Error(error.to_string()),
        }
    }

    /// Names in a folder, sorted; none if it can't be read.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.root.join(path)) else { return Vec::new() };
        let names = entries.take(MAX_ENTRIES).flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let tree = Tree::new(folder.path());
        (folder, tree)
    }

    #[test]
    fn three_states_of_a_file() {
        let (_folder, tree) = tree(&[("a", " text\n"), ("empty", "\n")]);
        assert_eq!(tree.text("a"), Fact::Value("text".into()));
        assert_eq!(tree.text("empty"), Fact::NotSupported);
        assert_eq!(tree.text("none"), Fact::NotSupported);
        assert!(matches!(tree.text("."), Fact::Error(_)), "a folder is no file");
    }

    #[test]
    fn numbers_flags_and_hexadecimals() {
        let (_folder, tree) = tree(&[("n", "12\n"), ("bad", "x"), ("one", "1"), ("hex", "0x10de\n")]);
        assert_eq!(tree.number::<u32>("n"), Fact::Value(12));
        assert!(matches!(tree.number::<u32>("bad"), Fact::Error(_)));
        assert_eq!(tree.flag("one"), Fact::Value(true));
        assert_eq!(tree.hex("hex"), Fact::Value(0x10de));
        assert!(matches!(tree.hex("bad"), Fact::Error(_)));
    }

    #[test]
    fn a_huge_file_is_cut() {
        let (folder, tree) = tree(&[]);
        let file = File::create(folder.path().join("huge")).unwrap();
        file.set_len(MAX_FILE * 2).unwrap();
        assert_eq!(tree.bytes("huge").unwrap().len(), usize::try_from(MAX_FILE).unwrap());
    }

    #[test]
    fn names_are_sorted() {
        let (_folder, tree) = tree(&[("b", ""), ("a", "")]);
        assert_eq!(tree.names(""), ["a", "b"]);
        assert!(tree.names("none").is_empty());
    }
}
