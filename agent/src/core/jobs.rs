//! Jobs: run by the sandbox on a thread each, accounted for in the session's name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use assay_sandbox::pull::Puller;
use assay_sandbox::unpack_process::Unpacker;
use assay_sandbox::{Event, JobFile, JobOutcome, Sandbox, SandboxConfig, SandboxError, Secret};
use assay_wire::{Digest, Kind};
use minicbor::bytes::ByteArray;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::answer::{Answer, Checkable, JobRow};
use super::error::chain;
use super::node::Node;
use super::status::Severity;
use super::{audit, clock, job_receipt, local};
use crate::config::{Config, ImageSettings};

/// Most jobs at a time; a beat names no more than that.
const MAX_RUNNING: usize = 16;

/// Code of the health item of a core whose jobs get no cgroups.
pub(crate) const NO_CGROUPS: &str = "sandbox.cgroups";
/// Most jobs of a list: what an answer has room for.
const LISTED_MAX: usize = 4096;

/// The jobs that run now or are about to, and those that ran since the last beat.
#[derive(Default)]
pub(super) struct Jobs {
    running: BTreeMap<u64, Running>,
    next: u64,
    ended: BTreeSet<[u8; 8]>,
    sandbox: Option<Arc<Sandbox>>,
    /// What the audit of this core's sandbox came to, once it did.
    pub(super) audited: Option<audit::Verdict>,
}

struct Running {
    digest: Digest,
    started_ms: u64,
    cancel: Arc<AtomicBool>,
}

impl Jobs {
    /// Digests of the jobs that run now.
    pub(super) fn running(&self) -> Vec<String> {
        self.running.values().map(|job| job.digest.to_string()).collect()
    }

    /// The jobs that ran since the last beat, as a beat names them.
    pub(super) fn since_beat(&self) -> Vec<ByteArray<8>> {
        let running = self.running.values().map(|job| short(&job.digest));
        let all: BTreeSet<[u8; 8]> = self.ended.iter().copied().chain(running).collect();
        all.into_iter().take(MAX_RUNNING).map(ByteArray::from).collect()
    }

    /// The beat that named them is stored.
    pub(super) fn beat_stored(&mut self) {
        self.ended.clear();
    }

    /// Takes one of the places; `None` when all are taken.
    fn start(&mut self, digest: Digest) -> Option<(u64, Arc<AtomicBool>)> {
        if self.running.len() >= MAX_RUNNING {
            return None;
        }
        let (number, cancel) = (self.next, Arc::new(AtomicBool::new(false)));
        self.next += 1;
        let started_ms = clock::boot_ms();
        self.running.insert(number, Running { digest, started_ms, cancel: Arc::clone(&cancel) });
        Some((number, cancel))
    }

    /// Gives the place of a job back that did not come to run.
    fn refuse(&mut self, number: u64) {
        self.running.remove(&number);
    }

    fn end(&mut self, number: u64) {
        if let Some(job) = self.running.remove(&number) {
            self.ended.insert(short(&job.digest));
        }
    }

    fn cancel_all(&self) {
        self.running.values().for_each(|job| job.cancel.store(true, Ordering::Relaxed));
    }

    /// The one job that runs under a digest which starts with `prefix`.
    fn find(&self, prefix: &str) -> Result<&Running, usize> {
        let matching: Vec<_> =
            self.running.values().filter(|job| job.digest.to_string().starts_with(prefix)).collect();
        match matching.as_slice() {
            [one] if !prefix.is_empty() => Ok(one),
            other => Err(other.len()),
        }
    }

    pub(super) fn sandbox(&mut self, config: &Config) -> Result<Arc<Sandbox>, SandboxError> {
        if let Some(sandbox) = &self.sandbox {
            return Ok(Arc::clone(sandbox));
        }
        // Core has no network; the service that has is started beside it.
        let puller = Puller::Socket(config.node.runtime_dir.join(ImageSettings::PULL_SOCKET));
        let sandbox = Arc::new(open_sandbox(config, puller)?);
        Ok(Arc::clone(self.sandbox.insert(sandbox)))
    }

    fn rows(&self) -> Vec<JobRow> {
        let now = clock::boot_ms();
        let row = |job: &Running| JobRow {
            job: job.digest.to_string(),
            state: "running".to_owned(),
            wall_ms: now.saturating_sub(job.started_ms),
            ..JobRow::default()
        };
        self.running.values().rev().map(row).collect()
    }
}

fn short(digest: &Digest) -> [u8; 8] {
    let mut short = [0; 8];
    short.iter_mut().zip(digest.0).for_each(|(to, from)| *to = from);
    short
}

