//! The job's file system, built from descriptors.
//!
//! `/proc`, `/dev` and `/sys` come from templates of our own and are complete
//! before the image's first byte is visible. The image appears as an overlay of
//! read-only layers and a writable layer in memory, in which `dev`, `proc` and
//! `sys` already exist as directories: whatever the image has under those
//! names, a symbolic link say, is covered. Every path inside the image is
//! resolved by the kernel within the image and through no link.
//!
//! Nothing of the host is mounted but five device nodes and the plan's binds,
//! by descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, stat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
    move_mount, open_tree, unmount,
};

use assay_jailer::plan::Plan;
use assay_jailer::report::{Refusal, Stage};
use assay_jailer::wall::Wall;

use crate::binds::{self, Inside};
use crate::{sys, templates};

/// No link of any kind, nothing above the descriptor.
pub(crate) const CONFINED: ResolveFlags =
    ResolveFlags::IN_ROOT.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

pub(crate) const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Read-only, and neither set-user-id programs nor devices.
pub(crate) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// The file system, ready to be entered.
pub(crate) struct Root {
    /// The merged tree.
    root: OwnedFd,
    /// The new `/proc`, detached or attached.
    proc: OwnedFd,
    /// The writable layer's mount; `upper` in it holds what the job wrote.
    scratch: OwnedFd,
}

pub(crate) fn refuse(stage: Stage, what: &str) -> impl FnOnce(Errno) -> Refusal {
    move |errno| Refusal::new(stage, what, errno)
}

/// Builds everything below a temporary file system of its own.
///
/// `mounts` are the layers, the binds and the secrets, where the outer process made
/// them; else they are made here.
pub(crate) fn build(plan: &Plan, mut mounts: Vec<OwnedFd>) -> Result<Root, Refusal> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(refuse(Stage::Pivot, "make mounts private"))?;
    let proc = templates::mount_proc(plan).map_err(refuse(Stage::Proc, "mount proc"))?;
    let (binds, secrets) = match mounts.len() >= plan.layers.len() {
        true => {
            let mut binds = mounts.split_off(plan.layers.len());
            let secrets = binds.split_off(plan.binds.len().min(binds.len())).pop();
            (binds, secrets)
        }
        false => (binds::open(plan, None)?, binds::make_secrets(plan, binds::owner(plan), false)?),
    };
    let staging = stage().map_err(refuse(Stage::Pivot, "mount staging area"))?;
    let dev = templates::build_dev(staging.as_fd(), plan)?;
    let sys = templates::build_sys(staging.as_fd(), plan).map_err(refuse(Stage::Sys, "build sys"))?;
    attach_layers(staging.as_fd(), plan, mounts)?;
    let scratch =
        make_scratch(staging.as_fd(), plan).map_err(refuse(Stage::Scratch, "mount writable layer"))?;
    let root = stack(staging.as_fd(), plan).map_err(refuse(Stage::Overlay, "mount overlay"))?;
    attach_inside(&root, &proc, "proc")?;
    attach_inside(&root, &dev, "dev")?;
    attach_inside(&root, &sys, "sys")?;
    templates::attach_shm(dev.as_fd(), plan)?;
    let inside = Inside { root: root.as_fd(), plan };
    inside.make_outputs()?;
    inside.attach_binds(binds)?;
    if let Some(secrets) = secrets {
        inside.attach_secrets(secrets)?;
    }
    Ok(Root { root, proc, scratch })
}

