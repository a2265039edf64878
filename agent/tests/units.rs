//! The systemd units, checked by systemd's own tool.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const UNITS: [&str; 3] = ["assay-core.service", "assay-link.service", "assay-pull@.service"];
/// Sockets stand beside the services that they start.
const SOCKETS: [&str; 1] = ["assay-pull.socket"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

/// The units with a program that is there in place of the installed one.
fn copies() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for unit in UNITS {
        let text = std::fs::read_to_string(folder().join(unit)).unwrap();
        assert!(text.contains("/usr/bin/assay-agent "), "{unit}");
        std::fs::write(dir.path().join(unit), text.replace("/usr/bin/assay-agent ", "/bin/true ")).unwrap();
    }
    for socket in SOCKETS {
        std::fs::copy(folder().join(socket), dir.path().join(socket)).unwrap();
    }
    dir
}

fn analyze(args: &[&str], dir: &Path, units: &[&str]) -> Option<Output> {
    let paths = units.iter().map(|unit| dir.join(unit));
    match Command::new("systemd-analyze").args(args).args(paths).output() {
        Ok(output) => Some(output),
        Err(_) => {
            eprintln!("SKIPPED: systemd-analyze is not installed");
            None
        }
    }
}

#[test]
fn units_are_well_formed() {
    let dir = copies();
    let Some(output) = analyze(&["verify", "--man=no"], dir.path(), &[&UNITS[..], &SOCKETS].concat()) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("assay")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

/// systemd's own score of 0 (closed) to 10 (open), times ten: it may not get worse unnoticed.
#[test]
fn units_stay_as_closed_as_they_are() {
    let dir = copies();
    for (unit, most) in
        [("assay-core.service", "52"), ("assay-link.service", "15"), ("assay-pull@.service", "15")]
    {
        let args = ["security", "--offline=true", "--no-pager", "--threshold", most];
        let Some(output) = analyze(&args, dir.path(), &[unit]) else { return };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Neither keys nor secrets nor credentials end in a file of systemd-coredump.
#[test]
fn units_with_secrets_leave_no_dump() {
    for unit in ["assay-core.service", "assay-pull@.service"] {
        let text = std::fs::read_to_string(folder().join(unit)).unwrap();
        assert!(text.lines().any(|line| line == "LimitCORE=0"), "{unit}");
    }
}

#[test]
fn no_running_job_is_without_its_image_fetcher() {
    let text = std::fs::read_to_string(folder().join("assay-pull.socket")).unwrap();
    let most = text.lines().find_map(|line| line.strip_prefix("MaxConnections=")).unwrap();
    assert_eq!(most, assay_agent::config::ImageSettings::PULLS_MAX.to_string());
}

/// By default a socket comes before every service: one that waits for a service would, at boot, cost one of the two.
#[test]
fn a_socket_that_waits_for_a_service_is_out_of_the_default_order() {
    let text = std::fs::read_to_string(folder().join("assay-pull.socket")).unwrap();
    let has = |line: &str| text.lines().any(|l| l == line);
    assert!(
        has("After=assay-core.service") && has("DefaultDependencies=no") && has("Before=shutdown.target")
    );
    assert!(has("WantedBy=assay-core.service") && !text.contains("sockets.target"));
}

/// System calls that the jailer makes through safe wrappers; `sys.rs` names those that it makes itself.
const JAILER_CALLS: &str = "capget capset chdir chmod clock_gettime close dup2 execve exit_group fchdir fchown \
    fchownat fcntl fork fsconfig fsmount fsopen fstat ftruncate getegid geteuid getppid getrusage lseek \
    mkdirat mount move_mount newfstatat openat openat2 open_tree pidfd_send_signal pipe2 pivot_root poll prctl \
    prlimit64 pwrite64 read recvfrom recvmsg rt_sigaction rt_sigprocmask sendmsg sendto setgroups sethostname \
    setns setresgid setresuid setsid socket socketpair symlinkat umask umount2 unshare wait4 write";

/// A group of system calls with those that it holds, as systemd has it; nothing where systemd is not there.
fn group(name: &str) -> Option<BTreeSet<String>> {
    let output = Command::new("systemd-analyze").args(["syscall-filter", name]).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    let mut calls = BTreeSet::new();
    for word in text.lines().skip(1).map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        match word.starts_with('@') {
            true => calls.extend(group(word)?),
            false => drop(calls.insert(word.to_owned())),
        }
    }
    Some(calls)
}

/// What a unit's filter lets through.
fn let_through(unit: &str) -> Option<BTreeSet<String>> {
    let text = std::fs::read_to_string(folder().join(unit)).unwrap();
    let mut calls = BTreeSet::new();
    for words in text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        for word in words.trim_start_matches('~').split(' ') {
            let named = if word.starts_with('@') { group(word)? } else { [word.to_owned()].into() };
            match words.starts_with('~') {
                true => calls.retain(|call| !named.contains(call)),
                false => calls.extend(named),
            }
        }
    }
    Some(calls)
}

/// The calls that a source text names as `SYS_...`.
fn named(source: &str) -> impl Iterator<Item = &str> {
    let end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    source.split("libc::SYS_").skip(1).filter_map(move |rest| rest.split(end).next())
}

/// The jailer and its jobs inherit core's filter.
#[test]
fn core_leaves_the_jailer_and_jobs_their_system_calls() {
    let (Some(allowed), Some(known)) = (let_through("assay-core.service"), group("@known")) else {
        eprintln!("SKIPPED: systemd-analyze is not installed");
        return;
    };
    let (jailer, jobs) =
        (include_str!("../jailer/src/sys.rs"), include_str!("../jailer/src/filter/calls.rs"));
    let wanted: BTreeSet<&str> =
        named(jailer).chain(named(jobs)).chain(JAILER_CALLS.split_whitespace()).collect();
    assert!(wanted.len() > 250 && wanted.contains("bpf") && wanted.contains("landlock_add_rule"));
    // What systemd does not know, its filter answers with ENOSYS, as an older kernel would.
    let missing: Vec<_> = wanted.iter().filter(|c| known.contains(**c) && !allowed.contains(**c)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_line_that_closes_something_is_explained() {
    for unit in UNITS {
        let text = std::fs::read_to_string(folder().join(unit)).unwrap();
        let service = text.split("[Service]").nth(1).unwrap().split("[Install]").next().unwrap();
        let mut explained = false;
        // The first blank line ends what says how the service runs.
        for line in service.lines().skip(1).skip_while(|line| !line.is_empty()) {
            match line.chars().next() {
                Some('#') => explained = true,
                None => explained = false,
                Some(_) => assert!(explained, "{unit}: {line}"),
            }
        }
    }
}

#[test]
fn users_and_directories_are_understood() {
    let (users, files) = (folder().join("assay.sysusers"), folder().join("assay.tmpfiles"));
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    std::fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    std::fs::write(root.path().join("etc/group"), "root:x:0:\n").unwrap();
    let users = Command::new("systemd-sysusers").arg("--dry-run").arg(users.canonicalize().unwrap()).output();
    let files = Command::new("systemd-tmpfiles")
        .args(["--create", "--root"])
        .arg(root.path())
        .arg("-")
        .stdin(std::fs::File::open(files).unwrap())
        .output();
    let (Ok(users), Ok(files)) = (users, files) else {
        eprintln!("SKIPPED: systemd-sysusers or systemd-tmpfiles is not installed");
        return;
    };
    // It complains with the file's name and goes on.
    let said = String::from_utf8_lossy(&users.stderr);
    assert!(users.status.success() && !said.contains("assay.sysusers:"), "{said}");
    assert!(files.status.success(), "{files:?}");
    assert!(root.path().join("var/lib/assay").is_dir());
}
