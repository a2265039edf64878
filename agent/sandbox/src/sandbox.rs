//! Running jobs: from a job file to an outcome.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rustix::time::{ClockId, clock_gettime};

use assay_jailer::plan::{Ids, Logs, PLAN_VERSION, Plan, Rlimits};
use assay_jailer::report::{End, Report};

use assay_job::seal::Secret;

use crate::cgroup::{Account, Cgroup, IoLimits};
use crate::checkpoint::Checkpoint;
use crate::collect::{Collected, collect, summarize_log};
use crate::confinement;
use crate::error::SandboxError;
use crate::events::Event;
use crate::image::{Image, RunConfig};
use crate::images::{Images, ImagesConfig};
use crate::inputs;
use crate::job::{JobFile, Limits, check_supported};
use crate::kept::Retention;
use crate::networks::Networks;
use crate::outcome::{Exit, IdMode, JobOutcome, Usage};
use crate::room::{Room, Rooms};
use crate::runs::{Course, Run, Runs};
use crate::secrets::{self, Confidential};
use crate::store::{JobDir, Store};
use crate::supervise::Finished;
use crate::user;
use crate::watch;

/// Name of the jailer's binary.
const JAILER: &str = "assay-jailer";
/// Where packages install it.
const JAILER_DIR: &str = "/usr/lib/assay";
/// `PATH` of a job whose image and file set none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Host name in every job: nothing to tell jobs or nodes apart by.
const HOSTNAME: &str = "job";
/// What the kernel kills by.
const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();
/// By how much `RLIMIT_NPROC` exceeds a cgroup's limit on processes.
const NPROC_SLACK: u64 = 64;
/// More processors than any kernel runs on (`NR_CPUS` goes to 8,192).
const PROCESSORS_MAX: u64 = 8192;
/// Open files per process.
const OPEN_FILES: u64 = 65_536;

/// How the sandbox is set up on this machine.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Directory for layers and jobs; made if missing, private to the caller.
    pub state_dir: PathBuf,
    /// The jailer; [`find_jailer`] if `None`.
    pub jailer: Option<PathBuf>,
    /// First of the ids that jobs get as root, 65,536 each. The default starts
    /// above what systemd hands to containers (its UIDS-GIDS document), in a
    /// range that nobody else is given.
    pub id_base: u32,
    /// Jobs at a time.
    pub slots: u32,
    /// cgroup v2 directory that is ours alone, below which each job gets one.
    /// `None`: this process's own cgroup if it was delegated to it; it is then
    /// divided, and every process in it moves to a leaf.
    pub cgroup_parent: Option<PathBuf>,
    /// Processors that no job may use, a list like `0-1,4`; empty for none.
    pub reserved_cpus: String,
    /// What a job may do to the disk of the state directory.
    pub io: IoLimits,
    /// Bytes kept of standard output and of standard error.
    pub log_bytes: u64,
    /// Bytes of one job's inputs, all together.
    pub input_bytes: u64,
    /// How much stays of what jobs leave.
    pub retention: Retention,
    /// How images are come by.
    pub images: ImagesConfig,
    /// Whether root keeps a network namespace ready for the next job: for a supervisor that runs many.
    pub network_ahead: bool,
}

impl SandboxConfig {
    /// Defaults below a state directory.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            jailer: None,
            id_base: 0x7000_0000,
            slots: 64,
            cgroup_parent: None,
            reserved_cpus: String::new(),
            io: IoLimits::default(),
            log_bytes: 1 << 20,
            input_bytes: 64 << 30,
            retention: Retention::default(),
            images: ImagesConfig::default(),
            network_ahead: false,
        }
    }
}

/// The jailer beside the running program, else where packages put it.
///
/// # Errors
/// [`SandboxError::FindJailer`] if it is in neither place.
pub fn find_jailer() -> Result<PathBuf, SandboxError> {
    let beside =
        std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(JAILER))).unwrap_or_default();
    let installed = Path::new(JAILER_DIR).join(JAILER);
    let found = [&beside, &installed].into_iter().find(|p| p.is_file()).cloned();
    found.ok_or(SandboxError::FindJailer(beside))
}

