//! The pull service of `run`: a socket, and a process for each connection.
//!
//! The packages' systemd does the same with `assay-pull.socket`. Whoever is not
//! connected costs nothing.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    net::{UnixListener, UnixStream},
    process::Command,
    task::JoinSet,
};

use crate::config::ImageSettings;

/// Listens, and starts what answers.
pub(super) struct PullService {
    listener: UnixListener,
    path: PathBuf,
    exe: PathBuf,
    arguments: Vec<OsString>,
    running: JoinSet<()>,
}

impl PullService {
    /// Listens in the runtime directory, for this user only.
    pub(super) fn bind(runtime_dir: &Path, exe: &Path, arguments: Vec<OsString>) -> io::Result<Self> {
        let path = runtime_dir.join(ImageSettings::PULL_SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path, exe: exe.to_owned(), arguments, running: JoinSet::new() })
    }

    /// Waits for the next change: a connection, or the end of one. Safe to drop at any await.
    pub(super) async fn keep(&mut self) {
        // Further connections wait.
        if self.running.len() >= ImageSettings::PULLS_MAX {
            let _ = self.running.join_next().await;
            return;
        }
        let accepted = tokio::select! {
            accepted = self.listener.accept() => accepted,
            Some(_) = self.running.join_next() => return,
        };
        if let Err(error) = accepted.and_then(|(stream, _)| self.start(stream)) {
            log::error!("cannot start a pull process: {error}");
            // Out of descriptors or processes: the same would come at once.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    fn start(&mut self, stream: UnixStream) -> io::Result<()> {
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        let input = OwnedFd::from(stream.try_clone()?);
        let mut command = Command::new(&self.exe);
        command.args(&self.arguments).env_remove("WATCHDOG_PID").env_remove("NOTIFY_SOCKET");
        command.stdin(Stdio::from(input)).stdout(Stdio::from(OwnedFd::from(stream)));
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn()?;
        self.running.spawn(async move { drop(child.wait().await) });
        Ok(())
    }
}

impl Drop for PullService {
    fn drop(&mut self) {
        // Left behind it would be removed at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn each_connection_gets_a_process_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut service = PullService::bind(dir.path(), Path::new("/bin/cat"), vec![]).unwrap();
        let path = service.path.clone();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let talk = async {
            for text in [b"one", b"two"] {
                let mut stream = UnixStream::connect(&path).await.unwrap();
                stream.write_all(text).await.unwrap();
                stream.shutdown().await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer, text);
            }
        };
        let serve = async {
            loop {
                service.keep().await;
            }
        };
        tokio::select! {
            () = talk => {}
            () = serve => {}
        }
        drop(service);
        assert!(!path.exists());
    }
}
