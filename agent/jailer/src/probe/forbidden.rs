//! The forbidden things, by name.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::child::{Tried, tried};
use crate::surroundings;

/// Tries the thing of this name; `ENOENT` beyond the list would hide a
/// missing one, so an unknown name counts as done.
pub(crate) fn try_it(name: &str, host: &[String]) -> Tried {
    by_number(name)
        .or_else(|| special(name))
        .or_else(|| socket(name))
        .or_else(|| privilege(name))
        .or_else(|| file(name))
        .or_else(|| surroundings::search(name, host))
        .unwrap_or(Ok(()))
}

fn call(number: i64, a: usize, b: usize, c: usize) -> Tried {
    // SAFETY: the arguments are numbers, null, or C strings without end of life;
    // whatever else the call does happens to a process that ends now.
    tried(unsafe { libc::syscall(number, a, b, c, 0usize, 0usize) })
}

fn text(path: &'static std::ffi::CStr) -> usize {
    path.as_ptr().addr()
}

/// Calls that a filter judges by their number alone.
fn by_number(name: &str) -> Option<Tried> {
    #[rustfmt::skip]
    let number = match name {
        "mount" => libc::SYS_mount, "umount" => libc::SYS_umount2, "pivot_root" => libc::SYS_pivot_root,
        "chroot" => libc::SYS_chroot, "open_tree" => libc::SYS_open_tree, "move_mount" => libc::SYS_move_mount,
        "fsopen" => libc::SYS_fsopen, "fsmount" => libc::SYS_fsmount, "fspick" => libc::SYS_fspick,
        "mount_setattr" => libc::SYS_mount_setattr, "setns" => libc::SYS_setns, "clone3" => libc::SYS_clone3,
        "open_by_handle_at" => libc::SYS_open_by_handle_at, "name_to_handle_at" => libc::SYS_name_to_handle_at,
        "ptrace" => libc::SYS_ptrace, "process_vm_readv" => libc::SYS_process_vm_readv,
        "process_vm_writev" => libc::SYS_process_vm_writev, "pidfd_getfd" => libc::SYS_pidfd_getfd,
        "kcmp" => libc::SYS_kcmp, "userfaultfd" => libc::SYS_userfaultfd, "bpf" => libc::SYS_bpf,
        "perf_event_open" => libc::SYS_perf_event_open, "io_uring_setup" => libc::SYS_io_uring_setup,
        "io_uring_register" => libc::SYS_io_uring_register, "io_setup" => libc::SYS_io_setup,
        "init_module" => libc::SYS_init_module, "finit_module" => libc::SYS_finit_module,
        "delete_module" => libc::SYS_delete_module, "kexec_load" => libc::SYS_kexec_load,
        "kexec_file_load" => libc::SYS_kexec_file_load, "reboot" => libc::SYS_reboot, "acct" => libc::SYS_acct,
        "iopl" => libc::SYS_iopl, "ioperm" => libc::SYS_ioperm, "syslog" => libc::SYS_syslog,
        "swapon" => libc::SYS_swapon, "swapoff" => libc::SYS_swapoff, "settimeofday" => libc::SYS_settimeofday,
        "clock_settime" => libc::SYS_clock_settime, "adjtimex" => libc::SYS_adjtimex,
        "sethostname" => libc::SYS_sethostname, "setdomainname" => libc::SYS_setdomainname,
        "add_key" => libc::SYS_add_key, "request_key" => libc::SYS_request_key, "keyctl" => libc::SYS_keyctl,
        "quotactl" => libc::SYS_quotactl, "fanotify_init" => libc::SYS_fanotify_init,
        "vhangup" => libc::SYS_vhangup, "modify_ldt" => libc::SYS_modify_ldt,
        "move_pages" => libc::SYS_move_pages, "mbind" => libc::SYS_mbind,
        _ => return None,
    };
    Some(call(number, 0, 0, 0))
}

