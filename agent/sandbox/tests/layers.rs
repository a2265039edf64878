//! Layers that mean harm, each made here and given to our applier and to umoci.
//!
//! An attack is *refused*, or *confined*: unpacked to something harmless, which the
//! case checks. In both cases nothing beside the layer's directory may change.
//! Where umoci's verdict differs, the case says why ours is right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;
mod malice;

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use assay_sandbox::image::Compression;
use assay_sandbox::unpack::{UnpackError, UnpackLimits};
use common::gzip;
use flate2::write::GzEncoder;
use malice::*;
use tar::EntryType;

const REWRITTEN: &str = "umoci takes the name for another one inside; no writer of layers makes such names, and \
                         two readers of one layer must not see two trees";

#[test]
fn parent_directories_in_names() {
    for name in ["../victim", "a/../../victim"] {
        refused(tar().file(name).bytes(), "a path with ..", Umoci::Accepts, REWRITTEN);
    }
    refused(tar().file("..").bytes(), "a path with ..", Umoci::Refuses, "");
}

#[test]
fn absolute_names() {
    refused(tar().file("/victim").bytes(), "an absolute path", Umoci::Accepts, REWRITTEN);
}

const THROUGH: &str = "its path leads through a symbolic link";
const SCOPED: &str = "umoci resolves the link inside of the root file system; a layer of ours is unpacked without the \
                      layers below, so where the link leads is not known yet";

#[test]
fn writing_through_a_symbolic_link() {
    for target in ["..", "/", "../victim", "/proc/self/root", "/etc"] {
        refused(tar().symlink("l", target).file("l/evil").bytes(), THROUGH, Umoci::Unasked, SCOPED);
    }
    refused(tar().symlink("l", "..").file("l/evil").bytes(), THROUGH, Umoci::Accepts, SCOPED);
    refused(
        tar().symlink("a", "b").symlink("b", "..").file("a/evil").bytes(),
        THROUGH,
        Umoci::Accepts,
        SCOPED,
    );
}

#[test]
fn a_parent_swapped_for_a_symbolic_link() {
    let layer = tar().dir("d").file("d/a").symlink("d", "..").file("d/victim").bytes();
    refused(layer, "replaces a directory of the same layer", Umoci::Accepts, SCOPED);
}

#[test]
fn a_directory_replaced_by_a_link_across_layers() {
    // Each layer is a directory of its own: what an upper layer writes stays in it.
    let lower = tar().symlink("d", "..").bytes();
    confined(lower, Umoci::Accepts, |layer, _| assert!(layer.join("d").is_symlink()));
    let upper = tar().file("d/victim").bytes();
    confined(upper, Umoci::Accepts, |layer, _| assert!(layer.join("d").symlink_metadata().unwrap().is_dir()));
}

#[test]
fn hard_links_to_the_outside() {
    let why = "umoci looks for the target inside; we have no use for such names";
    refused(tar().link("l", "/etc/shadow").bytes(), "an absolute path", Umoci::Refuses, "");
    refused(tar().link("l", "../victim").bytes(), "a path with ..", Umoci::Refuses, "");
    let through = tar().symlink("s", "..").link("l", "s/victim").bytes();
    refused(through, THROUGH, Umoci::Refuses, why);
    refused(tar().link("l", "none").bytes(), "no file of this layer", Umoci::Refuses, "");
    refused(tar().dir("d").link("l", "d").bytes(), "no file of this layer", Umoci::Refuses, "");
}

#[test]
fn a_hard_link_to_a_symbolic_link() {
    let layer = tar().symlink("s", "../victim").link("l", "s").bytes();
    // The link gets a second name; writing to that name replaces it.
    confined(layer, Umoci::Accepts, |layer, _| assert!(layer.join("l").is_symlink()));
    let layer = tar().symlink("s", "../victim").link("l", "s").file("l").bytes();
    confined(layer, Umoci::Accepts, |layer, _| assert_eq!(std::fs::read(layer.join("l")).unwrap(), b"evil"));
}

