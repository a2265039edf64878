//! The parent's side: asks with a deadline, and replaces a child that hangs or dies.

use super::attestation::GpuAttestation;
use super::facts::{DeviceState, GpuFacts, GpuInventory};
use super::frame::{self, Question, Reply, Request};
use super::{GpuStatus, MAX_GPUS, NvmlFault};
use assay_gpu::GpuSample;
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Names the scenario file of a simulated library; the only variable that a child inherits by default.
pub const SCENARIO_ENV: &str = "ASSAY_NVML_SCENARIO";

/// A killed child is waited for this long. One that sleeps in the kernel outlives its SIGKILL.
const REAP: Duration = Duration::from_millis(500);
/// With this many children stuck in the kernel, another one would only join them.
const MAX_STUCK: usize = 2;

/// How the child is started and how patient the parent is.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Program that calls [`super::serve_stdin`].
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its environment, all of it: nothing that changes how libraries are loaded is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Longest time to wait for an answer.
    pub deadline: Duration,
    /// Pause after the first failure; doubled by each failure that follows soon.
    pub first_pause: Duration,
    /// Longest pause. A child that lived this long is no longer held against the next one.
    pub longest_pause: Duration,
}

impl ClientConfig {
    /// The usual patience: five seconds per answer, pauses from one second to a minute.
    #[must_use]
    pub fn new(program: PathBuf, args: Vec<OsString>) -> Self {
        let scenario = std::env::var_os(SCENARIO_ENV).map(|value| (SCENARIO_ENV.into(), value));
        Self {
            program,
            args,
            env: scenario.into_iter().collect(),
            deadline: Duration::from_secs(5),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// Asks the library's process, from a thread that may block for the deadline.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    child: Option<Running>,
    down: Option<Down>,
    failures: u32,
    stuck: Vec<Child>,
    /// What the library last said of itself.
    library: GpuStatus,
    /// The last inventory with GPUs.
    last: Option<GpuInventory>,
}

#[derive(Debug)]
struct Running {
    process: Child,
    socket: UnixStream,
    since: Instant,
}

/// Why there is no child, and when the next one may be tried.
#[derive(Debug)]
struct Down {
    why: Why,
    since: Instant,
    retry: Instant,
}

#[derive(Debug)]
enum Why {
    Hung,
    Died(String),
    Failed(String),
}

impl Client {
    /// Starts nothing yet: the child comes with the first question.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self {
            config,
            child: None,
            down: None,
            failures: 0,
            stuck: Vec::new(),
            library: GpuStatus::Ready,
            last: None,
        }
    }

    /// All GPUs, or why they can't be asked. GPUs that do not answer any more are listed as last seen.
    pub fn inventory(&mut self) -> GpuInventory {
        match self.ask(Question::Inventory) {
            Ok(Reply::Inventory(inventory)) if inventory.gpus.len() <= MAX_GPUS => self.remember(*inventory),
            Ok(_) => {
                self.fail(&NvmlFault::OutOfTurn);
                self.silent(GpuInventory::without_gpus(self.status(), false))
            }
            Err(_) => self.silent(GpuInventory::without_gpus(self.status(), false)),
        }
    }

    /// One sample per GPU.
    ///
    /// # Errors
    /// [`NvmlFault::Unavailable`] while the library can't be used or the next try is not due; else what
    /// went wrong this time, after which the child is replaced.
    pub fn sample(&mut self) -> Result<Vec<GpuSample>, NvmlFault> {
        match self.ask(Question::Sample)? {
            Reply::Samples(samples) if samples.len() <= MAX_GPUS => {
                self.library = GpuStatus::Ready;
                Ok(samples)
            }
            Reply::Unavailable(status) => {
                self.library = status.clone();
                Err(NvmlFault::Unavailable(status))
            }
            _ => {
                self.fail(&NvmlFault::OutOfTurn);
                Err(NvmlFault::OutOfTurn)
            }
        }
    }

    /// One GPU's own signed report over `nonce`, or in three states why there is none. A device takes its
    /// time over a signature; the deadline is that of every question, and each GPU has its own.
    ///
    /// # Errors
    /// As [`Client::sample`].
    pub fn attest(&mut self, gpu: u8, nonce: &[u8; 32]) -> Result<GpuAttestation, NvmlFault> {
        match self.ask(Question::Attest { gpu, nonce: *nonce })? {
            Reply::Attested(attested) => Ok(*attested),
            Reply::Unavailable(status) => {
                self.library = status.clone();
                Err(NvmlFault::Unavailable(status))
            }
            _ => {
                self.fail(&NvmlFault::OutOfTurn);
                Err(NvmlFault::OutOfTurn)
            }
        }
    }

