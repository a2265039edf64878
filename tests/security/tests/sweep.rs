//! Everything that can be tried by list, tried by the probe from inside a job.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeSet;

use assay_jailer::attempts::{ATTEMPTS, Host, Kind, LANDLOCK_ABI, Outcome, Record, find};
use assay_jailer::filter::{ALLOWED, KNOWN_MAX};
use assay_jailer::report::End;
use assay_security::{Cell, Done, records};

fn probe(cell: &Cell, what: &str) -> Vec<Record> {
    let done = cell.run(&cell.plan(&["/bin/probe", what]));
    parsed(&done)
}

/// The Landlock ABI of the kernel, as the job sees it.
fn kernels_landlock(records: &[Record]) -> u32 {
    let said = records.iter().find(|r| r.kind == Kind::Status && r.name == LANDLOCK_ABI).unwrap();
    let Outcome::Text(abi) = &said.outcome else { panic!("{said:?}") };
    abi.parse().unwrap()
}

fn parsed(done: &Done) -> Vec<Record> {
    assert_eq!(done.report.end, End::Exited(0), "{}", done.stderr);
    records(&done.stdout)
}

/// Judged by their arguments: with zeros some pass and some do not.
const CONDITIONAL: [i64; 5] =
    [libc::SYS_clone, libc::SYS_socket, libc::SYS_socketpair, libc::SYS_ioctl, libc::SYS_personality];
/// `uretprobe` and `uprobe`, which the kernel answers whatever a filter says: it wants its own call site.
const KERNELS_OWN: [i64; 2] = [335, 336];

#[test]
fn forbidden_things_are_stopped_by_their_wall() {
    let Some(cell) = Cell::new() else { return };
    let host = Host::here().unwrap();
    let all = parsed(&cell.run(&cell.attempts(&host)));
    let abi = kernels_landlock(&all);
    let tried: Vec<_> = all.iter().filter(|r| r.kind == Kind::Attempt).collect();
    assert_eq!(tried.len(), ATTEMPTS.len());
    for record in tried {
        let attempt = find(&record.name).unwrap();
        let is_due = attempt.landlock_abi <= abi;
        assert!(!is_due || attempt.is_stopped(&record.outcome), "{record:?} is not {:?}", attempt.stop);
    }
}

#[test]
fn system_calls_answer_as_listed() {
    let Some(cell) = Cell::new() else { return };
    let calls: Vec<_> = probe(&cell, "sweep").into_iter().filter(|r| r.kind == Kind::Call).collect();
    assert_eq!(calls.len(), 471);
    for record in calls {
        let number: i64 = record.name.parse().unwrap();
        let refusal = if number == libc::SYS_clone3 || number > i64::from(KNOWN_MAX) { 38 } else { 1 };
        if CONDITIONAL.contains(&number) || KERNELS_OWN.contains(&number) {
            continue;
        }
        let refused = record.outcome == Outcome::Errno(refusal);
        if ALLOWED.contains(&number) {
            // Some allowed calls answer EPERM or ENOSYS on their own; a listed one is not told apart by that.
            continue;
        }
        assert!(refused, "{record:?}");
    }
}

#[test]
fn nothing_of_the_kernel_is_writable() {
    let Some(cell) = Cell::new() else { return };
    let records = probe(&cell, "sweep");
    let targets: Vec<_> = records.iter().filter(|r| r.kind == Kind::Write).collect();
    assert!(targets.len() >= 150);
    // One's own id maps may be opened; writing a second time fails.
    let own = ["/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups"];
    let open = targets.iter().filter(|r| r.outcome.is_open()).map(|r| r.name.as_str());
    let open: BTreeSet<_> = open
        .filter(|name| !own.contains(name))
        .filter(|name| ["/proc/", "/sys/", "/dev/"].iter().any(|p| name.starts_with(p)))
        .collect();
    assert_eq!(open, BTreeSet::new());
}

#[test]
fn only_five_devices_open() {
    let Some(cell) = Cell::new() else { return };
    let records = probe(&cell, "sweep");
    let devices: BTreeSet<_> =
        records.iter().filter(|r| r.kind == Kind::Device).map(|r| r.name.as_str()).collect();
    let listed = ["/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];
    assert_eq!(devices, BTreeSet::from(listed));
}

#[test]
fn status_shows_no_right() {
    let Some(cell) = Cell::new() else { return };
    let records = probe(&cell, "sweep");
    let value = |name: &str| {
        let record = records.iter().find(|r| r.kind == Kind::Status && r.name == name);
        match record.map(|r| &r.outcome) {
            Some(Outcome::Text(text)) => text.clone(),
            other => panic!("{name}: {other:?}"),
        }
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert_eq!(
        (value("NoNewPrivs"), value("Seccomp"), value("Groups")),
        ("1".into(), "2".into(), String::new())
    );
}
