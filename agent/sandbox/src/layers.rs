//! The layer store: unpacked layers by DiffID, shared by all jobs, read-only to them.
//!
//! A layer appears under its name by one `rename(2)` after both of its digests
//! were right and its bytes were on disk; whatever a crash leaves behind has
//! another name and is removed when the store is next opened.
//!
//! Each layer has a lock. Its maker holds it alone, so that a layer wanted by
//! several at once is made once; whoever uses the layer shares it, so that what
//! is in use is never collected. The kernel counts the users: a lock goes with its
//! holder. Layers that nobody uses stay until the store outgrows its budget or the
//! disk its reserve, and go in the order in which they were last asked for.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, fsync, statvfs, syncfs};

use crate::error::SandboxError;
use crate::image::{Image, Layer, Source, check_digest};
use crate::images::{Event, Fault, Watch};
use crate::layer_lock::{LayerLock, noted_bytes};
use crate::unpack::{UnpackError, UnpackLimits, Unpacked, unpack};
use crate::unpack_process::{Job, Unpacker};

/// How often a layer that another makes is looked at.
const LOCK_TICK: Duration = Duration::from_millis(20);

/// How the store behaves.
#[derive(Debug, Clone)]
pub struct LayerPolicy {
    /// Limits of each layer, and the disk's reserve.
    pub unpack: UnpackLimits,
    /// Bytes that all layers may take; what is in use may exceed it.
    pub budget_bytes: u64,
    /// Where layers are unpacked.
    pub unpacker: Unpacker,
}

/// The store.
#[derive(Debug, Clone)]
pub struct LayerStore {
    dir: PathBuf,
    policy: LayerPolicy,
}

/// A layer that stays as long as this value does.
#[derive(Debug)]
pub struct HeldLayer {
    /// Its directory.
    pub path: PathBuf,
    _lock: LayerLock,
}

impl LayerStore {
    /// Opens the store in a directory that exists, and clears what a crash has left there or what
    /// a smaller budget has no room for.
    ///
    /// # Errors
    /// If the directory cannot be listed or cleared.
    pub fn open(dir: PathBuf, policy: LayerPolicy) -> Result<Self, SandboxError> {
        let store = Self { dir, policy };
        for (name, path) in store.entries()? {
            let Some(layer) = name.strip_suffix(".new").or_else(|| name.strip_suffix(".gone")) else {
                continue;
            };
            // A maker that lives holds the lock.
            if let Some(lock) = store.attempt(layer)? {
                discard(&path);
                if !store.dir.join(layer).is_dir() {
                    lock.remove().map_err(SandboxError::state(&path, "remove lock"))?;
                }
            }
        }
        store.collect()?;
        Ok(store)
    }

    /// All of an image's layers, bottom first, unpacking those that are missing.
    ///
    /// # Errors
    /// The first layer whose digests are wrong or that cannot be unpacked.
    pub fn provide(
        &self,
        image: &Image,
        source: &mut dyn Source,
        watch: &Watch<'_>,
    ) -> Result<Vec<HeldLayer>, SandboxError> {
        let count = image.layers.len();
        let each = |(index, layer)| {
            let watched = Watched { watch, index, count };
            self.provide_layer(layer, source, &watched)
        };
        image.layers.iter().enumerate().map(each).collect()
    }

    fn provide_layer(
        &self,
        layer: &Layer,
        source: &mut dyn Source,
        watched: &Watched<'_>,
    ) -> Result<HeldLayer, SandboxError> {
        let name = hex::encode(layer.diff_id);
        loop {
            if let Some(held) = self.hold(&name, watched)? {
                watched.report(layer, layer.size);
                return Ok(held);
            }
            let mut lock = self.lock(&name, FlockOperation::NonBlockingLockExclusive, watched)?;
            // Another may have made it meanwhile.
            if !self.dir.join(&name).is_dir() {
                // What is left over is less work than what is to come.
                self.collect()?;
                let made = self.make(&name, layer, source, watched, &mut lock);
                if let Err(error) = made {
                    discard(&self.dir.join(format!("{name}.new")));
                    lock.remove().map_err(SandboxError::state(&self.dir, "remove lock"))?;
                    return Err(error);
                }
                drop(lock);
                let held = self.hold(&name, watched)?;
                self.collect()?;
                if let Some(held) = held {
                    return Ok(held);
                }
            }
        }
    }

