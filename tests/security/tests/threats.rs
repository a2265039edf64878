//! One test for each threat from a job to its host and to other jobs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use assay_jailer::plan::{Bind, Secret};
use assay_jailer::report::{End, Stage};
use assay_jailer::wall::Wall;
use assay_security::cgroup::Cgroup;
use assay_security::{Cell, Done, broken_jailer, eventually, leave_out};

const OK: End = End::Exited(0);

fn stage(done: &Done) -> Option<Stage> {
    match &done.report.end {
        End::Refused(refusal) => Some(refusal.stage),
        _ => None,
    }
}

/// Major and minor version of the running kernel.
fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let mut parts = name.release().to_str().unwrap().split(['.', '-']).map(|n| n.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// A directory of the host that everybody may write to.
fn trap() -> tempfile::TempDir {
    let trap = tempfile::tempdir().unwrap();
    fs::set_permissions(trap.path(), PermissionsExt::from_mode(0o777)).unwrap();
    trap
}

#[test]
fn image_links_lead_nowhere() {
    let Some(cell) = Cell::new() else { return };
    let trap = trap();
    for target in [trap.path(), Path::new("/"), Path::new(".."), Path::new("/bin")] {
        for name in ["dev", "proc", "sys", "etc", "run", "out", "in"] {
            let _ = fs::remove_file(cell.layer().join(name));
            symlink(target, cell.layer().join(name)).unwrap();
        }
        let done = cell.sh("test -c /dev/null && test -d /proc/self/fd && test -d /sys/devices && echo own");
        assert_eq!((done.report.end.clone(), done.stdout.as_str()), (OK, "own\n"), "{done:?}");
        let mut plan = cell.script("true");
        plan.outputs = vec!["/out/made".into()];
        assert_eq!(stage(&cell.run(&plan)), Some(Stage::Output));
        let mut plan = cell.script("true");
        let source = trap.path().canonicalize().unwrap();
        plan.binds = vec![Bind { source, target: "/in/here".into(), writable: false }];
        assert_eq!(stage(&cell.run(&plan)), Some(Stage::BindPoint));
        let mut plan = cell.script("true");
        plan.secrets = vec![Secret { name: "key".into(), value_hex: "00".into() }];
        assert_eq!(stage(&cell.run(&plan)), Some(Stage::BindPoint));
    }
    assert_eq!(fs::read_dir(trap.path()).unwrap().count(), 0);
}

#[test]
fn the_jailers_program_cannot_be_overwritten() {
    let Some(cell) = Cell::new() else { return };
    // The way of CVE-2019-5736: an image whose program is a link to the runtime's own.
    symlink("/proc/self/exe", cell.layer().join("bin/evil")).unwrap();
    let done = cell.run(&cell.plan(&["/bin/evil"]));
    assert!(done.report.end != OK, "{done:?}");
    let done = cell.sh("for exe in /proc/*/exe; do readlink $exe; echo x > $exe; done; true");
    assert!(!done.stdout.contains("jailer"), "{done:?}");
}

#[test]
fn leaked_descriptors_are_closed() {
    let Some(cell) = Cell::new() else { return };
    let leak = fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let done = cell.sh("ls -l /proc/self/fd /proc/$$/fd");
    drop(leak);
    assert!(!done.stdout.contains("passwd") && !done.stdout.contains("socket"), "{}", done.stdout);
    assert!(done.stdout.contains("0 -> /dev/null"), "{}", done.stdout);
}

#[test]
fn the_jailer_is_out_of_reach() {
    let Some(cell) = Cell::new() else { return };
    let done =
        cell.sh("kill -9 1; kill -9 -1; kill -STOP 1; ls /proc | grep -c '^[0-9]'; echo alive; exit 7");
    assert_eq!(done.report.end, End::Exited(7), "{done:?}");
    assert!(done.stdout.ends_with("alive\n"), "{done:?}");
    // The shell and at most the two programs of its pipe; neither process 1 nor anybody of the host.
    let seen: u32 = done.stdout.lines().next().unwrap().parse().unwrap();
    assert!(seen <= 3, "{seen} processes");
}

#[test]
fn a_fork_bomb_is_contained() {
    let Some(cell) = Cell::new() else { return };
    let mut plan = cell.script("f() { f | f & f; }; f");
    plan.timeout_ms = 3_000;
    let ended = AtomicBool::new(false);
    let (done, most) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = most.max(cell.processes().len());
            }
            most
        });
        let done = cell.run(&plan);
        ended.store(true, Ordering::Relaxed);
        (done, watch.join().unwrap())
    });
    assert!(done.report.end != OK, "{done:?}");
    // Of the limit's 64; some come and go while they are counted.
    assert!(most <= 128, "{most} processes");
    // The limit, not the clock.
    assert!(done.stderr.contains("can't fork"), "{done:?}");
    assert_eq!(cell.processes(), Vec::<u32>::new());
}

