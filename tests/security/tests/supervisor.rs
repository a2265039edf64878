//! Many jobs through the whole supervisor, and its death at random instants: nothing stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use assay_sandbox::{Exit, JobFile, Sandbox, SandboxConfig};
use assay_security::residue::{processes, residue};
use assay_security::{Cell, eventually, id_base, image, jailer};

/// Slots of the sandboxes here.
const SLOTS: u32 = 4;

/// A place with an image.
fn place() -> Option<tempfile::TempDir> {
    Cell::new()?;
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    image::write(&place.path().join("image"));
    Some(place)
}

fn config(place: &Path, state: &str, id_base: u32) -> SandboxConfig {
    SandboxConfig {
        jailer: Some(jailer()),
        id_base,
        slots: SLOTS,
        network_ahead: true,
        ..SandboxConfig::new(place.join(state))
    }
}

fn job(place: &Path, script: &str) -> JobFile {
    let text = format!(
        "[job]\nimage = \"oci:{}:test\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n\
         [job.resources]\nlimits = \"rlimit\"\nmemory = \"64Mi\"\ndisk = \"16Mi\"\npids = 32\n",
        place.join("image").display()
    );
    JobFile::parse(text.as_bytes()).unwrap()
}

fn run(sandbox: &Sandbox, job: &JobFile) -> Exit {
    sandbox.run(job, &[], &AtomicBool::new(false), &|_| {}).unwrap().exit
}

/// One test, so that nobody else of this process opens and closes things meanwhile.
#[test]
fn supervised_jobs_leave_nothing() {
    let Some(place) = place() else { return };
    let base = id_base();
    let ids = base..base + SLOTS * 65_536;
    let open = || Sandbox::new(config(place.path(), "state", base)).unwrap();
    let job = job(place.path(), "true");
    assert_eq!(run(&open(), &job), Exit::Code(0));
    let before = residue();
    let sandbox = open();
    let count = if std::env::var_os("ASSAY_LONG").is_some() { 1000 } else { 100 };
    for _ in 0..count {
        assert_eq!(run(&sandbox, &job), Exit::Code(0));
    }
    random_deaths(place.path(), base);
    // It keeps a network namespace for its next job.
    drop(sandbox);
    before.wait_until_gone(&ids);
}

/// Where the supervisor is told its work.
const SUPERVISE: [&str; 3] = ["ASSAY_TEST_SUPERVISE", "ASSAY_TEST_STATE", "ASSAY_TEST_BASE"];

/// Not a test: the supervisor that is killed. It runs short jobs of several kinds without an end.
#[test]
fn supervisor_for_killing() {
    let [Some(place), Some(state), Some(base)] = SUPERVISE.map(|name| std::env::var(name).ok()) else {
        return;
    };
    let place = PathBuf::from(place);
    println!("supervising");
    let sandbox = Sandbox::new(config(&place, &state, base.parse().unwrap())).unwrap();
    let scripts = ["true", "setsid sleep 1000 & sleep 0.02", "echo out; echo err >&2; sleep 0.05", "exit 3"];
    for script in scripts.iter().cycle() {
        let _ = sandbox.run(&job(&place, script), &[], &AtomicBool::new(false), &|_| {});
    }
}

fn random_deaths(place: &Path, base: u32) {
    let ids = base..base + SLOTS * 65_536;
    let mut random = u64::from(std::process::id()) | 1;
    eprintln!("seed of the instants: {random}");
    for round in 0..24 {
        // Every fourth finds no layer in its store, so that death can meet an unpack process.
        let state = format!("killed-{}", round / 4);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let instant = Duration::from_micros(random % 120_000);
        kill_after(place, &state, base, instant);
        eventually("the jobs of the killed supervisor are gone", || processes(&ids).is_empty());
        let next = Sandbox::new(config(place, &state, base)).unwrap();
        let jobs = place.join(&state).join("jobs");
        // Those that were over are kept with their outcome.
        let unfinished =
            fs::read_dir(&jobs).unwrap().flatten().filter(|job| !job.path().join("outcome.json").exists());
        assert_eq!(unfinished.count(), 0, "after {instant:?}");
        assert_eq!(run(&next, &job(place, "true")), Exit::Code(0), "after {instant:?}");
    }
}

fn kill_after(place: &Path, state: &str, base: u32, instant: Duration) {
    let [place_name, state_name, base_name] = SUPERVISE;
    let mut supervisor = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "supervisor_for_killing", "--nocapture"])
        .env(place_name, place)
        .env(state_name, state)
        .env(base_name, base.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(supervisor.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("supervising")));
    std::thread::sleep(instant);
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
}
