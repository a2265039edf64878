//! Files: targets known by name, and whatever can be found.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use assay_jailer::attempts::{Kind, Outcome};

use crate::child;

/// Most files that are looked at.
const FILES_MAX: usize = 20_000;
/// Deepest directory.
const DEPTH_MAX: usize = 12;

/// Names below a directory that a job must not be able to write to.
#[rustfmt::skip]
const TARGETS: &[(&str, &str)] = &[
    ("/proc/", "acpi/wakeup asound/version bus/pci/devices config.gz cmdline cpuinfo devices diskstats dma \
        driver/nvidia/params fb fs/nfsd/exports interrupts iomem ioports irq/default_smp_affinity \
        irq/0/smp_affinity kallsyms kcore key-users keys kmsg kpagecgroup kpagecount kpageflags latency_stats \
        loadavg locks mdstat meminfo misc modules mtrr pagetypeinfo partitions pressure/cpu pressure/io \
        pressure/memory sched_debug schedstat scsi/scsi slabinfo softirqs stat swaps sysrq-trigger sysvipc/shm \
        timer_list timer_stats tty/drivers uptime version vmallocinfo vmstat zoneinfo 1/mem 1/environ 1/fd/0 \
        1/uid_map 1/oom_score_adj 1/clear_refs 1/attr/current self/uid_map self/gid_map self/setgroups"),
    ("/proc/sys/", "kernel/core_pattern kernel/core_uses_pid kernel/core_pipe_limit kernel/modprobe \
        kernel/hotplug kernel/sysrq kernel/panic kernel/panic_on_oops kernel/hostname kernel/domainname \
        kernel/dmesg_restrict kernel/kptr_restrict kernel/perf_event_paranoid kernel/randomize_va_space \
        kernel/unprivileged_bpf_disabled kernel/kexec_load_disabled kernel/modules_disabled kernel/ns_last_pid \
        kernel/pid_max kernel/threads-max kernel/shmmax kernel/msgmax kernel/sem kernel/yama/ptrace_scope \
        kernel/keys/maxkeys kernel/cap_last_cap kernel/poweroff_cmd kernel/io_uring_disabled kernel/printk \
        kernel/random/poolsize kernel/random/boot_id kernel/usermodehelper/bset \
        vm/overcommit_memory vm/drop_caches vm/swappiness vm/mmap_min_addr vm/panic_on_oom vm/nr_hugepages \
        vm/compact_memory vm/unprivileged_userfaultfd vm/max_map_count \
        fs/file-max fs/nr_open fs/suid_dumpable fs/protected_hardlinks fs/protected_symlinks fs/protected_fifos \
        fs/binfmt_misc/register fs/binfmt_misc/status fs/inotify/max_user_watches fs/mqueue/msg_max fs/pipe-max-size \
        net/ipv4/ip_forward net/ipv4/conf/all/accept_redirects net/ipv4/ping_group_range \
        net/ipv6/conf/all/forwarding net/core/bpf_jit_enable net/core/somaxconn net/netfilter/nf_conntrack_max \
        user/max_user_namespaces user/max_mnt_namespaces abi/vsyscall32 debug/exception-trace dev/cdrom/autoeject"),
    ("/sys/", "kernel/uevent_helper kernel/uevent_seqnum kernel/kexec_crash_size kernel/mm/ksm/run \
        kernel/mm/transparent_hugepage/enabled kernel/profiling kernel/rcu_expedited kernel/vmcoreinfo kernel/notes \
        kernel/debug/sched/features kernel/tracing/trace_marker kernel/security/lsm kernel/slab/kmalloc-8/trace \
        power/state power/disk power/wake_lock firmware/acpi/tables/DSDT firmware/efi/vars/new_var \
        firmware/memmap/0/start module/kernel/parameters/panic module/printk/parameters/time \
        fs/cgroup/cgroup.procs fs/cgroup/release_agent fs/cgroup/memory/release_agent fs/cgroup/unified/cgroup.procs \
        fs/bpf/x fs/fuse/connections/0/abort fs/pstore/x fs/selinux/enforce \
        class/net/lo/mtu class/block/loop0/uevent block/loop0/uevent block/vda/queue/scheduler \
        bus/pci/rescan bus/pci/drivers_probe devices/system/cpu/cpu0/online devices/system/cpu/cpu1/online \
        devices/system/cpu/online devices/system/memory/probe devices/system/node/node0/compact \
        devices/virtual/powercap/intel-rapl/enabled devices/virtual/tty/tty0/active hypervisor/uuid"),
    ("/dev/", "mem kmem port kmsg core nvram console tty tty0 ptmx pts/ptmx autofs btrfs-control cpu_dma_latency \
        fuse hpet hwrng kvm log loop-control loop0 mapper/control mqueue/x net/tun nvidia0 nvidiactl nvidia-uvm \
        nvidia-modeset nvidia-uvm-tools nvidia-caps/nvidia-cap1 oom ppp rfkill rtc0 sda sr0 snapshot tpm0 tpmrm0 \
        uhid uinput userfaultfd vda vfio/vfio vga_arbiter vhost-net vhost-vsock vsock cuse dri/card0 dri/renderD128 \
        shm/../mem watchdog initctl"),
];

