//! What comes before a job runs: the places, and the audit of a sandbox that cannot be audited.

use std::fs::{self, Permissions};
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::core::answer::Answer;

const JOB: &str = "[job]\nimage = \"oci:/none\"\n[job.resources]\nlimits = \"rlimit\"\n";

/// A node whose jailer fails at once, with something beside it that passes for a probe.
fn with_a_broken_jailer() -> (tempfile::TempDir, Rig) {
    let dir = tempfile::tempdir().unwrap();
    let jailer = dir.path().join("assay-jailer");
    fs::write(&jailer, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&jailer, Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("assay-probe"), "").unwrap();
    let rig = rig_of(0, "/dev/no-such-tpm", |config| config.sandbox.jailer = Some(jailer));
    (dir, rig)
}

fn code(answer: &Answer) -> &str {
    match answer {
        Answer::Refused { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_audit_without_a_result_refuses_the_job_and_is_made_again() {
    let (dir, rig) = with_a_broken_jailer();
    for _ in 0..2 {
        assert_eq!(code(&jobs::run(&rig.node, JOB).await), "sandbox.audit");
        assert!(rig.node.jobs.borrow().audited.is_none());
    }
    fs::remove_file(dir.path().join("assay-probe")).unwrap();
    let Answer::Refused { code, text } = jobs::run(&rig.node, JOB).await else { panic!("it ran") };
    assert!(code == "sandbox.audit" && text.contains("install it there"), "{text}");
    assert!(rig.node.jobs.borrow().running().is_empty());
}

#[test]
fn a_core_whose_jobs_get_no_cgroups_says_so_when_it_starts() {
    let (_dir, rig) = with_a_broken_jailer();
    jobs::sweep(&rig.node);
    let possible = rig.node.jobs.borrow_mut().sandbox(&rig.node.config).unwrap().can_limit();
    let told = codes(&rig.node).iter().any(|code| code == NO_CGROUPS);
    assert_eq!(told, possible.is_err(), "{possible:?}");
}

#[tokio::test]
async fn a_job_has_its_place_while_the_sandbox_is_audited() {
    let (_dir, rig) = with_a_broken_jailer();
    let mut first = pin!(jobs::run(&rig.node, JOB));
    let polled = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending));
    let running = rig.node.jobs.borrow().running();
    assert_eq!(running.len(), 1);
    // It can be told to stop like any other.
    assert!(matches!(jobs::stop(&rig.node, &running[0]), Answer::Stopping { .. }));
    first.await;
    assert!(rig.node.jobs.borrow().running().is_empty());
}
