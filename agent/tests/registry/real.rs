//! docker-registry, filled by skopeo.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use assay_sandbox::images::Event;

use super::image::{Held, MANIFEST, digest, tar};
use super::*;

struct Registry {
    dir: tempfile::TempDir,
    process: Child,
    authority: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    /// Listens on loopback, and wants user `u` with password `p`; `None` where a tool is missing.
    fn start() -> Option<Self> {
        for tool in ["docker-registry", "skopeo", "htpasswd"] {
            if Command::new(tool)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_err()
            {
                eprintln!("SKIPPED: {tool} is not installed");
                return None;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let passwords = dir.path().join("htpasswd");
        let made = Command::new("htpasswd").arg("-Bbc").arg(&passwords).args(["u", "p"]).output().unwrap();
        assert!(made.status.success());
        // A port that was free a moment ago may be taken; then the next one.
        for _ in 0..5 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let authority = format!("127.0.0.1:{port}");
            let text = format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
                 http:\n  addr: {authority}\nauth:\n  htpasswd:\n    realm: test\n    path: {}\n",
                dir.path().join("store").display(),
                passwords.display()
            );
            let config = dir.path().join("config.yml");
            std::fs::write(&config, text).unwrap();
            let mut process = Command::new("docker-registry")
                .arg("serve")
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            for _ in 0..400 {
                if std::net::TcpStream::connect(&authority).is_ok() {
                    return Some(Self { dir, process, authority });
                }
                if process.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("docker-registry does not start");
    }

    /// Copies a layout's image there.
    fn push(&self, layout: &Path, name: &str, more: &[&str]) {
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false", "--dest-creds", "u:p"])
            .args(more)
            .arg(format!("oci:{}:test", layout.display()))
            .arg(format!("docker://{}/{name}", self.authority))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn settings(&self, password: &str) -> ImageSettings {
        use base64ct::Encoding as _;
        let auth = base64ct::Base64::encode_string(format!("u:{password}").as_bytes());
        let file = self.dir.path().join(format!("auth-{password}.json"));
        let text = serde_json::json!({"auths": {&self.authority: {"auth": auth}}}).to_string();
        std::fs::write(&file, text).unwrap();
        ImageSettings { credentials: Some(file), ..insecure(&[&self.authority]) }
    }
}

/// A layout of an image with one layer of some megabytes; its manifest's digest.
fn layout(dir: &Path) -> (Vec<u8>, String) {
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut held = Held::default();
    let manifest = held.add(&[tar("first", b"1"), tar("f", &content)], |_, _| {});
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let bytes = held.manifests[&manifest].1.clone();
    let all = held.blobs.iter().chain([(&manifest, &bytes)]);
    for (name, bytes) in all {
        std::fs::write(blobs.join(name.strip_prefix("sha256:").unwrap()), bytes).unwrap();
    }
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": MANIFEST, "digest": manifest, "size": bytes.len(),
        "annotations": {"org.opencontainers.image.ref.name": "test"}}]});
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    (content, manifest)
}

#[test]
fn images_come_from_a_real_registry() {
    let Some(registry) = Registry::start() else { return };
    let source = tempfile::tempdir().unwrap();
    let (content, _) = layout(source.path());
    for (name, more) in [
        ("gzip:v1", &["--dest-compress-format", "gzip", "--dest-compress"][..]),
        ("library/zstd:v1", &["--dest-compress-format", "zstd", "--dest-compress"]),
        ("docker/types:v1", &["--format", "v2s2"]),
    ] {
        registry.push(source.path(), name, more);
        let node = Node::new(&registry.settings("p"));
        let events = Mutex::new(Vec::new());
        let reference = format!("{}/{name}", registry.authority);
        let provided = node
            .pull_watched(&reference, &AtomicBool::new(false), &|event| events.lock().unwrap().push(event))
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(file_of(&provided), content, "{name}");
        let events = events.into_inner().unwrap();
        assert!(matches!(&events[0], Event::Resolving { .. }), "{events:?}");
        assert!(
            matches!(events.last(), Some(Event::Layer { index: 1, layers: 2, bytes, total, .. }) if bytes == total)
        );
        // Owners are the layer's, where we may give them.
        if nix::unistd::geteuid().is_root() {
            let meta = provided.layers()[1].join("f").metadata().unwrap();
            assert_eq!((meta.uid(), meta.gid()), (1000, 100));
        }
        // The same by its digest, from what is kept; nothing of the pull itself stays.
        let by_digest = format!("{reference}@sha256:{}", hex::encode(provided.image.manifest_digest));
        assert_eq!(node.pull(&by_digest).unwrap().layers(), provided.layers());
        assert_eq!(node.left().len(), 4, "{:?}", node.left());
        let other = format!("{reference}@{}", digest(b"other"));
        assert_eq!(code(node.pull(&other).unwrap_err()), "pull.not-found");
    }
}

