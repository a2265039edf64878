//! What is written into a job's cgroup before anything is in it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::disk::Disk;
use super::{cpus, error, write};
use crate::error::SandboxError;
use crate::job::Resources;

/// Period of `cpu.max`, microseconds: the kernel's own default.
const CPU_PERIOD_US: u64 = 100_000;
/// Weights that `cpu.weight` takes; 100 is the default and ours for one processor.
const WEIGHTS: std::ops::RangeInclusive<u64> = 1..=10_000;
/// Most bytes between `memory.high` and `memory.max`. A wide gap would let a
/// job that grows be slowed down for minutes before it is ended.
const HIGH_GAP_MAX: u64 = 16 << 20;

/// What one job may move to and from the disk of the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoLimits {
    /// Bytes read per second, and as many written.
    pub bytes_per_second: u64,
    /// Reads per second, and as many writes.
    pub operations_per_second: u64,
}

impl Default for IoLimits {
    fn default() -> Self {
        Self { bytes_per_second: 512 << 20, operations_per_second: 32_768 }
    }
}

/// What this machine gives to any one job, whatever it asks for.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    /// Processors that no job may use.
    pub(crate) reserved: BTreeSet<u32>,
    /// The state directory's disk.
    pub(crate) disk: Option<Disk>,
    /// What a job may do to that disk.
    pub(crate) io: IoLimits,
}

/// Everything that bounds one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'a> {
    /// What the job asked for.
    pub(crate) resources: &'a Resources,
    /// Processors that it may run on. Memory nodes are those of the parent.
    pub(crate) cpus: &'a BTreeSet<u32>,
    /// The state directory's disk.
    pub(crate) disk: Option<Disk>,
    /// What it may do to that disk.
    pub(crate) io: IoLimits,
}

/// Files and values that enforce the bounds.
fn settings(bounds: &Bounds<'_>) -> Vec<(&'static str, String)> {
    let resources = bounds.resources;
    let quota = resources.cpu_milli.saturating_mul(CPU_PERIOD_US) / 1000;
    let weight = (resources.cpu_milli / 10).clamp(*WEIGHTS.start(), *WEIGHTS.end());
    let high = resources.memory_bytes.saturating_sub((resources.memory_bytes / 16).min(HIGH_GAP_MAX));
    let mut settings = vec![
        ("cpu.max", format!("{quota} {CPU_PERIOD_US}")),
        ("cpu.weight", weight.to_string()),
        ("cpuset.cpus", cpus::render(bounds.cpus)),
        ("memory.max", resources.memory_bytes.to_string()),
        // Reclaims file pages before the limit is hit.
        ("memory.high", high.to_string()),
        ("memory.swap.max", "0".to_owned()),
        ("memory.oom.group", "1".to_owned()),
        // The job's first process, which is ours, counts too.
        ("pids.max", resources.pids.saturating_add(1).to_string()),
    ];
    if let Some(disk) = bounds.disk {
        let IoLimits { bytes_per_second: bytes, operations_per_second: operations } = bounds.io;
        let limit = format!("{disk} rbps={bytes} wbps={bytes} riops={operations} wiops={operations}");
        settings.push(("io.max", limit));
    }
    settings
}

/// Sets every limit of a new cgroup.
///
/// # Errors
/// [`SandboxError::Cgroup`] with the file that could not be written.
pub(super) fn apply(path: &Path, bounds: &Bounds<'_>) -> Result<(), SandboxError> {
    for (file, value) in settings(bounds) {
        match write(&path.join(file), &value) {
            // A kernel without swap has no such file, and no swap to limit.
            Err(SandboxError::Cgroup { source, .. })
                if file == "memory.swap.max" && source.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    deny_the_rest(path)
}

/// No cgroup below a job's: there is nobody in it who should make one.
pub(super) fn forbid_children(path: &Path) -> Result<(), SandboxError> {
    write(&path.join("cgroup.max.descendants"), "0")
}

/// Huge pages, RDMA handles and miscellaneous resources: nothing, as far as these controllers are there.
fn deny_the_rest(path: &Path) -> Result<(), SandboxError> {
    for entry in fs::read_dir(path).map_err(error(path))? {
        let name = entry.map_err(error(path))?.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with("hugetlb.") && name.ends_with(".max") {
            write(&path.join(name), "0")?;
        }
    }
    for (file, zero) in [("rdma.max", "hca_handle=0 hca_object=0"), ("misc.max", "0")] {
        // Absent without its controller.
        let table = fs::read_to_string(path.join(file)).unwrap_or_default();
        for key in table.lines().filter_map(|line| line.split(' ').next()).filter(|key| !key.is_empty()) {
            write(&path.join(file), &format!("{key} {zero}"))?;
        }
    }
    Ok(())
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

    fn written(change: impl FnOnce(&mut Resources), disk: Option<Disk>) -> Vec<(&'static str, String)> {
        let mut resources = resources();
        change(&mut resources);
        let cpus = [0, 1, 2, 5].into();
        let io = IoLimits { bytes_per_second: 1000, operations_per_second: 10 };
        settings(&Bounds { resources: &resources, cpus: &cpus, disk, io })
    }

    #[test]
    fn settings_are_in_the_kernels_units() {
        let expected = [
            ("cpu.max", "50000 100000"),
            ("cpu.weight", "50"),
            ("cpuset.cpus", "0-2,5"),
            ("memory.max", "67108864"),
            ("memory.high", "62914560"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("pids.max", "11"),
        ];
        assert_eq!(written(|_| {}, None), expected.map(|(file, value)| (file, value.to_owned())));
    }

    #[test]
    fn the_disk_is_limited_where_there_is_one() {
        let disk = Disk::of(Path::new("/nonexistent"));
        assert_eq!(disk, None);
        let sys = tempfile::tempdir().unwrap();
        let disk = super::super::tests::disk(sys.path(), 254, 16);
        let io_max = written(|_| {}, Some(disk)).pop().unwrap();
        assert_eq!(io_max, ("io.max", "254:16 rbps=1000 wbps=1000 riops=10 wiops=10".to_owned()));
    }

    #[test]
    fn weights_and_the_reclaim_gap_are_bounded() {
        let value = |file: &str, change: fn(&mut Resources)| {
            written(change, None).into_iter().find(|(f, _)| *f == file).unwrap().1
        };
        assert_eq!(value("cpu.weight", |r| r.cpu_milli = 1), "1");
        assert_eq!(value("cpu.weight", |r| r.cpu_milli = 1_024_000), "10000");
        assert_eq!(
            value("memory.high", |r| r.memory_bytes = 1 << 40),
            ((1_u64 << 40) - (16 << 20)).to_string()
        );
    }
}