#[test]
fn devices_pipes_and_sockets() {
    let kinds = [EntryType::Char, EntryType::Block, EntryType::Fifo];
    let layer = kinds.into_iter().fold(tar(), |tar, kind| {
        let mut tar = tar;
        let mut header = header(kind, b"dev/sda", "", 0, 0o666);
        header.set_device_major(8).unwrap();
        header.set_device_minor(0).unwrap();
        header.set_cksum();
        tar.0.append(&header, &b""[..]).unwrap();
        tar
    });
    // Left out: the sandbox's /dev is its own.
    confined(layer.bytes(), Umoci::Unasked, |layer, done| {
        assert_eq!(done.skipped, 3);
        assert!(!layer.join("dev/sda").exists());
    });
    // A device 0/0 would hide a file of a lower layer without being called a whiteout.
    let zero = tar().with(EntryType::Char, "etc", "", b"", 0o666).bytes();
    confined(zero, Umoci::Unasked, |layer, _| assert!(layer.join("etc").symlink_metadata().is_err()));
}

#[test]
fn set_user_id_bits() {
    let layer = tar().with(FILE, "su", "", b"x", 0o7755).with(DIR, "d", "", b"", 0o7755).bytes();
    confined(layer, Umoci::Accepts, |layer, _| {
        let mode = |name: &str| layer.join(name).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("su"), mode("d")), (0o755, 0o1755));
    });
}

