//! OCI images (image-spec 1.1: index, manifest, config), wherever they come from.
//!
//! Everything is reached by digest from one entry, and every digest and size is
//! checked on the bytes; only SHA-256 is accepted. The Docker types of the same
//! shapes (distribution's "Image Manifest V2, Schema 2") are taken as well.
//! Layers are hashed where they are unpacked.
//!
//! Non-goals: signatures, foreign layers fetched from URLs, other machines' images.

use std::io::Read;
use std::path::Path;

use oci_spec::image::{
    Arch, Descriptor, DigestAlgorithm, ImageConfiguration, ImageIndex, ImageManifest, MediaType, Os,
};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use sha2::{Digest, Sha256};

use assay_jailer::plan::LAYERS_MAX;

use crate::error::SandboxError;
use crate::layout::Layout;
use crate::registry_ref::parse_digest;
pub use crate::run_config::RunConfig;
use crate::run_config::run_config;

/// Most bytes in one JSON document of an image.
pub const DOCUMENT_MAX: u64 = 4 << 20;
/// Most bytes in one layer blob.
const LAYER_MAX: u64 = 32 << 30;
/// Most bytes in all layer blobs of an image.
const IMAGE_MAX: u64 = 128 << 30;

/// How a layer blob is compressed, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// A checked image whose layers are still packed.
#[derive(Debug, Clone)]
pub struct Image {
    /// SHA-256 of the manifest: the image's identity.
    pub manifest_digest: [u8; 32],
    /// SHA-256 of the configuration.
    pub config_digest: [u8; 32],
    /// How to run it.
    pub config: RunConfig,
    /// Layers, bottom first.
    pub layers: Vec<Layer>,
}

/// Where an image's parts are read from. What it gives is unchecked.
pub trait Source {
    /// A manifest or index of this digest and size.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn manifest(&mut self, part: &str, digest: &[u8; 32], size: u64) -> Result<Vec<u8>, SandboxError>;

    /// A blob of this digest and size, at most [`DOCUMENT_MAX`] bytes.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn document(&mut self, part: &str, digest: &[u8; 32], size: u64) -> Result<Vec<u8>, SandboxError>;

    /// A layer's blob.
    ///
    /// # Errors
    /// Where it cannot be opened.
    fn layer(&mut self, layer: &Layer) -> Result<Box<dyn Read + '_>, SandboxError>;
}