#[test]
fn a_memory_bomb_is_contained() {
    let Some(cell) = Cell::new() else { return };
    let done = cell.sh("x=$(head -c 300000000 /dev/zero | od -v | head -c 300000000); echo ${#x}");
    assert!(done.report.end != OK || !done.stdout.starts_with("300000000"), "{done:?}");
    assert!(done.report.max_rss_kib < 200 << 10, "{done:?}");
}

#[test]
fn an_inode_bomb_is_contained() {
    let Some(cell) = Cell::new() else { return };
    let done = cell.sh("i=0; while echo > /tmp/$i; do i=$((i+1)); test $i -lt 3000 || break; done; echo $i");
    let made: u32 = done.stdout.trim().parse().unwrap();
    assert!((500..1000).contains(&made), "{made} files of 1000");
}

#[test]
fn a_disk_bomb_is_contained() {
    let Some(cell) = Cell::new() else { return };
    let done =
        cell.sh("dd if=/dev/zero of=/tmp/a bs=1M count=12 && dd if=/dev/zero of=/tmp/b bs=1M count=12");
    assert!(done.stderr.contains("No space left"), "{done:?}");
    // Space that a deleted open file holds counts as well.
    let done = cell.sh("exec 3>/tmp/a; rm /tmp/a; dd if=/dev/zero bs=1M count=30 >&3");
    assert!(done.report.end != OK, "{done:?}");
}

#[test]
fn a_log_bomb_is_contained() {
    let Some(cell) = Cell::new() else { return };
    let plan = cell.script("yes | head -c 20000000; echo the end; echo -n err >&2");
    let done = cell.run(&plan);
    assert_eq!((done.report.end, done.report.stdout_bytes), (OK, 20_000_008));
    assert_eq!(fs::metadata(&plan.logs.stdout).unwrap().len(), (1 << 20) + 32);
    assert!(done.stdout.ends_with("y\nthe end\n") && done.stderr == "err");
}

#[test]
fn daemons_die_with_the_job() {
    let Some(cell) = Cell::new() else { return };
    let daemon =
        "(setsid nohup sleep 1000 >/dev/null 2>&1 &); (trap '' TERM HUP INT; sleep 1000) & sleep 0.2; exit 3";
    let done = cell.sh(daemon);
    assert_eq!(done.report.end, End::Exited(3));
    assert_eq!(cell.processes(), Vec::<u32>::new());
}

#[test]
fn frozen_tasks_die() {
    let (Some(cell), Some(cgroup)) = (Cell::new(), Cgroup::new()) else { return };
    let mut plan = cell.script("sleep 1000 & echo up; sleep 1000");
    plan.cgroup = Some(cgroup.0.clone());
    let running = cell.start(&plan);
    running.wait_for("up");
    cgroup.write("cgroup.freeze", "1");
    eventually("frozen", || fs::read_to_string(cgroup.0.join("cgroup.events")).unwrap().contains("frozen 1"));
    running.control.shutdown(std::net::Shutdown::Both).unwrap();
    let done = running.finish();
    assert_eq!(done.report.end, End::Cancelled);
    assert!(done.report.walls.unwrap().cgroup_kill);
    assert_eq!((cgroup.processes(), cell.processes()), (0, vec![]));
}

#[test]
fn jobs_are_born_in_their_cgroup_and_see_it_as_the_root() {
    let (Some(cell), Some(cgroup)) = (Cell::new(), Cgroup::new()) else { return };
    let mut plan = cell.script("grep '^0:' /proc/self/cgroup; echo up; sleep 1000");
    plan.cgroup = Some(cgroup.0.clone());
    let running = cell.start(&plan);
    running.wait_for("up");
    // The first process, and the shell or its sleep.
    eventually("in the cgroup", || cgroup.processes() >= 2);
    running.control.shutdown(std::net::Shutdown::Both).unwrap();
    let done = running.finish();
    assert!(done.stdout.starts_with("0::/\n"), "{done:?}");
    assert!(done.report.walls.unwrap().device_program);
}

#[test]
fn eight_namespaces_are_the_jobs_own() {
    let Some(cell) = Cell::new() else { return };
    let names = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"];
    let done = cell.sh(&format!("for n in {}; do readlink /proc/self/ns/$n; done", names.join(" ")));
    let inside: Vec<_> = done.stdout.lines().collect();
    assert_eq!(inside.len(), names.len(), "{done:?}");
    for (name, inside) in names.iter().zip(inside) {
        let outside = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(inside, outside.to_str().unwrap());
    }
}