impl Root {
    /// Makes the tree the root directory, lets go of the host's, and gives the writable layer back.
    pub(crate) fn enter(self, plan: &Plan) -> Result<OwnedFd, Refusal> {
        rustix::process::fchdir(&self.root).map_err(refuse(Stage::Pivot, "enter the new root"))?;
        rustix::process::pivot_root(".", ".").map_err(refuse(Stage::Pivot, "pivot_root"))?;
        if plan.keeps(Wall::OldRoot) {
            // The old root now lies on top of the new one; its going takes every
            // host mount and the staging area along.
            unmount(".", UnmountFlags::DETACH).map_err(refuse(Stage::Pivot, "detach the old root"))?;
        }
        rustix::process::chdir("/").map_err(refuse(Stage::Pivot, "enter /"))?;
        match is_top().map_err(refuse(Stage::Pivot, "look above /"))? {
            false if plan.keeps(Wall::OldRoot) => {
                Err(Refusal::rule(Stage::Pivot, "the old root is still above the new one"))
            }
            _ => Ok(self.scratch),
        }
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

/// A file system of this kind; an option without a value is a flag.
pub(crate) fn new_mount(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match value.is_empty() {
            true => fsconfig_set_flag(&context, *key)?,
            false => fsconfig_set_string(&context, *key, *value)?,
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

pub(crate) fn attach(mount: impl AsFd, target: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

/// Of everything that the job may write to or the image brings along.
pub(crate) fn safe(plan: &Plan) -> MountAttrFlags {
    match plan.keeps(Wall::SafeMounts) {
        true => MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
        false => MountAttrFlags::empty(),
    }
}

/// A small file system, reached by descriptor only. It has to be attached
/// somewhere; the host's `/proc` is a place that exists and is needed no more.
/// (Not `/`: detaching the old root would then find this on top and take it
/// for the old root.)
fn stage() -> rustix::io::Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let staging = new_mount("tmpfs", &[("size", "1m"), ("mode", "0700")], attributes)?;
    move_mount(&staging, "", CWD, "/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    for name in ["dev", "sys", "layers", "scratch", "root"] {
        mkdirat(&staging, name, Mode::from_raw_mode(0o755))?;
    }
    Ok(staging)
}

pub(crate) fn directory(parent: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    openat2(parent, name, DIRECTORY, Mode::empty(), CONFINED)
}

pub(crate) fn make_directory(parent: impl AsFd, name: &str, mode: u32) -> rustix::io::Result<OwnedFd> {
    mkdirat(&parent, name, Mode::from_raw_mode(mode))?;
    directory(parent, name)
}

pub(crate) fn clone_flags() -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH
}

pub(crate) fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn attach_layers(staging: BorrowedFd<'_>, plan: &Plan, mut layers: Vec<OwnedFd>) -> Result<(), Refusal> {
    let error = |what| refuse(Stage::Layers, what);
    if layers.is_empty() {
        let cloned = plan.layers.iter().map(|path| open_tree(CWD, path, clone_flags()));
        layers = cloned.collect::<Result<_, _>>().map_err(error("open layer"))?;
    }
    let place = directory(staging, "layers").map_err(error("layers"))?;
    for (index, layer) in layers.into_iter().enumerate() {
        sys::mount_setattr(layer.as_fd(), READ_ONLY, None)
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
    // Size 0 and count 0 mean no limit to the kernel.
    let (size, inodes) = match plan.keeps(Wall::ScratchQuota) {
        true => (plan.scratch_bytes.max(1).to_string(), plan.scratch_inodes.max(1).to_string()),
        false => ("0".to_owned(), "0".to_owned()),
    };
    let options = [("size", size.as_str()), ("nr_inodes", inodes.as_str()), ("mode", "0755")];
    let scratch = new_mount("tmpfs", &options, safe(plan))?;
    attach(&scratch, directory(staging, "scratch")?)?;
    let upper = make_directory(&scratch, "upper", 0o755)?;
    mkdirat(&scratch, "work", Mode::from_raw_mode(0o755))?;
    for covered in ["proc", "dev", "sys"] {
        mkdirat(&upper, covered, Mode::from_raw_mode(0o755))?;
    }
    Ok(scratch)
}

fn stack(staging: BorrowedFd<'_>, plan: &Plan) -> rustix::io::Result<OwnedFd> {
    // Short relative names: one string of `fsconfig` holds no more than 255 bytes.
    rustix::process::fchdir(directory(staging, "layers")?)?;
    let top_first: Vec<_> = (0..plan.layers.len()).rev().map(|index| index.to_string()).collect();
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    fsconfig_set_string(&context, "lowerdir", top_first.join(":"))?;
    fsconfig_set_string(&context, "upperdir", "../scratch/upper")?;
    fsconfig_set_string(&context, "workdir", "../scratch/work")?;
    // Whiteouts and opaque marks are `user.*` attributes, the only ones a user namespace may set.
    fsconfig_set_flag(&context, "userxattr")?;
    fsconfig_create(&context)?;
    let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, safe(plan))?;
    attach(&root, directory(staging, "root")?)?;
    Ok(root)
}

fn attach_inside(root: &OwnedFd, mount: &OwnedFd, name: &str) -> Result<(), Refusal> {
    let target = directory(root, name).map_err(refuse(Stage::Mountpoint, name))?;
    attach(mount, target).map_err(refuse(Stage::Mountpoint, name))
}
