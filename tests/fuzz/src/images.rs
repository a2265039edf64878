//! What comes with a job: references, an image's JSON, and layers.

use std::cell::RefCell;
use std::io::Read;
use std::path::Path;

use assay_sandbox::SandboxError;
use assay_sandbox::image::{Compression, Entry, Layer, Source, resolve};
use assay_sandbox::registry_ref::{REFERENCE_MAX, RegistryRef};
use assay_sandbox::unpack::{UnpackLimits, unpack};
use oci_spec::image::MediaType;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A reference to an image in a registry: written back as it was read, and never a path upwards.
pub fn registry_ref(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(reference) = RegistryRef::parse(text) else { return };
    assert_eq!(reference.to_string(), text, "one text of each reference");
    assert!(text.len() <= REFERENCE_MAX);
    assert!(!reference.repository().split('/').any(|part| matches!(part, "" | "." | "..")));
    assert!(reference.tag().is_some() || reference.digest().is_some());
}

/// A registry that gives the same bytes for everything.
struct Same<'a>(&'a [u8]);

impl Source for Same<'_> {
    fn manifest(&mut self, _: &str, _: &[u8; 32], _: u64) -> Result<Vec<u8>, SandboxError> {
        Ok(self.0.to_vec())
    }

    fn document(&mut self, _: &str, _: &[u8; 32], _: u64) -> Result<Vec<u8>, SandboxError> {
        Ok(self.0.to_vec())
    }

    fn layer(&mut self, _: &Layer) -> Result<Box<dyn Read + '_>, SandboxError> {
        Ok(Box::new(self.0))
    }
}

/// Manifest or index (by the first byte) up to a zero byte, and the documents that it leads to behind it. What is
/// taken has the digests that it was reached by, and stays within its limits.
pub fn image(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let media_type = if kind % 2 == 0 { MediaType::ImageManifest } else { MediaType::ImageIndex };
    let at = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let (bytes, behind) = rest.split_at(at);
    let behind = behind.get(1..).unwrap_or_default();
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let entry = Entry { media_type, digest, bytes: bytes.to_vec() };
    let Ok(image) = resolve(&mut Same(behind), entry) else { return };
    let last: [u8; 32] = Sha256::digest(behind).into();
    assert_eq!(image.config_digest, last, "a config that was not reached by its digest");
    assert!(image.manifest_digest == digest || image.manifest_digest == last);
    assert!((1..=64).contains(&image.layers.len()));
    assert!(image.config.cwd.starts_with('/'));
    let strings = || image.config.argv.iter().chain(&image.config.env);
    assert!(strings().all(|text| !text.contains('\0') && text.len() <= 32 << 10));
    assert!(!image.config.env.iter().any(|entry| entry.starts_with("NVIDIA_VISIBLE_DEVICES")));
}

thread_local! {
    static PLACE: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// A layer, its compression by the first byte: nothing outside of its directory changes, what is taken is hashed
/// whole, and nothing in the directory has a privilege.
pub fn layer(data: &[u8]) {
    let Some((kind, blob)) = data.split_first() else { return };
    let compression = [Compression::None, Compression::Gzip, Compression::Zstd][usize::from(kind % 3)];
    PLACE.with_borrow_mut(|place| {
        let outer = place.get_or_insert_with(|| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("victim"), "untouched").unwrap();
            dir
        });
        apply(outer.path(), compression, blob);
    });
}

fn apply(outer: &Path, compression: Compression, blob: &[u8]) {
    let dir = outer.join("layer");
    std::fs::create_dir(&dir).unwrap();
    let limits = UnpackLimits { total_bytes: 4 << 20, entries: 64, reserve_bytes: 1 << 20 };
    if let Ok(done) = unpack(blob, compression, &dir, limits) {
        let digest: [u8; 32] = Sha256::digest(blob).into();
        assert_eq!(done.blob_sha256, digest, "bytes that were not looked at");
        assert!(done.entries <= limits.entries);
        unprivileged(&dir);
    }
    std::fs::remove_dir_all(&dir).unwrap();
    let left = std::fs::read_dir(outer).unwrap().count();
    assert_eq!(left, 1, "something appeared outside");
    assert_eq!(std::fs::read(outer.join("victim")).unwrap(), b"untouched");
}

fn unprivileged(dir: &Path) {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let meta = entry.path().symlink_metadata().unwrap();
        let kind = meta.file_type();
        assert!(!kind.is_block_device() && !kind.is_fifo() && !kind.is_socket());
        assert!(!kind.is_char_device() || meta.rdev() == 0, "a device");
        assert!(kind.is_symlink() || meta.mode() & 0o6000 == 0, "set-user-id");
        assert!(meta.uid() <= 65_535 && meta.gid() <= 65_535);
        if kind.is_dir() {
            unprivileged(&entry.path());
        }
    }
}
