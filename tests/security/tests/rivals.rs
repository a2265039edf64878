//! The same probe under bubblewrap and crun: nothing is open in a job of ours that is closed in one of theirs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use assay_jailer::attempts::{Kind, Outcome, Record};
use assay_jailer::filter::ALLOWED;
use assay_jailer::report::End;
use assay_security::{Cell, records};
use serde_json::{Value, json};

type Answers = BTreeMap<(String, String), Outcome>;

/// Judged by their arguments in every profile: zeros say nothing of the rest.
const CONDITIONAL: [i64; 3] = [libc::SYS_ioctl, libc::SYS_clone, libc::SYS_socket];

/// Last call that Debian 12's libseccomp knows by name: later ones crun cannot allow.
const LIBSECCOMP_KNOWS: i64 = 450;

/// Number and name of what Docker's default profile allows.
fn docker() -> BTreeMap<i64, &'static str> {
    let text = include_str!("../data/docker-default.txt");
    let rows = text.lines().filter(|l| !l.starts_with('#')).map(|l| l.split_once(' ').unwrap());
    rows.map(|(number, name)| (number.parse().unwrap(), name)).collect()
}

#[test]
fn the_filter_is_a_subset_of_dockers() {
    let docker = docker();
    let beyond: Vec<_> = ALLOWED.iter().filter(|call| !docker.contains_key(call)).collect();
    assert!(beyond.is_empty(), "{beyond:?}");
    let judged =
        [libc::SYS_clone, libc::SYS_socket, libc::SYS_socketpair, libc::SYS_ioctl, libc::SYS_personality];
    assert!(ALLOWED.len() + judged.len() < docker.len() && judged.iter().all(|c| docker.contains_key(c)));
}

fn answers(records: Vec<Record>) -> Answers {
    let kind = |kind: Kind| format!("{kind:?}");
    records.into_iter().map(|r| ((kind(r.kind), r.name), r.outcome)).collect()
}

fn ours(cell: &Cell) -> Answers {
    let done = cell.run(&cell.plan(&["/bin/probe", "sweep"]));
    assert_eq!(done.report.end, End::Exited(0), "{done:?}");
    answers(records(&done.stdout))
}

fn output(what: &str, command: &mut Command) -> Option<Answers> {
    // The probe calls with zeros, so that descriptor 0 must be nothing of the machine's.
    match command.stdin(tempfile::tempfile().unwrap()).output() {
        Ok(output) if output.status.success() => {
            Some(answers(records(&String::from_utf8(output.stdout).unwrap())))
        }
        other => {
            eprintln!("SKIPPED: {what} does not run here: {other:?}");
            None
        }
    }
}

fn has(name: &str) -> bool {
    let found = Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        eprintln!("SKIPPED: no {name}");
    }
    found
}

/// Answers that mean that nobody stopped it.
fn is_open(kind: &str, outcome: &Outcome) -> bool {
    match (kind, outcome) {
        // A call that got as far as to complain of its arguments is open; ours has a read-only descriptor 0.
        ("Call", Outcome::Errno(errno)) => !matches!(*errno, libc::EPERM | libc::ENOSYS | libc::EROFS),
        ("Call", _) => true,
        (_, outcome) => outcome.is_open(),
    }
}

/// What is open in ours and closed in theirs. Of files, what lies in the kernel's directories.
fn beyond(ours: &Answers, theirs: &Answers) -> BTreeSet<String> {
    let kernels = |name: &str| ["/proc/", "/sys/", "/dev/"].iter().any(|p| name.starts_with(p));
    // Ours alone, and made by us: copies of four lists, with nothing of the kernel behind them.
    let our_own = |name: &str| name.starts_with("/sys/devices/system/cpu/");
    let open = ours.iter().filter(|((kind, name), outcome)| {
        let judged = match kind.as_str() {
            "Call" => {
                let number = name.parse().unwrap();
                number <= LIBSECCOMP_KNOWS && !CONDITIONAL.contains(&number)
            }
            "Read" | "Write" => kernels(name) && !our_own(name),
            "Device" => true,
            _ => false,
        };
        judged && is_open(kind, outcome)
    });
    let closed = open.filter(|(key, _)| !theirs.get(*key).is_some_and(|o| is_open(&key.0, o)));
    closed.map(|((kind, name), _)| format!("{kind} {name}")).collect()
}

fn capabilities(answers: &Answers) -> Vec<&Outcome> {
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    sets.iter().map(|set| &answers[&("Status".to_owned(), (*set).to_owned())]).collect()
}

/// The same image, with the directories that the others mount on.
fn image(cell: &Cell) {
    for name in ["dev", "proc", "sys"] {
        fs::create_dir_all(cell.layer().join(name)).unwrap();
    }
}

fn compare(ours: &Answers, theirs: &Answers) {
    assert_eq!(beyond(ours, theirs), BTreeSet::new());
    let none = Outcome::Text("0000000000000000".into());
    assert!(capabilities(ours).into_iter().all(|set| *set == none));
    // And the other way round there is much, or the comparison compared nothing.
    assert!(beyond(theirs, ours).len() > 50);
}

#[test]
fn nothing_is_open_that_bubblewrap_closes() {
    let Some(cell) = Cell::new().filter(|_| has("bwrap")) else { return };
    image(&cell);
    let mut command = Command::new("bwrap");
    command.args(["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--bind"]);
    command.arg(cell.layer()).args(["/", "--proc", "/proc", "--dev", "/dev", "/bin/probe", "sweep"]);
    let Some(theirs) = output("bwrap", &mut command) else { return };
    compare(&ours(&cell), &theirs);
}

/// crun's own default bundle without capabilities, and Docker's filter on top.
fn bundle(cell: &Cell, place: &Path) {
    assert!(Command::new("crun").arg("spec").current_dir(place).status().unwrap().success());
    let path = place.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let sets = ["bounding", "effective", "permitted", "inheritable", "ambient"];
    config["process"]["capabilities"] = sets.iter().map(|set| ((*set).to_owned(), json!([]))).collect();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/probe", "sweep"]);
    config["root"] = json!({"path": cell.layer(), "readonly": false});
    let names: Vec<_> = docker().into_values().collect();
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    });
    fs::write(&path, config.to_string()).unwrap();
}

#[test]
fn nothing_is_open_that_crun_closes() {
    let Some(cell) = Cell::new().filter(|_| has("crun")) else { return };
    image(&cell);
    let place = tempfile::tempdir().unwrap();
    bundle(&cell, place.path());
    // crun wants cgroup v2 alone: that is what it sees, in a mount namespace of its own.
    let script = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && \
                  exec crun --cgroup-manager=disabled --root \"$0/state\" run -b \"$0\" \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(place.path());
    command.arg(format!("assay-{}", std::process::id()));
    let Some(theirs) = output("crun", &mut command) else { return };
    compare(&ours(&cell), &theirs);
}
