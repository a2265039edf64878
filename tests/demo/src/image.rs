//! A small OCI image made offline from Debian's static busybox: a shell and a program that renders a
//! picture one can look at.
//!
//! The layout is deterministic: the same busybox gives the same digests.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::DemoError;

/// The tag of the image in its layout (`org.opencontainers.image.ref.name`).
pub const TAG: &str = "demo";
/// Where the image's program writes its picture.
pub const PICTURE: &str = "/out/picture.png";

const PROGRAM: &[u8] = include_bytes!("../assets/mandelbrot.sh");
const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];
/// Names under which busybox is found in the image's /bin.
const APPLETS: [&str; 61] = [
    "ash",
    "awk",
    "basename",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "free",
    "grep",
    "gzip",
    "head",
    "hostname",
    "id",
    "ip",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mknod",
    "mount",
    "mv",
    "nc",
    "nproc",
    "od",
    "ping",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "sed",
    "seq",
    "setsid",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "test",
    "timeout",
    "touch",
    "tr",
    "true",
    "umount",
    "uname",
    "wc",
    "wget",
    "whoami",
    "xxd",
    "yes",
];
const DIRECTORIES: [(&str, u32); 9] = [
    ("bin/", 0o755),
    ("dev/", 0o755),
    ("etc/", 0o755),
    ("out/", 0o777),
    ("proc/", 0o755),
    ("root/", 0o700),
    ("sys/", 0o755),
    ("tmp/", 0o1777),
    ("usr/", 0o755),
];
const FILES: [(&str, &str); 2] = [
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
];

/// Makes the image's OCI layout (OCI Image Format 1.1) in `dir`, which may exist, and returns the
/// reference for a job file: `oci:DIR:demo`.
///
/// # Errors
/// [`DemoError::MissingProgram`] or [`DemoError::DynamicBusybox`] without a static busybox, else what
/// could not be read or written.
pub fn make_image(dir: &Path) -> Result<String, DemoError> {
    let busybox = busybox()?;
    let layers = [base_layer(&busybox)?, program_layer()?];
    let layout = Layout { dir };
    layout.write("oci-layout", &bytes(&json!({ "imageLayoutVersion": "1.0.0" })))?;
    let config = layout.blob("application/vnd.oci.image.config.v1+json", &bytes(&config(&layers)))?;
    let blobs = layers
        .iter()
        .map(|layer| layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", &layer.compressed));
    let layers = blobs.collect::<Result<Vec<Value>, DemoError>>()?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    });
    let mut manifest = layout.blob("application/vnd.oci.image.manifest.v1+json", &bytes(&manifest))?;
    if let Some(descriptor) = manifest.as_object_mut() {
        descriptor.insert("annotations".into(), json!({ "org.opencontainers.image.ref.name": TAG }));
    }
    layout.write("index.json", &bytes(&index(&manifest)))?;
    Ok(format!("oci:{}:{TAG}", dir.display()))
}

fn index(manifest: &Value) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest],
    })
}

fn config(layers: &[Layer]) -> Value {
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/bin:/bin", "LC_ALL=C"],
            "Entrypoint": ["/usr/local/bin/mandelbrot"],
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
}

/// This machine's architecture in the words of Go, which OCI uses.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

struct Layout<'a> {
    dir: &'a Path,
}

impl Layout<'_> {
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DemoError> {
        let path = self.dir.join(name);
        let folder = path.parent().unwrap_or(self.dir);
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes));
        written.map_err(|source| DemoError::WriteFile { path, source })
    }

    /// Writes a blob and returns its descriptor.
    fn blob(&self, media_type: &str, bytes: &[u8]) -> Result<Value, DemoError> {
        let hash = sha256(bytes);
        self.write(&format!("blobs/sha256/{hash}"), bytes)?;
        Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{hash}"), "size": bytes.len() }))
    }
}

