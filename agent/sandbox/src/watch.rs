//! One run of the jailer, with an eye on what the kernel does not limit.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use assay_jailer::plan::Plan;

use crate::checkpoint::Checkpoint;
use crate::error::SandboxError;
use crate::supervise::{self, Finished};

/// How often a cancellation is passed on.
const TICK: Duration = Duration::from_millis(50);
/// Least pause between two looks at everything in the checkpoint.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// The pause in multiples of what the look before took, so that a job cannot occupy the watcher's processor.
const LOOK_COST: u32 = 4;

/// Runs one plan; true beside it when the job exceeded its checkpoint's cap or filled the disk.
///
/// # Errors
/// Those of [`supervise::run`].
pub(crate) fn run(
    jailer: &Path,
    plan: &Plan,
    network: Option<OwnedFd>,
    dir: &Path,
    cancel: &AtomicBool,
    checkpoint: Option<&Checkpoint>,
) -> Result<(Finished, bool), SandboxError> {
    let run = |stop: &AtomicBool| {
        supervise::run(jailer, plan, network, dir, stop).inspect_err(|_| {
            log::error!("jailer: {}", supervise::last_words(dir));
        })
    };
    let Some(checkpoint) = checkpoint else { return run(cancel).map(|finished| (finished, false)) };
    let flags = Flags::default();
    let finished = thread::scope(|scope| {
        // The jailer dies with the thread that starts it, so it is the watcher that gets one of its own.
        let watcher = thread::Builder::new().name("checkpoint".to_owned());
        let watching = watcher.spawn_scoped(scope, || watch(checkpoint, cancel, &flags));
        let finished = match watching {
            Ok(_) => run(&flags.stop),
            Err(source) => Err(SandboxError::jailer("watch the checkpoint")(source)),
        };
        flags.done.store(true, Ordering::Relaxed);
        finished
    })?;
    // What a job has held in removed files is free once it was killed for it.
    Ok((finished, flags.is_over.load(Ordering::Relaxed) || checkpoint.is_over()))
}

/// What the watcher and the thread that it watches for tell each other.
#[derive(Default)]
struct Flags {
    /// The jailer is to stop.
    stop: AtomicBool,
    /// The watcher has seen the job exceed what it may.
    is_over: AtomicBool,
    /// The jailer has ended.
    done: AtomicBool,
}

fn watch(checkpoint: &Checkpoint, cancel: &AtomicBool, flags: &Flags) {
    let mut next_look = Instant::now();
    while !flags.done.load(Ordering::Relaxed) {
        let began = Instant::now();
        let mut is_over = checkpoint.is_disk_full();
        if began >= next_look {
            is_over |= checkpoint.is_over();
            let pause = began.elapsed().saturating_mul(LOOK_COST).max(LOOK_PAUSE);
            next_look = Instant::now().checked_add(pause).unwrap_or(next_look);
        }
        if is_over {
            flags.is_over.store(true, Ordering::Relaxed);
        }
        if is_over || cancel.load(Ordering::Relaxed) {
            flags.stop.store(true, Ordering::Relaxed);
        }
        thread::sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobFile;
    use std::fs;
    use std::process::Command;

    use assay_jailer::plan::{Ids, Logs, PLAN_VERSION, Rlimits};
    use assay_jailer::report::{End, Report};

    fn checkpoint(state: &Path) -> Checkpoint {
        let text = "[job]\nimage = \"oci:/l\"\ncheckpoint = \"/c\"\ncheckpoint_bytes = \"64Ki\"\n";
        let job = JobFile::parse(text.as_bytes()).unwrap();
        Checkpoint::open(state, &job, &crate::Retention::default()).unwrap().unwrap()
    }

    /// A stand-in for the jailer, which waits for the order to stop, does what a job's death does, and reports.
    fn jailer(dir: &Path, last: &str) -> std::path::PathBuf {
        let report = Report {
            end: End::Cancelled,
            wall_us: 0,
            cpu_us: 0,
            max_rss_kib: 0,
            stdout_bytes: 0,
            stderr_bytes: 0,
            walls: None,
        };
        let report = serde_json::to_string(&report).unwrap();
        let path = dir.join("jailer");
        let text = format!("#!/bin/sh\n/bin/cat > /dev/null\n{last}\necho '{report}'\n");
        // Written by another process: nothing that is forked here meanwhile may hold it open for writing.
        let write = Command::new("/bin/sh")
            .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", &text])
            .arg(&path)
            .status();
        assert!(write.unwrap().success());
        path
    }

    fn plan(dir: &Path) -> Plan {
        Plan {
            version: PLAN_VERSION,
            supervisor: std::process::id(),
            layers: vec![],
            ids: Ids::Single {},
            uid: 0,
            gid: 0,
            argv: vec![],
            env: vec![],
            cwd: "/".to_owned(),
            hostname: String::new(),
            outputs: vec![],
            scratch_bytes: 0,
            scratch_inodes: 0,
            timeout_ms: 120_000,
            logs: Logs { stdout: dir.join("o"), stderr: dir.join("e"), limit_bytes: 1 },
            rlimits: Rlimits {
                processes: 1,
                open_files: 1,
                file_bytes: 1,
                cpu_seconds: 1,
                data_bytes: None,
                address_space_bytes: None,
            },
            cgroup: None,
            binds: vec![],
            secrets: vec![],
        }
    }

    #[test]
    fn a_job_over_its_cap_is_so_after_its_death() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint(dir.path());
        let file = checkpoint.bind().source.join("large");
        fs::write(&file, vec![1; 1 << 20]).unwrap();
        let jailer = jailer(dir.path(), &format!("rm '{}'", file.display()));
        let never = AtomicBool::new(false);
        let (_, is_over) =
            run(&jailer, &plan(dir.path()), None, dir.path(), &never, Some(&checkpoint)).unwrap();
        assert!(is_over && !file.exists());
    }

    #[test]
    fn a_disk_that_fills_without_a_name_ends_the_job() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint(dir.path()).with_reserve(u64::MAX);
        assert!(!checkpoint.is_over());
        let never = AtomicBool::new(false);
        let jailer = jailer(dir.path(), "");
        let (_, is_over) =
            run(&jailer, &plan(dir.path()), None, dir.path(), &never, Some(&checkpoint)).unwrap();
        assert!(is_over);
    }

    #[test]
    fn a_cancelled_job_is_not_over() {
        let dir = tempfile::tempdir().unwrap();
        let jailer = jailer(dir.path(), "");
        let now = AtomicBool::new(true);
        let (_, is_over) =
            run(&jailer, &plan(dir.path()), None, dir.path(), &now, Some(&checkpoint(dir.path()))).unwrap();
        assert!(!is_over);
    }
}
