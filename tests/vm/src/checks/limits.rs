//! Limits: what is written before a job begins, and what becomes of one that hits them.

use std::fs;
use std::path::Path;
use std::process::Command;

use assay_sandbox::cgroup::IoLimits;
use assay_sandbox::{Exit, Sandbox, SandboxConfig};

use crate::image::BLOB;
use crate::tap::Tap;
use crate::world::{config, inspect, job, run, text};

const SMALL: &str = "cpu = \"500m\"\nmemory = \"64Mi\"\ndisk = \"4Mi\"\npids = 16";

pub(crate) fn all(tap: &mut Tap, sandbox: &Sandbox) {
    tap.check("limits are in force before the job is", || before_birth(sandbox));
    tap.check("a memory bomb ends as out of memory, and the whole job with it", || memory(sandbox));
    tap.check("the kernel refuses processes beyond the limit, and counts it", || processes(sandbox));
    tap.check("a bomb of processes is ended by the clock", || fork_bomb(sandbox));
    tap.check("processor time is held to its share", || processor(sandbox));
    tap.check("the disk is held to its rate, and counted", || disk(sandbox));
    tap.check("the writable layer ends at its size", || bytes(sandbox));
    tap.check("the writable layer ends at its number of files", || files(sandbox));
    tap.check("devices are out of a job's cgroup's reach", || devices(sandbox));
}

