//! The layer cache: unpacked layers by DiffID, shared by all jobs, read-only to them.
//!
//! A layer appears under its name by one `rename(2)` after both of its digests
//! were right and its bytes were on disk; whatever a crash leaves behind has
//! another name and is removed by the next attempt.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, fsync, syncfs};

use crate::error::SandboxError;
use crate::image::{Image, Layer, check_digest};
use crate::unpack::{UnpackError, UnpackLimits, Unpacked, unpack};

/// The cache.
#[derive(Debug, Clone)]
pub struct LayerCache {
    dir: PathBuf,
    limits: UnpackLimits,
}

impl LayerCache {
    /// A cache in a directory that exists.
    #[must_use]
    pub fn new(dir: PathBuf, limits: UnpackLimits) -> Self {
        Self { dir, limits }
    }

    /// Directories of all of an image's layers, bottom first, unpacking those that are missing.
    ///
    /// # Errors
    /// The first layer whose digests are wrong or that cannot be unpacked.
    pub fn provide(&self, image: &Image) -> Result<Vec<PathBuf>, SandboxError> {
        image.layers.iter().map(|layer| self.provide_layer(image, layer)).collect()
    }

    fn provide_layer(&self, image: &Image, layer: &Layer) -> Result<PathBuf, SandboxError> {
        let name = hex::encode(layer.diff_id);
        let ready = self.dir.join(&name);
        if ready.is_dir() {
            return Ok(ready);
        }
        let _lock = self.lock(&name)?;
        if !ready.is_dir() {
            let making = self.dir.join(format!("{name}.new"));
            let made = self.make(image, layer, &making).and_then(|()| self.publish(&making, &ready));
            made.inspect_err(|_| discard(&making))?;
        }
        Ok(ready)
    }

    /// One maker per layer, across processes; dies with its holder.
    fn lock(&self, name: &str) -> Result<File, SandboxError> {
        let path = self.dir.join(format!("{name}.lock"));
        let file = File::create(&path).map_err(SandboxError::state(&path, "create lock"))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|e| SandboxError::state(&path, "lock")(e.into()))?;
        Ok(file)
    }

    fn make(&self, image: &Image, layer: &Layer, making: &Path) -> Result<(), SandboxError> {
        discard(making);
        fs::create_dir(making).map_err(SandboxError::state(making, "create"))?;
        let named = |source: UnpackError| SandboxError::Unpack { layer: hex::encode(layer.digest), source };
        let blob = image.open_layer(layer)?;
        let done: Unpacked = unpack(blob, layer.compression, making, self.limits).map_err(named)?;
        check_digest("layer blob", &layer.digest, &done.blob_sha256)?;
        check_digest("uncompressed layer", &layer.diff_id, &done.diff_id)?;
        match done.blob_bytes == layer.size {
            true => Ok(()),
            false => Err(SandboxError::image("layer", "has a size other than its descriptor's")),
        }
    }

    fn publish(&self, making: &Path, ready: &Path) -> Result<(), SandboxError> {
        let dir = File::open(&self.dir).map_err(SandboxError::state(&self.dir, "open"))?;
        // A rename may reach the disk before the files it makes visible.
        syncfs(&dir).map_err(|e| SandboxError::state(&self.dir, "sync")(e.into()))?;
        fs::rename(making, ready).map_err(SandboxError::state(ready, "rename"))?;
        fsync(&dir).map_err(|e| SandboxError::state(&self.dir, "sync")(e.into()))
    }
}

/// Removes a half-made layer; what cannot be removed fails the next attempt.
fn discard(making: &Path) {
    if let Err(error) = fs::remove_dir_all(making)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        log::warn!("half-made layer {} stays: {error}", making.display());
    }
}
