//! Orders over a unix socket: one order and one answer per connection.
//!
//! The socket lies in the validator's directory (0700), is 0600 itself, and takes only peers
//! of its own user or root. A peer writes the order and closes its half; what doesn't come
//! within seconds, is too long or doesn't decode is answered with a refusal.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as BlockingListener, UnixStream as BlockingStream};
use std::path::Path;
use std::time::Duration;

use assay_wire::{cbor, limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::{Done, Order};
use crate::engine::{Handle, Request};
use crate::error::Error;

/// The largest order: an envelope to import with its CBOR header.
const ORDER: usize = limits::ENVELOPE + 64;
/// The largest answer.
const DONE: u64 = 4096;
/// For a whole exchange.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens from now on, for a runtime to accept later; a socket that is there already is a dead process's, for the caller holds the lock.
pub(crate) fn bind(path: &Path) -> Result<BlockingListener, Error> {
    let failed = |source| Error::Listen { address: path.display().to_string(), source };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = BlockingListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Serves orders, one after the other, for ever.
pub(crate) async fn serve(listener: &UnixListener, engine: &Handle, owner: u32) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::warn!("admin socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match timeout(PATIENCE, exchange(stream, engine, owner)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warn!("admin socket: {error}"),
            Err(_) => log::warn!("admin socket: a peer took too long"),
        }
    }
}

/// The user that a directory belongs to.
pub(crate) fn owner(dir: &Path) -> io::Result<u32> {
    std::fs::metadata(dir).map(|metadata| metadata.uid())
}

async fn exchange(mut stream: UnixStream, engine: &Handle, owner: u32) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let answer = if peer == owner || peer == 0 {
        let mut bytes = Vec::new();
        let limit = u64::try_from(ORDER).unwrap_or(u64::MAX);
        (&mut stream).take(limit + 1).read_to_end(&mut bytes).await?;
        order(&bytes, engine).await
    } else {
        cbor::to_vec(&Done::no("admin.peer", "another user's process"))
    };
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

async fn order(bytes: &[u8], engine: &Handle) -> Vec<u8> {
    let order: Order = match cbor::from_slice("order", bytes, ORDER) {
        Ok(order) => order,
        Err(error) => return cbor::to_vec(&Done::no("admin.malformed", error.to_string())),
    };
    match engine.ask(Request::Admin(Box::new(order))).await.answer {
        Ok(done) => done,
        Err(refused) => cbor::to_vec(&Done::no(&refused.refusal.code, refused.refusal.message)),
    }
}

/// Asks the process that serves a directory; `None` when none does.
pub(crate) fn ask(path: &Path, order: &Order) -> Result<Option<Done>, Error> {
    let failed = |source| Error::Admin { path: path.to_owned(), source };
    let mut stream = match BlockingStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    stream
        .set_read_timeout(Some(2 * PATIENCE))
        .and_then(|()| stream.write_all(&cbor::to_vec(order)))
        .and_then(|()| stream.shutdown(std::net::Shutdown::Write))
        .and_then(|()| (&mut stream).take(DONE).read_to_end(&mut bytes))
        .map_err(failed)?;
    let done = cbor::from_slice("answer", &bytes, limits::TPM_STRUCTURE);
    done.map(Some).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
}
