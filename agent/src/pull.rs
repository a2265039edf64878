//! The process that fetches images from registries (OCI distribution-spec 1.1, "Pull").
//!
//! It has the network and nothing else. Standard input and output are one end of a
//! socket; it answers requests ([`assay_sandbox::pull`]) one after the other with
//! bytes whose digest it has checked, and knows nothing of what they mean.
//!
//! Trust boundary: references come from tenants' job files; registries answer what
//! they like. A tenant must not reach the owner's network through a name, a
//! redirect or a token service: addresses are judged when they are connected to.
//! Credentials go to the registry they are for and to the token
//! service that it names, and to nobody that it redirects to.

mod auth;
mod blob;
mod client;
mod connect;
mod credentials;
mod fault;
mod neighbours;
mod policy;
mod url;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assay_sandbox::pull::{FRAME_MAX, Failure, Item, REQUEST_MAX, Request, frame};
use assay_sandbox::registry_ref::parse_digest;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::timeout;

use self::client::Client;
use self::fault::Fault;
use crate::config::ImageSettings;

/// Bytes gathered before they are written.
const GATHER: usize = 128 << 10;

/// Why the process ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The event loop did not start.
    #[error("start the event loop")]
    Start(#[source] io::Error),
    /// Whoever asks cannot be heard or reached.
    #[error("talk to whoever asks")]
    Talk(#[source] io::Error),
    /// What was asked is no request.
    #[error("a request that is none")]
    Request(#[source] serde_json::Error),
}

/// Answers requests on standard input until it ends or nobody reads the answers.
///
/// # Errors
/// [`ServeError`]; what a registry does wrong is an answer and no error.
pub fn serve(settings: &ImageSettings) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(ServeError::Start)?;
    let served = serve_on(&runtime, settings);
    // A name that is being looked up must not hold us.
    runtime.shutdown_background();
    served
}

fn serve_on(runtime: &Runtime, settings: &ImageSettings) -> Result<(), ServeError> {
    let open = |fd: io::Result<std::os::fd::OwnedFd>| fd.map(File::from).map_err(ServeError::Talk);
    let mut input = BufReader::new(open(io::stdin().as_fd().try_clone_to_owned())?);
    let output = open(io::stdout().as_fd().try_clone_to_owned())?;
    let gone = hang_up(&output).map_err(ServeError::Talk)?;
    let mut answers = Answers(BufWriter::with_capacity(GATHER, output));
    let mut client = Client::new(settings);
    let (start, limit) = (Instant::now(), Duration::from_secs(settings.minutes.saturating_mul(60)));
    while let Some(request) = read_request(&mut input)? {
        let answered = runtime.block_on(async {
            let left = limit.saturating_sub(start.elapsed());
            tokio::select! {
                answered = timeout(left, answer(&mut client, &request, &mut answers)) => Some(answered),
                () = gone.notified() => None,
            }
        });
        match answered {
            None => return Ok(()),
            Some(Ok(Ok(()))) => answers.end(),
            Some(Ok(Err(Fault::Write(error)))) => Err(error),
            Some(Ok(Err(fault))) => answers.fail(&fault),
            Some(Err(_)) => answers.fail(&Fault::Late),
        }
        .map_err(ServeError::Talk)?;
    }
    Ok(())
}

/// Says when nobody reads any more. A registry may let us wait with nothing to write, and
/// only who writes is told otherwise.
fn hang_up(output: &File) -> io::Result<Arc<Notify>> {
    let output = output.try_clone()?;
    let gone = Arc::new(Notify::new());
    let tell = Arc::clone(&gone);
    std::thread::Builder::new().spawn(move || {
        // Asked for nothing, it answers with hang-ups and errors alone.
        let mut wanted = [PollFd::new(output.as_fd(), PollFlags::empty())];
        while poll(&mut wanted, PollTimeout::NONE) == Err(Errno::EINTR) {}
        tell.notify_one();
    })?;
    Ok(gone)
}

fn read_request(input: &mut BufReader<File>) -> Result<Option<Request>, ServeError> {
    let mut line = Vec::new();
    let limit = u64::try_from(REQUEST_MAX).unwrap_or(u64::MAX);
    input.take(limit).read_until(b'\n', &mut line).map_err(ServeError::Talk)?;
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&line).map(Some).map_err(ServeError::Request)
}

async fn answer<W: Write>(
    client: &mut Client,
    request: &Request,
    answers: &mut Answers<W>,
) -> Result<(), Fault> {
    let image = &request.image;
    match &request.item {
        Item::Entry {} => blob::entry(client, image, answers).await,
        Item::Manifest { digest, size } => {
            let wanted = blob::Wanted { digest: parse_digest(digest).ok_or(Fault::Digest)?, size: *size };
            blob::manifest(client, image, &wanted, answers).await
        }
        Item::Blob { digest, size } => {
            let wanted = blob::Wanted { digest: parse_digest(digest).ok_or(Fault::Digest)?, size: *size };
            blob::blob(client, image, &wanted, answers).await
        }
    }
}

/// Frames of answers.
struct Answers<W: Write>(BufWriter<W>);

impl<W: Write> Answers<W> {
    fn frame(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let length =
            u32::try_from(payload.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.0.write_all(&[kind])?;
        self.0.write_all(&length.to_le_bytes())?;
        self.0.write_all(payload)
    }

    fn head(&mut self, media_type: &str) -> Result<(), Fault> {
        self.frame(frame::HEAD, media_type.as_bytes()).map_err(Fault::Write)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        bytes.chunks(FRAME_MAX).try_for_each(|part| self.frame(frame::DATA, part)).map_err(Fault::Write)
    }

    fn end(&mut self) -> io::Result<()> {
        self.frame(frame::END, &[])?;
        self.0.flush()
    }

    fn fail(&mut self, fault: &Fault) -> io::Result<()> {
        let failure = Failure { code: fault.code().to_owned(), text: fault::line(fault) };
        self.frame(frame::FAILURE, &serde_json::to_vec(&failure)?)?;
        self.0.flush()
    }
}