#[test]
fn one_job_leaves_nothing_to_the_next() {
    let Some(cell) = Cell::new() else { return };
    let before = fs::read_dir(cell.layer()).unwrap().count();
    assert_eq!(cell.sh("echo secret > /left; echo secret > /dev/shm/left; echo x > /bin/sh2").report.end, OK);
    let done = cell.sh("cat /left /dev/shm/left /bin/sh2");
    assert_eq!(done.stdout, "", "{done:?}");
    assert_eq!(fs::read_dir(cell.layer()).unwrap().count(), before);
    assert!(!cell.layer().join("bin/sh2").exists());
}

#[test]
fn inputs_are_read_only_and_checkpoints_are_the_jobs() {
    let Some(cell) = Cell::new() else { return };
    let (input, private) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::set_permissions(private.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let kept = private.path().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::write(input.path().join("data"), "data").unwrap();
    let file = input.path().join("data").canonicalize().unwrap();
    let mut plan = cell.script(
        "cat /in/data /single; echo x > /in/data; echo x > /in/new; echo x > /single; \
         echo kept > /keep/file && stat -c %u:%g /keep/file; cp /bin/sh /keep/sh; grep ' /keep ' /proc/self/mountinfo",
    );
    (plan.uid, plan.gid) = (1000, 1000);
    let bind = |source: &Path, target: &str, writable| Bind {
        source: source.canonicalize().unwrap(),
        target: target.into(),
        writable,
    };
    plan.binds =
        vec![bind(input.path(), "/in", false), bind(&file, "/single", false), bind(&kept, "/keep", true)];
    let done = cell.run(&plan);
    assert!(done.stdout.starts_with("datadata1000:1000\n"), "{done:?}");
    assert!(done.stdout.contains("nosuid,nodev"), "{done:?}");
    assert_eq!(done.stderr.matches("Read-only").count(), 3, "{done:?}");
    assert_eq!(fs::read(input.path().join("data")).unwrap(), b"data");
    // On disk, the job's root is owner 0 and so its user 1000 is 1000: no id of the range stays.
    let meta = kept.join("file").metadata().unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), fs::read(kept.join("file")).unwrap()),
        (1000, 1000, b"kept\n".into())
    );
    // A second run finds what the first one kept, as another user of another range.
    let mut plan = cell.script("cat /keep/file");
    plan.binds = vec![bind(&kept, "/keep", true)];
    assert_eq!(cell.run(&plan).stdout, "kept\n");
}

#[test]
fn a_bind_is_opened_through_no_link() {
    let Some(cell) = Cell::new() else { return };
    let place = tempfile::tempdir().unwrap();
    let place = place.path().canonicalize().unwrap();
    symlink("/etc", place.join("link")).unwrap();
    for (source, expected) in [("link", Stage::Bind), ("link/passwd", Stage::Bind), ("missing", Stage::Bind)]
    {
        let mut plan = cell.script("true");
        plan.binds = vec![Bind { source: place.join(source), target: "/in".into(), writable: false }];
        assert_eq!(stage(&cell.run(&plan)), Some(expected), "{source}");
    }
    let mut plan = cell.script("true");
    plan.binds = vec![Bind { source: "/dev/null".into(), target: "/in".into(), writable: false }];
    assert_eq!(stage(&cell.run(&plan)), Some(Stage::Bind));
}

#[test]
fn a_set_user_id_program_in_a_checkpoint_is_out_of_reach() {
    let Some(cell) = Cell::new() else { return };
    // Everybody may pass through the directory above: the job's root would leave a program of root's there.
    let open = trap();
    let kept = open.path().canonicalize().unwrap().join("kept");
    fs::create_dir(&kept).unwrap();
    let mut plan = cell.script("cp /bin/busybox /keep/suid; chmod 4755 /keep/suid");
    plan.binds = vec![Bind { source: kept.clone(), target: "/keep".into(), writable: true }];
    assert_eq!(stage(&cell.run(&plan)), Some(Stage::Bind));
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 0);
}

