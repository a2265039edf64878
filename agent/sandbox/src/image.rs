//! OCI image layouts (OCI image-spec 1.1: image-layout, image-index, manifest, config).
//!
//! Everything is reached from the index by digest, and every digest and size
//! is checked on the bytes; only SHA-256 is accepted. Layers are looked for
//! here, and hashed where they are unpacked.
//!
//! Non-goals: registries, signatures, foreign layers fetched from URLs.

use std::fs::File;
use std::path::Path;

use oci_spec::image::{
    Arch, Descriptor, DigestAlgorithm, ImageConfiguration, ImageIndex, ImageManifest, MediaType, OciLayout,
    Os,
};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use sha2::{Digest, Sha256};

use assay_jailer::plan::LAYERS_MAX;

use crate::confined::{Dir, read_bounded};
use crate::error::SandboxError;

/// Most bytes in one JSON document of a layout.
const DOCUMENT_MAX: u64 = 4 << 20;
/// Most bytes in one layer blob.
const LAYER_MAX: u64 = 32 << 30;
/// Annotation that holds a manifest's tag, image-spec annotations.md.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// How a layer blob is compressed, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A bare archive.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// SHA-256 of the blob.
    pub digest: [u8; 32],
    /// Bytes of the blob.
    pub size: u64,
    /// Its compression.
    pub compression: Compression,
    /// SHA-256 of the uncompressed archive.
    pub diff_id: [u8; 32],
}

/// What an image says about running it (image-spec config.md).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunConfig {
    /// `Entrypoint` and then `Cmd`.
    pub argv: Vec<String>,
    /// `Env`, `KEY=value`.
    pub env: Vec<String>,
    /// `WorkingDir`; `/` if it has none.
    pub cwd: String,
    /// `User`, as written.
    pub user: String,
}

/// A checked image whose layers are still packed.
#[derive(Debug)]
pub struct Image {
    /// SHA-256 of the manifest: the image's identity.
    pub manifest_digest: [u8; 32],
    /// SHA-256 of the configuration.
    pub config_digest: [u8; 32],
    /// How to run it.
    pub config: RunConfig,
    /// Layers, bottom first.
    pub layers: Vec<Layer>,
    blobs: Dir,
}

/// Which documents a JSON object could be taken for: one that is a manifest to
/// one reader and an index to another is refused (image-spec 1.1, manifest.md, `mediaType`).
#[derive(Deserialize)]
struct Shape {
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<IgnoredAny>,
}

/// Opens the image that `tag` names in a layout directory and checks everything but the layers' bytes.
///
/// # Errors
/// The first document or blob that is missing, malformed, or not what its digest says.
pub fn open(layout: &Path, tag: &str) -> Result<Image, SandboxError> {
    let dir =
        Dir::open(layout).map_err(|e| SandboxError::ReadImage { path: ".".to_owned(), source: e.into() })?;
    let version: OciLayout = decode("oci-layout", &read(&dir, "oci-layout")?)?;
    if version.image_layout_version() != "1.0.0" {
        return Err(SandboxError::image("oci-layout", "imageLayoutVersion is not 1.0.0"));
    }
    let index: ImageIndex = decode("index.json", &read(&dir, "index.json")?)?;
    let manifest = choose(&dir, &index, tag)?;
    let bytes = read_blob(&dir, "manifest", &manifest)?;
    image_from(dir, &manifest, &bytes)
}

fn read(dir: &Dir, path: &str) -> Result<Vec<u8>, SandboxError> {
    let bytes = dir.read(path).map_err(Into::into).and_then(|file| read_bounded(file, DOCUMENT_MAX));
    bytes.map_err(|source| SandboxError::ReadImage { path: path.to_owned(), source })
}

fn decode<T: DeserializeOwned>(part: &str, bytes: &[u8]) -> Result<T, SandboxError> {
    serde_json::from_slice(bytes)
        .map_err(|source| SandboxError::DecodeImage { part: part.to_owned(), source })
}

