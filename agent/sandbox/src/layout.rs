//! OCI image layouts (image-spec 1.1, image-layout.md) as a source of images.
//!
//! Non-goals: layouts that refer to blobs elsewhere.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use oci_spec::image::{Descriptor, ImageIndex, OciLayout};

use crate::confined::{Dir, read_bounded};
use crate::error::SandboxError;
use crate::image::{DOCUMENT_MAX, Image, Layer, Source, decode, only};

/// Annotation that holds a manifest's tag, image-spec annotations.md.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image layout directory.
#[derive(Debug)]
pub struct Layout(Dir);

impl Layout {
    /// Opens a layout and checks its version.
    ///
    /// # Errors
    /// If the directory or its `oci-layout` cannot be read, or is of another version.
    pub fn open(path: &Path) -> Result<Self, SandboxError> {
        let dir = Dir::open(path)
            .map_err(|e| SandboxError::ReadImage { path: ".".to_owned(), source: e.into() })?;
        let layout = Self(dir);
        let version: OciLayout = decode("oci-layout", &layout.read("oci-layout")?)?;
        match version.image_layout_version().as_str() {
            "1.0.0" => Ok(layout),
            _ => Err(SandboxError::image("oci-layout", "imageLayoutVersion is not 1.0.0")),
        }
    }

    /// The one entry of the index with this tag.
    pub(crate) fn tagged(&self, tag: &str) -> Result<Descriptor, SandboxError> {
        let index: ImageIndex = decode("index.json", &self.read("index.json")?)?;
        let name = |d: &&Descriptor| {
            d.annotations().as_ref().and_then(|a| a.get(REF_NAME)).is_some_and(|name| name == tag)
        };
        only("index.json", tag, index.manifests().iter().filter(name))
    }

    /// Every layer is there, in its size.
    pub(crate) fn check_presence(&self, image: &Image) -> Result<(), SandboxError> {
        image.layers.iter().try_for_each(|layer| {
            let path = blob_path(&layer.digest);
            let size = self.open_blob(layer).map_err(unreadable(&path))?.metadata();
            match size.map_err(unreadable(&path))?.len() == layer.size {
                true => Ok(()),
                false => Err(SandboxError::image("layer", "has a size other than its descriptor's")),
            }
        })
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, SandboxError> {
        let bytes = self.0.read(path).map_err(Into::into).and_then(|file| read_bounded(file, DOCUMENT_MAX));
        bytes.map_err(unreadable(path))
    }

    fn open_blob(&self, layer: &Layer) -> std::io::Result<File> {
        Ok(self.0.read(blob_path(&layer.digest))?)
    }
}

fn unreadable(path: &str) -> impl FnOnce(std::io::Error) -> SandboxError {
    let path = path.to_owned();
    move |source| SandboxError::ReadImage { path, source }
}

fn blob_path(digest: &[u8; 32]) -> String {
    format!("blobs/sha256/{}", hex::encode(digest))
}

impl Source for Layout {
    fn manifest(&mut self, _part: &str, digest: &[u8; 32], _size: u64) -> Result<Vec<u8>, SandboxError> {
        self.read(&blob_path(digest))
    }

    fn document(&mut self, _part: &str, digest: &[u8; 32], _size: u64) -> Result<Vec<u8>, SandboxError> {
        self.read(&blob_path(digest))
    }

    fn layer(&mut self, layer: &Layer) -> Result<Box<dyn Read + '_>, SandboxError> {
        let file = self.open_blob(layer).map_err(unreadable(&blob_path(&layer.digest)))?;
        Ok(Box::new(file))
    }
}
