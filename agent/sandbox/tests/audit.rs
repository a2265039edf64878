//! The audit, on this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use assay_sandbox::{Sandbox, SandboxError};
use common::{can_run, config, jailer};

#[test]
fn every_attempt_is_stopped_here() {
    if !can_run() || !jailer().with_file_name("assay-probe").is_file() {
        eprintln!("SKIPPED: no assay-probe beside the jailer");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let audit = Sandbox::new(config(dir.path())).unwrap().audit().unwrap();
    assert!(audit.passed(), "{:?}", audit.failures().collect::<Vec<_>>());
    assert!(audit.attempts.len() >= 60);
    assert_eq!(audit.walls.seccomp_sha256.len(), 64);
    // Nothing stays behind, and the slot is free.
    assert_eq!(std::fs::read_dir(dir.path().join("jobs")).unwrap().count(), 0);
}

#[test]
fn a_missing_probe_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.jailer = Some(dir.path().join("assay-jailer"));
    let refusal = Sandbox::new(config).unwrap().audit().unwrap_err();
    assert!(matches!(refusal, SandboxError::FindProbe(_)), "{refusal}");
}