/// Follows the tag to one image manifest, through at most one inner index of platforms.
fn choose(dir: &Dir, index: &ImageIndex, tag: &str) -> Result<Descriptor, SandboxError> {
    let is_tagged =
        |d: &&Descriptor| d.annotations().as_ref().and_then(|a| a.get(REF_NAME)).is_some_and(|n| n == tag);
    let chosen = only("index.json", tag, index.manifests().iter().filter(is_tagged))?;
    if *chosen.media_type() != MediaType::ImageIndex {
        return Ok(chosen);
    }
    let bytes = read_blob(dir, "inner index", &chosen)?;
    let shape: Shape = decode("inner index", &bytes)?;
    if shape.layers.is_some() || shape.config.is_some() || shape.fs_layers.is_some() {
        return Err(SandboxError::image("inner index", "is a manifest at the same time"));
    }
    let inner: ImageIndex = decode("inner index", &bytes)?;
    let fits = |d: &&Descriptor| {
        d.platform().as_ref().is_some_and(|p| *p.os() == Os::Linux && *p.architecture() == Arch::Amd64)
    };
    only("inner index", "linux/amd64", inner.manifests().iter().filter(fits))
}

fn only<'a>(
    part: &str,
    wanted: &str,
    mut found: impl Iterator<Item = &'a Descriptor>,
) -> Result<Descriptor, SandboxError> {
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) => Err(SandboxError::image(part, format!("has no manifest for {wanted:?}"))),
        (Some(_), Some(_)) => {
            Err(SandboxError::image(part, format!("has more than one manifest for {wanted:?}")))
        }
    }
}

/// The descriptor's SHA-256, if that is what it has and nothing else is odd about it.
fn sha256_of(part: &str, descriptor: &Descriptor, size_max: u64) -> Result<[u8; 32], SandboxError> {
    if *descriptor.digest().algorithm() != DigestAlgorithm::Sha256 {
        return Err(SandboxError::image(part, "has a digest other than sha256"));
    }
    if descriptor.urls().as_ref().is_some_and(|urls| !urls.is_empty()) {
        return Err(SandboxError::image(part, "is to be fetched from a URL"));
    }
    if descriptor.size() > size_max {
        return Err(SandboxError::image(part, format!("has more than {size_max} bytes")));
    }
    parse_hex(part, descriptor.digest().digest())
}

fn parse_hex(part: &str, hex: &str) -> Result<[u8; 32], SandboxError> {
    let mut digest = [0; 32];
    let ok = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match ok && hex::decode_to_slice(hex, &mut digest).is_ok() {
        true => Ok(digest),
        false => Err(SandboxError::image(part, "has a digest that is not 64 lower-case hexadecimal digits")),
    }
}

fn blob_path(digest: &[u8; 32]) -> String {
    format!("blobs/sha256/{}", hex::encode(digest))
}

fn read_blob(dir: &Dir, part: &str, descriptor: &Descriptor) -> Result<Vec<u8>, SandboxError> {
    let expected = sha256_of(part, descriptor, DOCUMENT_MAX)?;
    let bytes = read(dir, &blob_path(&expected))?;
    check_digest(part, &expected, &Sha256::digest(&bytes).into())?;
    match u64::try_from(bytes.len()).is_ok_and(|n| n == descriptor.size()) {
        true => Ok(bytes),
        false => Err(SandboxError::image(part, "has a size other than its descriptor's")),
    }
}

/// Compares two digests.
pub(crate) fn check_digest(what: &str, expected: &[u8; 32], found: &[u8; 32]) -> Result<(), SandboxError> {
    match expected == found {
        true => Ok(()),
        false => Err(SandboxError::Digest {
            what: what.to_owned(),
            expected: hex::encode(expected),
            found: hex::encode(found),
        }),
    }
}

