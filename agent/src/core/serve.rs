//! The two sockets of core, and the answers on the control socket.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::answer::Answer;
use super::error::chain;
use super::node::Node;
use super::{CoreError, endorsement, export, jobs};
use crate::control::{MAX_LINE, Request};

/// How long a question may take to arrive, and its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections at a time; a job holds one while it runs.
const MAX_CONNECTIONS: usize = 64;
/// Pause when there is no room for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on a unix socket that has `mode` from its first moment on.
///
/// # Errors
/// [`CoreError::InUse`] when someone answers there already, [`CoreError::Listen`].
pub(super) fn listen(path: &Path, mode: u32) -> Result<UnixListener, CoreError> {
    let failed = |source| CoreError::Listen { path: path.to_owned(), source };
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(CoreError::InUse { path: path.to_owned() });
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    // Nothing else of core makes files while it starts.
    let before = umask(Mode::from_bits_truncate(0o777 & !mode));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener.map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
    Ok(listener)
}

/// Answers the command line, forever.
pub(super) async fn control(node: Rc<Node>, listener: UnixListener) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let node = Rc::clone(&node);
                tokio::task::spawn_local(async move {
                    if let Err(error) = converse(&node, stream).await {
                        log::debug!("control socket: {error}");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                log::warn!("control socket: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

/// One question and its answer.
async fn converse(node: &Rc<Node>, mut stream: UnixStream) -> io::Result<()> {
    let question = timeout(PATIENCE, question(&mut stream)).await??;
    let answer = match serde_json::from_slice(&question) {
        Ok(request) => answer(node, request).await,
        Err(error) => Answer::refused("control.request", error.to_string()),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    timeout(PATIENCE, stream.write_all(&line)).await?
}

async fn question(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    BufReader::new(stream.take(limit)).read_until(b'\n', &mut line).await?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no whole line")),
    }
}

async fn answer(node: &Rc<Node>, request: Request) -> Answer {
    match request {
        Request::Status => match node.status() {
            Ok(status) => Answer::Status(Box::new(status)),
            Err(error) => Answer::refused("ledger.failed", chain(&error)),
        },
        Request::JobRun { file } => jobs::run(node, &file).await,
        Request::JobStop { job } => jobs::stop(node, &job),
        Request::JobList => jobs::list(node),
        Request::JobShow { job } => jobs::show(node, &job),
        Request::EkCertificate { file } => endorsement::give(node, &file),
        Request::Export { what } => export::export(node, &what).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_private_and_not_taken_from_a_living_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let first = listen(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(listen(&path, 0o600), Err(CoreError::InUse { .. })));
        drop(first);
        let _second = listen(&path, 0o660).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(listen(&dir.path().join("no/s"), 0o600), Err(CoreError::Listen { .. })));
    }

    #[tokio::test]
    async fn a_question_is_one_whole_line() {
        for (sent, good) in [(&b"{}\n"[..], true), (b"{}", false), (b"", false)] {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(sent).await.unwrap();
            drop(theirs);
            assert_eq!(question(&mut ours).await.is_ok(), good, "{sent:?}");
        }
    }
}
