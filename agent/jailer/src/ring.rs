//! A log file that keeps the last bytes of a stream.
//!
//! Layout: [`HEADER`] bytes (magic, capacity, bytes ever written, zero; three
//! little-endian `u64` after the magic), then the data; byte `i` of the stream
//! lies at `HEADER + i % capacity`. Data is written before the header that
//! counts it.
//!
//! While the writer is at work, the oldest [`CHUNK`] bytes of what is read may
//! already belong to the next lap.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// First bytes of every ring.
pub const MAGIC: [u8; 8] = *b"ASSAYRNG";
/// Bytes before the data.
pub const HEADER: u64 = 32;
/// Most bytes of data in a ring.
pub const CAPACITY_MAX: u64 = 1 << 30;
/// Most bytes written at once.
pub const CHUNK: usize = 64 << 10;

/// What a ring holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Place of the first byte of `bytes` in the stream.
    pub start: u64,
    /// The last bytes of the stream.
    pub bytes: Vec<u8>,
    /// Bytes ever written, kept or not.
    pub written: u64,
}

/// The writing end; there must be one only.
#[derive(Debug)]
pub struct Writer {
    file: File,
    capacity: u64,
    written: u64,
}

fn header(capacity: u64, written: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    let fields = MAGIC.into_iter().chain(capacity.to_le_bytes()).chain(written.to_le_bytes());
    for (to, from) in bytes.iter_mut().zip(fields) {
        *to = from;
    }
    bytes
}

impl Writer {
    /// Makes an empty ring of an empty file.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a capacity above [`CAPACITY_MAX`]; else the file's.
    pub fn create(file: File, capacity: u64) -> io::Result<Self> {
        if capacity > CAPACITY_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        file.write_all_at(&header(capacity, 0), 0)?;
        Ok(Self { file, capacity, written: 0 })
    }

    /// Appends to the stream.
    ///
    /// # Errors
    /// The file's.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        bytes.chunks(CHUNK).try_for_each(|chunk| self.write_chunk(chunk))
    }

    /// Bytes ever written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// True once old bytes have been overwritten.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.written > self.capacity
    }

    fn write_chunk(&mut self, chunk: &[u8]) -> io::Result<()> {
        let end = self.written.saturating_add(length(chunk));
        // Of a chunk longer than the ring, only the end stays.
        let kept = length(chunk).min(self.capacity);
        let mut rest = chunk.get(chunk.len().saturating_sub(size(kept))..).unwrap_or_default();
        let mut at = end.saturating_sub(kept);
        while !rest.is_empty() {
            let place = at.checked_rem(self.capacity).unwrap_or(0);
            let room = size(self.capacity.saturating_sub(place));
            let (now, later) = rest.split_at(rest.len().min(room));
            self.file.write_all_at(now, HEADER.saturating_add(place))?;
            at = at.saturating_add(length(now));
            rest = later;
        }
        self.written = end;
        self.file.write_all_at(&end.to_le_bytes(), 16)
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Reads the whole ring; holds at most [`CAPACITY_MAX`] bytes, and no more than the file has.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] where the file is not a ring or lacks bytes that it counts; else the file's.
pub fn read(file: &File) -> io::Result<Tail> {
    let mut head = [0; 32];
    file.read_exact_at(&mut head, 0).map_err(invalid_if_short)?;
    let (magic, rest) = head.split_at(8);
    let (capacity, rest) = rest.split_at(8);
    let (written, zero) = rest.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    let (capacity, written) = (number(capacity), number(written));
    if magic != MAGIC || number(zero) != 0 || capacity > CAPACITY_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let kept = written.min(capacity);
    if file.metadata()?.len() < HEADER.saturating_add(kept) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; size(kept)];
    file.read_exact_at(&mut bytes, HEADER).map_err(invalid_if_short)?;
    let start = written.saturating_sub(kept);
    // The oldest byte of a full ring is where the next one goes.
    bytes.rotate_left(size(start.checked_rem(capacity).unwrap_or(0)));
    Ok(Tail { start, bytes, written })
}

fn invalid_if_short(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::ErrorKind::InvalidData.into(),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> File {
        tempfile::tempfile().unwrap()
    }

    fn ring(capacity: u64, parts: &[&[u8]]) -> Tail {
        let file = file();
        let mut writer = Writer::create(file.try_clone().unwrap(), capacity).unwrap();
        parts.iter().for_each(|part| writer.write(part).unwrap());
        let tail = read(&file).unwrap();
        assert_eq!(tail.written, writer.written());
        assert!(file.metadata().unwrap().len() <= HEADER + capacity);
        tail
    }

    #[test]
    fn keeps_the_end_of_the_stream() {
        let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for capacity in [0, 1, 7, 999, 1000, 1001] {
            for step in [1, 3, 7, 8, 400, 1000] {
                let parts: Vec<_> = text.chunks(step).collect();
                let tail = ring(capacity, &parts);
                let start = 1000 - capacity.min(1000);
                assert_eq!((tail.start, tail.written), (start, 1000));
                assert_eq!(tail.bytes, text[usize::try_from(start).unwrap()..], "{capacity} {step}");
            }
        }
        let long = vec![7; 3 * CHUNK + 1];
        assert_eq!(ring(CHUNK as u64 + 5, &[&long]).bytes.len(), CHUNK + 5);
    }

    #[test]
    fn an_empty_ring_is_empty() {
        assert_eq!(ring(10, &[]), Tail { start: 0, bytes: vec![], written: 0 });
    }

    #[test]
    fn what_is_not_a_ring_is_refused() {
        let refused = |bytes: &[u8]| {
            let file = file();
            file.write_all_at(bytes, 0).unwrap();
            read(&file).unwrap_err().kind()
        };
        let mut not_zero = header(10, 0);
        not_zero[31] = 1;
        let mut magic = header(10, 0);
        magic[0] = b'a';
        for bytes in [&b""[..], &header(10, 0)[..31], &magic, &not_zero, &header(CAPACITY_MAX + 1, 0)] {
            assert_eq!(refused(bytes), io::ErrorKind::InvalidData);
        }
        // Counts more than the file holds: no memory is taken for it.
        assert_eq!(refused(&header(CAPACITY_MAX, u64::MAX)), io::ErrorKind::InvalidData);
        assert!(Writer::create(file(), CAPACITY_MAX + 1).is_err());
    }
}