fn image_from(dir: Dir, descriptor: &Descriptor, bytes: &[u8]) -> Result<Image, SandboxError> {
    let shape: Shape = decode("manifest", bytes)?;
    if shape.manifests.is_some() || shape.fs_layers.is_some() {
        return Err(SandboxError::image("manifest", "is an index at the same time"));
    }
    let manifest: ImageManifest = decode("manifest", bytes)?;
    let types = [Some(descriptor.media_type()), manifest.media_type().as_ref()];
    if types.into_iter().flatten().any(|t| *t != MediaType::ImageManifest) {
        return Err(SandboxError::image("manifest", "is not an image manifest by its media type"));
    }
    if *manifest.config().media_type() != MediaType::ImageConfig {
        return Err(SandboxError::image("config", "is not an image configuration by its media type"));
    }
    let config: ImageConfiguration = decode("config", &read_blob(&dir, "config", manifest.config())?)?;
    let layers = layers_of(&manifest, &config)?;
    for layer in &layers {
        check_presence(&dir, layer)?;
    }
    let manifest_digest = sha256_of("manifest", descriptor, DOCUMENT_MAX)?;
    let config_digest = sha256_of("config", manifest.config(), DOCUMENT_MAX)?;
    Ok(Image { manifest_digest, config_digest, config: run_config(&config)?, layers, blobs: dir })
}

fn layers_of(manifest: &ImageManifest, config: &ImageConfiguration) -> Result<Vec<Layer>, SandboxError> {
    let diff_ids = config.rootfs().diff_ids();
    if manifest.layers().len() != diff_ids.len() || diff_ids.is_empty() || diff_ids.len() > LAYERS_MAX {
        return Err(SandboxError::image(
            "manifest",
            "must have 1 to 64 layers, as many as the config has diff_ids",
        ));
    }
    manifest.layers().iter().zip(diff_ids).map(|(layer, diff_id)| layer_of(layer, diff_id)).collect()
}

fn layer_of(descriptor: &Descriptor, diff_id: &str) -> Result<Layer, SandboxError> {
    let part = "layer";
    let compression = match descriptor.media_type() {
        MediaType::ImageLayer => Compression::None,
        MediaType::ImageLayerGzip => Compression::Gzip,
        MediaType::ImageLayerZstd => Compression::Zstd,
        other => return Err(SandboxError::image(part, format!("has media type {other}"))),
    };
    let hex = diff_id.strip_prefix("sha256:");
    let hex = hex.ok_or_else(|| SandboxError::image("config", "has a diff_id other than sha256"))?;
    Ok(Layer {
        digest: sha256_of(part, descriptor, LAYER_MAX)?,
        size: descriptor.size(),
        compression,
        diff_id: parse_hex("config", hex)?,
    })
}

fn check_presence(dir: &Dir, layer: &Layer) -> Result<(), SandboxError> {
    let path = blob_path(&layer.digest);
    let size = dir.read(&path).map_err(Into::into).and_then(|file| file.metadata());
    match size.map_err(|source| SandboxError::ReadImage { path, source })?.len() == layer.size {
        true => Ok(()),
        false => Err(SandboxError::image("layer", "has a size other than its descriptor's")),
    }
}

fn run_config(config: &ImageConfiguration) -> Result<RunConfig, SandboxError> {
    if *config.os() != Os::Linux || *config.architecture() != Arch::Amd64 {
        return Err(SandboxError::image("config", "is not for linux/amd64"));
    }
    let Some(run) = config.config() else {
        return Ok(RunConfig { cwd: "/".to_owned(), ..RunConfig::default() });
    };
    let list = |items: &Option<Vec<String>>| items.clone().unwrap_or_default();
    let cwd = run.working_dir().clone().filter(|d| !d.is_empty()).unwrap_or_else(|| "/".to_owned());
    let result = RunConfig {
        argv: [list(run.entrypoint()), list(run.cmd())].concat(),
        env: list(run.env()),
        cwd,
        user: run.user().clone().unwrap_or_default(),
    };
    let holds_nul =
        result.argv.iter().chain(&result.env).chain([&result.cwd, &result.user]).any(|s| s.contains('\0'));
    match holds_nul || !result.cwd.starts_with('/') {
        true => Err(SandboxError::image("config", "holds a NUL or a relative working directory")),
        false => Ok(result),
    }
}

impl Image {
    /// Opens a layer's blob; its bytes are still unchecked.
    pub(crate) fn open_layer(&self, layer: &Layer) -> Result<File, SandboxError> {
        let path = blob_path(&layer.digest);
        self.blobs.read(&path).map_err(|e| SandboxError::ReadImage { path, source: e.into() })
    }
}