/// Calls that a filter judges by their arguments or their convention.
fn special(name: &str) -> Option<Tried> {
    let flag = |value: i32| usize::try_from(value).unwrap_or_default();
    // Of `asm-generic/ioctls.h`.
    const TIOCSTI: usize = 0x5412;
    const TIOCLINUX: usize = 0x541c;
    let child = flag(libc::SIGCHLD);
    Some(match name {
        "unshare_user" => call(libc::SYS_unshare, flag(libc::CLONE_NEWUSER), 0, 0),
        "unshare_mount" => call(libc::SYS_unshare, flag(libc::CLONE_NEWNS), 0, 0),
        "clone_user" => call(libc::SYS_clone, flag(libc::CLONE_NEWUSER) | child, 0, 0),
        "clone_net" => call(libc::SYS_clone, flag(libc::CLONE_NEWNET) | child, 0, 0),
        "x32_call" => call(0x4000_0000 | libc::SYS_getppid, 0, 0, 0),
        "i386_call" => i386_getpid(),
        "personality" => call(libc::SYS_personality, 0x0004_0000, 0, 0),
        "tiocsti" => call(libc::SYS_ioctl, 0, TIOCSTI, text(c"x")),
        "tioclinux" => call(libc::SYS_ioctl, 0, TIOCLINUX, text(c"\x0b")),
        _ => return None,
    })
}