#[test]
fn capabilities_and_overlay_attributes() {
    let attributes: [(&str, &[u8]); 5] = [
        (
            "SCHILY.xattr.security.capability",
            b"\x01\x00\x00\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("LIBARCHIVE.xattr.user.overlay.redirect", b"L2V0Yw"),
    ];
    let layer = tar().pax(&attributes).file("f").pax(&attributes).dir("d").bytes();
    confined(layer, Umoci::Unasked, |layer, _| {
        for name in ["f", "d"] {
            let mut list = [0u8; 1024];
            let length = rustix::fs::llistxattr(layer.join(name), &mut list[..]).unwrap();
            let text = String::from_utf8_lossy(&list[..length]).into_owned();
            assert!(!["security.capability", "overlay"].iter().any(|part| text.contains(part)), "{text}");
        }
    });
}

#[test]
fn attribute_bombs() {
    let value = vec![b'a'; 2 << 20];
    let layer = tar().pax(&[("SCHILY.xattr.user.a", &value)]).file("f").bytes();
    refused(layer, "more than 1 MiB", Umoci::Unasked, "");
}

#[test]
fn whiteouts_of_parents_and_of_nothing() {
    let why = "umoci removes what the name leads to, inside; a whiteout names one entry beside itself";
    for name in [".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh..."] {
        refused(tar().dir("d").file(name).bytes(), "a whiteout of nothing", Umoci::Unasked, why);
    }
}

#[test]
fn whiteouts_with_separators() {
    let layer = tar().file(".wh.a/b").bytes();
    refused(layer, "a path through a whiteout", Umoci::Unasked, "");
    refused(tar().file("d/.wh.../victim").bytes(), "a path through a whiteout", Umoci::Unasked, "");
}

#[test]
fn an_opaque_root_and_opaque_after_its_siblings() {
    // It hides lower layers only, wherever it stands in its own.
    let layer = tar().file("before").file(".wh..wh..opq").file("after").bytes();
    confined(layer, Umoci::Accepts, |layer, _| {
        assert!(layer.join("before").exists() && layer.join("after").exists());
        assert!(!layer.join(".wh..wh..opq").exists());
        let mut value = [0u8; 4];
        assert_eq!(rustix::fs::getxattr(layer, "user.overlay.opaque", &mut value[..]), Ok(1));
    });
}

#[test]
fn duplicate_entries() {
    let layer = tar().with(FILE, "f", "", b"first", 0o644).with(FILE, "f", "", b"second", 0o644).bytes();
    confined(layer, Umoci::Accepts, |layer, _| {
        assert_eq!(std::fs::read(layer.join("f")).unwrap(), b"second");
    });
}

#[test]
fn a_file_as_a_parent() {
    refused(tar().file("f").file("f/evil").bytes(), "leads through a file", Umoci::Refuses, "");
}

#[test]
fn names_that_extensions_replace() {
    let pax = |name: &[u8]| tar().pax(&[("path", name)]).file("f").bytes();
    refused(pax(b"../victim"), "a path with ..", Umoci::Accepts, REWRITTEN);
    refused(pax(b"/victim"), "an absolute path", Umoci::Accepts, REWRITTEN);
    let link = tar().pax(&[("linkpath", b"../victim")]).link("l", "f").bytes();
    refused(link, "a path with ..", Umoci::Refuses, "");
    let mixed = tar().with(LONG, "@", "", b"a", 0o644).pax(&[("path", b"b")]).file("c").bytes();
    refused(mixed, "two extension headers", Umoci::Accepts, "readers disagree on which of the names it is");
    let global = record("path", b"g");
    let layer = tar().with(EntryType::XGlobalHeader, "g", "", &global, 0o644).file("f").bytes();
    refused(layer, "a global PAX header", Umoci::Refuses, "");
}

#[test]
fn sizes_that_lie() {
    let layer = tar().pax(&[("size", b"1000000")]).file("f").bytes();
    refused(layer, "a PAX size that differs", Umoci::Refuses, "");
    let huge = tar().header(|h| h.as_old_mut().size.copy_from_slice(b"77777777777\0"), b"x").bytes();
    refused(huge, "", Umoci::Refuses, "");
    let negative = tar().header(|h| h.as_old_mut().size = [0xff; 12], b"x").bytes();
    refused(negative, "", Umoci::Refuses, "");
    let octal = tar().header(|h| h.as_old_mut().size = *b"notanumber!\0", b"x").bytes();
    refused(octal, "", Umoci::Refuses, "");
}

#[test]
fn sizes_that_only_pax_can_say() {
    // As files of 8 GiB and more are written: nothing in the header, all in the record.
    let big = |kind: EntryType, said: &[u8], content: &[u8]| {
        let mut tar = tar().pax(&[("size", said)]).with(kind, "f", "", b"", 0o644).bytes();
        tar.truncate(tar.len() - 1024);
        tar.extend(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
        tar
    };
    let content = [7; 1300];
    for after in [tar().file("g").bytes(), tar().pax(&[("size", b"4")]).file("g").bytes()] {
        let layer = [big(FILE, b"1300", &content), after].concat();
        confined(layer, Umoci::Accepts, |layer, done| {
            assert_eq!(std::fs::read(layer.join("f")).unwrap(), content);
            assert_eq!((std::fs::read(layer.join("g")).unwrap().as_slice(), done.entries), (&b"evil"[..], 2));
        });
    }
    refused(big(FILE, b"9000000000", &content), "content that ends early", Umoci::Unasked, "");
    refused(
        big(DIR, b"1300", &content),
        "content in an entry that is not",
        Umoci::Unasked,
        "readers disagree",
    );
    // The content is there, and what fills its last block is not.
    let mut torn = big(FILE, b"1300", &content);
    torn.truncate(torn.len() - 1);
    assert!(matches!(
        ours(&torn, Compression::None, UnpackLimits::default()).1.unwrap_err(),
        UnpackError::Read { .. }
    ));
}

#[test]
fn sparse_files() {
    let layer = tar().with(EntryType::GNUSparse, "s", "", b"", 0o644).bytes();
    refused(layer, "a sparse file", Umoci::Unasked, "");
    let layer =
        tar().pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"9999999999")]).file("f").bytes();
    refused(layer, "a sparse file", Umoci::Unasked, "a hole of any size costs an image nothing");
}

