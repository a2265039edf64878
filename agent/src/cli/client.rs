//! Asking the running core: one question and one answer over its control socket.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use super::error::CliError;
use crate::{
    config::Config,
    control::{CONTROL_SOCKET, Request},
    core::{
        answer::{Answer, MAX_ANSWER},
        status::Status,
    },
};

/// How long a core may take to answer what it has at hand.
const SOON: Duration = Duration::from_secs(15);
/// How long an export may take: quotes and thousands of records.
const LATER: Duration = Duration::from_secs(120);

/// The running core of one configuration.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    /// The core that this configuration's agent would be.
    pub(crate) fn new(config: &Config) -> Self {
        Self { socket: config.node.runtime_dir.join(CONTROL_SOCKET) }
    }

    /// How it is.
    pub(crate) fn status(&self) -> Result<Status, CliError> {
        match self.ask(&Request::Status)? {
            Answer::Status(status) => Ok(*status),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Asks; a refusal is an error, every other answer is the caller's to match.
    pub(crate) fn ask(&self, request: &Request) -> Result<Answer, CliError> {
        let stream = UnixStream::connect(&self.socket).map_err(|source| self.unreachable(source))?;
        let line = exchange(stream, request).map_err(|source| self.broken(source))?;
        let answer = serde_json::from_slice(&line).map_err(|source| self.broken(source.into()))?;
        match answer {
            Answer::Refused { code, text } => Err(CliError::Refused { code, text }),
            answer => Ok(answer),
        }
    }

    /// For an answer to another question.
    pub(crate) fn unexpected(&self, answer: &Answer) -> CliError {
        let name = format!("{answer:?}").chars().take_while(char::is_ascii_alphanumeric).collect::<String>();
        self.broken(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("an answer to another question: {name}"),
        ))
    }

    fn unreachable(&self, source: io::Error) -> CliError {
        let socket = self.socket.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CliError::NoDaemon { socket },
            _ => CliError::Connect { socket, source },
        }
    }

    fn broken(&self, source: io::Error) -> CliError {
        CliError::Exchange { socket: self.socket.clone(), source }
    }
}

fn exchange(mut stream: UnixStream, request: &Request) -> io::Result<Vec<u8>> {
    let patience = match request {
        Request::JobRun { .. } => None,
        Request::Export { .. } => Some(LATER),
        Request::Status
        | Request::JobStop { .. }
        | Request::JobList
        | Request::JobShow { .. }
        | Request::EkCertificate { .. } => Some(SOON),
    };
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(Some(SOON))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let limit = u64::try_from(MAX_ANSWER).unwrap_or(u64::MAX).saturating_add(1);
    let mut answer = Vec::new();
    BufReader::new(stream.take(limit)).read_until(b'\n', &mut answer)?;
    match answer.pop() {
        Some(b'\n') => Ok(answer),
        Some(_) if answer.len() >= MAX_ANSWER => Err(io::Error::other("the answer is too long")),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no whole answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A core that answers one connection with `answer`, and a client of it.
    fn answering(answer: &'static [u8]) -> (tempfile::TempDir, Client) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join(CONTROL_SOCKET);
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            serde_json::from_str::<Request>(&line).unwrap();
            stream.write_all(answer).unwrap();
        });
        (dir, Client { socket })
    }

    #[test]
    fn a_refusal_is_an_error_with_its_code() {
        let (_dir, client) =
            answering(b"{\"answer\":\"refused\",\"code\":\"job.none\",\"text\":\"no such job\"}\n");
        let error = client.status().unwrap_err();
        assert!(matches!(error, CliError::Refused { code, .. } if code == "job.none"));
    }

    #[test]
    fn garbage_half_lines_and_other_answers_are_errors() {
        for answer in [
            &b"nonsense\n"[..],
            b"",
            b"{\"answer\":\"jobs\",\"jobs\":[]}",
            b"{\"answer\":\"jobs\",\"jobs\":[]}\n",
        ] {
            let (_dir, client) = answering(answer);
            assert!(matches!(client.status(), Err(CliError::Exchange { .. })), "{answer:?}");
        }
    }

    #[test]
    fn a_missing_daemon_is_told_apart_from_a_closed_door() {
        let dir = tempfile::tempdir().unwrap();
        let nobody = Client { socket: dir.path().join(CONTROL_SOCKET) };
        assert!(matches!(nobody.status(), Err(CliError::NoDaemon { .. })));
        drop(UnixListener::bind(dir.path().join(CONTROL_SOCKET)).unwrap());
        assert!(matches!(nobody.status(), Err(CliError::NoDaemon { .. })));
        let dir = Client { socket: "/dev/null".into() };
        assert!(matches!(dir.status(), Err(CliError::NoDaemon { .. } | CliError::Connect { .. })));
    }
}
