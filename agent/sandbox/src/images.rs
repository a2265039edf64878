//! Images for jobs, from layouts and registries: checked, unpacked, and kept while used.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::SandboxError;
use crate::image::{self, Image, Layer, Source};
use crate::job::ImageRef;
use crate::layers::{HeldLayer, LayerPolicy, LayerStore};
use crate::pull::{PullError, Puller, Registry};
use crate::unpack::UnpackLimits;
use crate::unpack_process::Unpacker;

/// Blob bytes between two events.
const EVENT_EVERY: u64 = 1 << 20;

/// How images are come by.
#[derive(Debug, Clone)]
pub struct ImagesConfig {
    /// Limits of each layer, and the disk's reserve.
    pub unpack: UnpackLimits,
    /// Bytes that all kept layers may take.
    pub budget_bytes: u64,
    /// Where layers are unpacked.
    pub unpacker: Unpacker,
    /// What fetches from registries; without it jobs can use layouts only.
    pub puller: Option<Puller>,
    /// Whether a registry reference may do without a digest.
    pub allow_tags: bool,
    /// Longest time for one image, fetched and unpacked.
    pub time_limit: Duration,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        Self {
            unpack: UnpackLimits::default(),
            budget_bytes: 100 << 30,
            unpacker: Unpacker::InProcess,
            puller: None,
            allow_tags: false,
            time_limit: Duration::from_secs(3600),
        }
    }
}

/// What goes on while an image is provided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A registry is asked for the image.
    Resolving {
        /// The reference.
        reference: String,
    },
    /// A layer is on its way, or there (`bytes` equals `total`).
    Layer {
        /// Which, from 0.
        index: usize,
        /// How many the image has.
        layers: usize,
        /// SHA-256 of its blob.
        digest: [u8; 32],
        /// Bytes of the blob that have come.
        bytes: u64,
        /// Bytes of the blob.
        total: u64,
    },
}

/// How whoever wants an image waits for it.
pub struct Watch<'a> {
    /// Set when it is wanted no more.
    pub cancel: &'a AtomicBool,
    /// When it is too late.
    pub deadline: Instant,
    /// Told what goes on.
    pub events: &'a dyn Fn(Event),
}

/// Why a wait ended early.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The wish was withdrawn.
    Cancelled,
    /// The deadline passed.
    TimedOut,
    /// The blob's source broke.
    Broken(io::Error),
}

impl Fault {
    /// The error, for this layer.
    pub(crate) fn into_error(self, layer: &Layer) -> SandboxError {
        let path = || format!("sha256:{}", hex::encode(layer.digest));
        match self {
            Self::Cancelled => SandboxError::Cancelled,
            Self::TimedOut => SandboxError::ImageTimeout,
            Self::Broken(error) => match error.downcast::<PullError>() {
                Ok(error) => error.of(path()),
                Err(source) => SandboxError::ReadImage { path: path(), source },
            },
        }
    }
}

impl Watch<'_> {
    /// Whether to go on.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match (self.cancel.load(Ordering::Relaxed), Instant::now() >= self.deadline) {
            (true, _) => Err(Fault::Cancelled),
            (false, true) => Err(Fault::TimedOut),
            (false, false) => Ok(()),
        }
    }

    /// A reader that breaks off when this watch says so.
    pub(crate) fn reader<'r>(
        &'r self,
        inner: Box<dyn Read + 'r>,
        report: &'r dyn Fn(u64),
    ) -> WatchedReader<'r> {
        WatchedReader { inner, watch: self, report, bytes: 0, reported: 0, fault: None }
    }
}

/// A blob on its way, counted.
pub(crate) struct WatchedReader<'a> {
    inner: Box<dyn Read + 'a>,
    watch: &'a Watch<'a>,
    report: &'a dyn Fn(u64),
    bytes: u64,
    reported: u64,
    fault: Option<Fault>,
}

impl WatchedReader<'_> {
    /// What broke the blob off, if anything did.
    pub(crate) fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    fn fail(&mut self, fault: Fault) -> io::Error {
        self.fault = Some(fault);
        io::Error::other("the blob broke off")
    }
}

impl Read for WatchedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Err(fault) = self.watch.check() {
            return Err(self.fail(fault));
        }
        let got = match self.inner.read(buffer) {
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(self.fail(Fault::Broken(error))),
        };
        self.bytes = self.bytes.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
        if got == 0 || self.bytes.saturating_sub(self.reported) >= EVENT_EVERY {
            self.reported = self.bytes;
            (self.report)(self.bytes);
        }
        Ok(got)
    }
}

/// An image that a job can run: its layers stay as long as this value does.
#[derive(Debug)]
pub struct Provided {
    /// The image.
    pub image: Image,
    held: Vec<HeldLayer>,
}

impl Provided {
    /// The layers' directories, bottom first, each once.
    ///
    /// A layer that the image has several times is where it is last: all it holds covers what
    /// it held below, and overlayfs takes no directory twice.
    #[must_use]
    pub fn layers(&self) -> Vec<PathBuf> {
        let mut seen = HashSet::new();
        let top_first = self.held.iter().rev().filter(|layer| seen.insert(&layer.path));
        let mut layers: Vec<PathBuf> = top_first.map(|layer| layer.path.clone()).collect();
        layers.reverse();
        layers
    }
}

/// Provides images, each layer of any of them once.
#[derive(Debug)]
pub struct Images {
    config: ImagesConfig,
    store: LayerStore,
}

impl Images {
    /// Opens the layer store in a directory that exists.
    ///
    /// # Errors
    /// If the store cannot be opened.
    pub fn open(dir: PathBuf, config: ImagesConfig) -> Result<Self, SandboxError> {
        let policy = LayerPolicy {
            unpack: config.unpack,
            budget_bytes: config.budget_bytes,
            unpacker: config.unpacker.clone(),
        };
        Ok(Self { store: LayerStore::open(dir, policy)?, config })
    }

    /// Finds an image, checks it, and unpacks what the store does not have.
    ///
    /// # Errors
    /// The first part that is missing, not what it says, or cannot be unpacked.
    pub fn provide(
        &self,
        reference: &ImageRef,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<Provided, SandboxError> {
        let watch = Watch { cancel, deadline: Instant::now() + self.config.time_limit, events };
        let (image, mut source): (Image, Box<dyn Source + '_>) = match reference {
            ImageRef::Layout { path, tag } => {
                let (image, layout) = image::open(path, tag)?;
                (image, Box::new(layout))
            }
            ImageRef::Registry(reference) => {
                if reference.digest().is_none() && !self.config.allow_tags {
                    return Err(SandboxError::TagOnly { reference: reference.to_string() });
                }
                let puller = self.config.puller.as_ref().ok_or(SandboxError::NoPuller)?;
                events(Event::Resolving { reference: reference.to_string() });
                let mut registry = Registry::open(puller, reference.clone(), &watch)?;
                let entry = registry.entry()?;
                (image::resolve(&mut registry, entry)?, Box::new(registry))
            }
        };
        let held = self.store.provide(&image, source.as_mut(), &watch)?;
        Ok(Provided { image, held })
    }
}
