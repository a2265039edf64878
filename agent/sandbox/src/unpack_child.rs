//! The process that unpacks one layer.
//!
//! Before it reads a byte of the blob it has a user, mount, network, IPC, UTS and
//! cgroup namespace of its own; its root directory is the layer's and nothing else
//! is mounted; of root's capabilities it keeps the three that keep owners; Landlock
//! holds it in the same directory once more; and a list of system calls is left to
//! it in which there is no socket, no process, no other name space and no program
//! to start. Standard input is the blob, standard output the answer.
//!
//! Must be called by a program with one thread: namespaces are a thread's.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{chdir, pivot_root};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::unpack::{UnpackError, Unpacked, unpack_as};
use crate::unpack_process::{Answer, JOB_MAX, JobLine, READY};

/// Most memory, bytes: a zstd window of 128 MiB, and headers.
const MEMORY_MAX: u64 = 1 << 30;
/// Most open files: standard ones, and directories on the way to an entry.
const FILES_MAX: u64 = 64;

/// What unpacking needs. Paths only below the layer's directory, which is the root.
const SYSCALLS: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fchmod,
    libc::SYS_utimensat,
    libc::SYS_fsetxattr,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_mprotect,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Why the process could not confine itself.
#[derive(Debug, thiserror::Error)]
enum Unable {
    #[error("{0}: {1}")]
    System(&'static str, nix::Error),
    #[error("Landlock: the layer's directory: {0}")]
    Root(String),
    #[error("Landlock: {0}")]
    Landlock(RulesetError),
    #[error("seccomp: {0}")]
    Seccomp(seccompiler::Error),
    #[error("the job: {0}")]
    Job(io::Error),
}

fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Unable {
    move |error| Unable::System(what, nix::Error::from_raw(error.into().raw_os_error().unwrap_or_default()))
}

/// Unpacks what standard input gives, answers on standard output; true if the layer is whole.
#[must_use]
pub fn main() -> bool {
    let answer = match run() {
        Ok(result) => Answer::from(result),
        Err(unable) => Answer::Unable { text: unable.to_string() },
    };
    let whole = matches!(answer, Answer::Done(_));
    let bytes = serde_json::to_vec(&answer).map_err(io::Error::from);
    let said = bytes.and_then(|bytes| io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush()));
    whole && said.is_ok()
}

fn run() -> Result<Result<Unpacked, UnpackError>, Unable> {
    limit()?;
    let all = [
        CloneFlags::CLONE_NEWUSER,
        CloneFlags::CLONE_NEWNS,
        CloneFlags::CLONE_NEWNET,
        CloneFlags::CLONE_NEWIPC,
        CloneFlags::CLONE_NEWUTS,
        CloneFlags::CLONE_NEWCGROUP,
    ];
    unshare(all.into_iter().collect()).map_err(system("namespaces"))?;
    io::stdout().write_all(READY).and_then(|()| io::stdout().flush()).map_err(Unable::Job)?;
    // Our ids are there once the job is.
    let job = read_job().map_err(Unable::Job)?;
    let dir = hex::decode(&job.dir).map_err(|_| Unable::Job(io::ErrorKind::InvalidData.into()))?;
    enter(&PathBuf::from(OsString::from_vec(dir)))?;
    drop_capabilities()?;
    landlock(Path::new("/"))?;
    apply_filter(&filter().map_err(Unable::Seccomp)?).map_err(Unable::Seccomp)?;
    let blob = io::stdin().lock();
    Ok(unpack_as(blob, job.compression, Path::new("/"), job.limits, job.keep_owners))
}

fn limit() -> Result<(), Unable> {
    let limits =
        [(Resource::RLIMIT_AS, MEMORY_MAX), (Resource::RLIMIT_NOFILE, FILES_MAX), (Resource::RLIMIT_CORE, 0)];
    limits.into_iter().try_for_each(|(limit, most)| setrlimit(limit, most, most)).map_err(system("limits"))
}

/// Reads up to the line's end and not a byte of the blob behind it.
fn read_job() -> io::Result<JobLine> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        match byte {
            [b'\n'] => return Ok(serde_json::from_slice(&line)?),
            _ if line.len() >= JOB_MAX => return Err(io::ErrorKind::FileTooLarge.into()),
            [other] => line.push(other),
        }
    }
}

/// Makes the layer's directory the root, and everything else unreachable.
fn enter(dir: &Path) -> Result<(), Unable> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(system("private mounts"))?;
    mount(Some(dir), dir, none, MsFlags::MS_BIND, none).map_err(system("bind the layer"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(none, dir, none, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags, none)
        .map_err(system("close the layer's mount"))?;
    chdir(dir).map_err(system("enter the layer"))?;
    pivot_root(".", ".").map_err(system("pivot_root"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(system("leave the host's mounts"))?;
    chdir("/").map_err(system("enter the root"))
}

/// Keeps what owners and closed directories need; no set-user-id, no device, no administration.
fn drop_capabilities() -> Result<(), Unable> {
    let kept = CapabilitySet::CHOWN | CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(system("capabilities"))
}

/// A second wall around the directory, where the kernel has Landlock.
fn landlock(root: &Path) -> Result<(), Unable> {
    let root = PathFd::new(root).map_err(|error| Unable::Root(error.to_string()))?;
    restrict(root).map_err(Unable::Landlock)
}

fn restrict(root: PathFd) -> Result<(), RulesetError> {
    let abi = ABI::V6;
    let here = AccessFs::from_all(abi)
        & !(AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeFifo | AccessFs::MakeSock);
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rule(PathBeneath::new(root, here))?;
    ruleset.restrict_self().map(|_| ())
}

fn filter() -> Result<BpfProgram, seccompiler::Error> {
    let rules = SYSCALLS.iter().map(|number| (*number, vec![])).collect();
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, denied, SeccompAction::Allow, arch)?;
    Ok(BpfProgram::try_from(filter)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wall_is_left_out_for_want_of_its_directory() {
        let unable = landlock(Path::new("/nonexistent")).unwrap_err();
        assert!(matches!(unable, Unable::Root(_)), "{unable}");
    }
}
