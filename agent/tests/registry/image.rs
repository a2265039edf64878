//! Images made by hand, to be served by hand.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// An archive with one file (ustar: POSIX.1-2024 `pax`, "ustar Interchange Format").
pub fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    let size = format!("{:011o}\0", content.len());
    let fields: [(usize, &[u8]); 8] = [
        (0, name.as_bytes()),
        (100, b"0000644\0"),
        (108, b"0001750\0"),
        (116, b"0000144\0"),
        (124, size.as_bytes()),
        (136, b"00000000000\0"),
        (148, b"        0"),
        (257, b"ustar\x0000"),
    ];
    for (at, text) in fields {
        header[at..at + text.len()].copy_from_slice(text);
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = [&header, content].concat();
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

/// What a registry holds: manifests with their types, and blobs, by digest.
#[derive(Default, Clone)]
pub struct Held {
    pub manifests: BTreeMap<String, (String, Vec<u8>)>,
    pub blobs: BTreeMap<String, Vec<u8>>,
}

impl Held {
    /// An image of uncompressed layers; `change` may spoil (config, manifest). The manifest's digest.
    pub fn add(&mut self, layers: &[Vec<u8>], change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let diff_ids: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
        let descriptor = |kind: &str, bytes: &[u8]| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(bytes), "size": bytes.len()});
        let listed: Vec<_> = layers.iter().map(|layer| descriptor("layer.v1.tar", layer)).collect();
        for layer in layers {
            self.blobs.insert(digest(layer), layer.clone());
        }
        let mut config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/f"]},
                                "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": listed});
        change(&mut config, &mut manifest);
        let config = config.to_string().into_bytes();
        manifest["config"] = descriptor("config.v1+json", &config);
        self.blobs.insert(digest(&config), config);
        self.add_manifest(MANIFEST, &manifest)
    }

    pub fn add_manifest(&mut self, media_type: &str, manifest: &Value) -> String {
        let bytes = manifest.to_string().into_bytes();
        let name = digest(&bytes);
        self.manifests.insert(name.clone(), (media_type.to_owned(), bytes));
        name
    }
}
