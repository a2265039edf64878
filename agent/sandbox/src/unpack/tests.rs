//! Layers that mean harm, and layers that are merely odd.

use std::io::{Cursor, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use flate2::{Compression as Level, write::GzEncoder};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::*;

/// An archive from entries of (type, name, link, content).
fn tar(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, link, content) in entries {
        append(&mut builder, *kind, name, link, content, 0o755);
    }
    builder.into_inner().unwrap()
}

/// Writes names into the header byte for byte: the crate's own setters refuse bad ones.
fn append(to: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, link: &str, content: &[u8], mode: u32) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    to.append(&header, content).unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

struct Case {
    outer: tempfile::TempDir,
    result: Result<Unpacked, UnpackError>,
}

impl Case {
    fn new(blob: Vec<u8>, compression: Compression, limits: UnpackLimits) -> Self {
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir(outer.path().join("layer")).unwrap();
        std::fs::write(outer.path().join("victim"), "untouched").unwrap();
        let result = unpack(Cursor::new(blob), compression, &outer.path().join("layer"), limits);
        Self { outer, result }
    }

    fn of(entries: &[(EntryType, &str, &str, &[u8])]) -> Self {
        Self::new(tar(entries), Compression::None, UnpackLimits::default())
    }

    fn layer(&self) -> std::path::PathBuf {
        self.outer.path().join("layer")
    }

    /// The rule that refused the layer; panics if anything reached the outside.
    fn rule(self) -> String {
        let outside = std::fs::read_dir(self.outer.path()).unwrap().count();
        assert_eq!(outside, 2, "something appeared outside");
        assert_eq!(std::fs::read(self.outer.path().join("victim")).unwrap(), b"untouched");
        match self.result.unwrap_err() {
            UnpackError::Refused { rule, .. } => rule,
            other => panic!("{other:?}"),
        }
    }

    fn ok(self) -> (tempfile::TempDir, Unpacked) {
        (self.outer, self.result.unwrap())
    }
}

const FILE: EntryType = EntryType::Regular;
const DIR: EntryType = EntryType::Directory;
const SYMLINK: EntryType = EntryType::Symlink;
const LINK: EntryType = EntryType::Link;

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../evil", "a/../../evil", "a/..", ".."] {
        assert_eq!(Case::of(&[(FILE, name, "", b"x")]).rule(), "a path with ..", "{name}");
    }
    assert_eq!(Case::of(&[(FILE, "/evil", "", b"x")]).rule(), "an absolute path");
    assert_eq!(Case::of(&[(FILE, "./", "", b"x")]).rule(), "an empty name");
    let deep = "d/".repeat(45);
    let mut builder = Builder::new(Vec::new());
    let long = format!("{deep}{deep}{deep}f");
    append(&mut builder, EntryType::GNULongName, "@", "", long.as_bytes(), 0);
    append(&mut builder, FILE, "f", "", b"", 0);
    let case = Case::new(builder.into_inner().unwrap(), Compression::None, UnpackLimits::default());
    assert_eq!(case.rule(), "deeper than 128 directories");
}

#[test]
fn links_as_parents_are_refused() {
    const RULE: &str = "its path leads through a symbolic link";
    for target in ["..", "/", "../victim", "/proc/self/root"] {
        assert_eq!(Case::of(&[(SYMLINK, "l", target, b""), (FILE, "l/evil", "", b"x")]).rule(), RULE);
        assert_eq!(Case::of(&[(SYMLINK, "l", target, b""), (DIR, "l/evil/deep", "", b"")]).rule(), RULE);
        assert_eq!(Case::of(&[(SYMLINK, "l", target, b""), (FILE, "l/.wh.evil", "", b"")]).rule(), RULE);
        assert_eq!(Case::of(&[(SYMLINK, "l", target, b""), (FILE, "l/.wh..wh..opq", "", b"")]).rule(), RULE);
        assert_eq!(Case::of(&[(SYMLINK, "l", target, b""), (LINK, "copy", "l/victim", b"")]).rule(), RULE);
    }
    // A directory replaced by a link, in one layer, is how a parent gets swapped.
    let swap = Case::of(&[(DIR, "d", "", b""), (SYMLINK, "d", "..", b""), (FILE, "d/evil", "", b"x")]);
    assert_eq!(swap.rule(), "replaces a directory of the same layer");
    let file = Case::of(&[(FILE, "f", "", b""), (FILE, "f/evil", "", b"x")]);
    assert_eq!(file.rule(), "its path leads through a file");
}

#[test]
fn a_file_over_a_link_replaces_the_link() {
    let (outer, _) = Case::of(&[(SYMLINK, "l", "../victim", b""), (FILE, "l", "", b"mine")]).ok();
    assert_eq!(std::fs::read(outer.path().join("victim")).unwrap(), b"untouched");
    assert_eq!(std::fs::read(outer.path().join("layer/l")).unwrap(), b"mine");
}

