//! The system calls that no safe wrapper offers: the package's only `unsafe`.
//!
//! Everything here relies on one fact that `main` upholds: the process has one
//! thread, so that a child made without `exec` may go on running Rust.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use rustix::process::Pid;

/// The namespaces that a process can only be born into. It makes the others itself, while its ids are mapped.
const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER | libc::CLONE_NEWPID;

/// `CLONE_INTO_CGROUP` of `linux/sched.h`, beyond the 32 bits of the other flags.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a `clone` this is.
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The old one, with the child's id and a descriptor that names it.
    Parent(Pid, OwnedFd),
}

fn result(value: libc::c_long) -> io::Result<libc::c_long> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// `clone3(2)` into a new user and pid namespace and, if given, into a cgroup from birth.
pub(crate) fn clone_into_namespaces(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    let mut pidfd: RawFd = -1;
    let mut flags = u64::from((NAMESPACES | libc::CLONE_PIDFD).cast_unsigned());
    if cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    let cgroup = cgroup.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs()));
    // SAFETY: `clone_args` is plain integers, for which zero means "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    args.pidfd = (&raw mut pidfd).addr() as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    args.cgroup = cgroup;
    // SAFETY: `args` and `pidfd` live across the call and the size is `args`'s.
    // Without CLONE_VM the child has its own copy of this memory and stack, and
    // the single thread means that no lock is held by a thread it lacks.
    let pid =
        result(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) })?;
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(Side::Child) };
    // SAFETY: CLONE_PIDFD stored a new descriptor here, which nothing else owns.
    Ok(Side::Parent(pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Stack of [`spawn`]'s child, bytes; pages that it does not touch cost nothing.
const SPAWN_STACK: usize = 256 << 10;

/// `clone(2)` with `CLONE_VM | CLONE_VFORK`: the child runs `run` on a stack of its own in this process's
/// memory, and this process goes on once the child has become another program or ended. A kernel that
/// refuses it to a process whose children get another time namespace (Linux 6.1) gives the child a copy.
pub(crate) fn spawn(mut run: impl FnMut()) -> io::Result<Pid> {
    extern "C" fn enter<F: FnMut()>(run: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `spawn` passes a pointer to its `F`, which it does not touch before this has returned.
        unsafe { (*run.cast::<F>())() };
        127
    }
    fn entry<F: FnMut()>(_: &F) -> extern "C" fn(*mut libc::c_void) -> libc::c_int {
        enter::<F>
    }
    let mut stack = Box::<[u128]>::new_uninit_slice(SPAWN_STACK / size_of::<u128>());
    let mut clone = |flags| {
        // SAFETY: the stack's end is aligned to 16 bytes, and the child uses stack and `run` either in a copy
        // of this memory or, with CLONE_VFORK, before the call returns. The process has one thread, so the
        // child may do whatever this process may.
        result(libc::c_long::from(unsafe {
            let top = stack.as_mut_ptr_range().end.cast();
            libc::clone(entry(&run), top, flags | libc::SIGCHLD, (&raw mut run).cast())
        }))
    };
    let pid = match clone(libc::CLONE_VM | libc::CLONE_VFORK) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => clone(0),
        other => other,
    }?;
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::Other.into())
}

/// Ends the process at once, running no destructor of the process it was copied from.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: takes no pointer and does not return.
    unsafe { libc::_exit(code) }
}

/// `mount_setattr(2)` on the mount that `mount` names: adds `set`, and maps
/// ids by `map` if given.
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, set: u64, map: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: set | map.map_or(0, |_| libc::MOUNT_ATTR_IDMAP),
        attr_clr: 0,
        propagation: 0,
        userns_fd: map.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs())),
    };
    set_attributes(mount, &attr, libc::AT_EMPTY_PATH)
}

/// Adds `set` to the mount that `mount` names and to all below it.
pub(crate) fn mount_setattr_recursive(mount: BorrowedFd<'_>, set: u64) -> io::Result<()> {
    let attr = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    set_attributes(mount, &attr, libc::AT_EMPTY_PATH | libc::AT_RECURSIVE)
}

fn set_attributes(mount: BorrowedFd<'_>, attr: &libc::mount_attr, flags: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::mount_attr>();
    // SAFETY: the path is a C string, `attr` lives across the call, the size is its own.
    result(unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw const *attr, size)
    })?;
    Ok(())
}

