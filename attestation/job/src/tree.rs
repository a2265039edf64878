//! The hash of a directory tree: one value for what is in it, whoever holds it and wherever it lies.
//!
//! SHA-256 over the domain tag `assay/1/tree`, a zero byte, and one record per entry below the
//! directory, in the order of a walk that visits names in byte order and a directory before what is
//! in it. A record is
//!
//! ```text
//! kind      1 byte: 'd' directory, 'f' file, 'x' file that its owner may execute, 'l' symbolic link
//! length    4 bytes, little-endian: of the path
//! path      relative to the directory, components joined by '/'
//! rest      'd': nothing
//!           'f', 'x': size (8 bytes, little-endian) and SHA-256 of the content (32 bytes)
//!           'l': length (4 bytes, little-endian) and bytes of the target, which is never followed
//! ```
//!
//! Owners, times, further permissions and extended attributes are not covered; neither is the
//! name of the directory itself. Anything that is not a directory, a file or a link has no record.

use assay_wire::Domain;
use sha2::{Digest as _, Sha256};

/// Most bytes in a path or a link's target.
pub const PATH_MAX: usize = 4096;

/// Why an entry is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Empty, longer than [`PATH_MAX`], or with an empty, `.` or `..` component.
    #[error("path is not a relative path of plain components")]
    Path,
    /// Not after the entry before it, in the order of the walk.
    #[error("path is out of order")]
    Order,
    /// The link's target is empty or longer than [`PATH_MAX`].
    #[error("link target is empty or too long")]
    Target,
}

/// A tree being hashed, entry after entry.
#[derive(Debug, Clone)]
pub struct TreeHash {
    sha: Sha256,
    last: Vec<u8>,
}

impl Default for TreeHash {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeHash {
    /// The empty directory.
    #[must_use]
    pub fn new() -> Self {
        let sha = Sha256::new().chain_update(Domain::JobTree.tag()).chain_update([0]);
        Self { sha, last: Vec::new() }
    }

    fn record(&mut self, kind: u8, path: &[u8]) -> Result<(), TreeError> {
        let plain = path.split(|b| *b == b'/').all(|c| !matches!(c, b"" | b"." | b"..") && !c.contains(&0));
        if !plain || path.len() > PATH_MAX {
            return Err(TreeError::Path);
        }
        let components = |path: &'_ [u8]| path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
        if !self.last.is_empty() && components(path) <= components(&self.last) {
            return Err(TreeError::Order);
        }
        self.last = path.to_vec();
        self.sha.update([kind]);
        self.sized(path);
        Ok(())
    }

    fn sized(&mut self, bytes: &[u8]) {
        // Both are at most PATH_MAX here.
        self.sha.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.sha.update(bytes);
    }

    /// A directory; what is in it follows.
    ///
    /// # Errors
    /// [`TreeError::Path`] or [`TreeError::Order`].
    pub fn directory(&mut self, path: &[u8]) -> Result<(), TreeError> {
        self.record(b'd', path)
    }

    /// A regular file of `size` bytes with this SHA-256.
    ///
    /// # Errors
    /// [`TreeError::Path`] or [`TreeError::Order`].
    pub fn file(
        &mut self,
        path: &[u8],
        executable: bool,
        size: u64,
        sha256: &[u8; 32],
    ) -> Result<(), TreeError> {
        self.record(if executable { b'x' } else { b'f' }, path)?;
        self.sha.update(size.to_le_bytes());
        self.sha.update(sha256);
        Ok(())
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), TreeError> {
        if target.is_empty() || target.len() > PATH_MAX {
            return Err(TreeError::Target);
        }
        self.record(b'l', path)?;
        self.sized(target);
        Ok(())
    }

    /// The hash.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.sha.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(fill: impl FnOnce(&mut TreeHash) -> Result<(), TreeError>) -> [u8; 32] {
        let mut tree = TreeHash::new();
        fill(&mut tree).unwrap();
        tree.finish()
    }

    #[test]
    fn the_definition_by_hand() {
        let mut bytes = b"assay/1/tree\0d\x01\0\0\0afx".to_vec();
        bytes.pop();
        bytes.extend(b"\x03\0\0\0a/b\x02\0\0\0\0\0\0\0");
        bytes.extend([9; 32]);
        bytes.extend(b"l\x01\0\0\0z\x04\0\0\0/etc");
        let hash = tree(|t| {
            t.directory(b"a")?;
            t.file(b"a/b", false, 2, &[9; 32])?;
            t.link(b"z", b"/etc")
        });
        assert_eq!(hash[..], Sha256::digest(bytes)[..]);
    }

    #[test]
    fn everything_that_is_covered_changes_it() {
        let all = [
            tree(|_| Ok(())),
            tree(|t| t.directory(b"a")),
            tree(|t| t.directory(b"b")),
            tree(|t| t.file(b"a", false, 1, &[1; 32])),
            tree(|t| t.file(b"a", true, 1, &[1; 32])),
            tree(|t| t.file(b"a", false, 2, &[1; 32])),
            tree(|t| t.file(b"a", false, 1, &[2; 32])),
            tree(|t| t.link(b"a", b"b")),
            tree(|t| t.link(b"a", b"c")),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn the_order_is_that_of_a_walk() {
        // By bytes "a-" comes before "a/"; a walk is done with the directory first.
        tree(|t| {
            t.directory(b"a")?;
            t.directory(b"a/x")?;
            t.directory(b"a-")
        });
        for (first, second) in [(&b"b"[..], &b"a"[..]), (b"a", b"a"), (b"a-", b"a/x")] {
            let mut t = TreeHash::new();
            t.directory(first).unwrap();
            assert_eq!(t.directory(second), Err(TreeError::Order), "{second:?}");
        }
    }

    #[test]
    fn paths_are_plain() {
        let long = vec![b'a'; PATH_MAX + 1];
        for path in [&b""[..], b"/a", b"a/", b"a//b", b".", b"a/../b", b"a\0", &long] {
            assert_eq!(TreeHash::new().directory(path), Err(TreeError::Path), "{path:?}");
        }
        assert_eq!(TreeHash::new().link(b"a", b""), Err(TreeError::Target));
        assert_eq!(TreeHash::new().link(b"a", &long), Err(TreeError::Target));
    }
}
