//! The self-audit: a job of our own that tries what no job may be able to do.
//!
//! It runs behind the same walls as every job, on this machine and this
//! kernel, and says of each attempt what stopped it. A machine on which one
//! succeeds, or fails for another reason than the wall that is meant to stop
//! it, should take no stranger's job.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use assay_jailer::attempts::{ATTEMPTS, Host, Kind, LANDLOCK_ABI, Outcome, Record};
use assay_jailer::plan::{Ids, Logs, PLAN_VERSION, Plan, Rlimits};
use assay_jailer::report::{End, Walls};
use assay_jailer::ring;
use serde::Serialize;

use crate::error::SandboxError;
use crate::job::{Limits, Resources};
use crate::sandbox::Sandbox;
use crate::supervise;

/// Name of the probe's binary, which lies beside the jailer.
const PROBE: &str = "assay-probe";
/// The audit's place among jobs: its digest is that of no job file.
const DIGEST: [u8; 32] = [0xaa; 32];
/// Far more than the probe writes, bytes.
const LOG_BYTES: u64 = 1 << 20;
/// Far more than the probe needs, milliseconds.
const TIMEOUT_MS: u64 = 120_000;
/// What the probe may use: its limits are those of each process, so that it runs on any machine.
const RESOURCES: Resources = Resources {
    cpu_milli: 1000,
    memory_bytes: 256 << 20,
    disk_bytes: 1 << 20,
    pids: 16,
    gpus: 0,
    limits: Limits::Rlimit,
};

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Stable name.
    pub name: &'static str,
    /// What was tried, in words.
    pub what: &'static str,
    /// What is meant to stop it, in words.
    pub wall: &'static str,
    /// How it went; nothing if the probe did not get that far.
    pub outcome: Option<Outcome>,
    /// True if that wall stopped it.
    pub stopped: bool,
}

/// What the audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Every attempt, in the order in which they were made.
    pub attempts: Vec<Attempt>,
    /// The walls that the jailer put up.
    pub walls: Walls,
}

impl Audit {
    /// True if every attempt was stopped by its wall.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The attempts that were not.
    pub fn failures(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|a| !a.stopped)
    }
}

impl Sandbox {
    /// Runs the probe as a job and judges what it says. Takes a slot; like
    /// [`Sandbox::run`], not for a thread that may end before it returns.
    ///
    /// # Errors
    /// If the probe is missing or could not be run; an attempt that succeeds is none.
    pub fn audit(&self) -> Result<Audit, SandboxError> {
        let probe = self.jailer.with_file_name(PROBE);
        if !probe.is_file() {
            return Err(SandboxError::FindProbe(probe));
        }
        let room = self.rooms.take(&self.store)?;
        let cgroup = room.cgroup(&RESOURCES)?;
        let dir = self.store.new_job(&DIGEST)?;
        let image = dir.path.join("image");
        let copy = || {
            fs::create_dir(&image)?;
            fs::create_dir(image.join("tmp"))?;
            fs::copy(&probe, image.join("probe"))
        };
        copy().map_err(SandboxError::state(&image, "make the probe's image"))?;
        let host = Host::here().map_err(SandboxError::state(&image, "describe the host to the probe"))?;
        let mut plan = plan(&dir.path, &image, room.ids(), host.command("/probe"));
        plan.cgroup = cgroup.as_ref().map(|c| c.path().to_owned());
        let network = self.network();
        let finished = supervise::run(&self.jailer, &plan, network, &dir.path, &AtomicBool::new(false))?;
        let walls = match (finished.report.end, finished.report.walls) {
            (End::Exited(0), Some(walls)) => walls,
            (End::Refused(refusal), _) => return Err(SandboxError::Confine(refusal)),
            (end, _) => {
                let what = std::io::Error::other(format!("it ended with {end:?}"));
                return Err(SandboxError::jailer("run the probe")(what));
            }
        };
        let log = fs::File::open(&plan.logs.stdout).and_then(|file| ring::read(&file));
        let log = log.map_err(SandboxError::state(&plan.logs.stdout, "read the probe's log"))?;
        let mut attempts = judge(&String::from_utf8_lossy(&log.bytes));
        // Without privilege there is none, and no device that the caller could not open either.
        if plan.cgroup.is_some() && matches!(plan.ids, Ids::Range { .. }) {
            attempts.push(device_program(&walls));
        }
        Ok(Audit { attempts, walls })
    }
}

/// No job can try it: nothing inside has a device that the program refuses.
fn device_program(walls: &Walls) -> Attempt {
    let outcome = Outcome::Text(if walls.device_program { "attached" } else { "none" }.to_owned());
    Attempt {
        name: "device_program",
        what: "run without the device program",
        wall: "device program",
        outcome: Some(outcome),
        stopped: walls.device_program,
    }
}

