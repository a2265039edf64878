//! On the machine's own hierarchy, where there is one that we may write to.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

use super::disk::Disk;
use super::tree::hierarchy;
use super::*;
use crate::outcome::Usage;

/// A disk of a made-up machine.
pub(super) fn disk(sys: &Path, major: u32, minor: u32) -> Disk {
    let node = sys.join("node");
    fs::create_dir_all(&node).unwrap();
    fs::write(node.join("dev"), format!("{major}:{minor}\n")).unwrap();
    std::os::unix::fs::symlink(&node, sys.join(format!("{major}:{minor}"))).unwrap();
    Disk::whole(sys, rustix::fs::makedev(major, minor)).unwrap()
}

/// A cgroup of the test's own.
fn native(name: &str) -> Option<Cgroup> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let parent = hierarchy(&mounts).map(|mount| mount.point);
    let path = parent.map(|parent| parent.join(format!("assay-test-{name}-{}", std::process::id())));
    let made = path.and_then(|path| Cgroup::bare(path).ok());
    if made.is_none() {
        eprintln!("SKIPPED: no cgroup v2 hierarchy that this user may write to");
    }
    made
}

fn sleeper(cgroup: &Cgroup) -> Child {
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(cgroup.path().join("cgroup.procs"), child.id().to_string()).unwrap();
    child
}

#[test]
fn frozen_processes_die_and_the_cgroup_goes() {
    let Some(cgroup) = native("frozen") else { return };
    let mut children: Vec<_> = (0..3).map(|_| sleeper(&cgroup)).collect();
    fs::write(cgroup.path().join("cgroup.freeze"), "1").unwrap();
    let path = cgroup.path().to_owned();
    // Nobody reaps them while the cgroup is removed; a dead process is no member.
    drop(cgroup);
    assert!(!path.exists());
    for child in &mut children {
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}

#[test]
fn usage_is_counted_before_removal() {
    let Some(cgroup) = native("usage") else { return };
    // Spends its time after it has moved.
    let script = format!(
        "echo $$ > {}/cgroup.procs; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done",
        cgroup.path().display()
    );
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    let usage = cgroup.account().over(Usage::default());
    assert!(usage.cpu_us > 1000, "{usage:?}");
}

#[test]
fn a_job_can_have_no_cgroup_below_its_own() {
    let Some(cgroup) = native("children") else { return };
    let below = cgroup.path().join("below");
    assert!(fs::create_dir(&below).is_err());
}

#[test]
fn what_is_gone_is_removed_already() {
    assert!(remove(Path::new("/nonexistent/cgroup")));
}
