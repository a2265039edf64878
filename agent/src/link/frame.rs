//! Frames on the socket between core and link: four bytes of length, big-endian, and CBOR.
//!
//! Both ends are ours but run apart, so both treat the other's frames as outside bytes.

use std::io;

use assay_wire::{WireError, cbor, limits};
use minicbor::{Decode, Encode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Most bytes of a body, either way: one envelope.
pub const MAX_BODY: usize = limits::ENVELOPE;
/// Most bytes of a frame without its length.
pub const MAX_FRAME: usize = MAX_BODY + 4096;

/// HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Method {
    /// GET, without a body.
    #[n(0)]
    Get,
    /// POST.
    #[n(1)]
    Post,
}

/// Core to link: ask this validator that.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Request {
    /// Chosen by core; the answer has the same.
    #[n(0)]
    pub id: u64,
    /// Index in the configuration's list; without one, `path` is the whole URL of a TPM maker's
    /// certificate.
    #[n(1)]
    pub validator: Option<u32>,
    /// Method.
    #[n(2)]
    pub method: Method,
    /// Path, such as `/v1/beacon`, or a whole URL.
    #[n(3)]
    pub path: String,
    /// Body.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub body: Vec<u8>,
}

/// Link to core: what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Response {
    /// The request's.
    #[n(0)]
    pub id: u64,
    /// HTTP status; 0 when there was no whole answer.
    #[n(1)]
    pub status: u16,
    /// The answer's body; with status 0, why there is none, as text.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub body: Vec<u8>,
}

impl Response {
    /// No answer, and why.
    #[must_use]
    pub fn failed(id: u64, why: &str) -> Self {
        Self { id, status: 0, body: why.as_bytes().to_vec() }
    }
}

/// Why the other end is no longer understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Reading failed, or ended inside a frame.
    #[error("reading a frame")]
    Read(#[source] io::Error),
    /// Writing failed.
    #[error("writing a frame")]
    Write(#[source] io::Error),
    /// Longer than any honest frame.
    #[error("a frame of {len} bytes, more than the {MAX_FRAME} allowed")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Not what was agreed on.
    #[error("decoding a frame")]
    Decode(#[source] WireError),
}

/// Reads one frame; `None` at an end between two frames.
///
/// Allocates as bytes arrive, not as the length promises.
///
/// # Errors
/// [`FrameError`] but for [`FrameError::Write`].
pub async fn read<T, R>(from: &mut R) -> Result<Option<T>, FrameError>
where
    T: for<'b> Decode<'b, ()> + Encode<()>,
    R: AsyncRead + Unpin,
{
    let mut length = [0; 4];
    if from.read(length.split_at_mut(1).0).await.map_err(FrameError::Read)? == 0 {
        return Ok(None);
    }
    from.read_exact(length.split_at_mut(1).1).await.map_err(FrameError::Read)?;
    let len = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if len > MAX_FRAME {
        return Err(FrameError::TooLong { len });
    }
    let mut bytes = Vec::new();
    let limit = u64::from(u32::from_be_bytes(length));
    from.take(limit).read_to_end(&mut bytes).await.map_err(FrameError::Read)?;
    if bytes.len() < len {
        return Err(FrameError::Read(io::ErrorKind::UnexpectedEof.into()));
    }
    cbor::from_slice("frame", &bytes, MAX_FRAME).map(Some).map_err(FrameError::Decode)
}

/// Writes one frame.
///
/// # Errors
/// [`FrameError::TooLong`] before anything is written, or [`FrameError::Write`].
pub async fn write<T, W>(to: &mut W, message: &T) -> Result<(), FrameError>
where
    T: Encode<()>,
    W: AsyncWrite + Unpin,
{
    let bytes = cbor::to_vec(message);
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MAX_FRAME);
    let length = length.ok_or(FrameError::TooLong { len: bytes.len() })?;
    to.write_all(&length.to_be_bytes()).await.map_err(FrameError::Write)?;
    to.write_all(&bytes).await.map_err(FrameError::Write)?;
    to.flush().await.map_err(FrameError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            id: 7,
            validator: Some(1),
            method: Method::Post,
            path: "/v1/records".into(),
            body: vec![1, 2],
        }
    }

    async fn written<T: Encode<()>>(message: &T) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, message).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn frames_follow_each_other_and_end_between_two() {
        let mut bytes = written(&request()).await;
        bytes.extend(written(&Request { id: 8, ..request() }).await);
        let mut from = bytes.as_slice();
        assert_eq!(read::<Request, _>(&mut from).await.unwrap(), Some(request()));
        assert_eq!(read::<Request, _>(&mut from).await.unwrap().unwrap().id, 8);
        assert_eq!(read::<Request, _>(&mut from).await.unwrap(), None);
    }

    #[tokio::test]
    async fn every_cut_inside_a_frame_is_an_error() {
        let bytes = written(&request()).await;
        for cut in 1..bytes.len() {
            let outcome = read::<Request, _>(&mut &bytes[..cut]).await;
            assert!(matches!(outcome, Err(FrameError::Read(_))), "{cut}");
        }
    }

    #[tokio::test]
    async fn a_length_that_lies_costs_nothing() {
        let huge = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
        let outcome = read::<Request, _>(&mut &huge[..]).await;
        assert!(matches!(outcome, Err(FrameError::TooLong { .. })));
        let garbage = [0, 0, 0, 3, 0xff, 0xff, 0xff];
        let outcome = read::<Response, _>(&mut &garbage[..]).await;
        assert!(matches!(outcome, Err(FrameError::Decode(_))));
    }

    #[tokio::test]
    async fn the_largest_body_fits_and_one_more_does_not() {
        let full = Response { id: u64::MAX, status: 200, body: vec![0; MAX_BODY] };
        let bytes = written(&full).await;
        assert_eq!(read::<Response, _>(&mut bytes.as_slice()).await.unwrap(), Some(full));
        let over = Response { id: 0, status: 200, body: vec![0; MAX_FRAME] };
        assert!(matches!(write(&mut Vec::new(), &over).await, Err(FrameError::TooLong { .. })));
    }
}
