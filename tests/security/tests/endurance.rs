//! Many jobs, side by side and one after another, and deaths at random instants: nothing stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use assay_jailer::report::End;
use assay_security::cgroup::Cgroup;
use assay_security::residue::residue;
use assay_security::{Cell, eventually};

/// One test, so that nobody else of this process opens and closes things meanwhile.
#[test]
fn many_jobs_leave_nothing() {
    let Some(cell) = Cell::new() else { return };
    let with_cgroup = Cgroup::new().is_some();
    assert_eq!(cell.sh("true").report.end, End::Exited(0));
    let before = residue();
    let count = if std::env::var_os("ASSAY_LONG").is_some() { 1000 } else { 200 };
    for _ in 0..count {
        let mut plan = cell.plan(&["/bin/true"]);
        let cgroup = if with_cgroup { Cgroup::new() } else { None };
        plan.cgroup = cgroup.as_ref().map(|c| c.0.clone());
        let done = cell.run(&plan);
        assert_eq!(done.report.end, End::Exited(0), "{done:?}");
        if let Some(cgroup) = &cgroup {
            assert_eq!(cgroup.processes(), 0);
        }
    }
    side_by_side(&cell);
    random_deaths(&cell);
    before.wait_until_gone(&cell.ids());
}

fn side_by_side(cell: &Cell) {
    let started = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for number in 0..20 {
            let started = &started;
            scope.spawn(move || {
                let done = cell.sh(&format!("echo {number} > /tmp/x; sleep 1; cat /tmp/x; ls /tmp | wc -l"));
                assert_eq!(done.stdout, format!("{number}\n1\n"), "{done:?}");
                started.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(started.into_inner(), 20);
}

fn random_deaths(cell: &Cell) {
    let mut random = u64::from(std::process::id()) | 1;
    for round in 0..40u32 {
        let mut running = cell.start(&cell.script("(setsid sleep 1000 &); (sleep 1000 &); sleep 1000"));
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(random % 15_000));
        match round % 3 {
            0 => running.child.kill().unwrap(),
            1 => running.control.shutdown(std::net::Shutdown::Both).unwrap(),
            _ => kill_first(running.child.id()),
        }
        let status = running.child.wait().unwrap();
        eventually("gone", || cell.processes().is_empty());
        // A jailer that was not killed itself has accounted for its job.
        assert_eq!(status.success(), round % 3 != 0, "{status:?}");
    }
}

/// Kills the job's first process, once there is one.
fn kill_first(jailer: u32) {
    let children = format!("/proc/{jailer}/task/{jailer}/children");
    eventually("a first process", || {
        let text = fs::read_to_string(&children).unwrap_or_default();
        let pid = text.split_whitespace().next().and_then(|p| p.parse().ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw);
        pid.is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok())
    });
}