    /// The layer, if it is there.
    fn hold(&self, name: &str, watched: &Watched<'_>) -> Result<Option<HeldLayer>, SandboxError> {
        let path = self.dir.join(name);
        if !path.is_dir() {
            return Ok(None);
        }
        let lock = self.lock(name, FlockOperation::NonBlockingLockShared, watched)?;
        lock.touch().map_err(SandboxError::state(&path, "touch"))?;
        // It may have been collected before it was locked.
        Ok(path.is_dir().then_some(HeldLayer { path, _lock: lock }))
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.lock"))
    }

    /// Waits for a lock, as long as the layer is wanted.
    fn lock(
        &self,
        name: &str,
        operation: FlockOperation,
        watched: &Watched<'_>,
    ) -> Result<LayerLock, SandboxError> {
        let path = self.lock_path(name);
        loop {
            let taken = LayerLock::attempt(&path, operation).map_err(SandboxError::state(&path, "lock"))?;
            if let Some(lock) = taken {
                return Ok(lock);
            }
            watched.watch.check().map_err(|fault| match fault {
                Fault::Cancelled => SandboxError::Cancelled,
                _ => SandboxError::ImageTimeout,
            })?;
            std::thread::sleep(LOCK_TICK);
        }
    }

    /// The lock of a layer that nobody makes or uses.
    fn attempt(&self, name: &str) -> Result<Option<LayerLock>, SandboxError> {
        let path = self.lock_path(name);
        LayerLock::attempt(&path, FlockOperation::NonBlockingLockExclusive)
            .map_err(SandboxError::state(path, "lock"))
    }

    fn make(
        &self,
        name: &str,
        layer: &Layer,
        source: &mut dyn Source,
        watched: &Watched<'_>,
        lock: &mut LayerLock,
    ) -> Result<(), SandboxError> {
        let making = self.dir.join(format!("{name}.new"));
        discard(&making);
        fs::create_dir(&making).map_err(SandboxError::state(&making, "create"))?;
        let done = self.unpack(layer, source, watched, &making)?;
        check_digest("layer blob", &layer.digest, &done.blob_sha256)?;
        check_digest("uncompressed layer", &layer.diff_id, &done.diff_id)?;
        if done.blob_bytes != layer.size {
            return Err(SandboxError::image("layer", "has a size other than its descriptor's"));
        }
        lock.set_bytes(done.disk_bytes).map_err(SandboxError::state(&making, "note size"))?;
        self.publish(&making, &self.dir.join(name))
    }

    fn unpack(
        &self,
        layer: &Layer,
        source: &mut dyn Source,
        watched: &Watched<'_>,
        making: &Path,
    ) -> Result<Unpacked, SandboxError> {
        let named = |source: UnpackError| SandboxError::Unpack { layer: hex::encode(layer.digest), source };
        let blob = source.layer(layer)?;
        let report = |bytes| watched.report(layer, bytes);
        let mut blob = watched.watch.reader(blob, &report);
        let done = match &self.policy.unpacker {
            Unpacker::InProcess => unpack(&mut blob, layer.compression, making, self.policy.unpack),
            Unpacker::Process(program) => {
                let limits = self.policy.unpack;
                let job = Job { compression: layer.compression, dir: making.to_owned(), limits };
                job.run(program, &mut blob, watched.watch)
            }
        };
        // A blob that broke off is no layer, whatever came of it until then.
        match blob.take_fault() {
            Some(fault) => Err(fault.into_error(layer)),
            None => done.map_err(named),
        }
    }