#[test]
fn secrets_are_the_jobs_alone() {
    let Some(cell) = Cell::new() else { return };
    let mut plan = cell.script(
        "stat -c %a:%u /run/secrets /run/secrets/*; cat /run/secrets/key | od -An -tx1; \
         echo x > /run/secrets/new; chmod 777 /run/secrets/key; grep /run/secrets /proc/self/mountinfo; env; \
         tr '\\0' ' ' < /proc/self/cmdline; wc -c < /run/secrets/long",
    );
    (plan.uid, plan.gid) = (1000, 1000);
    let secret = |name: &str, value: &str| Secret { name: name.into(), value_hex: value.into() };
    plan.secrets = vec![secret("key", "00ff10"), secret("empty", ""), secret("long", &"ab".repeat(65_536))];
    let done = cell.run(&plan);
    assert!(done.stdout.starts_with("500:1000\n400:1000\n400:1000\n400:1000\n"), "{done:?}");
    assert!(done.stdout.contains(" 00 ff 10"), "{done:?}");
    assert!(done.stdout.contains("ro,nosuid,nodev,noexec") && done.stdout.contains(" - tmpfs "), "{done:?}");
    assert!(done.stdout.ends_with("65536\n"), "{done:?}");
    assert!(done.stderr.contains("Read-only"), "{done:?}");
    if kernel() >= (6, 4) {
        assert!(done.stdout.contains("noswap"), "{done:?}");
    }
    // Another user of the job, and no file of ours, gets them.
    let mut other = cell.script("ls /run/secrets");
    other.secrets = vec![];
    assert_eq!(cell.run(&other).stdout, "");
}

#[test]
fn the_job_dies_with_the_supervisors_socket() {
    let Some(cell) = Cell::new() else { return };
    let running = cell.start(&cell.script("echo up; sleep 1000"));
    running.wait_for("up");
    running.control.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(running.finish().report.end, End::Cancelled);
    assert_eq!(cell.processes(), Vec::<u32>::new());
}

#[test]
fn the_job_dies_with_the_jailer() {
    let Some(cell) = Cell::new() else { return };
    let mut running = cell.start(&cell.script("(setsid sleep 1000 &); echo up; sleep 1000"));
    running.wait_for("up");
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    eventually("gone", || cell.processes().is_empty());
}

#[test]
fn processors_can_be_counted() {
    let Some(cell) = Cell::new() else { return };
    let done = cell.sh("cat /sys/devices/system/cpu/online; echo x > /sys/x; ls /sys");
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    assert_eq!(done.stdout, format!("{online}devices\n"), "{done:?}");
    assert!(done.stderr.contains("Read-only"), "{done:?}");
}

#[test]
fn the_report_names_the_walls() {
    let Some(cell) = Cell::new() else { return };
    let walls = cell.sh("true").report.walls.unwrap();
    let program = assay_jailer::filter::program();
    assert_eq!(walls.seccomp_sha256, assay_jailer::filter::digest(&program));
    assert_eq!(usize::try_from(walls.seccomp_instructions).unwrap(), program.len());
    assert!(!walls.cgroup_kill && !walls.device_program);
    assert!(cell.run(&cell.plan(&["/nonexistent"])).report.end != OK);
}

/// Tests of this file, and a wall without which each must fail.
const TAKEN_OUT: [(&str, Wall); 13] = [
    ("image_links_lead_nowhere", Wall::ConfinedPaths),
    ("the_jailers_program_cannot_be_overwritten", Wall::Landlock),
    ("leaked_descriptors_are_closed", Wall::CloseDescriptors),
    ("the_jailer_is_out_of_reach", Wall::HidePid),
    ("the_jailer_is_out_of_reach", Wall::NonDumpable),
    ("an_inode_bomb_is_contained", Wall::ScratchQuota),
    ("a_disk_bomb_is_contained", Wall::ScratchQuota),
    ("a_log_bomb_is_contained", Wall::LogCapacity),
    ("jobs_are_born_in_their_cgroup_and_see_it_as_the_root", Wall::DeviceFilter),
    ("eight_namespaces_are_the_jobs_own", Wall::IpcNamespace),
    ("inputs_are_read_only_and_checkpoints_are_the_jobs", Wall::ReadOnlyBinds),
    ("inputs_are_read_only_and_checkpoints_are_the_jobs", Wall::SafeMounts),
    ("processors_can_be_counted", Wall::ReadOnlyTemplates),
];

#[test]
fn tests_fail_where_their_wall_is_missing() {
    let Some(cell) = Cell::new() else { return };
    let Some(jailer) = broken_jailer(cell.dir.path()) else { return };
    let run = |test: &str, walls: &[Wall]| {
        leave_out(&jailer, walls);
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", test]).env("ASSAY_JAILER", &jailer).output().unwrap().status.success()
    };
    for (test, wall) in TAKEN_OUT {
        assert!(run(test, &[]), "{test} with every wall");
        assert!(!run(test, &[wall]), "{test} without {wall:?}");
    }
}
