//! Running jobs: from a job file to an outcome.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rustix::time::{ClockId, clock_gettime};

use assay_jailer::plan::{ID_RANGE, Ids, Logs, PLAN_VERSION, Plan, Rlimits};
use assay_jailer::report::{End, Report};

use crate::cgroup::{self, Cgroup};
use crate::collect::{collect, summarize_log};
use crate::error::SandboxError;
use crate::image::{self, Image, RunConfig};
use crate::job::{ImageRef, JobFile, Limits};
use crate::layers::LayerCache;
use crate::outcome::{Exit, IdMode, JobOutcome, Usage};
use crate::store::{JobDir, Slot, Store};
use crate::supervise::{self, Finished};
use crate::unpack::UnpackLimits;
use crate::user;

/// Name of the jailer's binary.
const JAILER: &str = "assay-jailer";
/// Where packages install it.
const JAILER_DIR: &str = "/usr/lib/assay";
/// `PATH` of a job whose image and file set none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Host name in every job: nothing to tell jobs or nodes apart by.
const HOSTNAME: &str = "job";
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
    /// `None`: this process's own.
    pub cgroup_parent: Option<PathBuf>,
    /// Bytes kept of standard output and of standard error.
    pub log_bytes: u64,
    /// Limits for each layer.
    pub unpack: UnpackLimits,
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
            log_bytes: 1 << 20,
            unpack: UnpackLimits::default(),
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
    pub(crate) config: SandboxConfig,
    pub(crate) jailer: PathBuf,
    pub(crate) store: Store,
    cache: LayerCache,
}

impl Sandbox {
    /// Opens the state directory, clearing what a crash has left there.
    ///
    /// # Errors
    /// If the directory cannot be used or there is no jailer.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        let jailer = config.jailer.clone().map_or_else(find_jailer, Ok)?;
        let store = Store::open(&config.state_dir)?;
        if let Some(parent) = &config.cgroup_parent {
            clear_cgroups(&store, parent, config.slots)?;
        }
        let cache = LayerCache::new(store.layers(), config.unpack);
        Ok(Self { config, jailer, store, cache })
    }

    /// Runs one job to its end, or until `cancel` is set, and collects its results.
    ///
    /// Blocks, and must not be called from a thread that may end before it
    /// returns. Whatever happens, no process, mount or cgroup of the job is left.
    ///
    /// # Errors
    /// If the job could not be run; a job that ran and failed is an [`Exit`].
    pub fn run(&self, job: &JobFile, cancel: &AtomicBool) -> Result<JobOutcome, SandboxError> {
        job.check_supported()?;
        let ImageRef::Layout { path, tag } = &job.image;
        let image = image::open(path, tag)?;
        let layers = self.cache.provide(&image)?;
        let slot = self.store.take_slot(self.config.slots)?;
        let cgroup = self.make_cgroup(job, &slot)?;
        let mut dir = self.store.new_job(&job.digest())?;
        let mut plan = self.plan(job, &image, layers, &slot, &dir)?;
        plan.cgroup = cgroup.as_ref().map(|c| c.path().to_owned());
        let started_ms = monotonic_ms();
        let finished = supervise::run(&self.jailer, &plan, &dir.path, cancel).inspect_err(|_| {
            log::error!("jailer: {}", supervise::last_words(&dir.path));
        })?;
        let ended_ms = monotonic_ms();
        let mut outcome = account(job, &image, &dir, &plan, finished)?;
        (outcome.started_ms, outcome.ended_ms) = (started_ms, ended_ms);
        outcome.wall_ms = ended_ms.saturating_sub(started_ms);
        if let Some(cgroup) = &cgroup {
            outcome.usage = cgroup.usage(outcome.usage);
        }
        dir.finish(&serde_json::to_vec_pretty(&outcome).unwrap_or_default())?;
        Ok(outcome)
    }

    /// Removes the directory of a job that [`Sandbox::run`] has returned.
    ///
    /// # Errors
    /// If there is none of this name, or it cannot be removed.
    pub fn remove(&self, id: &str) -> Result<(), SandboxError> {
        self.store.remove_job(id)
    }

    fn make_cgroup(&self, job: &JobFile, slot: &Slot) -> Result<Option<Cgroup>, SandboxError> {
        let name = cgroup_name(slot.number);
        match (job.resources.limits, &self.config.cgroup_parent) {
            (Limits::Cgroup, parent) => {
                let parent = parent.clone().or_else(cgroup::own).unwrap_or_else(|| "/sys/fs/cgroup".into());
                Cgroup::limited(&parent, &name, &job.resources).map(Some)
            }
            (Limits::Rlimit, Some(parent)) => Cgroup::bare(parent, &name).map(Some),
            (Limits::Rlimit, None) => Ok(None),
        }
    }

    fn plan(
        &self,
        job: &JobFile,
        image: &Image,
        layers: Vec<PathBuf>,
        slot: &Slot,
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
            ids: self.ids(slot),
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

    pub(crate) fn ids(&self, slot: &Slot) -> Ids {
        match rustix::process::geteuid().is_root() {
            true => {
                Ids::Range { base: self.config.id_base.saturating_add(slot.number.saturating_mul(ID_RANGE)) }
            }
            false => Ids::Single {},
        }
    }
}

