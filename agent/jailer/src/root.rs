//! The job's file system, built from descriptors.
//!
//! `/proc` and `/dev` come from templates of our own and are complete before
//! the image's first byte is visible. The image appears as an overlay of
//! read-only layers and a writable layer in memory, in which `dev` and `proc`
//! already exist as directories: whatever the image has under those names,
//! a symbolic link say, is covered. Every path inside the image is resolved by
//! the kernel within the image and through no link.
//!
//! Nothing of the host is mounted but five device nodes, by descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fstat, makedev, mkdirat, openat,
    openat2, stat, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
    move_mount, open_tree, unmount,
};

use assay_jailer::plan::Plan;
use assay_jailer::report::{Refusal, Stage};

use crate::sys;

/// The device nodes a job gets: name, major, minor of `Documentation/admin-guide/devices.txt`.
const DEVICES: [(&str, u32, u32); 5] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9)];

/// Links in `/dev`.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Size of `/dev/shm` where the writable layer is not smaller, bytes.
const SHM_BYTES: u64 = 64 << 20;

/// No link of any kind, nothing above the descriptor.
const CONFINED: ResolveFlags =
    ResolveFlags::IN_ROOT.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

const RO_LAYER: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// The file system, ready to be entered.
pub(crate) struct Root {
    /// The merged tree.
    root: OwnedFd,
    /// The new `/proc`, detached or attached.
    proc: OwnedFd,
    /// The writable layer's mount; `upper` in it holds what the job wrote.
    pub(crate) scratch: OwnedFd,
}

fn refuse(stage: Stage, what: &str) -> impl FnOnce(Errno) -> Refusal {
    move |errno| Refusal::new(stage, what, errno)
}

/// Builds everything below a temporary file system of its own.
pub(crate) fn build(plan: &Plan, layers: Vec<OwnedFd>) -> Result<Root, Refusal> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(refuse(Stage::Pivot, "make mounts private"))?;
    let proc = mount_proc().map_err(refuse(Stage::Proc, "mount proc"))?;
    let staging = stage().map_err(refuse(Stage::Pivot, "mount staging area"))?;
    let dev = build_dev(staging.as_fd(), plan)?;
    attach_layers(staging.as_fd(), plan, layers)?;
    let scratch =
        make_scratch(staging.as_fd(), plan).map_err(refuse(Stage::Scratch, "mount writable layer"))?;
    let root = stack(staging.as_fd(), plan.layers.len()).map_err(refuse(Stage::Overlay, "mount overlay"))?;
    attach_inside(&root, &proc, "proc")?;
    attach_inside(&root, &dev, "dev")?;
    for output in &plan.outputs {
        make_output(root.as_fd(), output, plan)?;
    }
    Ok(Root { root, proc, scratch })
}

impl Root {
    /// Makes the tree the root directory and lets go of the host's.
    pub(crate) fn enter(self) -> Result<(), Refusal> {
        rustix::process::fchdir(&self.root).map_err(refuse(Stage::Pivot, "enter the new root"))?;
        rustix::process::pivot_root(".", ".").map_err(refuse(Stage::Pivot, "pivot_root"))?;
        // The old root now lies on top of the new one; its going takes every
        // host mount and the staging area along.
        unmount(".", UnmountFlags::DETACH).map_err(refuse(Stage::Pivot, "detach the old root"))?;
        rustix::process::chdir("/").map_err(refuse(Stage::Pivot, "enter /"))?;
        is_top().map_err(refuse(Stage::Pivot, "look above /")).and_then(|top| match top {
            true => Ok(()),
            false => Err(Refusal::rule(Stage::Pivot, "the old root is still above the new one")),
        })
    }

    /// Writes the clock offsets of the next time namespace.
    pub(crate) fn write_clock_offsets(&self, offsets: &str) -> rustix::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.proc, "self/timens_offsets", flags, Mode::empty())?;
        rustix::io::write(&file, offsets.as_bytes()).map(|_| ())
    }
}

/// True if nothing is mounted over the root directory: `..` crosses such mounts.
fn is_top() -> rustix::io::Result<bool> {
    let (root, above) = (stat("/")?, stat("/..")?);
    Ok((root.st_dev, root.st_ino) == (above.st_dev, above.st_ino))
}