/// Runs jobs. May be shared by threads; each job occupies the thread that runs it.
#[derive(Debug)]
pub struct Sandbox {
    config: SandboxConfig,
    pub(crate) jailer: PathBuf,
    pub(crate) store: Store,
    pub(crate) rooms: Rooms,
    networks: Option<Networks>,
    images: Images,
}

impl Sandbox {
    /// Opens the state directory, clearing what a crash has left there.
    ///
    /// # Errors
    /// If the directory cannot be used or there is no jailer.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        let jailer = config.jailer.clone().map_or_else(find_jailer, Ok)?;
        let state_dir = std::path::absolute(&config.state_dir)
            .map_err(SandboxError::state(&config.state_dir, "make absolute"))?;
        let config = SandboxConfig { state_dir, ..config };
        let store = Store::open(&config.state_dir)?;
        let rooms = Rooms::open(&store, &config)?;
        let images = Images::open(store.layers(), config.images.clone())?;
        let is_ahead = config.network_ahead && rustix::process::geteuid().is_root();
        let networks = is_ahead.then(|| Networks::new(&jailer));
        Ok(Self { config, jailer, store, rooms, networks, images })
    }

    /// Whether jobs with cgroup limits can run here.
    ///
    /// # Errors
    /// Why they are refused: [`SandboxError::NoPlace`] or [`SandboxError::NoControllers`].
    pub fn can_limit(&self) -> Result<(), SandboxError> {
        self.rooms.can_limit()
    }

    /// Runs one job to its end, restarts included, or until `cancel` is set, and collects its
    /// results. `secrets` are those of the job file, opened, in the order of their names.
    ///
    /// Blocks, and must not be called from a thread that may end before it
    /// returns. Whatever happens, no process, mount or cgroup of the job is left.
    ///
    /// # Errors
    /// If the job could not be run; a job that ran and failed is an [`Exit`].
    pub fn run(
        &self,
        job: &JobFile,
        secrets: &[Secret],
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<JobOutcome, SandboxError> {
        check_supported(job)?;
        secrets::check(job, secrets)?;
        // Holds the layers until the job is over.
        let tell = |event| events(Event::Image(event));
        let provided = self.images.provide(&job.image, cancel, &tell)?;
        let (image, layers) = (&provided.image, provided.layers());
        let room = self.rooms.take(&self.store)?;
        let mut dir = self.store.new_job(&job.digest())?;
        events(Event::Started { id: dir.id.clone(), dir: dir.path.clone() });
        let mut plan = Confidential(self.plan(job, image, layers, &room, &dir)?);
        plan.0.secrets = secrets::planned(secrets);
        let (state, input_bytes) = (&self.config.state_dir, self.config.input_bytes);
        plan.0.binds = inputs::bring(job, &dir.path, state, input_bytes, cancel)?;
        let checkpoint = Checkpoint::open(&self.config.state_dir, job, &self.config.retention)?;
        if let Some(checkpoint) = &checkpoint {
            plan.0.binds.push(checkpoint.bind());
        }
        let started_ms = monotonic_ms();
        let course = Course { job, dir: &dir.path, cancel, events };
        let runs = course
            .run(&mut plan.0, &|plan| self.run_once(job, &room, plan, &dir, cancel, checkpoint.as_ref()));
        inputs::remove(&dir.path);
        let runs = runs?;
        let ended_ms = monotonic_ms();
        let mut outcome = account(job, image, &dir, &plan.0, runs, cancel)?;
        outcome.checkpoint = settle(checkpoint, &mut outcome.exit);
        (outcome.started_ms, outcome.ended_ms) = (started_ms, ended_ms);
        outcome.wall_ms = ended_ms.saturating_sub(started_ms);
        dir.finish(&serde_json::to_vec_pretty(&outcome).unwrap_or_default())?;
        let pruned = self.store.prune_jobs(&self.config.retention);
        pruned.unwrap_or_else(|error| log::warn!("what ended jobs have left stays: {error}"));
        Ok(outcome)
    }

    /// One run in a cgroup of its own: the kernel kills whatever is started in one that was killed.
    fn run_once(
        &self,
        job: &JobFile,
        room: &Room<'_>,
        plan: &mut Plan,
        dir: &JobDir,
        cancel: &AtomicBool,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Run, SandboxError> {
        let cgroup = room.cgroup(&job.resources)?;
        plan.cgroup = cgroup.as_ref().map(|c| c.path().to_owned());
        let network = self.network();
        let (finished, is_over) = watch::run(&self.jailer, plan, network, &dir.path, cancel, checkpoint)?;
        let report = &finished.report;
        let measured = Usage { cpu_us: report.cpu_us, max_rss_kib: report.max_rss_kib, ..Usage::default() };
        let counted = cgroup.as_ref().map(Cgroup::account).unwrap_or_default();
        let usage = counted.over(measured);
        let exit = if is_over { Exit::Quota } else { exit_of(report, &counted)? };
        Ok(Run { finished, exit, usage })
    }

    /// The network namespace that is ready for the next job, if there is one.
    pub(crate) fn network(&self) -> Option<OwnedFd> {
        self.networks.as_ref()?.take()
    }

    fn plan(
        &self,
        job: &JobFile,
        image: &Image,
        layers: Vec<PathBuf>,
        room: &Room<'_>,
        dir: &JobDir,
    ) -> Result<Plan, SandboxError> {
        let (uid, gid) = user::resolve(&image.config.user, &layers)?;
        let argv = if job.command.is_empty() { image.config.argv.clone() } else { job.command.clone() };
        if argv.is_empty() {
            return Err(SandboxError::image("config", "has no command, and neither has the job"));
        }
        Ok(Plan {
            version: PLAN_VERSION,
            supervisor: std::process::id(),
            layers,
            ids: room.ids(),
            uid,
            gid,
            argv,
            env: environment(&image.config, job),
            cwd: image.config.cwd.clone(),
            hostname: HOSTNAME.to_owned(),
            outputs: job.outputs.clone(),
            scratch_bytes: job.resources.disk_bytes,
            scratch_inodes: (job.resources.disk_bytes >> 12).clamp(1024, 1 << 20),
            timeout_ms: job.timeout_ms,
            logs: Logs {
                stdout: dir.path.join("stdout"),
                stderr: dir.path.join("stderr"),
                limit_bytes: self.config.log_bytes,
            },
            rlimits: rlimits(job),
            cgroup: None,
            binds: vec![],
            secrets: vec![],
        })
    }
}

fn monotonic_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let millis = now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000);
    u64::try_from(millis).unwrap_or(0)
}

