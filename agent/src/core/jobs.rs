//! Jobs: run by the sandbox on a thread each, accounted for in the session's name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use assay_ledger::job::{JobExit, JobOutput, JobReceipt};
use assay_sandbox::job::{Limits, Network};
use assay_sandbox::outcome::IdMode;
use assay_sandbox::{Exit, JobFile, JobOutcome, Sandbox, SandboxConfig, SandboxError};
use assay_wire::{Digest, Kind};
use minicbor::bytes::ByteArray;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::answer::{Answer, Checkable, JobAnswer, JobRow, OutputRow};
use super::error::chain;
use super::node::Node;
use super::{audit, clock, local};
use crate::config::Config;
use crate::ledger::Stored;

/// Most jobs at a time; a beat names no more than that.
const MAX_RUNNING: usize = 16;

/// The jobs that run now, and those that ran since the last beat.
#[derive(Default)]
pub(super) struct Jobs {
    running: BTreeMap<u64, Running>,
    next: u64,
    ended: BTreeSet<[u8; 8]>,
    sandbox: Option<Arc<Sandbox>>,
    /// What the audit of this core's sandbox said, once it ran: its refusal of every job, if any.
    pub(super) audited: Option<Option<String>>,
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

    fn start(&mut self, digest: Digest) -> (u64, Arc<AtomicBool>) {
        let (number, cancel) = (self.next, Arc::new(AtomicBool::new(false)));
        self.next += 1;
        let started_ms = clock::boot_ms();
        self.running.insert(number, Running { digest, started_ms, cancel: Arc::clone(&cancel) });
        (number, cancel)
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

    fn sandbox(&mut self, config: &Config) -> Result<Arc<Sandbox>, SandboxError> {
        if let Some(sandbox) = &self.sandbox {
            return Ok(Arc::clone(sandbox));
        }
        let sandbox = Arc::new(open_sandbox(config)?);
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
pub(super) fn open_sandbox(config: &Config) -> Result<Sandbox, SandboxError> {
    let mut settings = SandboxConfig::new(config.node.sandbox_dir());
    settings.jailer.clone_from(&config.sandbox.jailer);
    settings.id_base = config.sandbox.id_base;
    Sandbox::new(settings)
}

/// Runs a job file to its end, and signs and stores its receipt.
pub(super) async fn run(node: &Rc<Node>, file: &str) -> Answer {
    let job = match JobFile::parse(file.as_bytes()) {
        Ok(job) => job,
        Err(error) => return Answer::refused("job.file", chain(&error)),
    };
    if node.jobs.borrow().running.len() >= MAX_RUNNING {
        return Answer::refused("job.busy", format!("{MAX_RUNNING} jobs run already"));
    }
    let sandbox = node.jobs.borrow_mut().sandbox(&node.config);
    let sandbox = match sandbox {
        Ok(sandbox) => sandbox,
        Err(error) => return Answer::refused("job.sandbox", chain(&error)),
    };
    if let Err(refusal) = audit::check(node, &sandbox).await {
        return refusal;
    }
    let (number, cancel) = node.jobs.borrow_mut().start(Digest(job.digest()));
    let answer = match on_thread(sandbox, job, cancel).await {
        Ok(outcome) => account(node, &outcome).await,
        Err(text) => Answer::refused("job.unable", text),
    };
    node.jobs.borrow_mut().end(number);
    answer
}

/// The jailer dies with the thread that started it, so each job has one to itself.
async fn on_thread(
    sandbox: Arc<Sandbox>,
    job: JobFile,
    cancel: Arc<AtomicBool>,
) -> Result<JobOutcome, String> {
    let (sender, outcome) = oneshot::channel();
    let body = move || {
        let outcome = sandbox.run(&job, &cancel).map_err(|error| chain(&error));
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
            let receipt = receipt(outcome, session.head.seq);
            let bytes = session.seal(Kind::JobReceipt, &receipt);
            let stored = node.store(&session.id, Kind::JobReceipt, receipt.seq, &bytes);
            stored.map(|()| answer(outcome, &receipt, &session.id, bytes, Checkable::Session))
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

/// What a receipt says of an outcome.
pub(super) fn receipt(outcome: &JobOutcome, seq: u64) -> JobReceipt {
    let output = |output: &assay_sandbox::outcome::Output| JobOutput {
        path: output.path.clone(),
        size: output.size,
        sha256: Digest(output.sha256),
    };
    JobReceipt {
        job: Digest(outcome.job_digest),
        image: Digest(outcome.image_digest),
        started_mono_ms: clock::boot_of_monotonic_ms(outcome.started_ms),
        wall_ms: outcome.wall_ms,
        exit: exit(&outcome.exit),
        cpu_us: outcome.usage.cpu_us,
        max_rss_kib: outcome.usage.max_rss_kib,
        limits: match outcome.limits {
            Limits::Cgroup => "cgroup",
            Limits::Rlimit => "rlimit",
        }
        .to_owned(),
        ids: match outcome.ids {
            IdMode::Range => "range",
            IdMode::Single => "single",
        }
        .to_owned(),
        network: match outcome.network {
            Network::None => "none",
            Network::Egress => "egress",
        }
        .to_owned(),
        outputs: outcome.outputs.iter().map(output).collect(),
        stdout: Digest(outcome.stdout.sha256),
        stderr: Digest(outcome.stderr.sha256),
        seq,
    }
}

fn exit(exit: &Exit) -> JobExit {
    match exit {
        Exit::Code(code) => JobExit::Code(*code),
        Exit::Signal(signal) => JobExit::Signal(u8::try_from(*signal).unwrap_or(u8::MAX)),
        Exit::TimedOut => JobExit::TimedOut,
        Exit::Cancelled => JobExit::Cancelled,
        Exit::Refused { .. } => JobExit::NotStarted,
    }
}

fn state(exit: JobExit) -> String {
    match exit {
        JobExit::Code(code) => format!("exit {code}"),
        JobExit::Signal(signal) => format!("signal {signal}"),
        JobExit::TimedOut => "timed out".to_owned(),
        JobExit::Cancelled => "cancelled".to_owned(),
        JobExit::NotStarted => "not started".to_owned(),
    }
}

/// A receipt as a line of a list.
pub(super) fn row(receipt: &JobReceipt, session: &Digest) -> JobRow {
    JobRow {
        job: receipt.job.to_string(),
        session: session.to_string(),
        state: state(receipt.exit),
        succeeded: receipt.exit.succeeded(),
        wall_ms: receipt.wall_ms,
        cpu_us: receipt.cpu_us,
        max_rss_kib: receipt.max_rss_kib,
        limits: receipt.limits.clone(),
        ids: receipt.ids.clone(),
        network: receipt.network.clone(),
    }
}

/// What is said of a job whose receipt is signed.
pub(super) fn answer(
    outcome: &JobOutcome,
    receipt: &JobReceipt,
    session: &Digest,
    bytes: Vec<u8>,
    checkable: Checkable,
) -> JobAnswer {
    let output = |output: &JobOutput| OutputRow {
        path: output.path.clone(),
        size: output.size,
        sha256: output.sha256.to_string(),
    };
    let refusal = match &outcome.exit {
        Exit::Refused { reason } => Some(reason.clone()),
        _ => None,
    };
    JobAnswer {
        row: row(receipt, session),
        refusal,
        directory: PathBuf::from(&outcome.dir),
        outputs: receipt.outputs.iter().map(output).collect(),
        receipt: hex::encode(bytes),
        checkable,
    }
}

/// Running jobs, then those of the ledger, newest first.
pub(super) fn list(node: &Node) -> Answer {
    match node.ledger.borrow().jobs() {
        Ok(stored) => {
            let mut jobs = node.jobs.borrow().rows();
            jobs.extend(stored.iter().filter_map(stored_row));
            Answer::Jobs { jobs }
        }
        Err(error) => Answer::refused("ledger.failed", chain(&error)),
    }
}

/// The row of a stored receipt; `None` when it does not decode.
pub(crate) fn stored_row(stored: &Stored) -> Option<JobRow> {
    let envelope = assay_wire::Envelope::decode_as(Kind::JobReceipt, &stored.bytes).ok()?;
    Some(row(&envelope.message().ok()?, &stored.session))
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
        let (first, _) = jobs.start(digest(1));
        let (second, _) = jobs.start(digest(1));
        jobs.start(digest(2));
        jobs.end(first);
        jobs.end(second);
        assert_eq!(jobs.since_beat(), [[1; 8], [2; 8]].map(ByteArray::from));
        jobs.beat_stored();
        assert_eq!(jobs.since_beat(), [ByteArray::from([2; 8])]);
    }

    #[test]
    fn a_job_is_named_by_enough_of_its_digest() {
        let mut jobs = Jobs::default();
        jobs.start(Digest([0xab; 32]));
        jobs.start(Digest([0xcd; 32]));
        assert_eq!(jobs.find("ab").unwrap().digest, Digest([0xab; 32]));
        let count = |prefix: &str| jobs.find(prefix).map(|_| ()).unwrap_err();
        assert_eq!((count(""), count("ff")), (2, 0));
        let (_, cancel) = jobs.start(Digest([0xab; 32]));
        assert_eq!(jobs.find("ab").map(|_| ()).unwrap_err(), 2);
        jobs.cancel_all();
        assert!(cancel.load(Ordering::Relaxed));
    }

    #[test]
    fn ends_are_told_apart() {
        let told = |one: Exit| state(exit(&one));
        assert_eq!(told(Exit::Code(3)), "exit 3");
        assert_eq!(told(Exit::Signal(9)), "signal 9");
        assert_eq!(told(Exit::Refused { reason: String::new() }), "not started");
        assert_eq!((told(Exit::TimedOut), told(Exit::Cancelled)), ("timed out".into(), "cancelled".into()));
    }
}
