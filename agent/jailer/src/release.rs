//! What the job's first process waits for, from the outer process: ids, its turn when memory runs out, mounts.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::Pid;

use assay_jailer::plan::{ID_RANGE, Ids, Plan};
use assay_jailer::report::{Refusal, Stage};
use assay_jailer::wall::Wall;

use crate::{binds, sys, wire};

/// `oom_score_adj` of a job, from -1000 (never) to 1000 (first).
const OOM_SCORE: i32 = 500;

/// Gives the first process its ids and layers; it waits for them once its namespaces are made.
pub(crate) fn release(pid: Pid, status: BorrowedFd<'_>, plan: &Plan) -> Result<(), Refusal> {
    let refuse = |what: &'static str| move |e| Refusal::new(Stage::Ids, what, e);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open(format!("/proc/{}", pid.as_raw_nonzero()), flags, Mode::empty())
        .map_err(|e| Refusal::new(Stage::Ids, "open the process's directory", e))?;
    write_id_maps(proc.as_fd(), plan).map_err(refuse("write id maps"))?;
    if plan.keeps(Wall::OomScore) {
        yield_memory(proc.as_fd()).map_err(refuse("out-of-memory score"))?;
    }
    let mounts = match plan.ids {
        Ids::Range { .. } => map_mounts(proc.as_fd(), plan)?,
        Ids::Single {} => vec![],
    };
    let mounts: Vec<_> = mounts.iter().map(AsFd::as_fd).collect();
    wire::send(status, b"G", &mounts).map_err(|e| Refusal::new(Stage::Layers, "hand over the layers", e))
}

/// The job's user and group as the host has them, where they are not the caller's.
pub(crate) fn outer_owner(plan: &Plan) -> Option<(Uid, Gid)> {
    let Ids::Range { base } = plan.ids else { return None };
    let outer = |id: u32| base.saturating_add(id);
    Some((Uid::from_raw(outer(plan.uid)), Gid::from_raw(outer(plan.gid))))
}

/// Opens a file of a process by its directory in `/proc`.
fn open_at(proc: BorrowedFd<'_>, name: &str, flags: OFlags) -> io::Result<File> {
    Ok(rustix::fs::openat(proc, name, flags | OFlags::CLOEXEC, Mode::empty()).map(File::from)?)
}

/// Maps the job's ids. Without privilege only one's own id may be mapped, and
/// only after `setgroups` is given up (`user_namespaces(7)`).
fn write_id_maps(proc: BorrowedFd<'_>, plan: &Plan) -> io::Result<()> {
    let write = |name, text: &str| open_at(proc, name, OFlags::WRONLY)?.write_all(text.as_bytes());
    let map = |inside: u32, outside: u32, count: u32| format!("{inside} {outside} {count}\n");
    let (uids, gids) = match plan.ids {
        Ids::Range { base } => {
            let base = if plan.keeps(Wall::IdRange) { base } else { 0 };
            (map(0, base, ID_RANGE), map(0, base, ID_RANGE))
        }
        Ids::Single {} => {
            write("setgroups", "deny")?;
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            (map(plan.uid, uid, 1), map(plan.gid, gid, 1))
        }
    };
    write("gid_map", &gids)?;
    write("uid_map", &uids)
}

/// Makes the job go before its supervisor, whose score it has inherited, when the machine runs out of
/// memory. With `CAP_SYS_RESOURCE` the job cannot lower it again (`proc_pid_oom_score_adj(5)`).
fn yield_memory(proc: BorrowedFd<'_>) -> io::Result<()> {
    let mut file = match open_at(proc, "oom_score_adj", OFlags::RDWR) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        other => other?,
    };
    let mut inherited = String::new();
    file.read_to_string(&mut inherited)?;
    if inherited.trim().parse().unwrap_or(0) >= OOM_SCORE {
        return Ok(());
    }
    match file.write_all_at(OOM_SCORE.to_string().as_bytes(), 0) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Mounts of the layers, then of the binds, and then of the secrets, in which owner 0 on disk is the job's root.
fn map_mounts(proc: BorrowedFd<'_>, plan: &Plan) -> Result<Vec<OwnedFd>, Refusal> {
    let namespace = open_at(proc, "ns/user", OFlags::RDONLY)
        .map_err(|e| Refusal::new(Stage::Layers, "open user namespace", e))?;
    let map_layer = |path: &std::path::PathBuf| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let layer = open_tree(rustix::fs::CWD, path.as_path(), flags | OpenTreeFlags::AT_SYMLINK_NOFOLLOW)?;
        sys::mount_setattr(layer.as_fd(), libc::MOUNT_ATTR_RDONLY, Some(namespace.as_fd()))?;
        Ok(layer)
    };
    let mapped = plan.layers.iter().map(map_layer).collect::<io::Result<Vec<_>>>();
    let mut mounts = mapped.map_err(|e| Refusal::new(Stage::Layers, "id-map a layer", e))?;
    mounts.extend(binds::open(plan, Some(namespace.as_fd()))?);
    mounts.extend(outer_owner(plan).map_or(Ok(None), |owner| binds::make_secrets(plan, owner, true))?);
    Ok(mounts)
}
