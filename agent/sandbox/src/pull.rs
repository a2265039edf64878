//! Images from registries, through the pull process: this side has no network.
//!
//! The pull process fetches bytes by name and checks digests on the way; what
//! they mean is decided here, on bytes whose digests are checked again. It is
//! reached over a unix socket: that of a service, or one end of a pair whose
//! other end is a child's standard input and output.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use oci_spec::image::MediaType;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::SandboxError;
use crate::image::{DOCUMENT_MAX, Entry, Layer, Source, check_digest};
use crate::images::{Fault, Watch};
use crate::registry_ref::RegistryRef;

/// Longest request line, bytes.
pub const REQUEST_MAX: usize = 4 << 10;
/// Longest frame, bytes.
pub const FRAME_MAX: usize = 256 << 10;
/// How often a silent pull process is looked at.
const TICK: Duration = Duration::from_millis(200);

/// How the pull process is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Puller {
    /// A program and its arguments, started for each image.
    Program(PathBuf, Vec<std::ffi::OsString>),
    /// A service's socket; each connection is one image's.
    Socket(PathBuf),
}

/// One request: a line of JSON. Each is answered before the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Which registry and repository.
    pub image: RegistryRef,
    /// What of it.
    pub item: Item,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Item {
    /// The manifest or index that the reference names.
    Entry {},
    /// A manifest by its digest.
    Manifest {
        /// `sha256:` and 64 digits.
        digest: String,
        /// Its bytes.
        size: u64,
    },
    /// A blob by its digest.
    Blob {
        /// `sha256:` and 64 digits.
        digest: String,
        /// Its bytes.
        size: u64,
    },
}

/// Kinds of frames of an answer: a byte for the kind, the payload's length as `u32`
/// little-endian, the payload.
pub mod frame {
    /// The answer's media type, in UTF-8; first of an answer.
    pub const HEAD: u8 = b'H';
    /// Bytes.
    pub const DATA: u8 = b'D';
    /// The answer is whole and has its digest.
    pub const END: u8 = b'E';
    /// The answer ends here; why, as JSON of [`super::Failure`].
    pub const FAILURE: u8 = b'F';
}

/// Why the pull process gave no whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// A stable name.
    pub code: String,
    /// One line for people.
    pub text: String,
}

