//! The link process: carries bytes between core and the validators.
//!
//! Core has no network and link has no keys. Link connects to core's socket, takes
//! requests, sends each down one outbound TLS 1.3 connection per validator, and gives
//! the answers back. For a TPM without a certificate it asks the TPM's maker for one, too. It knows neither what it carries nor whether it is true:
//! everything that matters is signed inside.
//!
//! Trust boundary: validators are pinned by their TLS key and are hostile all the
//! same: they may answer garbage, slowly, or never. Every exchange has a deadline and
//! a limit in bytes, and a failure is an answer with status 0, not an end.
//!
//! Not here: retries of a request (core's ledger knows what is undelivered), storage,
//! listening.

pub mod frame;
mod pin;
#[cfg(test)]
mod tests;
mod vendor;
mod worker;

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::control::LINK_SOCKET;
use frame::{FrameError, Request, Response};
use worker::Worker;

/// Requests that may wait for one validator; one more is answered as failed.
const QUEUE: usize = 16;

/// How patient link is.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Longest exchange with a validator, connecting included.
    pub deadline: Duration,
    /// Pause after the first failed connection; doubled by each failure that follows.
    pub first_pause: Duration,
    /// Longest such pause.
    pub longest_pause: Duration,
    /// Pause between two tries to reach core.
    pub core_pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(15),
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(30),
            core_pause: Duration::from_millis(200),
        }
    }
}

/// Why link could not start. A validator or core that is away is no reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No event loop.
    #[error("cannot start link")]
    Start(#[source] io::Error),
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// A validator's URL has no host, or one that TLS cannot name.
    #[error("validator {name}: {url} has no host that TLS can name")]
    Url {
        /// Its name in the configuration.
        name: String,
        /// The URL.
        url: String,
    },
}

/// Runs link until the process ends.
///
/// # Errors
/// [`LinkError`], when it cannot start.
pub fn run(config: &Config) -> Result<(), LinkError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(LinkError::Start)?.block_on(serve(config, Timing::default()))
}

/// Carries for one core after another; does not return but for a bad configuration.
///
/// # Errors
/// [`LinkError::Tls`] and [`LinkError::Url`].
pub async fn serve(config: &Config, timing: Timing) -> Result<(), LinkError> {
    let socket = config.node.runtime_dir.join(LINK_SOCKET);
    let mut queues = Vec::with_capacity(config.validator.len());
    for validator in &config.validator {
        let worker = Worker::new(validator, timing)?;
        let (queue, inbox) = mpsc::channel(QUEUE);
        tokio::spawn(worker.run(inbox));
        queues.push(queue);
    }
    let (vendor, inbox) = mpsc::channel(QUEUE);
    tokio::spawn(vendor::run(inbox, timing));
    let queues = Queues { validators: queues, vendor };
    // Ready as soon as it would carry: that core or a validator is away is theirs to say.
    if let Err(error) = sd_notify::notify(false, &[NotifyState::Ready]) {
        log::debug!("service manager: {error}");
    }
    let mut told = false;
    loop {
        match UnixStream::connect(&socket).await {
            Ok(core) => {
                log::info!("connected to core");
                told = false;
                match carry(core, &queues).await {
                    Ok(()) => log::info!("core hung up"),
                    Err(error) => log::warn!("core: {error}"),
                }
            }
            Err(error) if !told => {
                log::warn!("no core at {}: {error}", socket.display());
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(timing.core_pause).await;
    }
}

/// A request on its way to a worker, and where its answer goes.
type Errand = (Request, mpsc::UnboundedSender<Response>);

/// Where requests go.
struct Queues {
    validators: Vec<mpsc::Sender<Errand>>,
    vendor: mpsc::Sender<Errand>,
}

impl Queues {
    fn of(&self, request: &Request) -> Option<&mpsc::Sender<Errand>> {
        match request.validator {
            Some(index) => self.validators.get(usize::try_from(index).ok()?),
            None => Some(&self.vendor),
        }
    }
}

/// Carries for one core until it hangs up.
async fn carry(core: UnixStream, queues: &Queues) -> Result<(), FrameError> {
    let (mut from_core, mut to_core) = core.into_split();
    // Bounded by what core has asked and not yet had an answer to.
    let (answers, mut outgoing) = mpsc::unbounded_channel();
    let write = async {
        while let Some(response) = outgoing.recv().await {
            frame::write(&mut to_core, &response).await?;
        }
        Ok(())
    };
    let read = async {
        while let Some(request) = frame::read::<Request, _>(&mut from_core).await? {
            dispatch(request, queues, &answers);
        }
        Ok(())
    };
    tokio::select! {
        ended = read => ended,
        ended = write => ended,
    }
}

fn dispatch(request: Request, queues: &Queues, answers: &mpsc::UnboundedSender<Response>) {
    let id = request.id;
    let refused = match queues.of(&request).map(|queue| queue.try_send((request, answers.clone()))) {
        Some(Ok(())) => return,
        Some(Err(_)) => "too many requests wait for this validator",
        None => "link and core have different configurations: there is no such validator",
    };
    // A closed channel means that core is gone, and nobody waits.
    let _ = answers.send(Response::failed(id, refused));
}