/// The image's environment with the job's on top, and a `PATH` in any case.
fn environment(config: &RunConfig, job: &JobFile) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let is_ours = |entry: &str| entry.starts_with("ASSAY_");
    let theirs = config.env.iter().filter(|e| e.contains('=') && !is_ours(e));
    let inherited = theirs.filter(|e| !job.env.contains_key(&name(e))).cloned();
    let mut env: Vec<String> = inherited.chain(job.env.iter().map(|(k, v)| format!("{k}={v}"))).collect();
    if !env.iter().any(|e| e.starts_with("PATH=")) {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
    if let Some(checkpoint) = &job.checkpoint {
        env.push(format!("ASSAY_CHECKPOINT={}", checkpoint.target));
    }
    env
}

fn rlimits(job: &JobFile) -> Rlimits {
    let resources = &job.resources;
    let only_rlimit = resources.limits == Limits::Rlimit;
    // Its end is a bare SIGKILL, and all threads of a process count together. A cgroup's `cpu.max` keeps a
    // process below it; where nothing limits `cpu`, no process may reach it within the job's time.
    let cpus = if only_rlimit { PROCESSORS_MAX } else { resources.cpu_milli.div_ceil(1000) };
    Rlimits {
        // The job's first process is of the same user and counts. A cgroup refuses
        // earlier, and counts what it refused.
        processes: u64::from(resources.pids).saturating_add(if only_rlimit { 1 } else { NPROC_SLACK }),
        open_files: OPEN_FILES,
        file_bytes: resources.disk_bytes,
        cpu_seconds: job.timeout_ms.div_ceil(1000).saturating_mul(cpus).saturating_add(1),
        data_bytes: only_rlimit.then_some(resources.memory_bytes),
        // Shared and file mappings are outside of the data limit; most
        // programs map several times what they use.
        address_space_bytes: only_rlimit.then_some(resources.memory_bytes.saturating_mul(4)),
    }
}

