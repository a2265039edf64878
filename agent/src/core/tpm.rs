//! The TPM's thread: one command at a time, opened anew when it was lost.
//!
//! `libtss2` blocks, so the TPM has a thread of its own and core asks it over a
//! channel. A simulator behind TCP keeps the network for that one thread; a TPM that
//! is a device does without.

use std::sync::mpsc;
use std::thread;

use assay_attester::{Backend, Tpm, TpmError};
use tokio::sync::oneshot;

use super::{CoreError, confine, error::chain};
use crate::config::TpmConfig;

/// Why the TPM did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmFault {
    /// Stable code of the health item.
    pub code: &'static str,
    /// One line for people, with the next step.
    pub text: String,
}

impl std::fmt::Display for TpmFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<&TpmError> for TpmFault {
    fn from(error: &TpmError) -> Self {
        Self { code: code(error), text: format!("{}; {}", chain(error), error.hint()) }
    }
}

fn code(error: &TpmError) -> &'static str {
    match error {
        TpmError::InvalidBackend { .. } => "tpm.config",
        TpmError::Missing { .. } => "tpm.missing",
        TpmError::Busy { .. } => "tpm.busy",
        TpmError::Denied { .. } => "tpm.denied",
        TpmError::NotStarted => "tpm.not-started",
        TpmError::FailureMode => "tpm.failure-mode",
        TpmError::LockedOut { .. } => "tpm.locked-out",
        TpmError::Lost { .. } => "tpm.lost",
        _ => "tpm.failed",
    }
}

type Job = Box<dyn FnOnce(&mut Slot) + Send>;

/// The TPM as its thread has it.
struct Slot {
    backend: String,
    open: Option<Tpm>,
}

impl Slot {
    fn with<T>(&mut self, ask: impl FnOnce(&mut Tpm) -> Result<T, TpmError>) -> Result<T, TpmError> {
        let tpm = match &mut self.open {
            Some(tpm) => tpm,
            None => self.open.insert(Tpm::open(&Backend::parse(&self.backend)?)?),
        };
        let outcome = ask(tpm);
        if matches!(outcome, Err(TpmError::Lost { .. } | TpmError::NotStarted | TpmError::FailureMode)) {
            self.open = None;
        }
        outcome
    }
}

/// The way to the TPM's thread, which ends when this is dropped.
pub(super) struct TpmHandle(mpsc::Sender<Job>);

impl TpmHandle {
    /// Starts the thread. The TPM itself is opened when it is first asked for something.
    ///
    /// Has to be called before core gives up the network, for a simulator's sake.
    pub(super) fn start(config: &TpmConfig) -> Result<Self, CoreError> {
        let (sender, inbox) = mpsc::channel::<Job>();
        let backend = config.backend.clone();
        let (confined, told) = mpsc::channel();
        let body = move || {
            let outcome = match Backend::parse(&backend) {
                Ok(Backend::Tcti(_)) => Ok(()),
                Ok(Backend::Device(_)) | Err(_) => confine::no_network(),
            };
            let goes_on = outcome.is_ok();
            // Whoever started us waits for this.
            let _ = confined.send(outcome);
            let mut slot = Slot { backend, open: None };
            while let Some(job) = inbox.recv().ok().filter(|_| goes_on) {
                job(&mut slot);
            }
        };
        let thread = thread::Builder::new().name("tpm".to_owned()).spawn(body);
        thread.map_err(|source| CoreError::Start { what: "the TPM's thread", source })?;
        told.recv().unwrap_or(Ok(())).map_err(CoreError::Confine)?;
        Ok(Self(sender))
    }

    /// Has the TPM do something, opening it first if it is not open.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Tpm) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmFault> {
        let gone = || TpmFault { code: "tpm.failed", text: "the TPM's thread is gone".to_owned() };
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move |slot: &mut Slot| {
            // Whoever asked may have given up.
            let _ = reply.send(slot.with(ask).map_err(|error| TpmFault::from(&error)));
        });
        self.0.send(job).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fault(backend: &str) -> TpmFault {
        let config = TpmConfig { backend: backend.to_owned(), ..TpmConfig::default() };
        let handle = TpmHandle::start(&config).unwrap();
        handle.call(|tpm| tpm.identity()).await.unwrap_err()
    }

    #[tokio::test]
    async fn what_is_wrong_has_a_code_and_a_next_step() {
        let missing = fault("/dev/no-such-tpm").await;
        assert_eq!(missing.code, "tpm.missing");
        assert!(missing.text.contains("no-such-tpm") && missing.text.contains("firmware setup"));
        assert_eq!(fault("nonsense").await.code, "tpm.config");
    }
}
