//! Counting, hashing and limiting readers for layer blobs.

use std::cell::RefCell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::image::Compression;

/// Uncompressed bytes that any archive may have, however small its blob.
const RATIO_FLOOR: u64 = 64 << 20;
/// Most uncompressed bytes per compressed byte beyond [`RATIO_FLOOR`]. DEFLATE
/// reaches 1,032 on constant bytes; real layers stay below 20.
const RATIO_MAX: u64 = 200;
/// Largest zstd window, 2^27 bytes = 128 MiB: what the reference decoder accepts by default.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Bytes that went by, and their hash.
#[derive(Default)]
struct Seen {
    hash: Sha256,
    bytes: u64,
}

/// A view on what a [`Tap`] has let by.
#[derive(Clone, Default)]
pub(crate) struct Meter(Rc<RefCell<Seen>>);

impl Meter {
    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.borrow().bytes
    }

    /// SHA-256 of the bytes so far.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        self.0.borrow().hash.clone().finalize().into()
    }

    fn add(&self, bytes: &[u8]) {
        let mut seen = self.0.borrow_mut();
        seen.hash.update(bytes);
        seen.bytes = seen.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }
}

/// A reader that hashes and counts what it reads.
struct Tap<R> {
    inner: R,
    meter: Meter,
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.meter.add(buffer.get(..got).unwrap_or_default());
        Ok(got)
    }
}

/// An uncompressed layer, hashed on both sides of the decompression and cut
/// off where it outgrows its limits.
pub(crate) struct LayerStream<'a> {
    decoder: Box<dyn Read + 'a>,
    /// Compressed side.
    pub(crate) blob: Meter,
    /// Uncompressed side.
    pub(crate) content: Meter,
    total_max: u64,
}

impl<'a> LayerStream<'a> {
    /// Starts to decompress `blob`.
    ///
    /// # Errors
    /// Where the decoder cannot be set up.
    pub(crate) fn new(blob: impl Read + 'a, compression: Compression, total_max: u64) -> io::Result<Self> {
        let meter = Meter::default();
        let tap = BufReader::with_capacity(64 << 10, Tap { inner: blob, meter: meter.clone() });
        let decoder: Box<dyn Read + 'a> = match compression {
            Compression::None => Box::new(tap),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(tap)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(tap)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        };
        Ok(Self { decoder, blob: meter, content: Meter::default(), total_max })
    }

    /// Reads what follows the archive's end, which may only be padding.
    ///
    /// # Errors
    /// Where it is anything but zeros.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8 << 10];
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(()),
                got if buffer.iter().take(got).all(|b| *b == 0) => {}
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes after the archive's end")),
            }
        }
    }

    fn check_size(&self) -> io::Result<()> {
        let (packed, unpacked) = (self.blob.bytes(), self.content.bytes());
        let by_ratio = packed.saturating_mul(RATIO_MAX).saturating_add(RATIO_FLOOR);
        match unpacked {
            n if n > self.total_max => {
                Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than the size limit"))
            }
            n if n > by_ratio => {
                Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 200 times its blob"))
            }
            _ => Ok(()),
        }
    }
}

impl Read for LayerStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.decoder.read(buffer)?;
        self.content.add(buffer.get(..got).unwrap_or_default());
        self.check_size()?;
        Ok(got)
    }
}
