//! What `assay-probe` says from inside a job, and the forbidden things it tries.

use serde::{Deserialize, Serialize};

mod host;

pub use host::Host;

/// How one try went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It worked.
    Done,
    /// The kernel's error number.
    Errno(i32),
    /// The process that tried was killed by this signal.
    Signal(i32),
    /// Not a try: what was read.
    Text(String),
}

impl Outcome {
    /// True where nobody stopped it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Done)
    }
}

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One of [`ATTEMPTS`].
    Attempt,
    /// A system call with zeros for arguments; the name is its number.
    Call,
    /// Opening a file for writing; the name is its path.
    Write,
    /// Opening a file for reading, or listing a directory.
    Read,
    /// Opening a device node.
    Device,
    /// A line of `/proc/self/status`, or [`LANDLOCK_ABI`].
    Status,
}

/// Name of the line that says what the job's kernel answers when it is asked for its Landlock ABI, which
/// tells a kernel without a fence from a job without one.
pub const LANDLOCK_ABI: &str = "LandlockAbi";

/// The namespaces whose links below `/proc/self/ns` tell a job from its host.
pub const NAMESPACES: [&str; 8] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"];

/// One line of the probe's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What was tried.
    pub kind: Kind,
    /// On what.
    pub name: String,
    /// How it went.
    pub outcome: Outcome,
}

/// What is meant to stop an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The system call filter.
    Filter,
    /// Empty capability sets.
    Capabilities,
    /// `no_new_privs`.
    Privileges,
    /// Resource limits that cannot be raised.
    Limits,
    /// What `/dev`, `/proc` and `/sys` do not have, or not for writing.
    Templates,
    /// Namespaces.
    Namespaces,
    /// A root of its own, and what its mounts leave without effect.
    Mounts,
    /// Size and number of files of the writable layer.
    Quota,
    /// Closing of descriptors.
    Descriptors,
    /// The Landlock fence.
    Fence,
}

impl Stop {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Filter => "system call filter",
            Self::Capabilities => "no capabilities",
            Self::Privileges => "no new privileges",
            Self::Limits => "resource limits",
            Self::Templates => "own /dev, /proc, /sys",
            Self::Namespaces => "namespaces",
            Self::Mounts => "own mounts",
            Self::Quota => "size of the writable layer",
            Self::Descriptors => "closed descriptors",
            Self::Fence => "Landlock",
        }
    }
}

/// A forbidden thing, and how it goes where its wall stands.
///
/// A search that finds nothing goes as if what it looks for were not there.
#[derive(Debug)]
pub struct Forbidden {
    /// Stable name.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    /// What stops it.
    pub stop: Stop,
    /// First Landlock ABI that stops it; 0 where that does not matter.
    pub landlock_abi: u32,
    errnos: &'static [i32],
    signals: &'static [i32],
}

impl Forbidden {
    /// True for an outcome that the wall gives, and that nothing else is meant to give.
    #[must_use]
    pub fn is_stopped(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Errno(errno) => self.errnos.contains(errno),
            Outcome::Signal(signal) => self.signals.contains(signal),
            Outcome::Done | Outcome::Text(_) => false,
        }
    }
}

const fn by(stop: Stop, errnos: &'static [i32], name: &'static str, what: &'static str) -> Forbidden {
    Forbidden { name, what, stop, landlock_abi: 0, errnos, signals: &[] }
}

const fn killed(signals: &'static [i32], name: &'static str, what: &'static str) -> Forbidden {
    Forbidden { name, what, stop: Filter, landlock_abi: 0, errnos: &[], signals }
}

const fn fenced(landlock_abi: u32, name: &'static str, what: &'static str) -> Forbidden {
    Forbidden { name, what, stop: Fence, landlock_abi, errnos: &[EACCES], signals: &[] }
}