#[test]
fn hard_links_stay_in_the_layer() {
    const RULE: &str = "a hard link to what is no file of this layer";
    assert_eq!(Case::of(&[(LINK, "l", "../victim", b"")]).rule(), "a path with ..");
    assert_eq!(Case::of(&[(LINK, "l", "/etc/passwd", b"")]).rule(), "an absolute path");
    assert_eq!(Case::of(&[(LINK, "l", "none", b"")]).rule(), RULE);
    assert_eq!(Case::of(&[(DIR, "d", "", b""), (LINK, "l", "d", b"")]).rule(), RULE);
    assert_eq!(Case::of(&[(FILE, ".wh.w", "", b""), (LINK, "l", "w", b"")]).rule(), RULE);
    let (outer, _) =
        Case::of(&[(FILE, "a", "", b"same"), (LINK, "b", "./a", b""), (LINK, "a", "b", b"")]).ok();
    assert_eq!(std::fs::read(outer.path().join("layer/b")).unwrap(), b"same");
    // A link to a link: the link itself gets a second name, nothing is followed.
    let (outer, _) = Case::of(&[(SYMLINK, "s", "../victim", b""), (LINK, "t", "s", b"")]).ok();
    assert!(outer.path().join("layer/t").is_symlink());
}

#[test]
fn devices_are_left_out_and_privileged_bits_cleared() {
    let mut builder = Builder::new(Vec::new());
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        append(&mut builder, kind, "dev", "", b"", 0o666);
    }
    append(&mut builder, FILE, "suid", "", b"", 0o7755);
    append(&mut builder, DIR, "tmp", "", b"", 0o7777);
    append(&mut builder, DIR, "locked", "", b"", 0o000);
    let case = Case::new(builder.into_inner().unwrap(), Compression::None, UnpackLimits::default());
    let (outer, done) = case.ok();
    let mode =
        |name: &str| outer.path().join("layer").join(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((done.skipped, done.entries), (3, 6));
    assert!(!outer.path().join("layer/dev").exists());
    assert_eq!((mode("suid"), mode("tmp"), mode("locked")), (0o755, 0o1777, 0o700));
}

#[test]
fn unknown_and_contradictory_entries_are_refused() {
    assert_eq!(Case::of(&[(EntryType::GNUSparse, "s", "", b"")]).rule(), "a sparse file");
    assert_eq!(Case::of(&[(EntryType::new(b'V'), "v", "", b"")]).rule(), "an entry of unknown type");
    assert_eq!(Case::of(&[(DIR, "d", "", b"x")]).rule(), "content in an entry that is not a file");
    assert_eq!(Case::of(&[(SYMLINK, "s", "", b"")]).rule(), "a link without a target");
    let pax =
        |records: &'static [u8]| Case::of(&[(EntryType::XHeader, "x", "", records), (FILE, "f", "", b"x")]);
    assert_eq!(pax(b"10 size=9\n").rule(), "a PAX size that differs from the header's");
    assert_eq!(pax(b"14 path=/evil\n").rule(), "an absolute path");
    assert_eq!(pax(b"16 path=../evil\n").rule(), "a path with ..");
    assert_eq!(pax(b"999 path=a\n").rule(), "a malformed PAX record");
    assert_eq!(pax(b"7 path\n").rule(), "a PAX record without =");
    assert_eq!(pax(b"9 uid=-1\n").rule(), "a PAX number that is none");
    assert_eq!(pax(b"10 path=a\n10 path=b\n").rule(), "two extension headers for one property");
    assert_eq!(pax(b"24 GNU.sparse.size=1000\n").rule(), "a sparse file");
    assert_eq!(
        Case::of(&[(EntryType::XGlobalHeader, "g", "", b"10 path=a\n"), (FILE, "f", "", b"")]).rule(),
        "a global PAX header that renames or resizes"
    );
    assert_eq!(
        Case::of(&[(EntryType::GNULongName, "@", "", b"a"), (EntryType::XHeader, "x", "", b"10 path=b\n")])
            .rule(),
        "two extension headers for one property"
    );
    assert_eq!(
        Case::of(&[(EntryType::GNULongName, "@", "", b"a")]).rule(),
        "an extension header with no entry"
    );
}

#[test]
fn long_names_and_owners_are_understood() {
    let name = "long/".repeat(30);
    let record = format!("path={name}f\n");
    let total = record.len() + 4;
    let pax = format!("{total} {record}").into_bytes();
    let (outer, _) = Case::of(&[(EntryType::XHeader, "x", "", &pax), (FILE, "f", "", b"x")]).ok();
    let file = outer.path().join("layer").join(format!("{name}f"));
    assert_eq!(std::fs::read(&file).unwrap(), b"x");
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: owners are only kept as root");
        return;
    }
    let owners =
        Case::of(&[(EntryType::XHeader, "x", "", b"12 uid=1000\n14 gid=100000\n"), (FILE, "f", "", b"")]);
    let meta = owners.layer().join("f").metadata().unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1000, 65_534));
}

