//! The systemd units, checked by systemd's own tool.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
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

/// Neither keys nor secrets end in a file of systemd-coredump.
#[test]
fn core_leaves_no_dump() {
    let text = std::fs::read_to_string(folder().join("assay-core.service")).unwrap();
    assert!(text.lines().any(|line| line == "LimitCORE=0"));
}

#[test]
fn no_running_job_is_without_its_image_fetcher() {
    let text = std::fs::read_to_string(folder().join("assay-pull.socket")).unwrap();
    let most = text.lines().find_map(|line| line.strip_prefix("MaxConnections=")).unwrap();
    assert_eq!(most, assay_agent::config::ImageSettings::PULLS_MAX.to_string());
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
