//! Images from registries, through the pull and unpack processes.
//!
//! A real registry and a real image maker first; then a registry that means harm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(unreachable_pub, clippy::cast_possible_truncation)]

#[path = "registry/hostile.rs"]
mod hostile;
#[path = "registry/image.rs"]
mod image;
#[path = "registry/real.rs"]
mod real;
#[path = "registry/server.rs"]
mod server;
#[path = "registry/tokens.rs"]
mod tokens;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use assay_agent::config::ImageSettings;
use assay_sandbox::SandboxError;
use assay_sandbox::images::{Event, Images, Provided};
use assay_sandbox::job::ImageRef;
use assay_sandbox::pull::{PullError, Puller};
use assay_sandbox::registry_ref::RegistryRef;
use assay_sandbox::unpack_process::Unpacker;
use image::Held;
use server::{Asked, Server, reply};

fn agent() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_assay-agent"))
}

/// A store, and what is pulled into it.
struct Node {
    dir: tempfile::TempDir,
    images: Images,
}

impl Node {
    fn new(settings: &ImageSettings) -> Self {
        Self::with_puller(settings, Puller::Program(agent(), settings.pull_arguments()))
    }

    fn with_puller(settings: &ImageSettings, puller: Puller) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = settings.sandbox(Unpacker::Process(agent()), puller);
        config.unpack.reserve_bytes = 16 << 20;
        Self { images: Images::open(dir.path().to_owned(), config).unwrap(), dir }
    }

    fn pull(&self, reference: &str) -> Result<Provided, SandboxError> {
        self.pull_watched(reference, &AtomicBool::new(false), &|_| {})
    }

    fn pull_watched(
        &self,
        reference: &str,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<Provided, SandboxError> {
        self.images.provide(&ImageRef::Registry(RegistryRef::parse(reference).unwrap()), cancel, events)
    }

    /// Everything in the store.
    fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Settings that name these registries as ones without TLS.
fn insecure(registries: &[&str]) -> ImageSettings {
    let insecure_registries = registries.iter().map(|one| (*one).to_owned()).collect();
    ImageSettings { insecure_registries, tags: true, ..ImageSettings::default() }
}

/// The pull process's name for what went wrong.
fn code(error: SandboxError) -> String {
    match error {
        SandboxError::Pull { source: PullError::Refused { code, .. }, .. } => code,
        other => panic!("{other:?}"),
    }
}

/// Serves what is held, as a registry that wants no authorization.
fn give(held: &Held, asked: &Asked, to: &mut dyn Write) {
    let name = asked.path.rsplit('/').next().unwrap_or_default();
    let manifest = held.manifests.get(name).filter(|_| asked.path.contains("/manifests/"));
    let blob = held.blobs.get(name).filter(|_| asked.path.contains("/blobs/"));
    match (manifest, blob) {
        (Some((kind, bytes)), _) => reply(to, "200 OK", &[("content-type", kind)], bytes),
        (_, Some(bytes)) => reply(to, "200 OK", &[("content-type", "application/octet-stream")], bytes),
        _ => reply(to, "404 Not Found", &[], b"{}"),
    }
}

fn file_of(provided: &Provided) -> Vec<u8> {
    let read = |layer: &PathBuf| std::fs::read(Path::new(layer).join("f")).unwrap();
    provided.layers().last().map(read).unwrap()
}