#[test]
fn a_real_registry_refuses_wrong_and_missing_credentials() {
    let Some(registry) = Registry::start() else { return };
    let source = tempfile::tempdir().unwrap();
    layout(source.path());
    registry.push(source.path(), "a:v1", &[]);
    let reference = format!("{}/a:v1", registry.authority);
    let wrong = Node::new(&registry.settings("wrong"));
    assert_eq!(code(wrong.pull(&reference).unwrap_err()), "pull.unauthorized");
    let none = Node::new(&insecure(&[&registry.authority]));
    assert_eq!(code(none.pull(&reference).unwrap_err()), "pull.unauthorized");
    let missing = Node::new(&registry.settings("p"));
    let error = missing.pull(&format!("{}/none:v1", registry.authority)).unwrap_err();
    assert_eq!(code(error), "pull.not-found");
}

/// An agent without TPM and GPUs that may pull from one registry; stops its daemon when dropped.
struct Agent {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Agent {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(agent());
        command.args(args).arg("--config").arg(self.dir.path().join("agent.toml")).stdin(Stdio::null());
        command
    }

    /// Runs the job file and returns what it printed.
    fn job(&self) -> String {
        let file = self.dir.path().join("job.toml");
        let output = self.command(&["job", "run", "--json", file.to_str().unwrap()]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }
}

#[test]
fn jobs_run_images_from_registries_with_and_without_a_daemon() {
    let beside = || agent().with_file_name("assay-jailer");
    let jailer = std::env::var_os("ASSAY_JAILER").map_or_else(beside, PathBuf::from);
    if !jailer.is_file() {
        return eprintln!("SKIPPED: assay-jailer is not built");
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("image");
    if let Err(error) = assay_demo::image::make_image(&source) {
        return eprintln!("SKIPPED: no image can be made here: {error}");
    }
    let Some(registry) = Registry::start() else { return };
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(source.join("index.json")).unwrap()).unwrap();
    let tag = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
    let copied = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--dest-tls-verify=false", "--dest-creds", "u:p"])
        .arg(format!("oci:{}:{tag}", source.display()))
        .arg(format!("docker://{}/job:v1", registry.authority))
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let root = dir.path().display().to_string();
    let (authority, credentials) = (&registry.authority, registry.settings("p").credentials.unwrap());
    std::fs::write(
        dir.path().join("agent.toml"),
        format!(
            "[node]\nstate_dir = \"{root}/state\"\nruntime_dir = \"{root}/run\"\n[tpm]\nbackend = \"{root}/no-tpm\"\n\
             [gpu]\nenabled = false\n[sandbox]\njailer = {jailer:?}\n[sandbox.images]\nreserve_mib = 16\ntags = true\n\
             insecure_registries = [\"{authority}\"]\ncredentials = {credentials:?}\n"
        ),
    )
    .unwrap();
    std::fs::write(
        dir.path().join("job.toml"),
        format!(
            "[job]\nimage = \"{authority}/job:v1\"\ncommand = [\"/bin/sh\", \"-c\", \"true\"]\n\
             [job.resources]\nlimits = \"rlimit\"\n"
        ),
    )
    .unwrap();
    let mut agent = Agent { dir, daemon: None };
    assert!(agent.job().contains("exit 0"));
    std::fs::remove_dir_all(agent.dir.path().join("state/sandbox")).unwrap();
    agent.daemon = Some(agent.command(&["run"]).stderr(Stdio::null()).spawn().unwrap());
    for _ in 0..600 {
        if agent.command(&["status"]).output().unwrap().status.success() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // Core has no network: its images come through the socket beside it.
    assert!(agent.job().contains("exit 0"));
}
