//! One cgroup v2 per job: limits from birth, usage before removal, a kill that
//! nothing escapes (Linux `Documentation/admin-guide/cgroup-v2.rst`).
//!
//! The parent must be ours alone: delegated by systemd or made for the agent.
//! Version 1 hierarchies are not used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::SandboxError;
use crate::job::Resources;
use crate::outcome::Usage;

/// Controllers without which limits cannot be kept.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];
/// Period of `cpu.max`, microseconds: the kernel's own default.
const CPU_PERIOD_US: u64 = 100_000;
/// How long killed processes may take to leave.
const EMPTY_WITHIN: Duration = Duration::from_secs(10);

/// A job's cgroup; removed with everything in it when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

fn error(path: &Path) -> impl FnOnce(io::Error) -> SandboxError {
    let path = path.to_owned();
    move |source| SandboxError::Cgroup { path, source }
}

fn write(path: &Path, value: &str) -> Result<(), SandboxError> {
    fs::write(path, value).map_err(error(path))
}

/// Names of the needed controllers that `parent` cannot hand to its children.
fn missing_controllers(parent: &Path) -> Vec<&'static str> {
    let listed = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    NEEDED.into_iter().filter(|name| !listed.split_whitespace().any(|l| l == *name)).collect()
}

/// Files and values that enforce a job's resources.
fn settings(resources: &Resources) -> [(&'static str, String); 5] {
    let quota = resources.cpu_milli.saturating_mul(CPU_PERIOD_US) / 1000;
    [
        ("cpu.max", format!("{quota} {CPU_PERIOD_US}")),
        ("memory.max", resources.memory_bytes.to_string()),
        ("memory.oom.group", "1".to_owned()),
        ("memory.swap.max", "0".to_owned()),
        // The job's first process, which is ours, counts too.
        ("pids.max", resources.pids.saturating_add(1).to_string()),
    ]
}

impl Cgroup {
    /// Makes a cgroup with all limits set, before anything is in it.
    ///
    /// # Errors
    /// [`SandboxError::NoControllers`] where the machine cannot limit; else what the kernel refused.
    pub(crate) fn limited(parent: &Path, name: &str, resources: &Resources) -> Result<Self, SandboxError> {
        let missing = missing_controllers(parent);
        if !missing.is_empty() {
            return Err(SandboxError::NoControllers {
                missing: missing.join(", "),
                parent: parent.to_owned(),
            });
        }
        let enable: Vec<_> = NEEDED.into_iter().map(|name| format!("+{name}")).collect();
        write(&parent.join("cgroup.subtree_control"), &enable.join(" "))?;
        let cgroup = Self::bare(parent, name)?;
        for (file, value) in settings(resources) {
            match write(&cgroup.path.join(file), &value) {
                // A kernel without swap has no such file, and no swap to limit.
                Err(SandboxError::Cgroup { source, .. })
                    if file == "memory.swap.max" && source.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(cgroup)
    }

    /// Makes a cgroup that only groups: for killing and accounting.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn bare(parent: &Path, name: &str) -> Result<Self, SandboxError> {
        let path = parent.join(name);
        remove_leftover(&path);
        fs::create_dir(&path).map_err(error(&path))?;
        Ok(Self { path })
    }

    /// The cgroup's directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What everything in the cgroup has used; `measured` where the kernel does not say.
    pub(crate) fn usage(&self, measured: Usage) -> Usage {
        let stat = fs::read_to_string(self.path.join("cpu.stat")).unwrap_or_default();
        let cpu =
            stat.lines().find_map(|l| l.strip_prefix("usage_usec ")).and_then(|v| v.trim().parse().ok());
        let peak = fs::read_to_string(self.path.join("memory.peak")).ok();
        let peak = peak.and_then(|v| v.trim().parse::<u64>().ok()).map(|bytes| bytes / 1024);
        Usage {
            cpu_us: cpu.unwrap_or(measured.cpu_us),
            max_rss_kib: peak.unwrap_or(measured.max_rss_kib),
            ..measured
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove_leftover(&self.path);
    }
}

/// Kills everything in a cgroup and removes it, if it exists.
pub(crate) fn remove_leftover(path: &Path) {
    if !path.exists() {
        return;
    }
    let killed = fs::write(path.join("cgroup.kill"), "1");
    let began = Instant::now();
    while let Err(refusal) = fs::remove_dir(path) {
        if began.elapsed() > EMPTY_WITHIN {
            log::error!("cgroup {} stays: {refusal} (kill: {killed:?})", path.display());
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The cgroup v2 directory of this process, where a unified hierarchy is mounted.
pub(crate) fn own() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find_map(cgroup2_mount_point)?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|l| l.strip_prefix("0::/"))?;
    Some(Path::new(mount).join(own))
}

/// Mount point of a `mountinfo` line if it is cgroup2's (`proc_pid_mountinfo(5)`).
fn cgroup2_mount_point(line: &str) -> Option<&str> {
    let (before, after) = line.split_once(" - ")?;
    if !after.starts_with("cgroup2 ") {
        return None;
    }
    before.split(' ').nth(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Limits;

    fn resources() -> Resources {
        Resources {
            cpu_milli: 500,
            memory_bytes: 64 << 20,
            disk_bytes: 1 << 20,
            pids: 10,
            gpus: 0,
            limits: Limits::Cgroup,
        }
    }

    #[test]
    fn settings_are_in_the_kernels_units() {
        let settings = settings(&resources());
        let expected = [
            ("cpu.max", "50000 100000"),
            ("memory.max", "67108864"),
            ("memory.oom.group", "1"),
            ("memory.swap.max", "0"),
            ("pids.max", "11"),
        ];
        assert!(settings.iter().map(|(f, v)| (*f, v.as_str())).eq(expected));
    }

    #[test]
    fn a_machine_without_controllers_is_told_so() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("cgroup.controllers"), "hugetlb pids\n").unwrap();
        let refusal = Cgroup::limited(parent.path(), "job", &resources()).unwrap_err();
        let SandboxError::NoControllers { missing, .. } = &refusal else { panic!("{refusal}") };
        assert_eq!(missing, "cpu, memory");
        assert!(refusal.to_string().contains("limits = \"rlimit\""));
    }

    #[test]
    fn finds_the_unified_hierarchy() {
        let line = "57 47 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount_point(line), Some("/sys/fs/cgroup/unified"));
        assert_eq!(cgroup2_mount_point("48 47 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"), None);
    }
}
