//! The guest: one disk, one image, and sandboxes on them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use assay_sandbox::{JobFile, JobOutcome, Sandbox, SandboxConfig, SandboxError};

/// Where the sandbox puts its jobs' cgroups when it runs in the root of the hierarchy.
pub(crate) const JOBS: &str = "/sys/fs/cgroup/assay";
/// First id of jobs.
const ID_BASE: u32 = 0x7000_0000;

/// A sandbox whose state is on the disk, and which leaves the first processor alone.
pub(crate) fn config(state: &str) -> SandboxConfig {
    SandboxConfig {
        jailer: Some("/assay-jailer".into()),
        reserved_cpus: "0".to_owned(),
        id_base: ID_BASE,
        ..SandboxConfig::new(Path::new("/disk").join(state))
    }
}

/// A job of the image; `resources` and `extra` are further lines of their tables.
pub(crate) fn job(script: &str, resources: &str, extra: &str) -> JobFile {
    let text = format!(
        "[job]\nimage = \"oci:/disk/image:test\"\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']\n{extra}\n\
         [job.resources]\n{resources}\n"
    );
    JobFile::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {text}"))
}

/// Runs a job to its end.
pub(crate) fn run(sandbox: &Sandbox, job: &JobFile) -> Result<JobOutcome, SandboxError> {
    sandbox.run(job, &[], &AtomicBool::new(false), &|_| {})
}

/// Starts a job, looks at its cgroup once it has begun, and cancels it.
pub(crate) fn inspect(sandbox: &Sandbox, job: &JobFile, look: impl FnOnce(&Path)) -> JobOutcome {
    let cancel = AtomicBool::new(false);
    thread::scope(|scope| {
        let running = scope.spawn(|| sandbox.run(job, &[], &cancel, &|_| {}));
        let cgroup = eventually("a cgroup with a job in it", inhabited);
        // The job is ended in any case; a failed look is told after that.
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(&cgroup)));
        cancel.store(true, Ordering::Relaxed);
        let outcome = running.join().unwrap().unwrap();
        looked.unwrap_or_else(|failure| std::panic::resume_unwind(failure));
        outcome
    })
}

/// Cgroups of jobs.
pub(crate) fn cgroups() -> Vec<PathBuf> {
    let entries = fs::read_dir(JOBS).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// A job's cgroup in which the job's own program, not only our first process, runs.
pub(crate) fn inhabited() -> Option<PathBuf> {
    cgroups().into_iter().find(|path| text(&path.join("cgroup.procs")).lines().count() >= 2)
}

/// A file's text without the last line end; empty where there is none.
pub(crate) fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

/// Tries until there is something, for a minute.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    for _ in 0..6000 {
        if let Some(found) = attempt() {
            return found;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}

/// Everything that a job could leave behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Residue {
    cgroups: Vec<PathBuf>,
    processes: Vec<String>,
    mounts: usize,
    loops: usize,
    namespaces: BTreeSet<String>,
}

/// What is there now.
pub(crate) fn residue() -> Residue {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let processes: Vec<PathBuf> = processes.filter(|path| path.join("status").exists()).collect();
    let of_a_job = |path: &PathBuf| {
        let status = text(&path.join("status"));
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next());
        uid.and_then(|uid| uid.parse::<u32>().ok()).is_some_and(|uid| uid >= ID_BASE)
    };
    let namespaces = processes.iter().flat_map(|path| fs::read_dir(path.join("ns")).into_iter().flatten());
    let namespaces = namespaces.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    Residue {
        cgroups: cgroups(),
        processes: processes.iter().filter(|path| of_a_job(path)).map(|p| text(&p.join("cmdline"))).collect(),
        mounts: text(Path::new("/proc/self/mountinfo")).lines().count(),
        loops: fs::read_dir("/sys/block")
            .unwrap()
            .flatten()
            .filter(|e| e.path().join("loop").exists())
            .count(),
        namespaces: namespaces.map(|path| path.display().to_string()).collect(),
    }
}