/// The sandbox of this configuration; clears what a crash left behind.
pub(super) fn open_sandbox(config: &Config, puller: Puller) -> Result<Sandbox, SandboxError> {
    let config = config.sandbox.sandbox(&config.node, Unpacker::Process(own_program()), puller);
    Sandbox::new(SandboxConfig { network_ahead: true, ..config })
}

/// Ends what the jobs of a core that died have left. A machine that can run no job says so when one comes;
/// one that refuses jobs with the default limits is a health item.
pub(super) fn sweep(node: &Node) {
    let sandbox = node.jobs.borrow_mut().sandbox(&node.config);
    match sandbox.map(|sandbox| sandbox.can_limit()) {
        Ok(Ok(())) => node.clear(NO_CGROUPS),
        Ok(Err(error)) => {
            let text = format!("jobs with limits = \"cgroup\", the default, are refused: {}", chain(&error));
            node.raise(NO_CGROUPS, Severity::Warning, text);
        }
        Err(error) => log::info!("no sandbox: {}", chain(&error)),
    }
}

/// This very program, also after an update has put another in its place.
pub(super) fn own_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Runs a job file to its end, and signs and stores its receipt.
pub(super) async fn run(node: &Rc<Node>, file: &str) -> Answer {
    let job = match JobFile::parse(file.as_bytes()) {
        Ok(job) => job,
        Err(error) => return Answer::refused("job.file", chain(&error)),
    };
    // From here on it is counted, listed and stopped like one that runs.
    let started = node.jobs.borrow_mut().start(Digest(job.digest()));
    let Some((number, cancel)) = started else {
        return Answer::refused("job.busy", format!("{MAX_RUNNING} jobs run already"));
    };
    let (sandbox, secrets) = match prepare(node, &job, &cancel).await {
        Ok(prepared) => prepared,
        Err(refusal) => {
            node.jobs.borrow_mut().refuse(number);
            return refusal;
        }
    };
    let answer = match on_thread(sandbox, job, secrets, cancel).await {
        Ok(outcome) => account(node, &outcome).await,
        Err(text) => Answer::refused("job.unable", text),
    };
    node.jobs.borrow_mut().end(number);
    answer
}

/// The audited sandbox and the job's opened secrets.
async fn prepare(
    node: &Rc<Node>,
    job: &JobFile,
    cancel: &AtomicBool,
) -> Result<(Arc<Sandbox>, Vec<Secret>), Answer> {
    let sandbox = node.jobs.borrow_mut().sandbox(&node.config);
    let sandbox = sandbox.map_err(|error| Answer::refused("job.sandbox", chain(&error)))?;
    audit::check(node, &sandbox).await?;
    if cancel.load(Ordering::Relaxed) {
        return Err(Answer::refused("job.unable", chain(&SandboxError::Cancelled)));
    }
    let secrets = secrets(node, job).map_err(|text| Answer::refused("job.secrets", text))?;
    Ok((sandbox, secrets))
}

/// The job's secrets, opened with the open session's key.
fn secrets(node: &Node, job: &JobFile) -> Result<Vec<Secret>, String> {
    if job.secrets.is_empty() {
        return Ok(Vec::new());
    }
    match node.session.borrow().as_ref() {
        Some(session) => session.open_secrets(job).map_err(|error| error.to_string()),
        None => Err("no session is open, and secrets are sealed to one".to_owned()),
    }
}

/// Tells the log what goes on.
pub(super) fn note(event: Event) {
    match event {
        Event::Started { id, .. } => log::info!("job {id} starts"),
        Event::Restarting { number, exit, pause_ms } => {
            log::info!("a job ended with {exit:?}: restart {number} in {pause_ms} ms");
        }
        _ => {}
    }
}

/// The jailer dies with the thread that started it, so each job has one to itself.
async fn on_thread(
    sandbox: Arc<Sandbox>,
    job: JobFile,
    secrets: Vec<Secret>,
    cancel: Arc<AtomicBool>,
) -> Result<JobOutcome, String> {
    let (sender, outcome) = oneshot::channel();
    let body = move || {
        let outcome = sandbox.run(&job, &secrets, &cancel, &note).map_err(|error| chain(&error));
        // Core's tasks outlive its jobs.
        let _ = sender.send(outcome);
    };
    thread::Builder::new().name("job".to_owned()).spawn(body).map_err(|error| error.to_string())?;
    outcome.await.unwrap_or_else(|_| Err("the job's thread ended without an outcome".to_owned()))
}