#[test]
fn whiteouts_become_what_overlayfs_reads() {
    let (outer, _) = Case::of(&[
        (FILE, "d/.wh.gone", "", b""),
        (DIR, "opaque", "", b""),
        (FILE, "opaque/.wh..wh..opq", "", b""),
        // Both orders of removing a lower directory and making a new one.
        (FILE, ".wh.first", "", b""),
        (DIR, "first", "", b""),
        (DIR, "then", "", b""),
        (FILE, ".wh.then", "", b""),
        (FILE, "file", "", b"new"),
        (FILE, ".wh.file", "", b""),
    ])
    .ok();
    let layer = outer.path().join("layer");
    let gone = layer.join("d/gone").symlink_metadata().unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    for name in ["opaque", "first", "then"] {
        let mut value = [0; 4];
        let got = rustix::fs::getxattr(layer.join(name), "user.overlay.opaque", &mut value).unwrap();
        assert_eq!(&value[..got], b"y", "{name}");
    }
    assert_eq!(std::fs::read(layer.join("file")).unwrap(), b"new");
    for name in [".wh.", ".wh..", ".wh...", ".wh..wh.plnk"] {
        assert_eq!(Case::of(&[(FILE, name, "", b"")]).rule(), "a whiteout of nothing", "{name}");
    }
}

#[test]
fn both_digests_are_of_the_bytes() {
    let plain = tar(&[(FILE, "f", "", b"content")]);
    let diff_id: [u8; 32] = Sha256::digest(&plain).into();
    let packed = gzip(&plain);
    let zst = zstd::encode_all(plain.as_slice(), 1).unwrap();
    let [first, second] = [&plain[..700], &plain[700..]].map(gzip);
    let two_members = [first, second].concat();
    for (blob, compression) in [
        (plain, Compression::None),
        (packed, Compression::Gzip),
        (two_members, Compression::Gzip),
        (zst, Compression::Zstd),
    ] {
        let digest: [u8; 32] = Sha256::digest(&blob).into();
        let size = blob.len() as u64;
        let (_outer, done) = Case::new(blob, compression, UnpackLimits::default()).ok();
        assert_eq!((done.blob_sha256, done.blob_bytes, done.diff_id), (digest, size, diff_id));
    }
}

#[test]
fn bombs_are_cut_off() {
    let read_error = |case: Case| match case.result.unwrap_err() {
        UnpackError::Read { source, .. } | UnpackError::Make { source, .. } => source.to_string(),
        other => panic!("{other:?}"),
    };
    let zeros = vec![0; 100 << 20];
    let bomb = tar(&[(FILE, "zeros", "", &zeros)]);
    let mut encoder = GzEncoder::new(Vec::new(), Level::best());
    encoder.write_all(&bomb).unwrap();
    let packed = Case::new(encoder.finish().unwrap(), Compression::Gzip, UnpackLimits::default());
    assert_eq!(read_error(packed), "more than 200 times its blob");
    let packed = zstd::encode_all(bomb.as_slice(), 1).unwrap();
    assert_eq!(
        read_error(Case::new(packed, Compression::Zstd, UnpackLimits::default())),
        "more than 200 times its blob"
    );
    let limits = UnpackLimits { total_bytes: 1 << 20, entries: 10, ..UnpackLimits::default() };
    assert_eq!(read_error(Case::new(bomb, Compression::None, limits)), "more than the size limit");
    let many: Vec<_> = (0..11).map(|_| (FILE, "f", "", b"".as_slice())).collect();
    assert_eq!(Case::new(tar(&many), Compression::None, limits).rule(), "more entries than the limit");
    let long = vec![b'a'; 9 << 10];
    let case = Case::of(&[(EntryType::GNULongName, "@", "", &long), (FILE, "f", "", b"")]);
    assert_eq!(case.rule(), "a name of more than 8 KiB");
}

#[test]
fn broken_streams_are_errors() {
    let plain = tar(&[(FILE, "f", "", &[1; 2000])]);
    let mut trailing = plain.clone();
    trailing.extend(b"more");
    let mut torn = gzip(&plain);
    torn.truncate(torn.len() / 2);
    let mut garbage = gzip(&plain);
    garbage.extend(b"garbage");
    for (blob, compression) in [
        (trailing, Compression::None),
        (plain[..1000].to_vec(), Compression::None),
        (torn, Compression::Gzip),
        (garbage, Compression::Gzip),
        (plain.clone(), Compression::Gzip),
        (plain, Compression::Zstd),
    ] {
        assert!(Case::new(blob, compression, UnpackLimits::default()).result.is_err());
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn flipped_bytes_never_panic_or_escape(at in 0..4096usize, with: u8) {
        let mut blob = tar(&[
            (EntryType::XHeader, "x", "", b"10 path=a\n"),
            (FILE, "f", "", b"x"),
            (SYMLINK, "l", "f", b""),
            (LINK, "h", "a", b""),
        ]);
        let at = at % blob.len();
        blob[at] = with;
        let case = Case::new(blob, Compression::None, UnpackLimits::default());
        proptest::prop_assert_eq!(std::fs::read_dir(case.outer.path()).unwrap().count(), 2);
    }
}