fn plan(dir: &Path, image: &Path, ids: Ids, argv: Vec<String>) -> Plan {
    Plan {
        version: PLAN_VERSION,
        supervisor: std::process::id(),
        layers: vec![image.to_owned()],
        ids,
        uid: 0,
        gid: 0,
        argv,
        env: vec![],
        cwd: "/".to_owned(),
        hostname: "job".to_owned(),
        outputs: vec![],
        scratch_bytes: 1 << 20,
        scratch_inodes: 64,
        timeout_ms: TIMEOUT_MS,
        logs: Logs { stdout: dir.join("stdout"), stderr: dir.join("stderr"), limit_bytes: LOG_BYTES },
        rlimits: Rlimits {
            processes: 16,
            open_files: 64,
            file_bytes: 1 << 20,
            cpu_seconds: 60,
            data_bytes: Some(256 << 20),
            address_space_bytes: None,
        },
        cgroup: None,
        binds: vec![],
        secrets: vec![],
    }
}

/// What the probe did not say counts as not stopped.
fn judge(text: &str) -> Vec<Attempt> {
    let records: Vec<Record> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let outcome = |kind: Kind, name: &str| {
        let mut found = records.iter().filter(|r| r.kind == kind && r.name == name);
        found.next().map(|r| r.outcome.clone())
    };
    // An old kernel's fence lets some of it pass. The kernel is asked, not the jailer: it may have put up none.
    let kernel = match outcome(Kind::Status, LANDLOCK_ABI) {
        Some(Outcome::Text(abi)) => abi.parse().unwrap_or(u32::MAX),
        _ => u32::MAX,
    };
    let judged = ATTEMPTS.iter().filter(|attempt| attempt.landlock_abi <= kernel).map(|attempt| {
        let outcome = outcome(Kind::Attempt, attempt.name);
        let stopped = outcome.as_ref().is_some_and(|o| attempt.is_stopped(o));
        Attempt { name: attempt.name, what: attempt.what, wall: attempt.stop.words(), outcome, stopped }
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use assay_jailer::attempts::Forbidden;
    use nix::libc::{EACCES, EFAULT, ETIMEDOUT};

    use super::*;

    /// Every attempt stopped, but one.
    fn said(but: &str, instead: Option<Outcome>, abi: u32) -> String {
        let line = |kind, name: &str, outcome| {
            serde_json::to_string(&Record { kind, name: name.to_owned(), outcome }).unwrap()
        };
        let usual = |attempt: &Forbidden| {
            let mut outcomes = (0..256).map(Outcome::Errno).chain((0..65).map(Outcome::Signal));
            outcomes.find(|outcome| attempt.is_stopped(outcome)).unwrap()
        };
        let tried = ATTEMPTS.iter().filter_map(|attempt| {
            let outcome = if attempt.name == but { instead.clone()? } else { usual(attempt) };
            Some(line(Kind::Attempt, attempt.name, outcome))
        });
        let kernel = line(Kind::Status, LANDLOCK_ABI, Outcome::Text(abi.to_string()));
        std::iter::once(kernel).chain(tried).collect::<Vec<_>>().join("\n")
    }

    fn failures(but: &str, instead: Option<Outcome>, abi: u32) -> Vec<&'static str> {
        judge(&said(but, instead, abi)).iter().filter(|a| !a.stopped).map(|a| a.name).collect()
    }

    #[test]
    fn one_open_attempt_fails_the_audit() {
        assert_eq!(failures("", None, 7), Vec::<&str>::new());
        for attempt in ATTEMPTS {
            assert_eq!(failures(attempt.name, Some(Outcome::Done), 7), [attempt.name]);
            assert_eq!(failures(attempt.name, None, 7), [attempt.name]);
        }
        // Refused by the kernel's own reasons, not by the wall: the wall has a hole.
        for (name, errno) in [("mount", EFAULT), ("internet", ETIMEDOUT), ("init_memory", EACCES)] {
            assert_eq!(failures(name, Some(Outcome::Errno(errno)), 7), [name]);
        }
    }

    #[test]
    fn an_old_kernel_is_not_asked_for_what_it_lacks() {
        for (name, first) in [("device_request", 5), ("whiteout", 1)] {
            assert_eq!(failures(name, Some(Outcome::Done), first - 1), Vec::<&str>::new());
            assert_eq!(failures(name, Some(Outcome::Done), first), [name]);
        }
    }

    #[test]
    fn nonsense_is_not_a_stop() {
        let judged = judge("{}\nnonsense");
        assert!(judged.len() == ATTEMPTS.len() && judged.iter().all(|a| !a.stopped));
    }
}
