//! What a cgroup says of what was in it.

use std::fs;
use std::path::Path;

use super::disk::Disk;
use crate::outcome::Usage;

/// What a cgroup counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    cpu_us: Option<u64>,
    memory_peak_bytes: Option<u64>,
    io_read_bytes: u64,
    io_write_bytes: u64,
    oom_kills: u64,
    pids_refused: u64,
    stalls_us: [u64; 3],
}

/// The value of a key in a flat keyed file (Interface Files, Format).
pub(super) fn value(text: &str, key: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}

/// The sum of `key=value` over the lines of a nested keyed file.
fn sum(text: &str, key: &str) -> u64 {
    let values = text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    values.filter_map(|value| value.parse().ok()).fold(0, u64::saturating_add)
}

/// Microseconds for which some task waited, of a pressure file (`Documentation/accounting/psi.rst`).
fn stalled_us(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("some ")).map_or(0, |line| sum(line, "total"))
}

impl Account {
    /// Reads a cgroup's files; what is missing counts as nothing. Bytes moved
    /// are those of `disk` where it is known: a stack of block devices lists
    /// the same bytes once per storey.
    pub(crate) fn read(path: &Path, disk: Option<Disk>) -> Self {
        let text = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
        let (events, io) = (text("memory.events"), text("io.stat"));
        let io = disk.map_or(io.as_str(), |disk| disk.line(&io).unwrap_or_default());
        let killed = ["oom_kill", "oom_group_kill"].map(|key| value(&events, key).unwrap_or(0));
        Self {
            cpu_us: value(&text("cpu.stat"), "usage_usec"),
            memory_peak_bytes: text("memory.peak").trim().parse().ok(),
            io_read_bytes: sum(io, "rbytes"),
            io_write_bytes: sum(io, "wbytes"),
            oom_kills: killed.into_iter().max().unwrap_or(0),
            pids_refused: value(&text("pids.events"), "max").unwrap_or(0),
            stalls_us: ["cpu.pressure", "memory.pressure", "io.pressure"].map(|file| stalled_us(&text(file))),
        }
    }

    /// True if the kernel killed the job for its memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.oom_kills > 0
    }

    /// These figures; `measured` where the cgroup does not say.
    pub(crate) fn over(&self, measured: Usage) -> Usage {
        let [cpu, memory, io] = self.stalls_us;
        Usage {
            cpu_us: self.cpu_us.unwrap_or(measured.cpu_us),
            max_rss_kib: self.memory_peak_bytes.map_or(measured.max_rss_kib, |bytes| bytes / 1024),
            io_read_bytes: self.io_read_bytes,
            io_write_bytes: self.io_write_bytes,
            oom_kills: self.oom_kills,
            pids_refused: self.pids_refused,
            cpu_stall_us: cpu,
            memory_stall_us: memory,
            io_stall_us: io,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_comes_from_its_file() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("cpu.stat", "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n"),
            ("memory.peak", "2097152\n"),
            ("memory.events", "low 0\nhigh 7\nmax 9\noom 1\noom_kill 4\noom_group_kill 1\n"),
            ("pids.events", "max 3\n"),
            ("io.stat", "254:0 rbytes=10 wbytes=20 rios=1 wios=2\n254:16 rbytes=1 wbytes=2 rios=1 wios=1\n"),
            ("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=11\nfull avg10=0.00 total=1\n"),
            ("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull total=2\n"),
            ("io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=13\nfull total=3\n"),
        ] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        let usage = Account::read(dir.path(), None).over(Usage::default());
        let expected = Usage {
            cpu_us: 1500,
            max_rss_kib: 2048,
            io_read_bytes: 11,
            io_write_bytes: 22,
            oom_kills: 4,
            pids_refused: 3,
            cpu_stall_us: 11,
            memory_stall_us: 12,
            io_stall_us: 13,
        };
        assert_eq!(usage, expected);
        let sys = tempfile::tempdir().unwrap();
        let disk = super::super::tests::disk(sys.path(), 254, 16);
        let usage = Account::read(dir.path(), Some(disk)).over(Usage::default());
        assert_eq!((usage.io_read_bytes, usage.io_write_bytes), (1, 2));
    }

    #[test]
    fn what_is_missing_stays_as_measured() {
        let dir = tempfile::tempdir().unwrap();
        let account = Account::read(dir.path(), None);
        let measured = Usage { cpu_us: 5, max_rss_kib: 6, ..Usage::default() };
        assert_eq!(account.over(measured), measured);
        assert!(!account.ran_out_of_memory());
    }

    #[test]
    fn an_oom_kill_of_either_kind_is_one() {
        for (events, expected) in
            [("oom 1\noom_kill 0\n", false), ("oom_kill 1\n", true), ("oom_kill 0\noom_group_kill 1\n", true)]
        {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("memory.events"), events).unwrap();
            assert_eq!(Account::read(dir.path(), None).ran_out_of_memory(), expected, "{events}");
        }
    }

    #[test]
    fn nonsense_is_nothing() {
        assert_eq!(value("usage_usecs 5\nusage_usec x\n", "usage_usec"), None);
        assert_eq!(sum("rbytes=1 wrbytes=7 rbytes=x rbytes=18446744073709551615", "rbytes"), u64::MAX);
        assert_eq!(stalled_us("full total=5\n"), 0);
    }
}
