//! Archives written header by header, and what ours and umoci make of them.
#![allow(unreachable_pub)]

use std::io::Cursor;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use assay_sandbox::image::Compression;
use assay_sandbox::unpack::{UnpackError, UnpackLimits, Unpacked, unpack};
use tar::{Builder, EntryType, Header};

use crate::common::{self, ImageBuilder};

pub const FILE: EntryType = EntryType::Regular;
pub const DIR: EntryType = EntryType::Directory;
pub const SYMLINK: EntryType = EntryType::Symlink;
pub const LINK: EntryType = EntryType::Link;
pub const PAX: EntryType = EntryType::XHeader;
pub const LONG: EntryType = EntryType::GNULongName;

/// An archive written header by header, whatever it says.
pub struct Tar(pub Builder<Vec<u8>>);

pub fn tar() -> Tar {
    Tar(Builder::new(Vec::new()))
}

impl Tar {
    pub fn with(mut self, kind: EntryType, name: &str, link: &str, content: &[u8], mode: u32) -> Self {
        let header = header(kind, name.as_bytes(), link, content.len() as u64, mode);
        self.0.append(&header, content).unwrap();
        self
    }

    pub fn header(mut self, change: impl FnOnce(&mut Header), content: &[u8]) -> Self {
        let mut header = header(FILE, b"f", "", content.len() as u64, 0o644);
        change(&mut header);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub fn file(self, name: &str) -> Self {
        self.with(FILE, name, "", b"evil", 0o644)
    }

    pub fn dir(self, name: &str) -> Self {
        self.with(DIR, name, "", b"", 0o755)
    }

    pub fn symlink(self, name: &str, to: &str) -> Self {
        self.with(SYMLINK, name, to, b"", 0o777)
    }

    pub fn link(self, name: &str, to: &str) -> Self {
        self.with(LINK, name, to, b"", 0o644)
    }

    /// PAX records for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let all: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.with(PAX, "pax", "", &all, 0o644)
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub fn header(kind: EntryType, name: &[u8], link: &str, size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name);
    old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    header
}

/// `"LENGTH KEY=VALUE\n"`, whose length counts itself.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let length = (1..10).map(|digits| body + digits).find(|n| n.to_string().len() + body == *n).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Umoci {
    Accepts,
    Refuses,
    /// Not asked: the attack is on memory or disk.
    Unasked,
}

/// What is unpacked, beside what must stay as it is.
pub struct Place {
    outer: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir(outer.path().join("layer")).unwrap();
        std::fs::write(outer.path().join("victim"), "untouched").unwrap();
        Self { outer }
    }

    pub fn layer(&self) -> std::path::PathBuf {
        self.outer.path().join("layer")
    }

    pub fn check_outside(&self) {
        let names = std::fs::read_dir(self.outer.path()).unwrap().map(|e| e.unwrap().file_name());
        // umoci removes the layer's directory when it refuses.
        let others: Vec<_> = names.filter(|name| name != "layer").collect();
        assert_eq!(others, ["victim"]);
        let victim = self.outer.path().join("victim");
        assert_eq!(std::fs::read(&victim).unwrap(), b"untouched");
        assert_eq!(victim.metadata().unwrap().nlink(), 1);
    }
}

pub fn ours(
    blob: &[u8],
    compression: Compression,
    limits: UnpackLimits,
) -> (Place, Result<Unpacked, UnpackError>) {
    let place = Place::new();
    let result = unpack(Cursor::new(blob), compression, &place.layer(), limits);
    place.check_outside();
    (place, result)
}

/// Asks umoci, compares with what is known of it, and sees that nothing got out there either.
pub fn ask_umoci(layer: &[u8], expected: Umoci) {
    if expected == Umoci::Unasked {
        return;
    }
    let version = Command::new("umoci").arg("--version").output();
    let Some(version) = version.ok().filter(|_| common::is_root()) else {
        return eprintln!("SKIPPED: umoci is not installed, or this is not root");
    };
    if !String::from_utf8_lossy(&version.stdout).contains("0.4.7") {
        return eprintln!("SKIPPED: verdicts are known of umoci 0.4.7 only");
    }
    let (layout, place) = (tempfile::tempdir().unwrap(), Place::new());
    ImageBuilder::new(vec![layer.to_vec()]).write(layout.path());
    let image = format!("{}:test", layout.path().display());
    let output =
        Command::new("umoci").args(["raw", "unpack", "--image", &image]).arg(place.layer()).output().unwrap();
    place.check_outside();
    let verdict = if output.status.success() { Umoci::Accepts } else { Umoci::Refuses };
    assert_eq!(verdict, expected, "{}", String::from_utf8_lossy(&output.stderr));
}

/// Ours refuses by this rule.
pub fn refused(layer: Vec<u8>, rule: &str, umoci: Umoci, _why: &str) {
    let (_place, result) = ours(&layer, Compression::None, UnpackLimits::default());
    let text = match result.unwrap_err() {
        UnpackError::Refused { rule, .. } => rule,
        UnpackError::Read { source, .. } | UnpackError::Make { source, .. } => source.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(text.contains(rule), "{text}");
    ask_umoci(&layer, umoci);
}

/// Ours unpacks it to what `check` finds harmless.
pub fn confined(layer: Vec<u8>, umoci: Umoci, check: impl FnOnce(&Path, &Unpacked)) {
    let (place, result) = ours(&layer, Compression::None, UnpackLimits::default());
    check(&place.layer(), &result.unwrap());
    ask_umoci(&layer, umoci);
}