fn new_mount(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn attach(mount: impl AsFd, target: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

fn safe() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV
}

/// Only processes (no `/proc/sys`, `/proc/kcore`, `/proc/keys` …), and of
/// those only what the reader may trace: the job's first process stays unseen.
fn mount_proc() -> rustix::io::Result<OwnedFd> {
    let options = [("subset", "pid"), ("hidepid", "ptraceable")];
    new_mount("proc", &options, safe() | MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

/// A small file system, reached by descriptor only. It has to be attached
/// somewhere; the host's `/proc` is a place that exists and is needed no more.
/// (Not `/`: detaching the old root would then find this on top and take it
/// for the old root.)
fn stage() -> rustix::io::Result<OwnedFd> {
    let staging = new_mount("tmpfs", &[("size", "1m"), ("mode", "0700")], safe())?;
    move_mount(&staging, "", CWD, "/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    for name in ["dev", "layers", "scratch", "root"] {
        mkdirat(&staging, name, Mode::from_raw_mode(0o755))?;
    }
    Ok(staging)
}

fn directory(parent: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    openat2(parent, name, DIRECTORY, Mode::empty(), CONFINED)
}

fn make_directory(parent: impl AsFd, name: &str, mode: u32) -> rustix::io::Result<OwnedFd> {
    mkdirat(&parent, name, Mode::from_raw_mode(mode))?;
    directory(parent, name)
}

fn build_dev(staging: BorrowedFd<'_>, plan: &Plan) -> Result<OwnedFd, Refusal> {
    let error = |what| refuse(Stage::Dev, what);
    let attributes = safe() | MountAttrFlags::MOUNT_ATTR_NOEXEC;
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
    sys::mount_setattr(dev.as_fd(), libc::MOUNT_ATTR_RDONLY, None)
        .map_err(|e| Refusal::new(Stage::Dev, "make dev read-only", e))?;
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

fn clone_flags() -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn add_shm(dev: BorrowedFd<'_>, plan: &Plan) -> rustix::io::Result<()> {
    let size = plan.scratch_bytes.min(SHM_BYTES).to_string();
    let shm = new_mount("tmpfs", &[("size", &size), ("nr_inodes", "4096"), ("mode", "1777")], safe())?;
    attach(shm, make_directory(dev, "shm", 0o755)?)
}

/// One layer's mount, cloned from the path where the outer process could not do it for us.
pub(crate) fn clone_layer(path: &std::path::Path) -> rustix::io::Result<OwnedFd> {
    open_tree(CWD, path, clone_flags())
}

fn attach_layers(staging: BorrowedFd<'_>, plan: &Plan, mut layers: Vec<OwnedFd>) -> Result<(), Refusal> {
    let error = |what| refuse(Stage::Layers, what);
    if layers.is_empty() {
        let cloned = plan.layers.iter().map(|path| clone_layer(path));
        layers = cloned.collect::<Result<_, _>>().map_err(error("open layer"))?;
    }
    let place = directory(staging, "layers").map_err(error("layers"))?;
    for (index, layer) in layers.into_iter().enumerate() {
        sys::mount_setattr(layer.as_fd(), RO_LAYER, None)
            .map_err(errno)
            .map_err(error("make layer read-only"))?;
        let target = make_directory(&place, &index.to_string(), 0o755).map_err(error("layer"))?;
        attach(layer, target).map_err(error("attach layer"))?;
    }
    Ok(())
}

/// The writable layer. It lives in memory and in the job's user namespace:
/// its size is a hard limit, its device nodes never work, and it is gone with
/// the last descriptor.
fn make_scratch(staging: BorrowedFd<'_>, plan: &Plan) -> rustix::io::Result<OwnedFd> {
    let (size, inodes) = (plan.scratch_bytes.to_string(), plan.scratch_inodes.to_string());
    let options = [("size", size.as_str()), ("nr_inodes", inodes.as_str()), ("mode", "0755")];
    let scratch = new_mount("tmpfs", &options, safe())?;
    attach(&scratch, directory(staging, "scratch")?)?;
    let upper = make_directory(&scratch, "upper", 0o755)?;
    mkdirat(&scratch, "work", Mode::from_raw_mode(0o755))?;
    for covered in ["proc", "dev"] {
        mkdirat(&upper, covered, Mode::from_raw_mode(0o755))?;
    }
    Ok(scratch)
}

fn stack(staging: BorrowedFd<'_>, layers: usize) -> rustix::io::Result<OwnedFd> {
    // Short relative names: one string of `fsconfig` holds no more than 255 bytes.
    rustix::process::fchdir(directory(staging, "layers")?)?;
    let top_first: Vec<_> = (0..layers).rev().map(|index| index.to_string()).collect();
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    fsconfig_set_string(&context, "lowerdir", top_first.join(":"))?;
    fsconfig_set_string(&context, "upperdir", "../scratch/upper")?;
    fsconfig_set_string(&context, "workdir", "../scratch/work")?;
    // Whiteouts and opaque marks are `user.*` attributes, the only ones a user namespace may set.
    fsconfig_set_flag(&context, "userxattr")?;
    fsconfig_create(&context)?;
    let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, safe())?;
    attach(&root, directory(staging, "root")?)?;
    Ok(root)
}

fn attach_inside(root: &OwnedFd, mount: &OwnedFd, name: &str) -> Result<(), Refusal> {
    let target = directory(root, name).map_err(refuse(Stage::Mountpoint, name))?;
    attach(mount, target).map_err(refuse(Stage::Mountpoint, name))
}

/// Makes one output directory, component by component, through no link.
fn make_output(root: BorrowedFd<'_>, path: &str, plan: &Plan) -> Result<(), Refusal> {
    let mut at = directory(root, ".").map_err(refuse(Stage::Output, path))?;
    for name in path.split('/').filter(|c| !c.is_empty()) {
        at = output_component(at.as_fd(), name, plan).map_err(refuse(Stage::Output, path))?;
    }
    Ok(())
}

fn output_component(parent: BorrowedFd<'_>, name: &str, plan: &Plan) -> rustix::io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => {
            let (uid, gid) = (Uid::from_raw(plan.uid), Gid::from_raw(plan.gid));
            chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Err(Errno::EXIST) => {}
        Err(other) => return Err(other),
    }
    directory(parent, name)
}