fn exit_of(report: &Report, account: &Account) -> Result<Exit, SandboxError> {
    match &report.end {
        // The whole cgroup is killed at once, our first process with it.
        End::Signaled(SIGKILL) if account.ran_out_of_memory() => Ok(Exit::OutOfMemory),
        End::Exited(code) => Ok(Exit::Code(*code)),
        End::Signaled(signal) => Ok(Exit::Signal(*signal)),
        End::TimedOut => Ok(Exit::TimedOut),
        End::Cancelled => Ok(Exit::Cancelled),
        End::Refused(refusal) if refusal.stage.is_job_fault() => {
            Ok(Exit::Refused { reason: reason(refusal) })
        }
        End::Refused(refusal) => Err(SandboxError::Confine(refusal.clone())),
    }
}

fn reason(refusal: &assay_jailer::report::Refusal) -> String {
    let error = std::io::Error::from_raw_os_error(refusal.errno);
    format!("{} {}: {error}", refusal.stage, refusal.detail)
}

/// The checkpoint's hash. It stays for the job's next run unless there is nothing to go on from.
///
/// What cannot be hashed is over its bounds, like what exceeds its cap: no tree that a job leaves
/// behind keeps the job from its account.
fn settle(checkpoint: Option<Checkpoint>, exit: &mut Exit) -> Option<[u8; 32]> {
    let checkpoint = checkpoint?;
    // A job that was ended because others had filled the disk keeps what is within its own bounds.
    let hash = match checkpoint.is_over() {
        true => None,
        false => checkpoint.hash().inspect_err(|error| log::warn!("a checkpoint has no hash: {error}")).ok(),
    };
    if hash.is_none() {
        *exit = Exit::Quota;
    }
    match hash.is_none() || exit.is_success() {
        true => checkpoint.remove(),
        false => checkpoint.keep(),
    }
    hash
}

fn account(
    job: &JobFile,
    image: &Image,
    dir: &JobDir,
    plan: &Plan,
    runs: Runs,
    cancel: &AtomicBool,
) -> Result<JobOutcome, SandboxError> {
    let Run { finished: Finished { report, upper }, exit, .. } = runs.last;
    let collected = match &upper {
        Some(upper) => collect(upper, &job.outputs, &dir.path.join("out"), job.output_bytes, cancel)?,
        None => Collected::default(),
    };
    Ok(JobOutcome {
        id: dir.id.clone(),
        job_digest: job.digest(),
        image_digest: image.manifest_digest,
        config_digest: image.config_digest,
        policy_digest: confinement::of(job, plan, &report).digest().0,
        started_ms: 0,
        ended_ms: 0,
        wall_ms: 0,
        exit,
        restarts: runs.restarts,
        usage: runs.usage,
        limits: job.resources.limits,
        ids: if matches!(plan.ids, Ids::Range { .. }) { IdMode::Range } else { IdMode::Single },
        network: job.network,
        checkpoint: None,
        outputs: collected.outputs,
        outputs_skipped: collected.skipped,
        outputs_over: collected.over,
        stdout: summarize_log(&plan.logs.stdout, report.stdout_bytes)?,
        stderr: summarize_log(&plan.logs.stderr, report.stderr_bytes)?,
        dir: dir.path.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `RLIMIT_CPU` ends a job as by a signal, so the time limit has to come first.
    #[test]
    fn threads_on_every_processor_do_not_reach_the_limit_on_processor_time() {
        let limits = |mode: &str| {
            let text = format!(
                "[job]\nimage = \"oci:/l\"\ntimeout = \"10m\"\n[job.resources]\ncpu = \"1500m\"\nlimits = \"{mode}\"\n"
            );
            rlimits(&JobFile::parse(text.as_bytes()).unwrap())
        };
        assert!(limits("rlimit").cpu_seconds > 600 * PROCESSORS_MAX);
        assert_eq!(limits("cgroup").cpu_seconds, 600 * 2 + 1);
    }
}
