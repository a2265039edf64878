//! `/dev`, `/proc` and `/sys` of a job: our own, complete before the image is visible.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, makedev, openat, openat2, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, open_tree};

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
    let options = [("subset", "pid"), ("hidepid", "ptraceable")];
    let options = if plan.keeps(Wall::ProcSubset) { &options[..] } else { &[] };
    new_mount("proc", options, SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

/// `/dev` with its nodes, complete and read-only.
pub(crate) fn build_dev(staging: BorrowedFd<'_>, plan: &Plan) -> Result<OwnedFd, Refusal> {
    let error = |what| refuse(Stage::Dev, what);
    let attributes = SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let dev = new_mount("tmpfs", &[("size", "64k"), ("nr_inodes", "64"), ("mode", "0755")], attributes)
        .map_err(error("mount dev"))?;
    directory(staging, "dev").and_then(|target| attach(&dev, target)).map_err(error("attach dev"))?;
    for (name, major, minor) in DEVICES {
        add_device(dev.as_fd(), name, makedev(major, minor)).map_err(error(name))?;
    }
    for (name, target) in DEVICE_LINKS {
        symlinkat(target, &dev, name).map_err(error(name))?;
    }
    add_shm(dev.as_fd(), plan).map_err(error("shm"))?;
    close(&dev, plan).map_err(error("make dev read-only"))?;
    Ok(dev)
}

fn add_device(dev: BorrowedFd<'_>, name: &str, number: u64) -> rustix::io::Result<()> {
    let host = openat(
        CWD,
        format!("/dev/{name}"),
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let stat = fstat(&host)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != number {
        return Err(Errno::NODEV);
    }
    let node = open_tree(&host, "", clone_flags())?;
    // Read-only says that the node's mode and owner stay; opening for writing still works.
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_RDONLY;
    sys::mount_setattr(node.as_fd(), attributes, None).map_err(errno)?;
    let place = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    attach(node, openat2(dev, name, place, Mode::from_raw_mode(0o666), CONFINED)?)
}

fn add_shm(dev: BorrowedFd<'_>, plan: &Plan) -> rustix::io::Result<()> {
    let size = plan.scratch_bytes.min(SHM_BYTES).to_string();
    let shm = new_mount("tmpfs", &[("size", &size), ("nr_inodes", "4096"), ("mode", "1777")], safe(plan))?;
    attach(shm, make_directory(dev, "shm", 0o755)?)
}

/// `/sys` with the lists of processors, read-only; nothing of the kernel's own is behind it.
pub(crate) fn build_sys(plan: &Plan) -> rustix::io::Result<OwnedFd> {
    let options = [("size", "64k"), ("nr_inodes", "32"), ("mode", "0755")];
    let sys = new_mount("tmpfs", &options, SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC)?;
    let devices = make_directory(&sys, "devices", 0o755)?;
    let system = make_directory(&devices, "system", 0o755)?;
    let cpu = make_directory(&system, "cpu", 0o755)?;
    for name in CPU_LISTS {
        copy_list(cpu.as_fd(), name)?;
    }
    close(&sys, plan)?;
    Ok(sys)
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

/// Makes a template read-only for good.
fn close(mount: &OwnedFd, plan: &Plan) -> rustix::io::Result<()> {
    match plan.keeps(Wall::ReadOnlyTemplates) {
        true => sys::mount_setattr(mount.as_fd(), libc::MOUNT_ATTR_RDONLY, None).map_err(errno),
        false => Ok(()),
    }
}
