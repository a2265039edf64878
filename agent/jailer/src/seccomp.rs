//! The system call filters, on x86-64.
//!
//! Two filters, of which the stricter answer wins. The first is an allow-list;
//! what it does not name does not exist (`ENOSYS`), which is what programs that
//! probe for new calls expect, and what makes the C library fall back from
//! `clone3`, whose flags a filter cannot see, to `clone`. The second kills the
//! process for calls that no job has an honest reason to try. `io_uring` is
//! merely absent: common runtimes probe it. Both kill foreign architectures.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use assay_jailer::report::{Refusal, Stage};

/// Every flag of `clone(2)` that creates a namespace.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// Allowed with any arguments.
#[rustfmt::skip]
const ALLOWED: &[i64] = &[
    // Files.
    libc::SYS_read, libc::SYS_write, libc::SYS_open, libc::SYS_close, libc::SYS_stat, libc::SYS_fstat,
    libc::SYS_lstat, libc::SYS_lseek, libc::SYS_pread64, libc::SYS_pwrite64, libc::SYS_readv,
    libc::SYS_writev, libc::SYS_access, libc::SYS_pipe, libc::SYS_dup, libc::SYS_dup2, libc::SYS_sendfile,
    libc::SYS_fcntl, libc::SYS_flock, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_truncate,
    libc::SYS_ftruncate, libc::SYS_getdents, libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_fchdir,
    libc::SYS_rename, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_creat, libc::SYS_link, libc::SYS_unlink,
    libc::SYS_symlink, libc::SYS_readlink, libc::SYS_chmod, libc::SYS_fchmod, libc::SYS_chown,
    libc::SYS_fchown, libc::SYS_lchown, libc::SYS_umask, libc::SYS_utime, libc::SYS_mknod, libc::SYS_statfs,
    libc::SYS_fstatfs, libc::SYS_sync, libc::SYS_readahead, libc::SYS_getxattr, libc::SYS_lgetxattr,
    libc::SYS_fgetxattr, libc::SYS_listxattr, libc::SYS_llistxattr, libc::SYS_flistxattr,
    libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr, libc::SYS_removexattr,
    libc::SYS_lremovexattr, libc::SYS_fremovexattr, libc::SYS_getdents64, libc::SYS_fadvise64,
    libc::SYS_utimes, libc::SYS_inotify_init, libc::SYS_inotify_add_watch, libc::SYS_inotify_rm_watch,
    libc::SYS_openat, libc::SYS_mkdirat, libc::SYS_mknodat, libc::SYS_fchownat, libc::SYS_futimesat,
    libc::SYS_newfstatat, libc::SYS_unlinkat, libc::SYS_renameat, libc::SYS_linkat, libc::SYS_symlinkat,
    libc::SYS_readlinkat, libc::SYS_fchmodat, libc::SYS_faccessat, libc::SYS_splice, libc::SYS_tee,
    libc::SYS_sync_file_range, libc::SYS_vmsplice, libc::SYS_utimensat, libc::SYS_fallocate, libc::SYS_dup3,
    libc::SYS_pipe2, libc::SYS_inotify_init1, libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_syncfs,
    libc::SYS_renameat2, libc::SYS_memfd_create, libc::SYS_copy_file_range, libc::SYS_preadv2,
    libc::SYS_pwritev2, libc::SYS_statx, libc::SYS_close_range, libc::SYS_openat2, libc::SYS_faccessat2,
    libc::SYS_fchmodat2,
    // Memory.
    libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_munmap, libc::SYS_brk, libc::SYS_mremap, libc::SYS_msync,
    libc::SYS_mincore, libc::SYS_madvise, libc::SYS_mlock, libc::SYS_munlock, libc::SYS_mlockall,
    libc::SYS_munlockall, libc::SYS_mbind, libc::SYS_set_mempolicy, libc::SYS_get_mempolicy,
    libc::SYS_membarrier, libc::SYS_mlock2, libc::SYS_pkey_mprotect, libc::SYS_pkey_alloc,
    libc::SYS_pkey_free, libc::SYS_mseal,
    // Processes, threads, signals.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sched_yield,
    libc::SYS_pause, libc::SYS_getpid, libc::SYS_fork, libc::SYS_vfork, libc::SYS_execve, libc::SYS_exit,
    libc::SYS_wait4, libc::SYS_kill, libc::SYS_uname, libc::SYS_getrlimit, libc::SYS_getrusage,
    libc::SYS_sysinfo, libc::SYS_times, libc::SYS_getuid, libc::SYS_getgid, libc::SYS_setuid,
    libc::SYS_setgid, libc::SYS_geteuid, libc::SYS_getegid, libc::SYS_setpgid, libc::SYS_getppid,
    libc::SYS_getpgrp, libc::SYS_setsid, libc::SYS_setreuid, libc::SYS_setregid, libc::SYS_getgroups,
    libc::SYS_setgroups, libc::SYS_setresuid, libc::SYS_getresuid, libc::SYS_setresgid, libc::SYS_getresgid,
    libc::SYS_getpgid, libc::SYS_setfsuid, libc::SYS_setfsgid, libc::SYS_getsid, libc::SYS_capget,
    libc::SYS_capset, libc::SYS_rt_sigpending, libc::SYS_rt_sigtimedwait, libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_sigsuspend, libc::SYS_sigaltstack, libc::SYS_getpriority, libc::SYS_setpriority,
    libc::SYS_sched_setparam, libc::SYS_sched_getparam, libc::SYS_sched_setscheduler,
    libc::SYS_sched_getscheduler, libc::SYS_sched_get_priority_max, libc::SYS_sched_get_priority_min,
    libc::SYS_sched_rr_get_interval, libc::SYS_prctl, libc::SYS_arch_prctl, libc::SYS_setrlimit,
    libc::SYS_gettid, libc::SYS_tkill, libc::SYS_futex, libc::SYS_sched_setaffinity,
    libc::SYS_sched_getaffinity, libc::SYS_set_tid_address, libc::SYS_restart_syscall, libc::SYS_exit_group,
    libc::SYS_tgkill, libc::SYS_waitid, libc::SYS_ioprio_set, libc::SYS_ioprio_get,
    libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_rt_tgsigqueueinfo, libc::SYS_prlimit64,
    libc::SYS_getcpu, libc::SYS_sched_setattr, libc::SYS_sched_getattr, libc::SYS_seccomp,
    libc::SYS_execveat, libc::SYS_rseq, libc::SYS_pidfd_send_signal, libc::SYS_pidfd_open,
    libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self,
    libc::SYS_futex_waitv, libc::SYS_getrandom,
    // Waiting and time.
    libc::SYS_poll, libc::SYS_select, libc::SYS_nanosleep, libc::SYS_getitimer, libc::SYS_alarm,
    libc::SYS_setitimer, libc::SYS_gettimeofday, libc::SYS_time, libc::SYS_epoll_create,
    libc::SYS_timer_create, libc::SYS_timer_settime, libc::SYS_timer_gettime, libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete, libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep,
    libc::SYS_epoll_wait, libc::SYS_epoll_ctl, libc::SYS_pselect6, libc::SYS_ppoll, libc::SYS_epoll_pwait,
    libc::SYS_signalfd, libc::SYS_timerfd_create, libc::SYS_eventfd, libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime, libc::SYS_signalfd4, libc::SYS_eventfd2, libc::SYS_epoll_create1,
    libc::SYS_epoll_pwait2,
    // System V and POSIX messages, in a namespace of their own.
    libc::SYS_shmget, libc::SYS_shmat, libc::SYS_shmctl, libc::SYS_shmdt, libc::SYS_semget, libc::SYS_semop,
    libc::SYS_semctl, libc::SYS_semtimedop, libc::SYS_msgget, libc::SYS_msgsnd, libc::SYS_msgrcv,
    libc::SYS_msgctl, libc::SYS_mq_open, libc::SYS_mq_unlink, libc::SYS_mq_timedsend,
    libc::SYS_mq_timedreceive, libc::SYS_mq_notify, libc::SYS_mq_getsetattr,
    // Sockets, once `socket` itself has given one out.
    libc::SYS_connect, libc::SYS_accept, libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg,
    libc::SYS_recvmsg, libc::SYS_shutdown, libc::SYS_bind, libc::SYS_listen, libc::SYS_getsockname,
    libc::SYS_getpeername, libc::SYS_socketpair, libc::SYS_setsockopt, libc::SYS_getsockopt,
    libc::SYS_accept4, libc::SYS_recvmmsg, libc::SYS_sendmmsg,
];

