//! Ends: of jobs that cannot act, and of supervisors that were killed.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use assay_sandbox::{Exit, Sandbox};

use crate::tap::Tap;
use crate::world::{cgroups, config, eventually, inhabited, inspect, job, residue, run, text};

pub(crate) fn all(tap: &mut Tap, sandbox: &Sandbox) {
    tap.check("a frozen job is ended", || frozen(sandbox));
    tap.check("daemons end with their job", || daemons(sandbox));
    tap.check("a killed supervisor's job is ended by the next one", killed_supervisor);
}

fn frozen(sandbox: &Sandbox) {
    let done = inspect(sandbox, &job("sleep 1000", "", ""), |cgroup| {
        fs::write(cgroup.join("cgroup.freeze"), "1").unwrap();
        let events = cgroup.join("cgroup.events");
        eventually("frozen", || text(&events).contains("frozen 1").then_some(()));
    });
    assert_eq!(done.exit, Exit::Cancelled);
    assert!(cgroups().is_empty());
}

fn daemons(sandbox: &Sandbox) {
    let before = residue();
    let done = run(sandbox, &job("(setsid sleep 1000 &) ; (setsid sleep 1000 &) ; exit 7", "", "")).unwrap();
    assert_eq!(done.exit, Exit::Code(7));
    assert_eq!(residue(), before);
}

/// Runs a job until this process is killed.
pub(crate) fn supervise() {
    let sandbox = Sandbox::new(config("orphaned")).unwrap();
    run(&sandbox, &job("setsid sleep 1000 & sleep 1000", "", "")).unwrap();
}

fn killed_supervisor() {
    let before = residue();
    let mut supervisor = Command::new("/guest").arg("supervise").spawn().unwrap();
    let cgroup = eventually("a cgroup with a job in it", inhabited);
    supervisor.kill().unwrap();
    assert_eq!(supervisor.wait().unwrap().signal(), Some(9));
    let next = Sandbox::new(config("orphaned")).unwrap();
    assert!(!cgroup.exists(), "{}", cgroup.display());
    eventually("nothing is left", || (residue() == before).then_some(()));
    assert_eq!(fs::read_dir(Path::new("/disk/orphaned/jobs")).unwrap().count(), 0);
    assert!(run(&next, &job("true", "", "")).unwrap().exit.is_success());
}
