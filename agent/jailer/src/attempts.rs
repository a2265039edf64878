//! What `assay-probe` says from inside a job, and the forbidden things it tries.

use serde::{Deserialize, Serialize};

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
    /// A line of `/proc/self/status`.
    Status,
}

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
    /// Resource limits that cannot be raised.
    Limits,
    /// What `/dev`, `/proc` and `/sys` do not have, or not for writing.
    Templates,
    /// Namespaces.
    Namespaces,
    /// Mounts without devices and set-user-id programs, and the device program.
    Devices,
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
            Self::Limits => "resource limits",
            Self::Templates => "own /dev, /proc, /sys",
            Self::Namespaces => "namespaces",
            Self::Devices => "device rules",
            Self::Fence => "Landlock",
        }
    }

    /// True for an outcome that this wall gives.
    #[must_use]
    pub fn explains(self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::Filter, Outcome::Errno(errno)) => matches!(*errno, libc::EPERM | libc::ENOSYS),
            // A kernel without 32-bit emulation faults.
            (Self::Filter, Outcome::Signal(signal)) => matches!(*signal, libc::SIGSYS | libc::SIGSEGV),
            (Self::Fence, Outcome::Errno(errno)) => *errno == libc::EACCES,
            (_, outcome) => matches!(outcome, Outcome::Errno(_)),
        }
    }
}

use Stop::{Capabilities, Devices, Fence, Filter, Limits, Namespaces, Templates};