/// Paths of [`TARGETS`].
pub(crate) fn targets() -> impl Iterator<Item = String> {
    TARGETS
        .iter()
        .flat_map(|(below, names)| names.split_whitespace().map(move |name| format!("{below}{name}")))
}

pub(crate) fn run(say: &mut impl FnMut(Kind, String, Outcome) -> io::Result<()>) -> io::Result<()> {
    for path in targets() {
        let outcome = open(Path::new(&path), true);
        say(Kind::Write, path, outcome)?;
    }
    say_status(say)?;
    walk(say)
}

/// Says what this process is.
pub(crate) fn say_status(say: &mut impl FnMut(Kind, String, Outcome) -> io::Result<()>) -> io::Result<()> {
    status().into_iter().try_for_each(|(name, value)| say(Kind::Status, name, Outcome::Text(value)))
}

fn open(path: &Path, write: bool) -> Outcome {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;
    match fs::OpenOptions::new().read(!write).write(write).custom_flags(flags).open(path) {
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Errno(error.raw_os_error().unwrap_or(0)),
    }
}

fn status() -> Vec<(String, String)> {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let wanted =
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups"];
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let lines = lines.filter(|(name, _)| wanted.contains(name));
    let lines = lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    lines.chain([("SessionKeyring".to_owned(), session_keyring())]).collect()
}

/// Serial number of the session keyring.
fn session_keyring() -> String {
    // SAFETY: KEYCTL_GET_KEYRING_ID (0) of KEY_SPEC_SESSION_KEYRING (-3) takes no pointer.
    let serial = unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 0) };
    if serial == -1 { format!("errno {}", child::errno()) } else { serial.to_string() }
}

/// Everything below `/`, links not followed, other processes left alone; what opens is said.
fn walk(say: &mut impl FnMut(Kind, String, Outcome) -> io::Result<()>) -> io::Result<()> {
    let mut left = FILES_MAX;
    let mut queue = VecDeque::from([(PathBuf::from("/"), 0usize)]);
    while let Some((directory, depth)) = queue.pop_front() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let Some(rest) = left.checked_sub(1) else { return Ok(()) };
            left = rest;
            let path = entry.path();
            // A listing tells what lies under a mount, not what is mounted.
            let Ok(kind) = fs::symlink_metadata(&path).map(|m| m.file_type()) else { continue };
            if kind.is_dir() && depth < DEPTH_MAX && !is_process(&path) {
                queue.push_back((path, depth.saturating_add(1)));
            } else if kind.is_char_device() || kind.is_block_device() {
                say_if_open(say, Kind::Device, &path, false)?;
            } else if kind.is_file() {
                say_if_open(say, Kind::Read, &path, false)?;
                say_if_open(say, Kind::Write, &path, true)?;
            }
        }
    }
    Ok(())
}

fn say_if_open(
    say: &mut impl FnMut(Kind, String, Outcome) -> io::Result<()>,
    kind: Kind,
    path: &Path,
    write: bool,
) -> io::Result<()> {
    match open(path, write) {
        Outcome::Done => say(kind, path.display().to_string(), Outcome::Done),
        _ => Ok(()),
    }
}

/// `/proc/PID`, `/proc/self` and `/proc/thread-self`: one's own, and different each time.
fn is_process(path: &Path) -> bool {
    path.strip_prefix("/proc").ok().and_then(Path::to_str).is_some_and(|name| {
        name.ends_with("self") || (!name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_many_and_absolute() {
        let all: Vec<_> = targets().collect();
        assert!(all.len() >= 150, "{}", all.len());
        assert!(all.iter().all(|t| ["/proc/", "/sys/", "/dev/"].iter().any(|p| t.starts_with(p))));
    }

    #[test]
    fn processes_are_told_from_files() {
        assert!(is_process(Path::new("/proc/12")) && is_process(Path::new("/proc/thread-self")));
        assert!(!is_process(Path::new("/proc")) && !is_process(Path::new("/proc/sys")));
    }
}