#[cfg(target_arch = "x86_64")]
fn i386_getpid() -> Tried {
    let mut value: i64 = 20;
    // SAFETY: the call takes no argument and touches no memory; the kernel may
    // change the registers that are named here.
    unsafe {
        std::arch::asm!("int 0x80", inout("rax") value, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    if value < 0 { Err(i32::try_from(-value).unwrap_or(libc::EINVAL)) } else { Ok(()) }
}

fn socket(name: &str) -> Option<Tried> {
    let (family, kind, protocol) = match name {
        "socket_packet" => (libc::AF_PACKET, libc::SOCK_RAW, 0),
        "socket_vsock" => (libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        "socket_alg" => (libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        "socket_netfilter" => (libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER),
        "socket_raw" => (libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        "socket_sctp" => (libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
        "socketpair_tipc" => {
            let mut pair = [0; 2];
            // SAFETY: `pair` has room for two descriptors.
            let made = unsafe { libc::socketpair(libc::AF_TIPC, libc::SOCK_SEQPACKET, 0, pair.as_mut_ptr()) };
            return Some(tried(made.into()));
        }
        _ => return None,
    };
    // SAFETY: takes no pointer.
    Some(tried(unsafe { libc::socket(family, kind, protocol) }.into()))
}

fn privilege(name: &str) -> Option<Tried> {
    Some(match name {
        "capset" => {
            // `struct __user_cap_header_struct` and two of `__user_cap_data_struct`, version 3.
            let (header, data) = ([0x2008_0522u32, 0], [1u32 << 21; 6]);
            call(libc::SYS_capset, header.as_ptr().addr(), data.as_ptr().addr(), 0)
        }
        "securebits" => prctl(libc::PR_SET_SECUREBITS, 0, 0),
        "ambient" => prctl(libc::PR_CAP_AMBIENT, 2, 21),
        "realtime" => {
            let priority = 1i32;
            call(libc::SYS_sched_setscheduler, 0, 1, (&raw const priority).addr())
        }
        // SAFETY: takes no pointer.
        "nice" => tried(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) }.into()),
        "low_memory" => map_low(),
        "unlimit_files" => raise(Resource::RLIMIT_NOFILE),
        "unlimit_core" => raise(Resource::RLIMIT_CORE),
        "unlimit_processes" => raise(Resource::RLIMIT_NPROC),
        "lock_memory" => lock_memory(),
        "foreign_user" => call(libc::SYS_setuid, 100_000, 0, 0),
        _ => return None,
    })
}

fn prctl(option: i32, second: usize, third: usize) -> Tried {
    call(libc::SYS_prctl, usize::try_from(option).unwrap_or_default(), second, third)
}

fn map_low() -> Tried {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the lowest page holds nothing, and nothing is read there.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, flags, -1, 0) };
    if at == libc::MAP_FAILED { Err(crate::child::errno()) } else { Ok(()) }
}

fn raise(resource: Resource) -> Tried {
    let code = |errno: Errno| errno as i32;
    let (soft, hard) = getrlimit(resource).map_err(code)?;
    setrlimit(resource, soft, hard.checked_add(1).ok_or(0)?).map_err(code)
}

fn lock_memory() -> Tried {
    let memory = vec![0u8; 64 << 20];
    // SAFETY: the range is that of `memory`.
    tried(unsafe { libc::mlock(memory.as_ptr().cast(), memory.len()) }.into())
}

pub(crate) fn code(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn write_to(path: &str) -> Tried {
    fs::OpenOptions::new().write(true).open(path).map(drop).map_err(|e| code(&e))
}

fn read_from(path: &str) -> Tried {
    fs::File::open(path).map(drop).map_err(|e| code(&e))
}

fn make_new(path: &str) -> Tried {
    fs::File::create_new(path).map(drop).map_err(|e| code(&e))
}

/// In memory of the job's own: an overlay makes no whiteout for anybody.
fn make_device(kind: libc::mode_t, major: u32, minor: u32) -> Tried {
    let path = c"/dev/shm/assay-probe-node";
    // SAFETY: the path is a C string.
    tried(unsafe { libc::mknod(path.as_ptr(), kind | 0o600, libc::makedev(major, minor)) }.into())?;
    let _ = fs::remove_file("/dev/shm/assay-probe-node");
    Ok(())
}

fn file(name: &str) -> Option<Tried> {
    Some(match name {
        "core_pattern" => write_to("/proc/sys/kernel/core_pattern"),
        "modprobe_path" => write_to("/proc/sys/kernel/modprobe"),
        "sysrq" => write_to("/proc/sysrq-trigger"),
        "kcore" => read_from("/proc/kcore"),
        "kallsyms" => read_from("/proc/kallsyms"),
        "keys" => read_from("/proc/keys"),
        "uevent_helper" => write_to("/sys/kernel/uevent_helper"),
        "release_agent" => write_to("/sys/fs/cgroup/release_agent"),
        "init_memory" => write_to("/proc/1/mem"),
        "init_root" => fs::read_dir("/proc/1/root").map(drop).map_err(|e| code(&e)),
        "dev_mem" => read_from("/dev/mem"),
        "dev_kmsg" => read_from("/dev/kmsg"),
        "dev_new" => make_new("/dev/assay-probe"),
        "sys_new" => make_new("/sys/assay-probe"),
        "uid_map" => fs::write("/proc/self/uid_map", "0 0 1\n").map_err(|e| code(&e)),
        "block_device" => make_device(libc::S_IFBLK, 8, 0),
        "character_device" => make_device(libc::S_IFCHR, 1, 1),
        // What overlay file systems mark deleted files with.
        "whiteout" => make_device(libc::S_IFCHR, 0, 0),
        "device_request" => device_request(),
        _ => return None,
    })
}

/// The random source answers how much it has; the fence knows no request to any device.
fn device_request() -> Tried {
    let file = fs::File::open("/dev/urandom").map_err(|e| code(&e))?;
    let mut bits = 0i32;
    let request = 0x8004_5200u64;
    let file = std::os::fd::AsRawFd::as_raw_fd(&file);
    // SAFETY: RNDGETENTCNT writes one `int`.
    tried(unsafe { libc::syscall(libc::SYS_ioctl, file, request, &raw mut bits) })
}

#[cfg(test)]
mod tests {
    /// Without trying any: every name has its one place.
    #[test]
    fn every_attempt_is_implemented() {
        let source = [include_str!("forbidden.rs"), include_str!("surroundings.rs")].concat();
        for attempt in assay_jailer::attempts::ATTEMPTS {
            let name = attempt.name;
            assert_eq!(source.matches(&format!("\"{name}\" =>")).count(), 1, "{name}");
        }
    }
}
