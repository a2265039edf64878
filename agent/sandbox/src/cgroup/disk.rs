//! The disk below a directory, as the io controller names it: whole, by device number.

use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{major, makedev, minor};

/// A block device that is not a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disk {
    major: u32,
    minor: u32,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl Disk {
    /// The disk that holds `path`; `None` for a file system without one, such as tmpfs.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let device = fs::metadata(path).ok()?.dev();
        // File systems of several volumes (btrfs) have numbers of no device; their mount names one.
        let device = if major(device) == 0 { mounted_device(path)? } else { device };
        Self::whole(Path::new("/sys/dev/block"), device)
    }

    /// The disk of a device number; a partition is throttled as its disk only (IO Interface Files).
    pub(super) fn whole(numbers: &Path, device: u64) -> Option<Self> {
        let node = fs::canonicalize(numbers.join(format!("{}:{}", major(device), minor(device)))).ok()?;
        let disk = if node.join("partition").exists() { node.parent()? } else { &node };
        let (major, minor) = parse(&fs::read_to_string(disk.join("dev")).ok()?)?;
        Some(Self { major, minor })
    }

    /// This disk's line of a file with one line per device, without the number.
    pub(crate) fn line<'a>(&self, text: &'a str) -> Option<&'a str> {
        let number = self.to_string();
        text.lines().find_map(|line| line.strip_prefix(&number)?.strip_prefix(' '))
    }
}

fn parse(number: &str) -> Option<(u32, u32)> {
    let (major, minor) = number.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Device number of the source of the mount that holds `path`.
fn mounted_device(path: &Path) -> Option<u64> {
    let path = fs::canonicalize(path).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let source = mount_source(&mounts, &path)?;
    let device = fs::metadata(source).ok()?;
    let number = device.rdev();
    device.file_type().is_block_device().then(|| makedev(major(number), minor(number)))
}

/// Source of the deepest, last mount above `path` in a `mountinfo` (`proc_pid_mountinfo(5)`).
fn mount_source<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mount = |line: &'a str| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?;
        let source = after.split(' ').nth(1)?;
        path.starts_with(point).then_some((point.len(), source))
    };
    mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth).map(|(_, source)| source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_its_disk() {
        let sys = tempfile::tempdir().unwrap();
        let disk = sys.path().join("devices/vda");
        fs::create_dir_all(disk.join("vda1")).unwrap();
        fs::write(disk.join("dev"), "254:0\n").unwrap();
        fs::write(disk.join("vda1/dev"), "254:1\n").unwrap();
        fs::write(disk.join("vda1/partition"), "1\n").unwrap();
        for (number, to) in [("254:0", "devices/vda"), ("254:1", "devices/vda/vda1")] {
            std::os::unix::fs::symlink(sys.path().join(to), sys.path().join(number)).unwrap();
        }
        let expected = Some(Disk { major: 254, minor: 0 });
        assert_eq!(Disk::whole(sys.path(), makedev(254, 0)), expected);
        assert_eq!(Disk::whole(sys.path(), makedev(254, 1)), expected);
        assert_eq!(Disk::whole(sys.path(), makedev(8, 0)), None);
    }

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "1 0 0:1 / / rw - btrfs /dev/a rw\n2 1 0:2 / /var rw - btrfs /dev/b rw\n\
                      3 1 0:3 / /variant rw - tmpfs none rw\nnonsense\n";
        assert_eq!(mount_source(mounts, Path::new("/var/lib")), Some("/dev/b"));
        assert_eq!(mount_source(mounts, Path::new("/srv")), Some("/dev/a"));
        assert_eq!(mount_source("", Path::new("/srv")), None);
    }

    #[test]
    fn memory_is_no_disk() {
        assert_eq!(Disk::of(Path::new("/proc")), None);
    }

    #[test]
    fn a_line_is_found_by_its_whole_number() {
        let disk = Disk { major: 25, minor: 1 };
        assert_eq!(disk.line("25:16 rbytes=9\n25:1 rbytes=3\n"), Some("rbytes=3"));
        assert_eq!(disk.line("125:1 rbytes=9\n"), None);
    }
}