#[test]
fn times_at_the_end_of_the_world() {
    let layer = tar().header(|h| h.as_old_mut().mtime = *b"77777777777\0", b"x").bytes();
    confined(layer, Umoci::Accepts, |layer, _| {
        assert!(layer.join("f").metadata().unwrap().mtime() <= 1 << 33);
    });
    let layer = tar().pax(&[("mtime", b"9223372036854775808"), ("atime", b"-1e99")]).file("f").bytes();
    confined(layer, Umoci::Unasked, |layer, _| {
        assert!(layer.join("f").metadata().unwrap().mtime() <= 1 << 33);
    });
}

#[test]
fn names_that_are_no_text() {
    let layer = tar().header(|h| h.as_old_mut().name[..3].copy_from_slice(b"\xff\xfe\n"), b"x").bytes();
    confined(layer, Umoci::Accepts, |layer, _| {
        assert!(layer.join(std::ffi::OsStr::from_bytes(b"\xff\xfe\n")).exists());
    });
    let layer = tar().pax(&[("path", b"a\0b")]).file("f").bytes();
    refused(layer, "an impossible name", Umoci::Refuses, "");
    let layer = tar().pax(&[("path", &[b'n'; 300])]).file("f").bytes();
    refused(layer, "an impossible name", Umoci::Refuses, "");
}

#[test]
fn names_that_differ_in_case() {
    confined(tar().file("Name").file("name").bytes(), Umoci::Accepts, |layer, _| {
        assert!(layer.join("Name").exists() && layer.join("name").exists());
    });
}

#[test]
fn directories_thousands_deep() {
    let deep = "d/".repeat(2049);
    let layer = tar().pax(&[("path", deep.as_bytes())]).dir("d").bytes();
    refused(
        layer,
        "deeper than 128",
        Umoci::Unasked,
        "removing and mounting such a tree fails later, elsewhere",
    );
}

#[test]
fn inode_bombs() {
    let layer = (0..2000).fold(tar(), |tar, n| tar.with(FILE, &format!("f{n}"), "", b"", 0o644)).bytes();
    let limits = UnpackLimits { entries: 1000, ..UnpackLimits::default() };
    let (_place, result) = ours(&layer, Compression::None, limits);
    let UnpackError::Refused { rule, .. } = result.unwrap_err() else { panic!() };
    assert_eq!(rule, "more entries than the limit");
}

#[test]
fn directories_that_names_imply_are_entries() {
    let deep = |n: usize| format!("{n}/{}f", "d/".repeat(30));
    let layer = (0..10).fold(tar(), |tar, n| tar.with(FILE, &deep(n), "", b"", 0o644)).bytes();
    let (_place, done) = ours(&layer, Compression::None, UnpackLimits::default());
    let done = done.unwrap();
    assert_eq!((done.entries, done.disk_bytes), (10 * 32, 10 * (1 << 10) + 10 * 31 * (5 << 10)));
    let limits = UnpackLimits { entries: 319, ..UnpackLimits::default() };
    let UnpackError::Refused { rule, .. } = ours(&layer, Compression::None, limits).1.unwrap_err() else {
        panic!()
    };
    assert_eq!(rule, "more entries than the limit");
    // A directory of its own takes as much.
    let (_place, done) = ours(&tar().dir("d").bytes(), Compression::None, UnpackLimits::default());
    assert_eq!(done.unwrap().disk_bytes, 5 << 10);
}