/// Calls whose mere attempt ends the job.
#[rustfmt::skip]
const KILLED: &[i64] = &[
    // Mounts and roots.
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_open_tree,
    libc::SYS_move_mount, libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick,
    libc::SYS_mount_setattr, libc::SYS_setns, libc::SYS_open_by_handle_at, libc::SYS_quotactl,
    libc::SYS_quotactl_fd, libc::SYS_swapon, libc::SYS_swapoff,
    // Other processes' memory.
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise, libc::SYS_userfaultfd,
    // The kernel itself.
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_init_module, libc::SYS_finit_module,
    libc::SYS_delete_module, libc::SYS_kexec_load, libc::SYS_kexec_file_load, libc::SYS_reboot,
    libc::SYS_acct, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_syslog, libc::SYS_vhangup,
    libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_adjtimex, libc::SYS_clock_adjtime,
    libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_nfsservctl, libc::SYS_lookup_dcookie,
    // Keys, which no namespace separates.
    libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl,
];

/// Installs both filters for this process and its children.
///
/// # Errors
/// Where a filter cannot be compiled or the kernel refuses it.
pub(crate) fn install() -> Result<(), Refusal> {
    for filter in [
        compile(allow_list()?, SeccompAction::Errno(ENOSYS), SeccompAction::Allow)?,
        compile(kill_list()?, SeccompAction::Allow, SeccompAction::KillProcess)?,
    ] {
        seccompiler::apply_filter(&filter).map_err(refuse)?;
    }
    Ok(())
}

