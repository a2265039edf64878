//! Places: whose cgroups may be divided, and what is said where none may.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use assay_sandbox::cgroup::support as kernel_support;
use assay_sandbox::{Sandbox, SandboxConfig, SandboxError};
use rustix::fs::{XattrFlags, setxattr};

use crate::tap::Tap;
use crate::world::{config, job, run, text};

pub(crate) fn support(tap: &mut Tap) {
    tap.check("this kernel has every controller and counts stalls", || {
        let support = kernel_support();
        assert!(support.missing.is_empty() && support.absent.is_empty() && support.pressure, "{support:?}");
    });
}

/// The kernels here know different parts of Landlock; what each knows has to hold.
pub(crate) fn audit(tap: &mut Tap, sandbox: &Sandbox) {
    tap.check("every forbidden thing is stopped by its wall", || {
        let audit = sandbox.audit().unwrap();
        assert!(audit.passed(), "{:?}", audit.failures().collect::<Vec<_>>());
        let is_tried = |name: &str| audit.attempts.iter().any(|attempt| attempt.name == name);
        assert!(is_tried("whiteout") && is_tried("device_program"));
        assert_eq!(is_tried("device_request"), audit.walls.landlock_abi >= 5);
    });
}

pub(crate) fn all(tap: &mut Tap) {
    tap.check("a delegated cgroup is divided into core and jobs", delegated);
    tap.check("a cgroup that nobody delegated is not touched", undelegated);
    tap.check("missing controllers are named", missing);
}

/// Starts this program in a cgroup of its own.
fn start_in(unit: &Path) -> Output {
    let script = format!("echo $$ > {}/cgroup.procs; exec /guest delegated", unit.display());
    Command::new("/bin/sh").args(["-c", &script]).output().unwrap()
}

/// Runs a job and says where that left this process.
pub(crate) fn in_a_unit() {
    let sandbox = Sandbox::new(config("unit")).unwrap();
    match run(&sandbox, &job("true", "", "")) {
        Ok(done) => println!("{:?} in {}", done.exit, text(Path::new("/proc/self/cgroup"))),
        Err(error) => println!("refused: {error}"),
    }
}

fn delegated() {
    let unit = Path::new("/sys/fs/cgroup/unit");
    fs::create_dir(unit).unwrap();
    setxattr(unit, "user.delegate", b"1", XattrFlags::empty()).unwrap();
    let output = start_in(unit);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "Code(0) in 0::/unit/core\n", "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text(&unit.join("cgroup.subtree_control")).contains("memory"));
    for dir in ["core", "jobs", ""] {
        fs::remove_dir(unit.join(dir)).unwrap();
    }
}

fn undelegated() {
    let unit = Path::new("/sys/fs/cgroup/session");
    fs::create_dir(unit).unwrap();
    let output = start_in(unit);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("refused: this process's cgroup is not delegated to it"), "{said}");
    assert_eq!(text(&unit.join("cgroup.subtree_control")), "");
    fs::remove_dir(unit).unwrap();
}

fn missing() {
    let (outer, inner) = (Path::new("/sys/fs/cgroup/outer"), Path::new("/sys/fs/cgroup/outer/inner"));
    fs::create_dir_all(inner).unwrap();
    let sandbox = SandboxConfig { cgroup_parent: Some(inner.to_owned()), ..config("poor") };
    let sandbox = Sandbox::new(sandbox).unwrap();
    let SandboxError::NoControllers { missing, .. } = run(&sandbox, &job("true", "", "")).unwrap_err() else {
        panic!("not refused for controllers");
    };
    assert_eq!(missing, "cpu, cpuset, io, memory, pids");
    let done = run(&sandbox, &job("true", "limits = \"rlimit\"", "")).unwrap();
    assert!(done.exit.is_success(), "{done:?}");
    fs::remove_dir(inner).unwrap();
    fs::remove_dir(outer).unwrap();
}