/// Why a registry gave no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The pull process could not be started or reached.
    #[error("reach the pull process")]
    Start(#[source] io::Error),
    /// The pull process hung up.
    #[error("the pull process ended early")]
    Exchange(#[source] io::Error),
    /// The pull process broke its protocol.
    #[error("the pull process sent {0}")]
    Protocol(&'static str),
    /// The registry or our policy refused.
    #[error("{text} ({code})")]
    Refused {
        /// A stable name.
        code: String,
        /// One line for people.
        text: String,
    },
    /// Whoever wanted the image wants it no more.
    #[error("cancelled")]
    Cancelled,
    /// It took too long.
    #[error("not done within its time")]
    TimedOut,
}

impl PullError {
    /// The error, for this part of an image.
    pub(crate) fn of(self, what: impl Into<String>) -> SandboxError {
        match self {
            Self::Cancelled => SandboxError::Cancelled,
            Self::TimedOut => SandboxError::ImageTimeout,
            source => SandboxError::Pull { what: what.into(), source },
        }
    }
}

/// One image's connection to the pull process.
pub(crate) struct Registry<'a> {
    image: RegistryRef,
    stream: BufReader<UnixStream>,
    watch: &'a Watch<'a>,
    child: Option<Child>,
}

impl Drop for Registry<'_> {
    fn drop(&mut self) {
        // A service's process ends when its connection does.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl<'a> Registry<'a> {
    /// Starts or reaches the pull process.
    pub(crate) fn open(
        puller: &Puller,
        image: RegistryRef,
        watch: &'a Watch<'a>,
    ) -> Result<Self, SandboxError> {
        let what = image.to_string();
        let started = start(puller).and_then(|(stream, child)| {
            stream.set_read_timeout(Some(TICK))?;
            Ok(Self { image, stream: BufReader::with_capacity(FRAME_MAX, stream), watch, child })
        });
        started.map_err(|error| PullError::Start(error).of(what))
    }

    /// The manifest or index that the reference names, its digest checked.
    pub(crate) fn entry(&mut self) -> Result<Entry, SandboxError> {
        let what = self.image.to_string();
        let (media_type, bytes) = self.whole(&what, Item::Entry {})?;
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        if let Some(expected) = self.image.digest() {
            check_digest("manifest", &expected, &digest)?;
        }
        Ok(Entry { media_type: MediaType::from(media_type.as_str()), digest, bytes })
    }

    /// Asks, and reads an answer of at most [`DOCUMENT_MAX`] bytes.
    fn whole(&mut self, what: &str, item: Item) -> Result<(String, Vec<u8>), SandboxError> {
        let named = |source: PullError| source.of(what);
        let media_type = self.ask(item).map_err(named)?;
        let mut bytes = Vec::new();
        let mut body = Body { registry: self, left: 0, ended: false };
        let read = (&mut body).take(DOCUMENT_MAX.saturating_add(1)).read_to_end(&mut bytes);
        match read {
            Err(error) => Err(named(error.downcast().unwrap_or_else(PullError::Exchange))),
            Ok(_) if u64::try_from(bytes.len()).is_ok_and(|n| n <= DOCUMENT_MAX) => Ok((media_type, bytes)),
            Ok(_) => Err(SandboxError::image(what, format!("has more than {DOCUMENT_MAX} bytes"))),
        }
    }

    /// Sends a request and reads the answer's head.
    fn ask(&mut self, item: Item) -> Result<String, PullError> {
        let request = Request { image: self.image.clone(), item };
        let mut line = serde_json::to_vec(&request).map_err(|e| PullError::Start(e.into()))?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(PullError::Exchange)?;
        let (kind, length) = self.frame()?;
        match kind {
            frame::HEAD if length <= 256 => {
                let head = self.payload(length)?;
                String::from_utf8(head).map_err(|_| PullError::Protocol("a media type that is no text"))
            }
            frame::FAILURE => Err(self.failure(length)?),
            _ => Err(PullError::Protocol("an answer without a head")),
        }
    }

    fn frame(&mut self) -> Result<(u8, usize), PullError> {
        let mut head = [0; 5];
        self.fill(&mut head)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_MAX { Err(PullError::Protocol("a frame too long")) } else { Ok((kind, length)) }
    }

    fn payload(&mut self, length: usize) -> Result<Vec<u8>, PullError> {
        let mut payload = vec![0; length];
        self.fill(&mut payload)?;
        Ok(payload)
    }

    fn failure(&mut self, length: usize) -> Result<PullError, PullError> {
        let payload = self.payload(length)?;
        let failure: Failure =
            serde_json::from_slice(&payload).map_err(|_| PullError::Protocol("a malformed failure"))?;
        Ok(PullError::Refused { code: failure.code, text: failure.text })
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), PullError> {
        while !buffer.is_empty() {
            let got = self.some(buffer)?;
            if got == 0 {
                return Err(PullError::Exchange(io::ErrorKind::UnexpectedEof.into()));
            }
            buffer = buffer.get_mut(got..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads something, however long it takes, within the watch.
    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, PullError> {
        use io::ErrorKind::{Interrupted, WouldBlock};
        loop {
            // Before each part: there may always be one more, and never a whole.
            self.watch.check().map_err(|fault| match fault {
                Fault::Cancelled => PullError::Cancelled,
                _ => PullError::TimedOut,
            })?;
            match self.stream.fill_buf() {
                Ok(_) => return self.stream.read(buffer).map_err(PullError::Exchange),
                Err(error) if matches!(error.kind(), Interrupted | WouldBlock) => {}
                Err(error) => return Err(PullError::Exchange(error)),
            }
        }
    }
}

fn start(puller: &Puller) -> io::Result<(UnixStream, Option<Child>)> {
    match puller {
        Puller::Socket(path) => Ok((UnixStream::connect(path)?, None)),
        Puller::Program(program, args) => {
            let (ours, theirs) = UnixStream::pair()?;
            let input = OwnedFd::from(theirs.try_clone()?);
            let child = Command::new(program)
                .args(args)
                .stdin(Stdio::from(input))
                .stdout(Stdio::from(OwnedFd::from(theirs)))
                .spawn()?;
            Ok((ours, Some(child)))
        }
    }
}

impl Source for Registry<'_> {
    fn manifest(&mut self, part: &str, digest: &[u8; 32], size: u64) -> Result<Vec<u8>, SandboxError> {
        Ok(self.whole(part, Item::Manifest { digest: text(digest), size })?.1)
    }

    fn document(&mut self, part: &str, digest: &[u8; 32], size: u64) -> Result<Vec<u8>, SandboxError> {
        Ok(self.whole(part, Item::Blob { digest: text(digest), size })?.1)
    }

    fn layer(&mut self, layer: &Layer) -> Result<Box<dyn Read + '_>, SandboxError> {
        let item = Item::Blob { digest: text(&layer.digest), size: layer.size };
        self.ask(item).map_err(|error| error.of(text(&layer.digest)))?;
        Ok(Box::new(Body { registry: self, left: 0, ended: false }))
    }
}

fn text(digest: &[u8; 32]) -> String {
    format!("sha256:{}", hex::encode(digest))
}

/// An answer's bytes. Its errors hold a [`PullError`].
struct Body<'r, 'a> {
    registry: &'r mut Registry<'a>,
    left: usize,
    ended: bool,
}

impl Body<'_, '_> {
    /// Reads frame heads until there are bytes or the end.
    fn advance(&mut self) -> Result<(), PullError> {
        while self.left == 0 && !self.ended {
            match self.registry.frame()? {
                (frame::DATA, length) => self.left = length,
                (frame::END, 0) => self.ended = true,
                (frame::FAILURE, length) => return Err(self.registry.failure(length)?),
                _ => return Err(PullError::Protocol("a frame out of place")),
            }
        }
        Ok(())
    }
}

impl Read for Body<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.advance().map_err(io::Error::other)?;
        let wanted = buffer.len().min(self.left);
        let Some(part) = buffer.get_mut(..wanted).filter(|part| !part.is_empty()) else { return Ok(0) };
        let got = self.registry.some(part).map_err(io::Error::other)?;
        if got == 0 {
            return Err(io::Error::other(PullError::Exchange(io::ErrorKind::UnexpectedEof.into())));
        }
        self.left = self.left.saturating_sub(got);
        Ok(got)
    }
}
