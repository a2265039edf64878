//! A job's first process and its standard streams, and what becomes of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;

use assay_jailer::report::End;
use assay_security::Cell;

/// The line of a `/proc/PID/status`.
fn status(pid: u32, member: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|l| l.strip_prefix(member)).map(|l| l.trim().to_owned())
}

#[test]
fn standard_streams_can_be_opened_again() {
    let Some(cell) = Cell::new() else { return };
    for uid in [0, 1000] {
        let mut plan = cell.script("echo out > /dev/stdout; echo err > /dev/stderr; id -u");
        (plan.uid, plan.gid) = (uid, uid);
        let done = cell.run(&plan);
        assert_eq!((done.stdout, done.stderr), (format!("out\n{uid}\n"), "err\n".into()));
    }
}

#[test]
fn a_job_that_reads_its_own_output_holds_nothing_up() {
    let Some(cell) = Cell::new() else { return };
    let mut plan = cell.script("cat < /dev/stdout > /dev/null & while :; do echo y; done");
    plan.timeout_ms = 3_000;
    let done = cell.run(&plan);
    assert_eq!(done.report.end, End::TimedOut, "{done:?}");
    assert_eq!(cell.processes(), Vec::<u32>::new());
}

#[test]
fn the_first_process_keeps_no_signal_handler() {
    let Some(cell) = Cell::new() else { return };
    let running = cell.start(&cell.script("echo up; sleep 1000"));
    running.wait_for("up");
    let first = |pid: &u32| status(*pid, "NSpid:").is_some_and(|ids| ids.ends_with("\t1"));
    let pid = cell.processes().into_iter().find(first).unwrap();
    assert_eq!(status(pid, "SigCgt:").unwrap(), "0000000000000000");
}

#[test]
fn a_job_goes_first_when_memory_runs_out() {
    let Some(cell) = Cell::new() else { return };
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    let done = cell.sh("cat /proc/self/oom_score_adj");
    assert_eq!(done.stdout.trim().parse::<i32>().unwrap(), own.max(500), "{done:?}");
}