/// Closes every descriptor above the standard three but those in `keep`.
///
/// For a process that owns nothing else it will ever use: owners of the closed
/// descriptors must never be dropped.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep.into_iter().chain([u32::MAX]) {
        if first < fd {
            // SAFETY: takes no pointer; the caller gave up every descriptor in this gap.
            result(unsafe { libc::syscall(libc::SYS_close_range, first, fd.saturating_sub(1), 0u32) })?;
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// Marks every descriptor from `first` on to be closed by `exec`.
pub(crate) fn close_from_on_exec(first: u32) -> io::Result<()> {
    // SAFETY: takes no pointer and closes nothing yet.
    result(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// Makes descriptor `target` (0, 1 or 2) a copy of `source`.
pub(crate) fn install_stdio(source: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: the standard descriptors are owned by nobody in this program.
    result(libc::c_long::from(unsafe { libc::dup2(source.as_raw_fd(), target) }))?;
    Ok(())
}

/// Every signal back to its default action and unblocked: `exec` keeps ignored
/// ones ignored, the Rust runtime ignores `SIGPIPE`, and the C library's
/// `posix_spawn`, by which this program is started, its own two (32 and 33),
/// which only the bare system call reaches.
pub(crate) fn default_signals() -> nix::Result<()> {
    // The kernel's `struct sigaction`: handler, flags, restorer, mask. Zero is
    // SIG_DFL without flags.
    let default = [0u64; 4];
    for signal in (1..=64).filter(|s| !matches!(*s, libc::SIGKILL | libc::SIGSTOP)) {
        // SAFETY: `default` has the size and layout that the kernel reads, 8 is
        // the size of its signal set, and the default action runs no code of ours.
        let done = unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null_mut::<u64>(), 8usize)
        };
        Errno::result(done)?;
    }
    SigSet::empty().thread_set_mask()
}

/// Leaves the namespaces in `flags` for new ones.
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> rustix::io::Result<()> {
    debug_assert!(!flags.contains(rustix::thread::UnshareFlags::FILES));
    // SAFETY: only sharing the descriptor table makes this call unsafe, and it is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// `execve(2)`; returns only with an error.
pub(crate) fn exec(program: &CStr, argv: &[impl AsRef<CStr>], env: &[impl AsRef<CStr>]) -> io::Error {
    let terminated =
        |items: Vec<*const libc::c_char>| items.into_iter().chain([ptr::null()]).collect::<Vec<_>>();
    let argv = terminated(argv.iter().map(|a| a.as_ref().as_ptr()).collect());
    let env = terminated(env.iter().map(|e| e.as_ref().as_ptr()).collect());
    // SAFETY: all strings are C strings that outlive the call and both lists end in null.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Installs a system call filter for this process and its children (`seccomp(2)`).
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads `len` instructions, which live across the call, and writes none.
    result(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    })?;
    Ok(())
}

/// Moves this process to a new, empty, anonymous session keyring (`keyctl(2)`).
pub(crate) fn new_session_keyring() -> io::Result<()> {
    let name: *const libc::c_char = ptr::null();
    // SAFETY: no name means an anonymous keyring; no other pointer is passed.
    result(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name) })?;
    Ok(())
}

/// `struct landlock_ruleset_attr` of `linux/landlock.h`, as of ABI 6.
#[repr(C)]
pub(crate) struct LandlockRuleset {
    /// `LANDLOCK_ACCESS_FS_*`.
    pub(crate) handled_access_fs: u64,
    /// `LANDLOCK_ACCESS_NET_*`, from ABI 4 on.
    pub(crate) handled_access_net: u64,
    /// `LANDLOCK_SCOPE_*`, from ABI 6 on.
    pub(crate) scoped: u64,
}

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct LandlockBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// The kernel's Landlock ABI.
pub(crate) fn landlock_abi() -> io::Result<libc::c_long> {
    let none: *const LandlockRuleset = ptr::null();
    // LANDLOCK_CREATE_RULESET_VERSION
    let version = 1u32;
    // SAFETY: with this flag the kernel takes no attributes and makes nothing.
    result(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0usize, version) })
}

/// A new set of Landlock rules. `size` is how much of `rules` the kernel knows, bytes.
pub(crate) fn landlock_ruleset(rules: &LandlockRuleset, size: usize) -> io::Result<OwnedFd> {
    let size = size.min(size_of::<LandlockRuleset>());
    // SAFETY: the kernel reads `size` bytes of `rules`, which is at least as long.
    let fd =
        result(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const *rules, size, 0u32) })?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel made this descriptor for this call; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Allows `access` to everything below a directory.
pub(crate) fn landlock_allow(rules: BorrowedFd<'_>, below: BorrowedFd<'_>, access: u64) -> io::Result<()> {
    let beneath = LandlockBeneath { allowed_access: access, parent_fd: below.as_raw_fd() };
    // LANDLOCK_RULE_PATH_BENEATH
    let kind = 1;
    // SAFETY: the kernel reads one attribute of this kind, which lives across the call.
    result(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, rules.as_raw_fd(), kind, &raw const beneath, 0u32)
    })?;
    Ok(())
}

/// Puts this process and its children behind the rules.
pub(crate) fn landlock_restrict(rules: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointer.
    result(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0u32) })?;
    Ok(())
}

/// The start of `union bpf_attr` for `BPF_PROG_LOAD` (`linux/bpf.h`).
#[repr(C)]
struct BpfLoad {
    kind: u32,
    instructions: u32,
    program: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The start of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct BpfAttach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads a device program and attaches it to a cgroup beside those that are
/// there; it stays until the cgroup is removed.
pub(crate) fn attach_device_program(cgroup: BorrowedFd<'_>, program: &[u64]) -> io::Result<()> {
    const PROG_LOAD: libc::c_int = 5;
    const PROG_ATTACH: libc::c_int = 8;
    const KIND_CGROUP_DEVICE: u32 = 15;
    const ATTACH_CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    let load = BpfLoad {
        kind: KIND_CGROUP_DEVICE,
        instructions: u32::try_from(program.len()).map_err(io::Error::other)?,
        program: program.as_ptr().addr() as u64,
        license: c"Apache-2.0".as_ptr().addr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `load` names its program and licence, which live across the call; the size is its own.
    let fd =
        result(unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<BpfLoad>()) })?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel made this descriptor for this call; nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let attach = BpfAttach {
        target: cgroup.as_raw_fd().unsigned_abs(),
        program: fd.as_raw_fd().unsigned_abs(),
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: the kernel reads `attach`, which lives across the call; the size is its own.
    result(unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<BpfAttach>()) })?;
    Ok(())
}