#[test]
fn inodes_are_left_for_others() {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    if !common::is_root() {
        return eprintln!("SKIPPED: mounting needs root");
    }
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().to_owned();
    let rules = std::thread::spawn(move || {
        // This thread's alone; it ends with the thread.
        #[allow(deprecated)]
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS | rustix::thread::UnshareFlags::FS)
            .unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        // As many as one look lets pass, and some of the reserve: not enough for both.
        [4097, 20_000, 21_000].map(|inodes| {
            let options = std::ffi::CString::new(format!("nr_inodes={inodes}")).unwrap();
            mount("t", &dir, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).unwrap();
            let limits = UnpackLimits { reserve_bytes: 1 << 20, ..UnpackLimits::default() };
            let layer = tar().file("f").bytes();
            assay_sandbox::unpack::unpack(layer.as_slice(), Compression::None, &dir, limits)
                .map_err(|error| error.to_string())
        })
    });
    let [few, nearly, enough] = rules.join().unwrap();
    for refused in [few, nearly] {
        assert!(refused.unwrap_err().contains("the disk's reserve would be used"));
    }
    enough.unwrap();
}

#[test]
fn compression_bombs() {
    let zeros = vec![0; 128 << 20];
    let bomb = tar().with(FILE, "zeros", "", &zeros, 0o644).bytes();
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&bomb).unwrap();
    let packed = encoder.finish().unwrap();
    for (blob, compression) in
        [(packed, Compression::Gzip), (zstd::encode_all(bomb.as_slice(), 1).unwrap(), Compression::Zstd)]
    {
        let (_place, result) = ours(&blob, compression, UnpackLimits::default());
        assert!(format!("{:?}", result.unwrap_err()).contains("more than 200 times its blob"));
    }
}

#[test]
fn a_zstd_window_of_two_gibibytes() {
    // Magic, a header with a window descriptor of 2^(10+21) bytes, one empty last block (RFC 8878 3.1.1).
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    let (_place, result) = ours(&frame, Compression::Zstd, UnpackLimits::default());
    assert!(format!("{:?}", result.unwrap_err()).to_lowercase().contains("memory"));
    // The largest that is taken.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
    let (_place, result) = ours(&frame, Compression::Zstd, UnpackLimits::default());
    assert_eq!(result.unwrap().entries, 0);
}

#[test]
fn skippable_and_concatenated_frames() {
    let plain = tar().file("f").bytes();
    let (first, second) = plain.split_at(600);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let blobs = [
        ([skippable, zstd(first), zstd(second)].concat(), Compression::Zstd),
        ([gzip(first), gzip(second)].concat(), Compression::Gzip),
    ];
    let whole = ours(&plain, Compression::None, UnpackLimits::default()).1.unwrap();
    for (blob, compression) in blobs {
        let (place, result) = ours(&blob, compression, UnpackLimits::default());
        let done = result.unwrap();
        // Both digests cover every byte, skipped ones too.
        assert_eq!((done.diff_id, done.blob_bytes), (whole.diff_id, blob.len() as u64));
        assert!(place.layer().join("f").exists());
    }
}

#[test]
fn truncated_streams_and_trailing_garbage() {
    let plain = tar().with(FILE, "f", "", &[7; 3000], 0o644).bytes();
    let cut = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let more = |bytes: &[u8]| [bytes, b"garbage"].concat();
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    for (blob, compression) in [
        (plain[..2000].to_vec(), Compression::None),
        (more(&plain), Compression::None),
        (cut(&gzip(&plain)), Compression::Gzip),
        (more(&gzip(&plain)), Compression::Gzip),
        (gzip(&more(&plain)), Compression::Gzip),
        (cut(&zstd), Compression::Zstd),
        (more(&zstd), Compression::Zstd),
    ] {
        let (_place, result) = ours(&blob, compression, UnpackLimits::default());
        let error = result.unwrap_err();
        let ended = matches!(&error, UnpackError::Refused { rule, .. } if rule == "content that ends early");
        let broken = matches!(&error, UnpackError::Read { .. } | UnpackError::Make { .. });
        assert!(ended || broken, "{error:?}");
    }
}

#[test]
fn unknown_kinds_of_entries() {
    for kind in [b'V', b'M', b'D', b'N', 0x7f] {
        let layer = tar().with(EntryType::new(kind), "v", "", b"", 0o644).bytes();
        refused(layer, "unknown type", Umoci::Unasked, "what a reader does not know it cannot apply");
    }
}
