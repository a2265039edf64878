//! What this machine's kernel can limit, for people and for refusals.

use std::fs;
use std::path::{Path, PathBuf};

use super::tree::hierarchy;

/// Controllers without which a job's limits cannot be kept.
pub(super) const NEEDED: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];
/// Controllers of what no job is given anything of.
pub(super) const EXTRA: [&str; 3] = ["hugetlb", "misc", "rdma"];

/// What the machine's cgroup v2 hierarchy offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Support {
    /// Where the hierarchy is mounted, if it is.
    pub mount: Option<PathBuf>,
    /// Needed controllers that are there.
    pub present: Vec<&'static str>,
    /// Needed controllers that are not: jobs with `limits = "cgroup"` are refused.
    pub missing: Vec<&'static str>,
    /// Controllers that would forbid more, and are not there.
    pub absent: Vec<&'static str>,
    /// Whether the kernel counts stalls (`Documentation/accounting/psi.rst`).
    pub pressure: bool,
}

/// Asks the kernel. Changes nothing.
#[must_use]
pub fn support() -> Support {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    judge(hierarchy(&mounts).map(|mount| mount.point), Path::new("/proc/pressure"))
}

fn judge(mount: Option<PathBuf>, pressure: &Path) -> Support {
    let there =
        mount.as_ref().map(|point| controllers(&point.join("cgroup.controllers"))).unwrap_or_default();
    let missing = lacking(&there, &NEEDED);
    Support {
        mount,
        present: NEEDED.into_iter().filter(|name| !missing.contains(name)).collect(),
        missing,
        absent: lacking(&there, &EXTRA),
        pressure: fs::read_to_string(pressure.join("cpu")).is_ok(),
    }
}

/// Names in a file of controllers; none if there is no such file.
pub(super) fn controllers(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Those of `wanted` that are not `there`.
pub(super) fn lacking(there: &[String], wanted: &[&'static str]) -> Vec<&'static str> {
    wanted.iter().copied().filter(|name| !there.iter().any(|t| t == name)).collect()
}

/// Share of the last minute, in hundredths of a percent, for which some task
/// of the machine waited for `cpu`, `memory` or `io`; `None` if not known.
#[must_use]
pub fn pressure(resource: &str) -> Option<u32> {
    stalled(&fs::read_to_string(Path::new("/proc/pressure").join(resource)).ok()?)
}

fn stalled(text: &str) -> Option<u32> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let share = some.split(' ').find_map(|word| word.strip_prefix("avg60="))?;
    let (whole, hundredths) = share.split_once('.')?;
    let hundredths: u32 = (hundredths.len() == 2).then(|| hundredths.parse().ok())??;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(hundredths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_what_is_missing_have_names() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu memory hugetlb\n").unwrap();
        fs::write(dir.path().join("cpu"), "").unwrap();
        let support = judge(Some(dir.path().to_owned()), dir.path());
        assert_eq!(support.present, ["cpu", "cpuset", "memory"]);
        assert_eq!(support.missing, ["io", "pids"]);
        assert_eq!(support.absent, ["misc", "rdma"]);
        assert!(support.pressure);
    }

    #[test]
    fn without_a_hierarchy_all_is_missing() {
        let support = judge(None, Path::new("/nonexistent"));
        assert_eq!(support.missing, NEEDED);
        assert!(support.present.is_empty() && !support.pressure && support.mount.is_none());
    }

    #[test]
    fn the_unit_delegates_what_is_needed() {
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systemd/assay-core.service");
        let unit = fs::read_to_string(unit).unwrap();
        let delegated = unit.lines().find_map(|line| line.strip_prefix("Delegate=")).unwrap();
        let delegated: Vec<String> = delegated.split(' ').map(str::to_owned).collect();
        assert!(lacking(&delegated, &NEEDED).is_empty(), "{delegated:?}");
    }

    #[test]
    fn pressure_is_read_in_hundredths() {
        let text = "some avg10=0.00 avg60=12.34 avg300=1.00 total=5\nfull avg10=0.00 avg60=1.00 total=1\n";
        assert_eq!(stalled(text), Some(1234));
        for text in ["", "some avg60=1", "some avg60=1.234", "some avg60=x.00", "full avg60=1.00"] {
            assert_eq!(stalled(text), None, "{text}");
        }
    }
}
