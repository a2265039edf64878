//! `/dev`, `/proc` and `/sys` of a job: our own, complete before the image is visible.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, makedev, mkdirat, openat, openat2, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use assay_jailer::plan::Plan;
use assay_jailer::report::{Refusal, Stage};
use assay_jailer::wall::Wall;

use crate::devices::DEVICES;
use crate::root::{CONFINED, attach, clone_flags, directory, errno, make_directory, new_mount, refuse, safe};
use crate::sys;

/// Links in `/dev`.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Size of `/dev/shm` where the writable layer is not smaller, bytes.
const SHM_BYTES: u64 = 64 << 20;

/// What programs ask `/sys` for: how many processors there are.
const CPU_LISTS: [&str; 4] = ["kernel_max", "online", "possible", "present"];

/// Longest list of processors that is copied, bytes.
const CPU_LIST_MAX: usize = 4096;

const SAFE: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// Only processes (no `/proc/sys`, `/proc/kcore`, `/proc/keys` …), and of
/// those only what the reader may trace: the job's first process stays unseen.
pub(crate) fn mount_proc(plan: &Plan) -> rustix::io::Result<OwnedFd> {
    let options = [(Wall::ProcSubset, ("subset", "pid")), (Wall::HidePid, ("hidepid", "ptraceable"))];
    let kept = options.into_iter().filter(|(wall, _)| plan.keeps(*wall));
    let options: Vec<_> = kept.map(|(_, option)| option).collect();
    new_mount("proc", &options, SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

/// `/dev` with its nodes, complete but for `shm`, and read-only.
pub(crate) fn build_dev(staging: BorrowedFd<'_>, plan: &Plan) -> Result<OwnedFd, Refusal> {
    let error = |what| refuse(Stage::Dev, what);
    let dev = directory(staging, "dev").map_err(error("dev"))?;
    for (name, major, minor) in DEVICES {
        add_device(dev.as_fd(), name, makedev(major, minor)).map_err(error(name))?;
    }
    for (name, target) in DEVICE_LINKS {
        symlinkat(target, &dev, name).map_err(error(name))?;
    }
    mkdirat(&dev, "shm", Mode::from_raw_mode(0o755)).map_err(error("shm"))?;
    close(dev.as_fd(), plan).map_err(error("make dev read-only"))
}

fn add_device(dev: BorrowedFd<'_>, name: &str, number: u64) -> rustix::io::Result<()> {
    let flags = clone_flags() | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let node = open_tree(CWD, format!("/dev/{name}"), flags)?;
    let stat = fstat(&node)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != number {
        return Err(Errno::NODEV);
    }
    let place = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    attach(node, openat2(dev, name, place, Mode::from_raw_mode(0o666), CONFINED)?)
}

/// Mounts what `/dev/shm` holds, the one part of a template that the job may write.
pub(crate) fn attach_shm(dev: BorrowedFd<'_>, plan: &Plan) -> Result<(), Refusal> {
    let size = plan.scratch_bytes.min(SHM_BYTES).to_string();
    new_mount("tmpfs", &[("size", &size), ("nr_inodes", "4096"), ("mode", "1777")], safe(plan))
        .and_then(|shm| attach(shm, directory(dev, "shm")?))
        .map_err(refuse(Stage::Dev, "shm"))
}

/// `/sys` with the lists of processors, read-only; nothing of the kernel's own is behind it.
pub(crate) fn build_sys(staging: BorrowedFd<'_>, plan: &Plan) -> rustix::io::Result<OwnedFd> {
    let sys = directory(staging, "sys")?;
    let devices = make_directory(&sys, "devices", 0o755)?;
    let system = make_directory(&devices, "system", 0o755)?;
    let cpu = make_directory(&system, "cpu", 0o755)?;
    for name in CPU_LISTS {
        copy_list(cpu.as_fd(), name)?;
    }
    close(sys.as_fd(), plan)
}

/// Copies one of the host's lists; one that it lacks is left out.
fn copy_list(cpu: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    let path = format!("/sys/devices/system/cpu/{name}");
    let host = match openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let mut list = [0; CPU_LIST_MAX];
    let length = rustix::io::read(&host, &mut list)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let copy = openat2(cpu, name, flags, Mode::from_raw_mode(0o444), CONFINED)?;
    rustix::io::write(&copy, list.get(..length).unwrap_or_default())?;
    Ok(())
}

/// A mount of a directory of the staging area and of what is mounted in it, read-only for good. What the
/// directory itself has for devices does not work, which the staging area's mount says already; read-only
/// nodes keep their mode and owner, and can still be opened for writing.
fn close(directory: BorrowedFd<'_>, plan: &Plan) -> rustix::io::Result<OwnedFd> {
    let mount = open_tree(directory, "", clone_flags() | OpenTreeFlags::AT_RECURSIVE)?;
    let mut attributes = 0;
    if plan.keeps(Wall::SafeMounts) {
        attributes |= libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    }
    if plan.keeps(Wall::ReadOnlyTemplates) {
        attributes |= libc::MOUNT_ATTR_RDONLY;
    }
    sys::mount_setattr_recursive(mount.as_fd(), attributes).map_err(errno)?;
    Ok(mount)
}