    fn publish(&self, making: &Path, ready: &Path) -> Result<(), SandboxError> {
        let dir = File::open(&self.dir).map_err(SandboxError::state(&self.dir, "open"))?;
        // A rename may reach the disk before the files it makes visible.
        syncfs(&dir).map_err(|e| SandboxError::state(&self.dir, "sync")(e.into()))?;
        fs::rename(making, ready).map_err(SandboxError::state(ready, "rename"))?;
        fsync(&dir).map_err(|e| SandboxError::state(&self.dir, "sync")(e.into()))
    }

    /// Names and paths of everything in the store's directory.
    fn entries(&self) -> Result<Vec<(String, PathBuf)>, SandboxError> {
        let listed = || -> io::Result<Vec<(String, PathBuf)>> {
            let entries = fs::read_dir(&self.dir)?;
            let named = entries.map(|entry| {
                let entry = entry?;
                Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
            });
            named.collect()
        };
        listed().map_err(SandboxError::state(&self.dir, "list"))
    }

    /// Removes layers that nobody uses, longest unused first, until the rest is within the budget
    /// and the disk's reserve is free. Returns how many went.
    ///
    /// # Errors
    /// If the store cannot be listed, or a layer cannot be removed.
    pub fn collect(&self) -> Result<usize, SandboxError> {
        let ready = self.entries()?.into_iter().filter(|(name, _)| !name.contains('.'));
        let sized: Vec<_> = ready
            .map(|(name, path)| {
                let bytes = noted_bytes(&self.lock_path(&name));
                (name, path, bytes)
            })
            .collect();
        let mut total = sized.iter().fold(0u64, |sum, (_, _, bytes)| sum.saturating_add(*bytes));
        if total <= self.policy.budget_bytes && self.reserve_is_free()? {
            return Ok(0);
        }
        let mut unused: Vec<(SystemTime, String, PathBuf, u64, LayerLock)> = Vec::new();
        for (name, path, bytes) in sized {
            if let Some(lock) = self.attempt(&name)? {
                unused.push((lock.last_use(), name, path, bytes, lock));
            }
        }
        unused.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut gone = 0;
        for (_, name, path, bytes, lock) in unused {
            if total <= self.policy.budget_bytes && self.reserve_is_free()? {
                break;
            }
            self.remove(&name, &path, lock)?;
            total = total.saturating_sub(bytes);
            gone += 1;
        }
        Ok(gone)
    }

    fn remove(&self, name: &str, path: &Path, lock: LayerLock) -> Result<(), SandboxError> {
        let going = self.dir.join(format!("{name}.gone"));
        fs::rename(path, &going).map_err(SandboxError::state(path, "rename"))?;
        fs::remove_dir_all(&going).map_err(SandboxError::state(&going, "remove"))?;
        lock.remove().map_err(SandboxError::state(path, "remove lock"))
    }

    fn reserve_is_free(&self) -> Result<bool, SandboxError> {
        let disk = statvfs(&self.dir).map_err(|e| SandboxError::state(&self.dir, "stat")(e.into()))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize) > self.policy.unpack.reserve_bytes)
    }
}

/// Which of how many layers is being watched.
struct Watched<'a> {
    watch: &'a Watch<'a>,
    index: usize,
    count: usize,
}

impl Watched<'_> {
    fn report(&self, layer: &Layer, bytes: u64) {
        let (index, layers, total) = (self.index, self.count, layer.size);
        (self.watch.events)(Event::Layer { index, layers, digest: layer.digest, bytes, total });
    }
}

/// Removes a half-made layer; what cannot be removed fails the next attempt.
fn discard(making: &Path) {
    if let Err(error) = fs::remove_dir_all(making)
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn!("half-made layer {} stays: {error}", making.display());
    }
}
