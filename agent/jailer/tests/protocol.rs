//! The jailer takes one well-formed plan from its parent, or refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::Write;
use std::process::{Command, Stdio};

use assay_jailer::plan::{Ids, Logs, PLAN_MAX, PLAN_VERSION, Plan, Rlimits};
use assay_jailer::report::{End, Refusal, Report, Stage};

fn plan() -> Plan {
    let dir = std::env::temp_dir();
    Plan {
        version: PLAN_VERSION,
        supervisor: std::process::id(),
        layers: vec!["/nonexistent/layer".into()],
        ids: if rustix::process::geteuid().is_root() {
            Ids::Range { base: 0x7000_0000 }
        } else {
            Ids::Single {}
        },
        uid: 0,
        gid: 0,
        argv: vec!["/bin/true".to_owned()],
        env: vec![],
        cwd: "/".to_owned(),
        hostname: "job".to_owned(),
        outputs: vec![],
        scratch_bytes: 1 << 20,
        scratch_inodes: 100,
        timeout_ms: 10_000,
        logs: Logs { stdout: dir.join("never-made"), stderr: dir.join("never-made"), limit_bytes: 1 },
        rlimits: Rlimits {
            processes: 10,
            open_files: 10,
            file_bytes: 1 << 20,
            cpu_seconds: 1,
            data_bytes: None,
            address_space_bytes: None,
        },
        cgroup: None,
        binds: vec![],
        secrets: vec![],
        #[cfg(feature = "broken-walls")]
        without: vec![],
    }
}

fn framed(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_le_bytes(), text].concat()
}

/// What the jailer answers to these bytes on standard input.
fn answer(input: &[u8]) -> Refusal {
    let mut jailer = Command::new(env!("CARGO_BIN_EXE_assay-jailer"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // A jailer that refuses early closes its end.
    let _ = jailer.stdin.take().unwrap().write_all(input);
    let output = jailer.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout.ends_with(b"\n"), "{output:?}");
    match serde_json::from_slice::<Report>(&output.stdout).unwrap().end {
        End::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn answer_to(change: impl FnOnce(&mut Plan)) -> Refusal {
    let mut plan = plan();
    change(&mut plan);
    answer(&framed(&serde_json::to_vec(&plan).unwrap()))
}

#[test]
fn malformed_plans_are_refused() {
    let long = u32::try_from(PLAN_MAX + 1).unwrap().to_le_bytes();
    let extra = serde_json::to_string(&plan()).unwrap().replacen('{', "{\"hooks\":[],", 1);
    let trailing = framed(format!("{} {{}}", serde_json::to_string(&plan()).unwrap()).as_bytes());
    for input in
        [&b""[..], b"\x01", &long, &framed(b"{}"), &framed(b"not JSON"), &framed(extra.as_bytes()), &trailing]
    {
        assert_eq!(answer(input).stage, Stage::Plan);
    }
}

#[test]
fn only_the_parent_is_a_supervisor() {
    let refusal = answer_to(|plan| plan.supervisor = 1);
    assert_eq!((refusal.stage, refusal.errno), (Stage::Plan, 0));
    assert!(refusal.detail.contains("supervisor"), "{refusal}");
}

#[test]
fn plans_that_break_a_rule_are_refused() {
    let refusal = answer_to(|plan| plan.argv.clear());
    assert!(refusal.stage == Stage::Plan && refusal.detail.contains("argv"), "{refusal}");
}

#[test]
fn a_log_that_exists_is_not_overwritten() {
    let log = std::env::temp_dir().join(format!("assay-jailer-log-{}", std::process::id()));
    std::fs::write(&log, "precious").unwrap();
    let refusal = answer_to(|plan| plan.logs.stdout = log.clone());
    assert_eq!(refusal.stage, Stage::Logs);
    assert_eq!(std::fs::read(&log).unwrap(), b"precious");
    std::fs::remove_file(&log).unwrap();
}