/// Forbidden things: name, in words, what stops it.
#[rustfmt::skip]
pub const ATTEMPTS: &[(&str, &str, Stop)] = &[
    ("mount", "mount a file system", Filter),
    ("umount", "unmount /proc", Filter),
    ("pivot_root", "change the root", Filter),
    ("chroot", "change the root of one process", Filter),
    ("open_tree", "clone a mount", Filter),
    ("move_mount", "move a mount", Filter),
    ("fsopen", "prepare a file system", Filter),
    ("fsmount", "make a mount", Filter),
    ("fspick", "reconfigure a file system", Filter),
    ("mount_setattr", "change a mount's flags", Filter),
    ("setns", "enter a namespace", Filter),
    ("unshare_user", "leave for a user namespace", Filter),
    ("unshare_mount", "leave for a mount namespace", Filter),
    ("clone_user", "start a process in a user namespace", Filter),
    ("clone_net", "start a process in a network namespace", Filter),
    ("clone3", "start a process with flags that no filter sees", Filter),
    ("open_by_handle_at", "open a file by its handle", Filter),
    ("name_to_handle_at", "ask for a file's handle", Filter),
    ("ptrace", "trace a process", Filter),
    ("process_vm_readv", "read another process's memory", Filter),
    ("process_vm_writev", "write another process's memory", Filter),
    ("pidfd_getfd", "take another process's descriptor", Filter),
    ("kcmp", "compare kernel objects", Filter),
    ("userfaultfd", "handle page faults", Filter),
    ("bpf", "load a kernel program", Filter),
    ("perf_event_open", "count hardware events", Filter),
    ("io_uring_setup", "set up io_uring", Filter),
    ("io_uring_register", "register with io_uring", Filter),
    ("io_setup", "set up asynchronous I/O", Filter),
    ("init_module", "load a kernel module", Filter),
    ("finit_module", "load a kernel module from a file", Filter),
    ("delete_module", "unload a kernel module", Filter),
    ("kexec_load", "load another kernel", Filter),
    ("kexec_file_load", "load another kernel from a file", Filter),
    ("reboot", "reboot", Filter),
    ("acct", "switch process accounting", Filter),
    ("iopl", "open every I/O port", Filter),
    ("ioperm", "open one I/O port", Filter),
    ("syslog", "read the kernel's log", Filter),
    ("swapon", "add swap space", Filter),
    ("swapoff", "remove swap space", Filter),
    ("settimeofday", "set the clock", Filter),
    ("clock_settime", "set a clock", Filter),
    ("adjtimex", "steer the clock", Filter),
    ("sethostname", "set the host name", Filter),
    ("setdomainname", "set the domain name", Filter),
    ("add_key", "add a key to the kernel", Filter),
    ("request_key", "ask the kernel for a key", Filter),
    ("keyctl", "handle the kernel's keys", Filter),
    ("quotactl", "handle quotas", Filter),
    ("fanotify_init", "watch a file system", Filter),
    ("vhangup", "hang up the terminal", Filter),
    ("modify_ldt", "change segment descriptors", Filter),
    ("move_pages", "move another process's memory", Filter),
    ("mbind", "bind memory to a node", Filter),
    ("i386_call", "call by the 32-bit convention", Filter),
    ("x32_call", "call by the x32 convention", Filter),
    ("socket_packet", "open a packet socket", Filter),
    ("socket_vsock", "open a socket to the hypervisor", Filter),
    ("socket_alg", "open a socket to the kernel's ciphers", Filter),
    ("socket_netfilter", "open a socket to the firewall", Filter),
    ("socket_raw", "open a raw socket", Filter),
    ("socket_sctp", "open an SCTP socket", Filter),
    ("socketpair_tipc", "open a TIPC pair", Filter),
    ("tiocsti", "type into a terminal", Filter),
    ("tioclinux", "control the console", Filter),
    ("personality", "switch address randomisation off", Filter),
    ("capset", "take every capability", Capabilities),
    ("securebits", "change the secure bits", Capabilities),
    ("ambient", "raise an ambient capability", Capabilities),
    ("realtime", "run before everybody else", Capabilities),
    ("nice", "raise its own priority", Capabilities),
    ("low_memory", "map the lowest page", Capabilities),
    ("unlimit_files", "raise the limit of open files", Limits),
    ("unlimit_core", "allow core dumps", Limits),
    ("unlimit_processes", "raise the limit of processes", Limits),
    ("lock_memory", "keep 64 MiB from being swapped", Limits),
    ("core_pattern", "set the program for core dumps", Templates),
    ("modprobe_path", "set the program that loads modules", Templates),
    ("sysrq", "press the magic key", Templates),
    ("kcore", "read the kernel's memory", Templates),
    ("kallsyms", "read the kernel's addresses", Templates),
    ("keys", "list the kernel's keys", Templates),
    ("uevent_helper", "set the program for device events", Templates),
    ("release_agent", "set the program for empty cgroups", Templates),
    ("init_memory", "write process 1's memory", Templates),
    ("init_root", "enter process 1's root", Templates),
    ("dev_mem", "open physical memory", Templates),
    ("dev_kmsg", "open the kernel's log", Templates),
    ("dev_new", "add a file to /dev", Templates),
    ("sys_new", "add a file to /sys", Templates),
    ("uid_map", "map other user ids", Namespaces),
    ("foreign_user", "become a user outside the range", Namespaces),
    ("internet", "reach the internet", Namespaces),
    ("lan", "reach a private address", Namespaces),
    ("metadata", "reach the cloud's metadata", Namespaces),
    ("block_device", "make a block device", Devices),
    ("character_device", "make the device of physical memory", Devices),
    ("device_request", "send a request to a device", Fence),
];

/// The attempt of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static (&'static str, &'static str, Stop)> {
    ATTEMPTS.iter().find(|a| a.0 == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_many() {
        let mut names: Vec<_> = ATTEMPTS.iter().map(|a| a.0).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ATTEMPTS.len());
        assert!(names.len() >= 60);
    }

    #[test]
    fn an_open_outcome_is_explained_by_nothing() {
        for stop in [Filter, Capabilities, Limits, Templates, Namespaces, Devices, Fence] {
            assert!(!stop.explains(&Outcome::Done));
        }
        assert!(Filter.explains(&Outcome::Errno(1)) && !Filter.explains(&Outcome::Errno(14)));
    }
}