/// Signs the receipt in the open session's name, or without one as a node without a daemon does.
async fn account(node: &Node, outcome: &JobOutcome) -> Answer {
    let signed = {
        let slot = node.session.borrow();
        slot.as_ref().map(|session| {
            let receipt = job_receipt::receipt(outcome, session.head.seq);
            let bytes = session.seal(Kind::JobReceipt, &receipt);
            job_receipt::keep(outcome, &bytes);
            let stored = node.store(&session.id, Kind::JobReceipt, receipt.seq, &bytes);
            stored.map(|()| job_receipt::answer(outcome, &receipt, &session.id, bytes, Checkable::Session))
        })
    };
    let outcome = match signed {
        Some(outcome) => outcome,
        None => {
            let place = local::Place {
                config: &node.config,
                network: &node.network,
                ledger: &node.ledger,
                tpm: &node.tpm,
            };
            match place.sign(outcome).await {
                Ok(answer) => Ok(answer),
                Err(error) => return Answer::refused("job.unsigned", chain(&error)),
            }
        }
    };
    match outcome {
        Ok(answer) => Answer::Job(Box::new(answer)),
        Err(error) => Answer::refused("job.unsigned", chain(&error)),
    }
}

/// Running jobs, then those that have ended, newest first and at most [`LISTED_MAX`].
pub(super) fn list(node: &Node) -> Answer {
    rows(node, |rows| rows.into_iter().take(LISTED_MAX).map(JobRow::brief).collect())
}

/// The jobs whose digests start with `prefix`.
pub(super) fn show(node: &Node, prefix: &str) -> Answer {
    rows(node, |rows| job_receipt::matching(rows, &prefix.to_ascii_lowercase()))
}

fn rows(node: &Node, choose: impl FnOnce(Vec<JobRow>) -> Vec<JobRow>) -> Answer {
    match node.ledger.borrow().jobs() {
        Ok(stored) => {
            let mut jobs = node.jobs.borrow().rows();
            jobs.extend(job_receipt::ended(&node.config, &stored));
            Answer::Jobs { jobs: choose(jobs) }
        }
        Err(error) => Answer::refused("ledger.failed", chain(&error)),
    }
}

/// Tells a running job to stop.
pub(super) fn stop(node: &Node, prefix: &str) -> Answer {
    let jobs = node.jobs.borrow();
    match jobs.find(&prefix.to_ascii_lowercase()) {
        Ok(job) => {
            job.cancel.store(true, Ordering::Relaxed);
            Answer::Stopping { job: job.digest.to_string() }
        }
        Err(0) => Answer::refused("job.unknown", "no such job is running"),
        Err(count) => Answer::refused("job.ambiguous", format!("{count} running jobs match")),
    }
}

/// Tells all jobs to stop, and waits until they are accounted for, at most this long.
pub(super) async fn stop_all(node: &Node, limit: Duration) {
    node.jobs.borrow().cancel_all();
    let ended = async {
        while !node.jobs.borrow().running.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(limit, ended).await.is_err() {
        log::warn!("jobs did not end in time; they die with this process, without a receipt");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        Digest([n; 32])
    }

    #[test]
    fn a_beat_names_what_ran_since_the_last_one_once() {
        let mut jobs = Jobs::default();
        let (first, _) = jobs.start(digest(1)).unwrap();
        let (second, _) = jobs.start(digest(1)).unwrap();
        jobs.start(digest(2)).unwrap();
        jobs.end(first);
        jobs.end(second);
        assert_eq!(jobs.since_beat(), [[1; 8], [2; 8]].map(ByteArray::from));
        jobs.beat_stored();
        assert_eq!(jobs.since_beat(), [ByteArray::from([2; 8])]);
    }

    #[test]
    fn places_are_taken_before_a_job_runs_and_given_back() {
        let mut jobs = Jobs::default();
        let places: Vec<_> = (0..MAX_RUNNING).map(|_| jobs.start(digest(1)).unwrap()).collect();
        assert!(jobs.start(digest(2)).is_none());
        jobs.refuse(places[0].0);
        let (number, cancel) = jobs.start(digest(2)).unwrap();
        jobs.cancel_all();
        assert!(cancel.load(Ordering::Relaxed));
        // What never ran is in no beat.
        jobs.refuse(number);
        jobs.beat_stored();
        assert_eq!(jobs.since_beat(), [ByteArray::from([1; 8])]);
    }

    #[test]
    fn a_job_is_named_by_enough_of_its_digest() {
        let mut jobs = Jobs::default();
        jobs.start(Digest([0xab; 32])).unwrap();
        jobs.start(Digest([0xcd; 32])).unwrap();
        assert_eq!(jobs.find("ab").unwrap().digest, Digest([0xab; 32]));
        let count = |prefix: &str| jobs.find(prefix).map(|_| ()).unwrap_err();
        assert_eq!((count(""), count("ff")), (2, 0));
        let (_, cancel) = jobs.start(Digest([0xab; 32])).unwrap();
        assert_eq!(jobs.find("ab").map(|_| ()).unwrap_err(), 2);
        jobs.cancel_all();
        assert!(cancel.load(Ordering::Relaxed));
    }
}