/// `libc::ENOSYS` in the type that a filter's answer has.
const ENOSYS: u32 = libc::ENOSYS.unsigned_abs();

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn refuse(error: impl std::fmt::Display) -> Refusal {
    Refusal::rule(Stage::Seccomp, error.to_string())
}

fn compile(rules: Rules, otherwise: SeccompAction, then: SeccompAction) -> Result<BpfProgram, Refusal> {
    let filter = SeccompFilter::new(rules, otherwise, then, TargetArch::x86_64).map_err(refuse)?;
    filter.try_into().map_err(|e: seccompiler::BackendError| refuse(e))
}

fn kill_list() -> Result<Rules, Refusal> {
    let mut rules: Rules = KILLED.iter().map(|&call| (call, vec![])).collect();
    // Namespaces are for the jailer; `clone` is judged by the allow-list.
    rules.insert(libc::SYS_unshare, vec![]);
    Ok(rules)
}

fn allow_list() -> Result<Rules, Refusal> {
    let mut rules: Rules = ALLOWED.iter().map(|&call| (call, vec![])).collect();
    rules.insert(libc::SYS_clone, vec![rule(&[(0, SeccompCmpOp::MaskedEq(NAMESPACE_FLAGS), 0)])?]);
    rules.insert(libc::SYS_socket, socket_rules()?);
    rules.insert(libc::SYS_ioctl, vec![rule(&ioctl_conditions())?]);
    // Query, Linux, and Linux without address randomisation: what debuggers and `setarch -R` use.
    let personalities = [0xffff_ffff, 0, 0x0004_0000];
    let personalities = personalities.into_iter().map(|value| rule(&[(0, SeccompCmpOp::Eq, value)]));
    rules.insert(libc::SYS_personality, personalities.collect::<Result<_, _>>()?);
    Ok(rules)
}

/// Local, internet and routing sockets: `AF_VSOCK` and friends are not
/// separated by the network namespace, the rest are needless kernel code.
fn socket_rules() -> Result<Vec<SeccompRule>, Refusal> {
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
    let mut rules = families
        .into_iter()
        .map(|family| rule(&[(0, SeccompCmpOp::Eq, u64::from(family.unsigned_abs()))]))
        .collect::<Result<Vec<_>, _>>()?;
    let netlink = u64::from(libc::AF_NETLINK.unsigned_abs());
    rules.push(rule(&[(0, SeccompCmpOp::Eq, netlink), (2, SeccompCmpOp::Eq, 0)])?);
    Ok(rules)
}

/// Everything but putting input into a terminal or changing its line discipline.
fn ioctl_conditions() -> [(u8, SeccompCmpOp, u64); 3] {
    [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD].map(|request| (1, SeccompCmpOp::Ne, request))
}

fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, Refusal> {
    let conditions = conditions
        .iter()
        .map(|(index, op, value)| SeccompCondition::new(*index, SeccompCmpArgLen::Dword, op.clone(), *value))
        .collect::<Result<Vec<_>, _>>()
        .map_err(refuse)?;
    SeccompRule::new(conditions).map_err(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_disjoint_and_compile() {
        assert!(KILLED.iter().all(|call| !ALLOWED.contains(call)));
        let allow =
            compile(allow_list().unwrap(), SeccompAction::Errno(ENOSYS), SeccompAction::Allow).unwrap();
        let kill = compile(kill_list().unwrap(), SeccompAction::Allow, SeccompAction::KillProcess).unwrap();
        // `BPF_MAXINSNS` of `linux/bpf_common.h`.
        assert!(allow.len() < 4096 && kill.len() < 4096);
    }

    #[test]
    fn the_calls_that_matter_are_not_allowed() {
        let allowed = allow_list().unwrap();
        for call in [libc::SYS_clone3, libc::SYS_unshare, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter]
        {
            assert!(!allowed.contains_key(&call), "{call}");
        }
        assert!(!allowed[&libc::SYS_clone].is_empty());
        assert!(!allowed[&libc::SYS_socket].is_empty());
    }
}