fn before_birth(sandbox: &Sandbox) {
    let done = inspect(sandbox, &job("sleep 1000", SMALL, ""), |cgroup| {
        let disk = text(Path::new("/sys/block/vda/dev"));
        let io = IoLimits::default();
        let (bytes, operations) = (io.bytes_per_second, io.operations_per_second);
        let io_max = format!("{disk} rbps={bytes} wbps={bytes} riops={operations} wiops={operations}");
        for (file, expected) in [
            ("cpu.max", "50000 100000"),
            ("cpu.weight", "50"),
            ("cpuset.cpus", "1"),
            ("cpuset.cpus.effective", "1"),
            ("memory.max", "67108864"),
            ("memory.high", "62914560"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("pids.max", "17"),
            ("io.max", io_max.as_str()),
            ("hugetlb.2MB.max", "0"),
            ("hugetlb.2MB.rsvd.max", "0"),
            ("cgroup.max.descendants", "0"),
        ] {
            assert_eq!(text(&cgroup.join(file)), expected, "{file}");
        }
        // Nothing to forbid in this machine; the controllers are there.
        for file in ["misc.max", "rdma.max"] {
            assert_eq!(
                (cgroup.join(file).exists(), text(&cgroup.join(file))),
                (true, String::new()),
                "{file}"
            );
        }
        assert!(fs::create_dir(cgroup.join("below")).is_err());
    });
    assert_eq!(done.exit, Exit::Cancelled);
}

fn swapped_out() -> String {
    let stat = text(Path::new("/proc/vmstat"));
    stat.lines().find(|line| line.starts_with("pswpout ")).unwrap().to_owned()
}

fn memory(sandbox: &Sandbox) {
    let swap = text(Path::new("/proc/swaps"));
    assert_eq!(swap.lines().count(), 2, "the guest has swap that could be used: {swap}");
    let before = swapped_out();
    let done = run(sandbox, &job("setsid sleep 1000 & bomb memory; echo survived", SMALL, "")).unwrap();
    assert_eq!(done.exit, Exit::OutOfMemory, "{done:?}");
    assert_eq!(done.stdout.tail, "");
    // Of our first process, the shell, the daemon and the bomb, some may be dead before their turn.
    assert!(done.usage.oom_kills >= 2, "{:?}", done.usage);
    let peak = done.usage.max_rss_kib;
    assert!((48 << 10..=64 << 10).contains(&peak), "peak {peak} KiB");
    assert_eq!(swapped_out(), before);
}

fn processes(sandbox: &Sandbox) {
    let done = run(sandbox, &job("bomb threads", SMALL, "")).unwrap();
    assert!(done.exit.is_success(), "{done:?}");
    // The shell, which has not become the bomb, may count, and so does the bomb itself.
    assert!(["threads 15\n", "threads 14\n"].contains(&done.stdout.tail.as_str()), "{}", done.stdout.tail);
    assert!(done.usage.pids_refused >= 1, "{:?}", done.usage);
}

fn fork_bomb(sandbox: &Sandbox) {
    let done = run(sandbox, &job("bomb forks", SMALL, "timeout = \"3s\"")).unwrap();
    assert_eq!(done.exit, Exit::TimedOut);
    assert!(done.usage.pids_refused >= 1, "{:?}", done.usage);
}

fn processor(sandbox: &Sandbox) {
    let share = SMALL.replace("500m", "200m");
    let done = run(sandbox, &job("bomb spin 4", &share, "")).unwrap();
    assert!(done.exit.is_success(), "{done:?}");
    let most = done.wall_ms * 1000 / 5 + 200_000;
    assert!((200_000..=most).contains(&done.usage.cpu_us), "{:?} in {} ms", done.usage, done.wall_ms);
    assert!(done.usage.cpu_stall_us > 0, "{:?}", done.usage);
}

fn disk(sandbox: &Sandbox) {
    // The layers are there; what jobs read of them has to come from the disk again.
    let slow = IoLimits { bytes_per_second: 4 << 20, operations_per_second: 100_000 };
    let slow = Sandbox::new(SandboxConfig { io: slow, ..config("state") }).unwrap();
    assert!(run(sandbox, &job("true", SMALL, "")).unwrap().exit.is_success());
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    let done = run(&slow, &job("bomb read /blob", SMALL, "")).unwrap();
    assert_eq!((done.exit, done.stdout.tail.as_str()), (Exit::Code(0), format!("read {BLOB}\n").as_str()));
    assert!(done.usage.io_read_bytes >= BLOB as u64, "{:?}", done.usage);
    assert!(done.wall_ms >= 1500 && done.usage.io_stall_us > 0, "{:?} in {} ms", done.usage, done.wall_ms);
    let wide = SMALL.replace("4Mi", "32Mi");
    let write = format!("bomb write /ckpt/file {BLOB}");
    let done = run(&slow, &job(&write, &wide, "checkpoint = \"/ckpt\"")).unwrap();
    assert!(done.exit.is_success(), "{done:?}");
    assert!(done.usage.io_write_bytes >= BLOB as u64, "{:?}", done.usage);
    assert!(done.wall_ms >= 1500, "{:?} in {} ms", done.usage, done.wall_ms);
}

fn bytes(sandbox: &Sandbox) {
    let fill = "dd if=/dev/zero of=/a bs=1M count=3; dd if=/dev/zero of=/b bs=1M count=3; echo $?; cat /a /b | wc -c";
    let done = run(sandbox, &job(fill, SMALL, "")).unwrap();
    let lines: Vec<_> = done.stdout.tail.lines().map(|line| line.parse::<u64>().unwrap()).collect();
    assert!(lines[0] != 0 && lines[1] <= 4 << 20 && lines[1] > 3 << 20, "{lines:?} {}", done.stderr.tail);
    assert!(done.stderr.tail.contains("No space left"), "{}", done.stderr.tail);
}

fn files(sandbox: &Sandbox) {
    let fill = "i=0; while [ $i -lt 3000 ] && echo > /tmp/$i; do i=$((i+1)); done; echo $i";
    let done = run(sandbox, &job(fill, SMALL, "")).unwrap();
    let made: u64 = done.stdout.tail.trim().parse().unwrap();
    assert!((900..=1024).contains(&made), "{made} {}", done.stderr.tail);
}

fn devices(sandbox: &Sandbox) {
    inspect(sandbox, &job("sleep 1000", SMALL, ""), |cgroup| {
        // Root of the machine, but in the job's cgroup.
        let read = |device: &str| {
            let script =
                format!("echo $$ > {}/cgroup.procs; dd if={device} of=/dev/null count=1", cgroup.display());
            Command::new("/bin/sh").args(["-c", &script]).output().unwrap()
        };
        assert!(read("/dev/zero").status.success());
        let refused = read("/dev/vda");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("Operation not permitted"), "{said}");
    });
}