pub(crate) fn cgroup_name(slot: u32) -> String {
    format!("assay-job-{slot}")
}

/// Removes cgroups of slots that nobody holds.
fn clear_cgroups(store: &Store, parent: &Path, slots: u32) -> Result<(), SandboxError> {
    for number in 0..slots {
        let path = parent.join(cgroup_name(number));
        if !path.exists() {
            continue;
        }
        if let Some(_held) = store.try_slot(number)? {
            cgroup::remove_leftover(&path);
        }
    }
    Ok(())
}

fn monotonic_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let millis = now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000);
    u64::try_from(millis).unwrap_or(0)
}

/// The image's environment with the job's on top, and a `PATH` in any case.
fn environment(config: &RunConfig, job: &JobFile) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let inherited = config.env.iter().filter(|e| e.contains('=') && !job.env.contains_key(&name(e))).cloned();
    let mut env: Vec<String> = inherited.chain(job.env.iter().map(|(k, v)| format!("{k}={v}"))).collect();
    if !env.iter().any(|e| e.starts_with("PATH=")) {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
    env
}

fn rlimits(job: &JobFile) -> Rlimits {
    let resources = &job.resources;
    let only_rlimit = resources.limits == Limits::Rlimit;
    let cpus = resources.cpu_milli.div_ceil(1000);
    Rlimits {
        // The job's first process is of the same user and counts.
        processes: u64::from(resources.pids).saturating_add(1),
        open_files: OPEN_FILES,
        file_bytes: resources.disk_bytes,
        cpu_seconds: job.timeout_ms.div_ceil(1000).saturating_mul(cpus).saturating_add(1),
        data_bytes: only_rlimit.then_some(resources.memory_bytes),
        // Shared and file mappings are outside of the data limit; most
        // programs map several times what they use.
        address_space_bytes: only_rlimit.then_some(resources.memory_bytes.saturating_mul(4)),
    }
}

fn exit_of(report: &Report) -> Result<Exit, SandboxError> {
    match &report.end {
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

fn account(
    job: &JobFile,
    image: &Image,
    dir: &JobDir,
    plan: &Plan,
    finished: Finished,
) -> Result<JobOutcome, SandboxError> {
    let Finished { report, upper } = finished;
    let exit = exit_of(&report)?;
    let (outputs, outputs_skipped) = match &upper {
        Some(upper) => collect(upper, &job.outputs, &dir.path.join("out"), job.resources.disk_bytes)?,
        None => (vec![], 0),
    };
    Ok(JobOutcome {
        id: dir.id.clone(),
        job_digest: job.digest(),
        image_digest: image.manifest_digest,
        started_ms: 0,
        ended_ms: 0,
        wall_ms: 0,
        exit,
        usage: Usage { cpu_us: report.cpu_us, max_rss_kib: report.max_rss_kib },
        limits: job.resources.limits,
        ids: if matches!(plan.ids, Ids::Range { .. }) { IdMode::Range } else { IdMode::Single },
        network: job.network,
        outputs,
        outputs_skipped,
        stdout: summarize_log(&plan.logs.stdout, report.stdout_bytes)?,
        stderr: summarize_log(&plan.logs.stderr, report.stderr_bytes)?,
        dir: dir.path.clone(),
    })
}
