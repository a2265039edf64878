//! What the integration tests share: the jailer, images from busybox, a sandbox.
#![allow(dead_code, unreachable_pub)]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use assay_sandbox::{JobFile, JobOutcome, Sandbox, SandboxConfig, SandboxError};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

const BUSYBOX: &str = "/bin/busybox";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The static jailer: `ASSAY_JAILER`, or built once per test program.
pub fn jailer() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| std::env::var_os("ASSAY_JAILER").map_or_else(build_jailer, PathBuf::from)).clone()
}

fn build_jailer() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let dir = root.join("target/jailer");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .args(["build", "--quiet", "-p", "assay-jailer", "--target", TARGET, "--target-dir"])
        .arg(&dir)
        .status()
        .unwrap();
    assert!(status.success(), "building the jailer failed");
    dir.join(TARGET).join("debug/assay-jailer")
}

/// True if this machine can run jobs; says why not otherwise.
pub fn can_run() -> bool {
    let is_static = std::fs::metadata(BUSYBOX).is_ok();
    let userns = Command::new("unshare").args(["--user", "true"]).status().is_ok_and(|s| s.success());
    if !is_static {
        eprintln!("SKIPPED: no {BUSYBOX} (package busybox-static)");
    } else if !userns {
        eprintln!("SKIPPED: no user namespaces");
    }
    is_static && userns
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A layer in the making.
pub struct LayerTar(Builder<Vec<u8>>);

impl LayerTar {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub fn entry(mut self, kind: EntryType, name: &str, link: &str, content: &[u8], mode: u32) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, "", content, 0o755)
    }

    pub fn dir(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", b"", 0o755)
    }

    pub fn symlink(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Symlink, name, to, b"", 0o777)
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// A layer with busybox under the names that the tests call it by.
pub fn busybox() -> LayerTar {
    let mut layer = LayerTar::new().dir("bin").file("bin/busybox", &std::fs::read(BUSYBOX).unwrap());
    layer = layer.entry(EntryType::Directory, "tmp", "", b"", 0o1777);
    let applets = "sh cat ls id ps true false sleep kill mount umount unshare ln mkdir mv rm rmdir head yes dd \
                   setsid nohup wget ping nc chroot hostname ip ifconfig stat touch chmod mknod env pwd uname date \
                   grep wc sha256sum mkfifo printf echo test seq ulimit nproc ash";
    for applet in applets.split_whitespace() {
        layer = layer.symlink(&format!("bin/{applet}"), "busybox");
    }
    layer
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn hex_sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// An OCI layout under construction: uncompressed layers, and one thing made wrong.
pub struct ImageBuilder {
    pub layers: Vec<Vec<u8>>,
    pub config: Value,
    /// Called with (config, manifest) before they are hashed.
    pub tamper: fn(&mut Value, &mut Value),
}

impl ImageBuilder {
    pub fn new(layers: Vec<Vec<u8>>) -> Self {
        Self {
            layers,
            config: json!({"Env": ["PATH=/bin", "IMAGE=yes"], "Cmd": ["/bin/true"]}),
            tamper: |_, _| {},
        }
    }

    /// Writes the layout with gzip layers and returns the blobs' names, layers first.
    pub fn write(&self, dir: &Path) -> Vec<PathBuf> {
        let mut names = vec![];
        let mut blob = |bytes: &[u8]| {
            let name = dir.join("blobs/sha256").join(hex_sha256(bytes));
            std::fs::create_dir_all(name.parent().unwrap()).unwrap();
            std::fs::write(&name, bytes).unwrap();
            names.push(name);
        };
        let descriptor = |kind: &str, bytes: &[u8]| {
            json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "size": bytes.len(),
                   "digest": format!("sha256:{}", hex_sha256(bytes))})
        };
        let diff_ids: Vec<_> = self.layers.iter().map(|l| format!("sha256:{}", hex_sha256(l))).collect();
        let packed: Vec<_> = self.layers.iter().map(|l| gzip(l)).collect();
        packed.iter().for_each(|l| blob(l));
        let layers: Vec<_> = packed.iter().map(|l| descriptor("layer.v1.tar+gzip", l)).collect();
        let mut config = json!({"architecture": "amd64", "os": "linux", "config": self.config,
                                "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let mut manifest = json!({"schemaVersion": 2, "layers": layers,
                                  "mediaType": "application/vnd.oci.image.manifest.v1+json"});
        (self.tamper)(&mut config, &mut manifest);
        let config = config.to_string().into_bytes();
        blob(&config);
        manifest["config"] = descriptor("config.v1+json", &config);
        let manifest = manifest.to_string().into_bytes();
        blob(&manifest);
        let mut tagged = descriptor("manifest.v1+json", &manifest);
        tagged["annotations"] = json!({"org.opencontainers.image.ref.name": "test"});
        std::fs::write(
            dir.join("index.json"),
            json!({"schemaVersion": 2, "manifests": [tagged]}).to_string(),
        )
        .unwrap();
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        names
    }
}

/// A sandbox of its own with one image in it.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub sandbox: Sandbox,
}

pub fn config(state: &Path) -> SandboxConfig {
    SandboxConfig { jailer: Some(jailer()), log_bytes: 64 << 10, ..SandboxConfig::new(state) }
}

impl Bench {
    pub fn new() -> Self {
        Self::with_image(&ImageBuilder::new(vec![busybox().bytes()]))
    }

    pub fn with_image(image: &ImageBuilder) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        image.write(&dir.path().join("image"));
        let sandbox = Sandbox::new(config(&dir.path().join("state"))).unwrap();
        Self { dir, sandbox }
    }

    /// A job file for this image; `extra` are further lines of `[job]`.
    pub fn job(&self, script: &str, extra: &str) -> JobFile {
        job(&self.dir.path().join("image"), script, extra)
    }

    pub fn run(&self, script: &str) -> JobOutcome {
        self.run_with(script, "").unwrap()
    }

    pub fn run_with(&self, script: &str, extra: &str) -> Result<JobOutcome, SandboxError> {
        self.sandbox.run(&self.job(script, extra), &[], &AtomicBool::new(false), &|_| {})
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }
}

pub fn job(image: &Path, script: &str, extra: &str) -> JobFile {
    let text = format!(
        "[job]\nimage = \"oci:{}:test\"\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']\n{extra}\n\
         [job.resources]\nlimits = \"rlimit\"\nmemory = \"64Mi\"\ndisk = \"16Mi\"\npids = 32\n",
        image.display()
    );
    JobFile::parse(text.as_bytes()).unwrap()
}

/// Processes of this machine whose command line holds `mark`.
pub fn processes_with(mark: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|e| std::fs::read(e.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(mark))
        .collect()
}