    /// State of the library as of the last question; [`GpuStatus::Ready`] before the first.
    #[must_use]
    pub fn status(&self) -> GpuStatus {
        let Some(down) = &self.down else { return self.library.clone() };
        let for_ms = u64::try_from(down.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &down.why {
            Why::Hung => GpuStatus::Hung { for_ms },
            Why::Died(reason) => GpuStatus::ChildDied { reason: reason.clone(), for_ms },
            Why::Failed(reason) => GpuStatus::Failed { reason: reason.clone() },
        }
    }

    fn ask(&mut self, question: Question) -> Result<Reply, NvmlFault> {
        self.check_pause()?;
        let outcome = self.exchange(question).map_err(|fault| self.explain(fault));
        match &outcome {
            Ok(_) => self.recovered(),
            Err(fault) => self.fail(fault),
        }
        outcome
    }

    /// Whether a child may be started, if there is none.
    fn check_pause(&mut self) -> Result<(), NvmlFault> {
        self.stuck.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
        let early = self.down.as_ref().is_some_and(|down| Instant::now() < down.retry);
        if self.child.is_none() && (early || self.stuck.len() >= MAX_STUCK) {
            return Err(NvmlFault::Unavailable(self.status()));
        }
        Ok(())
    }

    fn exchange(&mut self, question: Question) -> Result<Reply, NvmlFault> {
        let child = match &mut self.child {
            Some(child) => child,
            None => self.child.insert(spawn(&self.config)?),
        };
        child.exchange(question, self.config.deadline)
    }

    /// A closed socket is the child's end, and a timeout is a hang.
    fn explain(&mut self, fault: NvmlFault) -> NvmlFault {
        match fault {
            NvmlFault::Closed | NvmlFault::Write(_) => NvmlFault::ChildDied(self.exit_reason()),
            NvmlFault::Read(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                NvmlFault::Hung(self.config.deadline)
            }
            other => other,
        }
    }

    fn exit_reason(&mut self) -> String {
        let status = self.child.as_mut().and_then(|child| reap(&mut child.process));
        status.unwrap_or_else(|| "closed its socket".to_owned())
    }

    fn recovered(&mut self) {
        if let Some(down) = self.down.take() {
            log::info!("GPU library answers again after {} ms", down.since.elapsed().as_millis());
        }
    }

    /// Ends the child and sets the time of the next try.
    fn fail(&mut self, fault: &NvmlFault) {
        let lived = self.child.as_ref().map(|child| child.since.elapsed()).unwrap_or_default();
        self.failures = if lived >= self.config.longest_pause { 1 } else { self.failures.saturating_add(1) };
        self.end_child();
        let doubled = self.config.first_pause.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
        let pause = doubled.min(self.config.longest_pause);
        let now = Instant::now();
        // The state began with the first failure of a row.
        let since = self.down.as_ref().map_or(now, |down| down.since);
        self.down = Some(Down { why: why(fault), since, retry: now + pause });
        log::warn!("GPU library: {fault}; next try in {} ms", pause.as_millis());
    }

    fn end_child(&mut self) {
        let Some(Running { mut process, .. }) = self.child.take() else { return };
        // An error means that it ended by itself, which the wait below sees.
        let _ = process.kill();
        if reap(&mut process).is_none() {
            log::error!("GPU library's process {} does not end: it sleeps in the kernel", process.id());
            self.stuck.push(process);
        }
    }

    /// Keeps the inventory, and adds what was known of a GPU that is gone now.
    fn remember(&mut self, mut inventory: GpuInventory) -> GpuInventory {
        self.library = inventory.status.clone();
        if inventory.status != GpuStatus::Ready {
            return self.silent(inventory);
        }
        for gpu in inventory.gpus.iter_mut().filter(|gpu| gpu.device.is_none()) {
            gpu.device = self.known(gpu.index).and_then(|known| known.device.clone());
        }
        self.last = Some(inventory.clone());
        inventory
    }

    fn known(&self, index: u8) -> Option<&GpuFacts> {
        self.last.as_ref()?.gpus.iter().find(|gpu| gpu.index == index)
    }

    /// The last inventory with its GPUs silent, or `bare` if there was none.
    fn silent(&self, bare: GpuInventory) -> GpuInventory {
        let Some(last) = &self.last else { return bare };
        let silent = |gpu: &GpuFacts| GpuFacts { state: DeviceState::Silent, ..gpu.clone() };
        GpuInventory { status: bare.status, gpus: last.gpus.iter().map(silent).collect(), ..last.clone() }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end_child();
    }
}

fn why(fault: &NvmlFault) -> Why {
    match fault {
        NvmlFault::Hung(_) => Why::Hung,
        NvmlFault::ChildDied(reason) => Why::Died(reason.clone()),
        other => Why::Failed(other.to_string()),
    }
}

fn spawn(config: &ClientConfig) -> Result<Running, NvmlFault> {
    let (ours, theirs) = UnixStream::pair().map_err(NvmlFault::OpenSocket)?;
    let mut command = Command::new(&config.program);
    command.args(&config.args).env_clear().envs(config.env.iter().cloned());
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    let process = command.spawn().map_err(NvmlFault::Spawn)?;
    Ok(Running { process, socket: ours, since: Instant::now() })
}

impl Running {
    fn exchange(&mut self, question: Question, patience: Duration) -> Result<Reply, NvmlFault> {
        let give_up_s = u32::try_from(patience.as_secs()).unwrap_or(u32::MAX).saturating_add(2);
        let end = Instant::now() + patience;
        self.socket.set_write_timeout(Some(patience)).map_err(NvmlFault::Write)?;
        frame::write(&mut self.socket, &Request { question, give_up_s })?;
        frame::read(&mut Timed { socket: &mut self.socket, end })
    }
}

/// A socket whose reads all share one deadline, so that a child can't stretch it byte by byte.
struct Timed<'a> {
    socket: &'a mut UnixStream,
    end: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left))?;
        self.socket.read(buffer)
    }
}

/// Waits a moment for a process to end, and says how it did.
fn reap(process: &mut Child) -> Option<String> {
    let end = Instant::now() + REAP;
    loop {
        match process.try_wait() {
            Ok(Some(status)) => return Some(status.to_string()),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => return None,
            Err(error) => return Some(error.to_string()),
        }
    }
}
