//! How long a connection may take over what it is at.
//!
//! HTTP libraries time a header from the moment they wait for it, which for a
//! kept-alive connection is the end of the last request. Here silence between
//! requests and the time for a header are two limits: a node may be silent for
//! minutes, a header may not take as long.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::config::Limits;

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between requests.
    Idle,
    /// A request has begun and its header is not complete.
    Header,
    /// A request is being answered; its body has a limit of its own.
    Request,
}

/// Phase of one connection and since when.
#[derive(Debug, Clone)]
pub(super) struct Pace(Arc<Mutex<(Phase, Instant)>>);

impl Pace {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new((Phase::Idle, Instant::now()))))
    }

    /// A header is complete.
    pub(super) fn begin_request(&self) {
        self.enter(Phase::Request);
    }

    /// An answer is on its way.
    pub(super) fn end_request(&self) {
        self.enter(Phase::Idle);
    }

    fn saw_bytes(&self) {
        if self.get().0 == Phase::Idle {
            self.enter(Phase::Header);
        }
    }

    fn get(&self) -> (Phase, Instant) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = (phase, Instant::now());
    }

    /// Completes when the connection has taken too long.
    pub(super) async fn overdue(&self, limits: &Limits) {
        loop {
            let (phase, since) = self.get();
            let limit = match phase {
                Phase::Idle => limits.idle_s,
                Phase::Header => limits.header_s,
                // The body has its own limit; this one is for an answer that is never fetched.
                Phase::Request => limits.body_s + limits.idle_s,
            };
            let deadline = since + Duration::from_secs(limit);
            if deadline <= Instant::now() {
                return;
            }
            // A phase may be shorter than the one before: look again soon enough for any.
            let soon = Instant::now() + Duration::from_secs(1);
            tokio::time::sleep_until(deadline.min(soon)).await;
        }
    }
}

/// A stream that tells its pace when bytes come in.
pub(super) struct Paced<S> {
    stream: S,
    pace: Pace,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Pace) -> Self {
        Self { stream, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pace.saw_bytes();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