use Stop::{
    Capabilities, Descriptors, Fence, Filter, Limits, Mounts, Namespaces, Privileges, Quota, Templates,
};
use libc::{
    EACCES, EAFNOSUPPORT, EBADF, ECONNREFUSED, EINVAL, ENETUNREACH, ENOENT, ENOMEM, ENOSPC, ENOSYS, EPERM,
    EROFS, SIGSEGV, SIGSYS,
};

/// Forbidden things, in the order in which they are tried.
#[rustfmt::skip]
pub const ATTEMPTS: &[Forbidden] = &[
    by(Filter, &[EPERM], "mount", "mount a file system"),
    by(Filter, &[EPERM], "umount", "unmount /proc"),
    by(Filter, &[EPERM], "pivot_root", "change the root"),
    by(Filter, &[EPERM], "chroot", "change the root of one process"),
    by(Filter, &[EPERM], "open_tree", "clone a mount"),
    by(Filter, &[EPERM], "move_mount", "move a mount"),
    by(Filter, &[EPERM], "fsopen", "prepare a file system"),
    by(Filter, &[EPERM], "fsmount", "make a mount"),
    by(Filter, &[EPERM], "fspick", "reconfigure a file system"),
    by(Filter, &[EPERM], "mount_setattr", "change a mount's flags"),
    by(Filter, &[EPERM], "setns", "enter a namespace"),
    by(Filter, &[EPERM], "unshare_user", "leave for a user namespace"),
    by(Filter, &[EPERM], "unshare_mount", "leave for a mount namespace"),
    by(Filter, &[EPERM], "clone_user", "start a process in a user namespace"),
    by(Filter, &[EPERM], "clone_net", "start a process in a network namespace"),
    by(Filter, &[ENOSYS], "clone3", "start a process with flags that no filter sees"),
    by(Filter, &[EPERM], "open_by_handle_at", "open a file by its handle"),
    by(Filter, &[EPERM], "name_to_handle_at", "ask for a file's handle"),
    by(Filter, &[EPERM], "ptrace", "trace a process"),
    by(Filter, &[EPERM], "process_vm_readv", "read another process's memory"),
    by(Filter, &[EPERM], "process_vm_writev", "write another process's memory"),
    by(Filter, &[EPERM], "pidfd_getfd", "take another process's descriptor"),
    by(Filter, &[EPERM], "kcmp", "compare kernel objects"),
    by(Filter, &[EPERM], "userfaultfd", "handle page faults"),
    by(Filter, &[EPERM], "bpf", "load a kernel program"),
    by(Filter, &[EPERM], "perf_event_open", "count hardware events"),
    by(Filter, &[EPERM], "io_uring_setup", "set up io_uring"),
    by(Filter, &[EPERM], "io_uring_register", "register with io_uring"),
    by(Filter, &[EPERM], "io_setup", "set up asynchronous I/O"),
    by(Filter, &[EPERM], "init_module", "load a kernel module"),
    by(Filter, &[EPERM], "finit_module", "load a kernel module from a file"),
    by(Filter, &[EPERM], "delete_module", "unload a kernel module"),
    by(Filter, &[EPERM], "kexec_load", "load another kernel"),
    by(Filter, &[EPERM], "kexec_file_load", "load another kernel from a file"),
    by(Filter, &[EPERM], "reboot", "reboot"),
    by(Filter, &[EPERM], "acct", "switch process accounting"),
    by(Filter, &[EPERM], "iopl", "open every I/O port"),
    by(Filter, &[EPERM], "ioperm", "open one I/O port"),
    by(Filter, &[EPERM], "syslog", "read the kernel's log"),
    by(Filter, &[EPERM], "swapon", "add swap space"),
    by(Filter, &[EPERM], "swapoff", "remove swap space"),
    by(Filter, &[EPERM], "settimeofday", "set the clock"),
    by(Filter, &[EPERM], "clock_settime", "set a clock"),
    by(Filter, &[EPERM], "adjtimex", "steer the clock"),
    by(Filter, &[EPERM], "sethostname", "set the host name"),
    by(Filter, &[EPERM], "setdomainname", "set the domain name"),
    by(Filter, &[EPERM], "add_key", "add a key to the kernel"),
    by(Filter, &[EPERM], "request_key", "ask the kernel for a key"),
    by(Filter, &[EPERM], "keyctl", "handle the kernel's keys"),
    by(Filter, &[EPERM], "quotactl", "handle quotas"),
    by(Filter, &[EPERM], "fanotify_init", "watch a file system"),
    by(Filter, &[EPERM], "vhangup", "hang up the terminal"),
    by(Filter, &[EPERM], "modify_ldt", "change segment descriptors"),
    by(Filter, &[EPERM], "move_pages", "move another process's memory"),
    by(Filter, &[EPERM], "mbind", "bind memory to a node"),
    // A kernel without 32-bit emulation faults.
    killed(&[SIGSYS, SIGSEGV], "i386_call", "call by the 32-bit convention"),
    killed(&[SIGSYS], "x32_call", "call by the x32 convention"),
    by(Filter, &[EPERM], "socket_packet", "open a packet socket"),
    by(Filter, &[EPERM], "socket_vsock", "open a socket to the hypervisor"),
    by(Filter, &[EPERM], "socket_alg", "open a socket to the kernel's ciphers"),
    by(Filter, &[EPERM], "socket_netfilter", "open a socket to the firewall"),
    by(Filter, &[EPERM], "socket_raw", "open a raw socket"),
    by(Filter, &[EPERM], "socket_sctp", "open an SCTP socket"),
    by(Filter, &[EPERM], "socketpair_tipc", "open a TIPC pair"),
    by(Filter, &[EPERM], "tiocsti", "type into a terminal"),
    by(Filter, &[EPERM], "tioclinux", "control the console"),
    by(Filter, &[EPERM], "personality", "switch address randomisation off"),
    by(Capabilities, &[EPERM], "capset", "take every capability"),
    by(Capabilities, &[EPERM], "securebits", "change the secure bits"),
    by(Capabilities, &[EPERM], "ambient", "raise an ambient capability"),
    by(Capabilities, &[EPERM], "realtime", "run before everybody else"),
    by(Capabilities, &[EACCES], "nice", "raise its own priority"),
    by(Capabilities, &[EPERM], "low_memory", "map the lowest page"),
    by(Limits, &[EPERM], "unlimit_files", "raise the limit of open files"),
    by(Limits, &[EPERM], "unlimit_core", "allow core dumps"),
    by(Limits, &[EPERM], "unlimit_processes", "raise the limit of processes"),
    by(Limits, &[ENOMEM, EPERM], "lock_memory", "keep 64 MiB from being swapped"),
    by(Templates, &[ENOENT], "core_pattern", "set the program for core dumps"),
    by(Templates, &[ENOENT], "modprobe_path", "set the program that loads modules"),
    by(Templates, &[ENOENT], "sysrq", "press the magic key"),
    by(Templates, &[ENOENT], "kcore", "read the kernel's memory"),
    by(Templates, &[ENOENT], "kallsyms", "read the kernel's addresses"),
    by(Templates, &[ENOENT], "keys", "list the kernel's keys"),
    by(Templates, &[ENOENT], "uevent_helper", "set the program for device events"),
    by(Templates, &[ENOENT], "release_agent", "set the program for empty cgroups"),
    // Hidden, or refused where process 1 has looked at its own directory; EACCES would mean that it is to be seen.
    by(Templates, &[ENOENT, EPERM], "init_memory", "write process 1's memory"),
    by(Templates, &[ENOENT, EPERM], "init_root", "enter process 1's root"),
    by(Templates, &[ENOENT], "dev_mem", "open physical memory"),
    by(Templates, &[ENOENT], "dev_kmsg", "open the kernel's log"),
    by(Templates, &[EROFS], "dev_new", "add a file to /dev"),
    by(Templates, &[EROFS], "sys_new", "add a file to /sys"),
    by(Namespaces, &[EPERM], "uid_map", "map other user ids"),
    by(Namespaces, &[EINVAL], "foreign_user", "become a user outside the range"),
    // EACCES is core's own filter, which its jobs inherit: it leaves no socket of such a family.
    by(Namespaces, &[ENETUNREACH, EACCES], "internet", "reach the internet"),
    by(Namespaces, &[ENETUNREACH, EACCES], "lan", "reach a private address"),
    by(Namespaces, &[ENETUNREACH, EACCES], "metadata", "reach the cloud's metadata"),
    // A kernel without the protocol has no such family.
    by(Namespaces, &[ENETUNREACH, EACCES, EAFNOSUPPORT], "internet_6", "reach the internet by IPv6"),
    by(Namespaces, &[ECONNREFUSED], "host_socket", "connect to an abstract socket of the host"),
    by(Namespaces, &[ENOENT], "in_user", "be in the host's user namespace"),
    by(Namespaces, &[ENOENT], "in_mnt", "be in the host's mount namespace"),
    by(Namespaces, &[ENOENT], "in_pid", "be in the host's process namespace"),
    by(Namespaces, &[ENOENT], "in_net", "be in the host's network namespace"),
    by(Namespaces, &[ENOENT], "in_ipc", "be in the host's message namespace"),
    by(Namespaces, &[ENOENT], "in_uts", "be in the host's name namespace"),
    by(Namespaces, &[ENOENT], "in_cgroup", "be in the host's cgroup namespace"),
    by(Namespaces, &[ENOENT], "in_time", "be in the host's time namespace"),
    by(Namespaces, &[ENOENT], "host_root", "be the host's root outside"),
    by(Templates, &[ENOENT], "other_process", "see a process that is not its own"),
    by(Mounts, &[ENOENT], "old_root", "find the host's files above the root"),
    by(Mounts, &[ENOENT], "suid_mount", "find a mount with set-user-id programs"),
    by(Mounts, &[ENOENT], "device_mount", "find a mount with devices"),
    by(Mounts, &[ENOENT], "program_mount", "find programs in /proc, /dev or /sys"),
    by(Privileges, &[EPERM], "new_privileges", "gain rights by starting a program"),
    by(Descriptors, &[EBADF], "descriptor", "find a descriptor that nobody passed on"),
    by(Quota, &[ENOSPC], "disk_bytes", "write 64 MiB"),
    by(Quota, &[ENOSPC], "disk_files", "make 4,096 files"),
    fenced(1, "block_device", "make a block device"),
    fenced(1, "character_device", "make the device of physical memory"),
    fenced(1, "whiteout", "make the one device that needs no right"),
    fenced(5, "device_request", "send a request to a device"),
];

/// The attempt of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Forbidden> {
    ATTEMPTS.iter().find(|a| a.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_many() {
        let mut names: Vec<_> = ATTEMPTS.iter().map(|a| a.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ATTEMPTS.len());
        assert!(names.len() >= 60);
    }

    #[test]
    fn only_the_walls_own_answer_is_a_stop() {
        for attempt in ATTEMPTS {
            assert!(
                !attempt.is_stopped(&Outcome::Done) && !attempt.is_stopped(&Outcome::Text(String::new()))
            );
            let stops = (0..256).filter(|e| attempt.is_stopped(&Outcome::Errno(*e))).count()
                + (0..65).filter(|s| attempt.is_stopped(&Outcome::Signal(*s))).count();
            assert!((1..=3).contains(&stops), "{}: {stops}", attempt.name);
        }
        // A connection that nobody answers was let through.
        assert!(!find("internet").unwrap().is_stopped(&Outcome::Errno(libc::ETIMEDOUT)));
        assert!(!find("mount").unwrap().is_stopped(&Outcome::Errno(libc::EFAULT)));
    }
}
