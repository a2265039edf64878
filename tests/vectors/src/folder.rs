//! The folder: its files by relative name, read with a limit.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Longest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// A folder of test data.
pub struct Folder {
    root: PathBuf,
    files: BTreeSet<String>,
}

impl Folder {
    /// Lists the folder.
    ///
    /// # Errors
    /// When a directory can't be read.
    pub fn open(root: &Path) -> io::Result<Self> {
        let mut files = BTreeSet::new();
        list(root, "", &mut files)?;
        Ok(Self { root: root.to_owned(), files })
    }

    /// Names relative to the folder, with `/`, sorted.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// The files directly in one sub-folder.
    pub fn in_folder<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.files().filter(move |file| file.rsplit_once('/').is_some_and(|(dir, _)| dir == folder))
    }

    /// Whether it is there.
    #[must_use]
    pub fn has(&self, file: &str) -> bool {
        self.files.contains(file)
    }

    /// A whole file.
    ///
    /// # Errors
    /// When it can't be read or exceeds [`MAX_FILE_BYTES`].
    pub fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.root.join(file))?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        match u64::try_from(bytes.len()).is_ok_and(|len| len <= MAX_FILE_BYTES) {
            true => Ok(bytes),
            false => Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large")),
        }
    }

    /// A whole file as JSON; what is wrong with it otherwise.
    ///
    /// # Errors
    /// Text that says why it can't be read or is no JSON.
    pub fn json(&self, file: &str) -> Result<Value, String> {
        let bytes = self.read(file).map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }
}

fn list(dir: &Path, prefix: &str, files: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => list(&entry.path(), &format!("{name}/"), files)?,
            false => {
                files.insert(name);
            }
        }
    }
    Ok(())
}
