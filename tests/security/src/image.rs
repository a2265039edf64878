//! An image for jobs of the whole supervisor: an OCI layout with busybox in one layer.

use std::fs;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// Writes the layout; its reference is `oci:DIR:test`.
pub fn write(dir: &Path) {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |kind: &str, bytes: &[u8]| {
        let name = hex::encode(Sha256::digest(bytes));
        fs::write(blobs.join(&name), bytes).unwrap();
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "size": bytes.len(),
               "digest": format!("sha256:{name}")})
    };
    let layer = blob("layer.v1.tar", &layer(&fs::read("/bin/busybox").unwrap()));
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["true"]},
                        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}});
    let config = blob("config.v1+json", config.to_string().as_bytes());
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer],
                          "mediaType": "application/vnd.oci.image.manifest.v1+json"});
    let mut tagged = blob("manifest.v1+json", manifest.to_string().as_bytes());
    tagged["annotations"] = json!({"org.opencontainers.image.ref.name": "test"});
    let index = json!({"schemaVersion": 2, "manifests": [tagged]});
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
}

fn layer(busybox: &[u8]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let mut add = |kind: EntryType, name: &str, link: &str, content: &[u8], mode: u32| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        tar.append_data(&mut header, name, content).unwrap();
    };
    add(EntryType::Directory, "bin/", "", b"", 0o755);
    add(EntryType::Directory, "tmp/", "", b"", 0o1777);
    add(EntryType::Regular, "bin/busybox", "", busybox, 0o755);
    for applet in ["sh", "true", "sleep", "setsid", "echo"] {
        add(EntryType::Symlink, &format!("bin/{applet}"), "busybox", b"", 0o777);
    }
    tar.into_inner().unwrap()
}