struct Layer {
    compressed: Vec<u8>,
    /// Digest of the layer before compression.
    diff_id: String,
}

fn base_layer(busybox: &[u8]) -> Result<Layer, DemoError> {
    layer(|tar| {
        for (path, mode) in DIRECTORIES {
            append(tar, EntryType::Directory, path, mode, &[])?;
        }
        append(tar, EntryType::Regular, "bin/busybox", 0o755, busybox)?;
        for applet in APPLETS {
            tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), format!("bin/{applet}"), "busybox")?;
        }
        FILES
            .iter()
            .try_for_each(|(path, text)| append(tar, EntryType::Regular, path, 0o644, text.as_bytes()))
    })
}

fn program_layer() -> Result<Layer, DemoError> {
    layer(|tar| {
        for path in ["usr/", "usr/local/", "usr/local/bin/"] {
            append(tar, EntryType::Directory, path, 0o755, &[])?;
        }
        append(tar, EntryType::Regular, "usr/local/bin/mandelbrot", 0o755, PROGRAM)
    })
}

fn layer(fill: impl FnOnce(&mut Builder<Vec<u8>>) -> std::io::Result<()>) -> Result<Layer, DemoError> {
    let mut builder = Builder::new(Vec::new());
    let tar = fill(&mut builder).and_then(|()| builder.into_inner());
    let tar = tar.map_err(DemoError::PackLayer)?;
    // No time and no name in the gzip header: the same layer is the same bytes.
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    let compressed = gzip.write_all(&tar).and_then(|()| gzip.finish());
    let diff_id = format!("sha256:{}", sha256(&tar));
    Ok(Layer { compressed: compressed.map_err(DemoError::PackLayer)?, diff_id })
}

fn append(
    tar: &mut Builder<Vec<u8>>,
    kind: EntryType,
    path: &str,
    mode: u32,
    data: &[u8],
) -> std::io::Result<()> {
    let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
    tar.append_data(&mut header(kind, mode, size), path, data)
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// The host's busybox, if it runs without the host's libraries.
fn busybox() -> Result<Vec<u8>, DemoError> {
    let found = BUSYBOX.iter().map(PathBuf::from).find(|path| path.exists());
    let missing = DemoError::MissingProgram { program: "busybox", package: "busybox-static" };
    let path = found.ok_or(missing)?;
    match fs::read(&path) {
        Ok(bytes) if is_static(&bytes) => Ok(bytes),
        Ok(_) => Err(DemoError::DynamicBusybox { path }),
        Err(source) => Err(DemoError::ReadBusybox { path, source }),
    }
}

/// Whether a 64-bit little-endian ELF program has no interpreter (System V ABI, program headers:
/// PT_INTERP is 3).
fn is_static(elf: &[u8]) -> bool {
    let read = || {
        let table = usize::try_from(u64::from_le_bytes(field(elf, 32)?)).ok()?;
        let size = usize::from(u16::from_le_bytes(field(elf, 54)?));
        let count = usize::from(u16::from_le_bytes(field(elf, 56)?));
        let kind = |n: usize| field(elf, table.checked_add(n.checked_mul(size)?)?).map(u32::from_le_bytes);
        (0..count).map(kind).collect::<Option<Vec<u32>>>()
    };
    elf.starts_with(b"\x7fELF\x02\x01") && read().is_some_and(|kinds| !kinds.contains(&3))
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_no_static_program_and_text_is_none_either() {
        let this = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(!is_static(&this), "linked with libc.so");
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(b"\x7fELF\x02\x01"));
    }

    #[test]
    fn applets_are_in_order_and_none_twice() {
        assert!(APPLETS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_layer_depends_on_its_contents_only() {
        let [one, two] = [program_layer().unwrap(), program_layer().unwrap()];
        assert_eq!(one.compressed, two.compressed);
        assert_ne!(base_layer(b"a").unwrap().diff_id, base_layer(b"b").unwrap().diff_id);
    }
}
