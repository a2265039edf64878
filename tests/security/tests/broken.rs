//! Each wall, put up and left out: the test that watches it must see the difference.
//!
//! Needs the jailer that can leave walls out (`make broken`), which no package holds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use assay_jailer::attempts::{Host, Kind, Outcome, Stop, find};
use assay_jailer::plan::{Bind, Plan};
use assay_jailer::report::End;
use assay_jailer::wall::Wall;
use assay_security::cgroup::Cgroup;
use assay_security::{Cell, Done, eventually, records};

/// Runs `plan` with every wall, and without some; `holds` must see which was which.
fn differs(cell: &Cell, plan: impl Fn() -> Plan, walls: &[Wall], holds: impl Fn(&Done) -> bool) {
    let whole = cell.run(&plan());
    assert!(holds(&whole), "with every wall: {whole:?}");
    if let Some(broken) = cell.run_without(&plan(), walls) {
        assert!(!holds(&broken), "nobody noticed the lack of {walls:?}: {broken:?}");
    }
}

fn stdout_has(word: &'static str) -> impl Fn(&Done) -> bool {
    move |done| done.stdout.contains(word)
}

/// True if all attempts of a kind were stopped that this kernel's fence knows of.
fn stopped(done: &Done, stop: Stop, abi: u32) -> bool {
    let records = records(&done.stdout);
    let tried = records.iter().filter_map(|r| Some((find(&r.name)?, &r.outcome)));
    let mut tried = tried.filter(|(a, _)| a.stop == stop && a.landlock_abi <= abi).peekable();
    tried.peek().is_some() && tried.all(|(attempt, outcome)| attempt.is_stopped(outcome))
}

/// How one attempt went.
fn outcome(done: &Done, name: &str) -> Outcome {
    records(&done.stdout).into_iter().find(|r| r.name == name).unwrap().outcome
}

#[test]
fn seccomp() {
    let Some(cell) = Cell::new() else { return };
    let host = Host::here().unwrap();
    differs(&cell, || cell.attempts(&host), &[Wall::Seccomp], |done| stopped(done, Stop::Filter, 0));
}

/// Landlock's ABI here, where it is at least `least`.
fn landlock_abi(cell: &Cell, least: u32) -> Option<u32> {
    let abi = cell.sh("true").report.walls.unwrap().landlock_abi;
    if abi < least {
        eprintln!("SKIPPED: this kernel's Landlock has ABI {abi}, not {least}");
    }
    (abi >= least).then_some(abi)
}

#[test]
fn landlock() {
    let Some(cell) = Cell::new() else { return };
    let Some(abi) = landlock_abi(&cell, 1) else { return };
    let host = Host::here().unwrap();
    differs(&cell, || cell.attempts(&host), &[Wall::Landlock], |done| stopped(done, Stop::Fence, abi));
    let Some(broken) = cell.run_without(&cell.attempts(&host), &[Wall::Landlock]) else { return };
    // Nothing else stands between a job and the one; of the others, the kernel asks for capabilities.
    assert_eq!(outcome(&broken, "whiteout"), Outcome::Done);
    for name in ["block_device", "character_device"] {
        assert_eq!(outcome(&broken, name), Outcome::Errno(libc::EPERM), "{name}");
    }
}

/// Sockets of others are out of reach even in the host's network namespace.
#[test]
fn landlock_scopes() {
    let Some(cell) = Cell::new() else { return };
    if landlock_abi(&cell, 6).is_none() {
        return;
    }
    let host = Host::here().unwrap();
    let reach =
        |walls: &[Wall]| Some(outcome(&cell.run_without(&cell.attempts(&host), walls)?, "host_socket"));
    let Some(fenced) = reach(&[Wall::NetworkNamespace]) else { return };
    assert_eq!(fenced, Outcome::Errno(libc::EPERM));
    assert_eq!(reach(&[Wall::NetworkNamespace, Wall::Landlock]), Some(Outcome::Done));
}

#[test]
fn capabilities() {
    let Some(cell) = Cell::new() else { return };
    let plan = || cell.script("grep CapBnd /proc/self/status");
    differs(&cell, plan, &[Wall::Capabilities], stdout_has("0000000000000000"));
}

#[test]
fn no_new_privs() {
    let Some(cell) = Cell::new() else { return };
    // The kernel itself demands it of the other two.
    let walls = [Wall::NoNewPrivs, Wall::Seccomp, Wall::Landlock];
    differs(&cell, || cell.script("grep NoNewPrivs /proc/self/status"), &walls, stdout_has("\t1\n"));
}