/// A manifest or index whose digest has been checked.
#[derive(Debug)]
pub struct Entry {
    /// Its media type, as whoever gave it says.
    pub media_type: MediaType,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Which documents a JSON object could be taken for: one that is a manifest to
/// one reader and an index to another is refused (image-spec 1.1, manifest.md, `mediaType`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// Opens the image that `tag` names in a layout directory and checks everything but the layers' bytes.
///
/// # Errors
/// The first document or blob that is missing, malformed, or not what its digest says.
pub fn open(layout: &Path, tag: &str) -> Result<(Image, Layout), SandboxError> {
    let mut source = Layout::open(layout)?;
    let descriptor = source.tagged(tag)?;
    let entry = fetch(&mut source, "manifest", &descriptor)?;
    let image = resolve(&mut source, entry)?;
    source.check_presence(&image)?;
    Ok((image, source))
}

/// Follows an entry to an image, through at most one index of platforms.
///
/// # Errors
/// The first document that is missing, malformed, or not what its digest says.
pub fn resolve(source: &mut dyn Source, entry: Entry) -> Result<Image, SandboxError> {
    if !is(&entry.media_type, &MediaType::ImageIndex) {
        return image_from(source, &entry);
    }
    let index = parse_index("inner index", &entry)?;
    let fits = |d: &&Descriptor| {
        d.platform().as_ref().is_some_and(|p| *p.os() == Os::Linux && *p.architecture() == Arch::Amd64)
    };
    let chosen = only("inner index", "linux/amd64", index.manifests().iter().filter(fits))?;
    let manifest = fetch(source, "manifest", &chosen)?;
    image_from(source, &manifest)
}

/// Reads a manifest or index by its descriptor and checks digest and size.
fn fetch(source: &mut dyn Source, part: &str, descriptor: &Descriptor) -> Result<Entry, SandboxError> {
    let expected = sha256_of(part, descriptor, DOCUMENT_MAX)?;
    let bytes = source.manifest(part, &expected, descriptor.size())?;
    check_document(part, &expected, descriptor.size(), &bytes)?;
    Ok(Entry { media_type: descriptor.media_type().clone(), digest: expected, bytes })
}

fn check_document(part: &str, digest: &[u8; 32], size: u64, bytes: &[u8]) -> Result<(), SandboxError> {
    check_digest(part, digest, &Sha256::digest(bytes).into())?;
    match u64::try_from(bytes.len()).is_ok_and(|n| n == size) {
        true => Ok(()),
        false => Err(SandboxError::image(part, "has a size other than its descriptor's")),
    }
}

pub(crate) fn decode<T: DeserializeOwned>(part: &str, bytes: &[u8]) -> Result<T, SandboxError> {
    serde_json::from_slice(bytes)
        .map_err(|source| SandboxError::DecodeImage { part: part.to_owned(), source })
}

/// Whether a media type is `kind`, or what Docker calls the same.
fn is(found: &MediaType, kind: &MediaType) -> bool {
    use oci_spec::image::ToDockerV2S2;
    found == kind || kind.to_docker_v2s2().is_ok_and(|docker| found.as_ref() == docker)
}

/// The document says of itself what whoever gave it says.
fn check_shape(part: &str, entry: &Entry, shape: &Shape) -> Result<(), SandboxError> {
    if shape.schema_version != 2 {
        return Err(SandboxError::image(part, "has a schemaVersion other than 2"));
    }
    match &shape.media_type {
        Some(own) if own != entry.media_type.as_ref() => {
            Err(SandboxError::image(part, "has another media type than it was announced with"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn parse_index(part: &str, entry: &Entry) -> Result<ImageIndex, SandboxError> {
    let shape: Shape = decode(part, &entry.bytes)?;
    if shape.layers.is_some() || shape.config.is_some() || shape.fs_layers.is_some() {
        return Err(SandboxError::image(part, "is a manifest at the same time"));
    }
    check_shape(part, entry, &shape)?;
    decode(part, &entry.bytes)
}

pub(crate) fn only<'a>(
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
    sha256(part, descriptor.digest().as_ref())
}

fn sha256(part: &str, digest: &str) -> Result<[u8; 32], SandboxError> {
    parse_digest(digest).ok_or_else(|| {
        SandboxError::image(part, "has a digest that is not sha256 and 64 lower-case hexadecimal digits")
    })
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

fn image_from(source: &mut dyn Source, entry: &Entry) -> Result<Image, SandboxError> {
    if !is(&entry.media_type, &MediaType::ImageManifest) {
        return Err(SandboxError::image("manifest", "is not an image manifest by its media type"));
    }
    let shape: Shape = decode("manifest", &entry.bytes)?;
    if shape.manifests.is_some() || shape.fs_layers.is_some() {
        return Err(SandboxError::image("manifest", "is an index at the same time"));
    }
    check_shape("manifest", entry, &shape)?;
    let manifest: ImageManifest = decode("manifest", &entry.bytes)?;
    let descriptor = manifest.config();
    if !is(descriptor.media_type(), &MediaType::ImageConfig) {
        return Err(SandboxError::image("config", "is not an image configuration by its media type"));
    }
    let config_digest = sha256_of("config", descriptor, DOCUMENT_MAX)?;
    let bytes = source.document("config", &config_digest, descriptor.size())?;
    check_document("config", &config_digest, descriptor.size(), &bytes)?;
    let config: ImageConfiguration = decode("config", &bytes)?;
    let layers = layers_of(&manifest, &config)?;
    Ok(Image { manifest_digest: entry.digest, config_digest, config: run_config(&config)?, layers })
}

fn layers_of(manifest: &ImageManifest, config: &ImageConfiguration) -> Result<Vec<Layer>, SandboxError> {
    let diff_ids = config.rootfs().diff_ids();
    if manifest.layers().len() != diff_ids.len() || diff_ids.is_empty() || diff_ids.len() > LAYERS_MAX {
        return Err(SandboxError::image(
            "manifest",
            "must have 1 to 64 layers, as many as the config has diff_ids",
        ));
    }
    let layers: Vec<Layer> = manifest
        .layers()
        .iter()
        .zip(diff_ids)
        .map(|(layer, diff_id)| layer_of(layer, diff_id))
        .collect::<Result<_, _>>()?;
    let total = layers.iter().fold(0u64, |sum, layer| sum.saturating_add(layer.size));
    match total > IMAGE_MAX {
        true => Err(SandboxError::image("manifest", format!("has more than {IMAGE_MAX} bytes of layers"))),
        false => Ok(layers),
    }
}

fn layer_of(descriptor: &Descriptor, diff_id: &str) -> Result<Layer, SandboxError> {
    let part = "layer";
    let found = descriptor.media_type();
    let kinds = [
        (MediaType::ImageLayer, Compression::None),
        (MediaType::ImageLayerGzip, Compression::Gzip),
        (MediaType::ImageLayerZstd, Compression::Zstd),
    ];
    let known = kinds.into_iter().find(|(kind, _)| is(found, kind));
    let (_, compression) =
        known.ok_or_else(|| SandboxError::image(part, format!("has media type {:?}", short(found))))?;
    let digest = sha256_of(part, descriptor, LAYER_MAX)?;
    Ok(Layer { digest, size: descriptor.size(), compression, diff_id: sha256("config", diff_id)? })
}

fn short(media_type: &MediaType) -> String {
    media_type.as_ref().chars().take(128).collect()
}
