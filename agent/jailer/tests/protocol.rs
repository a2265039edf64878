//! The jailer takes one well-formed plan from its parent, or refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs::File;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

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
    answer_with(input, &[])
}

/// Likewise, where these descriptors come with the first byte.
fn answer_with(input: &[u8], fds: &[BorrowedFd<'_>]) -> Refusal {
    let (control, theirs) = UnixStream::pair().unwrap();
    let jailer = Command::new(env!("CARGO_BIN_EXE_assay-jailer"))
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    assert!(fds.is_empty() || rights.push(SendAncillaryMessage::ScmRights(fds)));
    // A jailer that refuses early closes its end.
    let begun = sendmsg(&control, &[IoSlice::new(input)], &mut rights, SendFlags::NOSIGNAL).unwrap_or(0);
    let _ = (&control).write_all(&input[begun..]);
    control.shutdown(Shutdown::Write).unwrap();
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

/// A plan that gets as far as the network.
fn plan_with_logs(dir: &std::path::Path) -> Vec<u8> {
    let logs = Logs { stdout: dir.join("stdout"), stderr: dir.join("stderr"), limit_bytes: 1 };
    framed(&serde_json::to_vec(&Plan { logs, ..plan() }).unwrap())
}

#[test]
fn only_a_network_namespace_other_than_the_hosts_is_joined() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan_with_logs(dir.path());
    let refused = |path: &str| {
        let file = File::open(path).unwrap();
        let refusal = answer_with(&plan, &[file.as_fd()]);
        assert_eq!(refusal.stage, Stage::Network, "{path}: {refusal}");
        refusal
    };
    assert!(refused("/proc/self/ns/net").detail.contains("the host's"));
    refused("/proc/self/ns/uts");
    refused("/dev/null");
}

#[test]
fn one_descriptor_comes_with_a_plan_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::open("/proc/self/ns/net").unwrap();
    let refusal = answer_with(&plan_with_logs(dir.path()), &[file.as_fd(), file.as_fd()]);
    assert_eq!(refusal.stage, Stage::Plan);
}