#[test]
fn keyring() {
    let Some(cell) = Cell::new() else { return };
    let keyring = |done: &Done| {
        let records = records(&done.stdout);
        let found = records.iter().find(|r| r.kind == Kind::Status && r.name == "SessionKeyring");
        found.map(|r| r.outcome.clone())
    };
    let plan = cell.plan(&["/bin/probe", "sweep"]);
    assert_eq!(keyring(&cell.run(&plan)), Some(Outcome::Text("errno 1".into())));
    // Without the filter, the job's keyring can be told from the one it would inherit.
    let plan = cell.plan(&["/bin/probe", "status"]);
    let Some(own) = cell.run_without(&plan, &[Wall::Seccomp]) else { return };
    let plan = cell.plan(&["/bin/probe", "status"]);
    let inherited = cell.run_without(&plan, &[Wall::Seccomp, Wall::Keyring]).unwrap();
    assert!(keyring(&own).is_some() && keyring(&own) != keyring(&inherited), "{own:?} {inherited:?}");
}

#[test]
fn rlimits() {
    let Some(cell) = Cell::new() else { return };
    let plan = || cell.script("ulimit -n; ulimit -c; ulimit -u; ulimit -s");
    differs(&cell, plan, &[Wall::Rlimits], |done| done.stdout == "256\n0\n64\n8192\n");
}

#[test]
fn process_limit() {
    let Some(cell) = Cell::new() else { return };
    let script = "i=0; while test $i -lt 100; do sleep 100 & i=$((i+1)); done; echo started";
    let refused = |done: &Done| !done.stdout.contains("started") && done.stderr.contains("can't fork");
    differs(&cell, || cell.script(script), &[Wall::Rlimits], refused);
}

#[test]
fn device_program() {
    let Some(cell) = Cell::new() else { return };
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    // /dev/net/tun: opens without any right where nothing stops it.
    let node = place.path().canonicalize().unwrap().join("tun");
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        &node,
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        rustix::fs::makedev(10, 200),
    );
    if made.is_err() || fs::File::open(&node).is_err() {
        eprintln!("SKIPPED: no tun device to try");
        return;
    }
    fs::set_permissions(&node, PermissionsExt::from_mode(0o666)).unwrap();
    let run = |walls: &[Wall]| {
        let cgroup = Cgroup::new()?;
        let mut plan = cell.script("exec 3< /in/tun && echo opened");
        plan.cgroup = Some(cgroup.0.clone());
        plan.binds =
            vec![Bind { source: node.parent().unwrap().into(), target: "/in".into(), writable: false }];
        if walls.is_empty() { Some(cell.run(&plan)) } else { cell.run_without(&plan, walls) }
    };
    let Some(whole) = run(&[]) else { return };
    assert_eq!(whole.stdout, "", "{whole:?}");
    let Some(program_alone) = run(&[Wall::SafeMounts]) else { return };
    assert_eq!(program_alone.stdout, "", "{program_alone:?}");
    let flags_alone = run(&[Wall::DeviceFilter]).unwrap();
    assert_eq!(flags_alone.stdout, "", "{flags_alone:?}");
    let neither = run(&[Wall::DeviceFilter, Wall::SafeMounts]).unwrap();
    assert_eq!(neither.stdout, "opened\n", "{neither:?}");
}

#[test]
fn safe_mounts() {
    let Some(cell) = Cell::new() else { return };
    let plan = || cell.script("cat /proc/self/mountinfo");
    differs(&cell, plan, &[Wall::SafeMounts], |done| {
        let is_safe = |l: &str| l.contains("nosuid") && (l.contains(" /dev/") || l.contains("nodev"));
        let runs_nothing = |l: &str| !(l.contains(" /dev ") || l.contains(" /sys ")) || l.contains("noexec");
        done.stdout.lines().all(|l| is_safe(l) && runs_nothing(l))
    });
}

#[test]
fn read_only_templates() {
    let Some(cell) = Cell::new() else { return };
    let plan =
        || cell.script("echo x > /dev/new; echo x > /sys/new; test -e /dev/new -o -e /sys/new || echo holds");
    differs(&cell, plan, &[Wall::ReadOnlyTemplates], stdout_has("holds"));
}

#[test]
fn proc_subset() {
    let Some(cell) = Cell::new() else { return };
    let plan = || cell.script("test -e /proc/sys -o -e /proc/kcore || echo holds");
    differs(&cell, plan, &[Wall::ProcSubset], stdout_has("holds"));
}

#[test]
fn hide_pid() {
    let Some(cell) = Cell::new() else { return };
    differs(&cell, || cell.script("test -e /proc/1 || echo holds"), &[Wall::HidePid], stdout_has("holds"));
}

#[test]
fn non_dumpable() {
    let Some(cell) = Cell::new() else { return };
    // Whoever may trace the first process sees it, and its memory.
    let plan = || cell.script("test -e /proc/1/mem || echo holds");
    differs(&cell, plan, &[Wall::NonDumpable], stdout_has("holds"));
}

#[test]
fn read_only_binds() {
    let Some(cell) = Cell::new() else { return };
    let input = tempfile::tempdir().unwrap();
    fs::set_permissions(input.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let source = input.path().canonicalize().unwrap();
    let plan = || {
        let mut plan = cell.script("echo x > /in/new || echo holds");
        plan.binds = vec![Bind { source: source.clone(), target: "/in".into(), writable: false }];
        plan
    };
    differs(&cell, plan, &[Wall::ReadOnlyBinds], stdout_has("holds"));
}

#[test]
fn oom_score() {
    let Some(cell) = Cell::new() else { return };
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    if own >= 500 {
        eprintln!("SKIPPED: this process's own out-of-memory score is already a job's");
        return;
    }
    differs(&cell, || cell.script("cat /proc/self/oom_score_adj"), &[Wall::OomScore], stdout_has("500"));
}

#[test]
fn id_range() {
    let Some(cell) = Cell::new() else { return };
    let base = cell.base().to_string();
    let plan = || cell.script("cat /proc/self/uid_map /proc/self/gid_map");
    differs(&cell, plan, &[Wall::IdRange], |done| done.stdout.matches(&base).count() == 2);
}

#[test]
fn close_descriptors() {
    let Some(cell) = Cell::new() else { return };
    let leak = fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let plan = || cell.script("ls -l /proc/$$/fd");
    differs(&cell, plan, &[Wall::CloseDescriptors], |done| !done.stdout.contains("passwd"));
}

#[test]
fn death_signal() {
    let Some(cell) = Cell::new() else { return };
    let plan = || cell.script("echo up; sleep 1000");
    let mut whole = cell.start(&plan());
    whole.wait_for("up");
    whole.child.kill().unwrap();
    whole.child.wait().unwrap();
    eventually("gone", || cell.processes().is_empty());
    let Some(mut broken) = cell.start_without(&plan(), &[Wall::DeathSignal], None) else { return };
    broken.wait_for("up");
    broken.child.kill().unwrap();
    broken.child.wait().unwrap();
    let left = cell.processes();
    assert!(!left.is_empty(), "nobody noticed the lack of the death signal");
    for pid in left {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    eventually("gone", || cell.processes().is_empty());
}

#[test]
fn scratch_quota() {
    let Some(cell) = Cell::new() else { return };
    let script = "for i in 1 2 3; do dd if=/dev/zero of=/tmp/$i bs=1M count=8 || echo full; done";
    differs(&cell, || cell.script(script), &[Wall::ScratchQuota], stdout_has("full"));
}

#[test]
fn log_capacity() {
    let Some(cell) = Cell::new() else { return };
    let plan = || cell.script("yes | head -c 4000000");
    differs(&cell, plan, &[Wall::LogCapacity], |done| done.stdout.len() == 1 << 20);
}

#[test]
fn confined_paths() {
    let Some(cell) = Cell::new() else { return };
    let trap = tempfile::tempdir().unwrap();
    fs::set_permissions(trap.path(), PermissionsExt::from_mode(0o777)).unwrap();
    symlink(trap.path(), cell.layer().join("out")).unwrap();
    let plan = || {
        let mut plan = cell.script("true");
        plan.outputs = vec!["/out/made".into()];
        plan
    };
    let made = || trap.path().join("made").exists();
    assert!(matches!(cell.run(&plan()).report.end, End::Refused(_)) && !made());
    if cell.run_without(&plan(), &[Wall::ConfinedPaths]).is_some() {
        assert!(made(), "nobody noticed the lack of confined paths");
    }
}

#[test]
fn namespaces() {
    let Some(cell) = Cell::new() else { return };
    for (wall, name) in [
        (Wall::NetworkNamespace, "net"),
        (Wall::IpcNamespace, "ipc"),
        (Wall::UtsNamespace, "uts"),
        (Wall::CgroupNamespace, "cgroup"),
        (Wall::TimeNamespace, "time"),
    ] {
        let outside = fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string();
        let plan = || cell.script(&format!("readlink /proc/self/ns/{name}"));
        differs(&cell, plan, &[wall], |done| !done.stdout.is_empty() && !done.stdout.contains(&outside));
    }
}

#[test]
fn old_root() {
    let Some(cell) = Cell::new() else { return };
    let plan = || cell.script("test -e /../usr/bin/env || echo holds");
    differs(&cell, plan, &[Wall::OldRoot], stdout_has("holds"));
}

#[test]
fn an_ordinary_jailer_knows_no_such_plan() {
    let Some(cell) = Cell::new() else { return };
    let plan = cell.script("true");
    let done = cell.run_raw(&plan, "without", &["seccomp"]);
    assert!(matches!(done.report.end, End::Refused(_)), "{done:?}");
}
