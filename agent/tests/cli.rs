//! The built program from outside: exit codes, texts, JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// A place for one agent, and its configuration file.
struct Place {
    dir: TempDir,
    config: PathBuf,
}

impl Place {
    /// An agent that finds nothing: no TPM, no boot log, no GPU library. `more` is added to its file.
    fn bare(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display();
        let text = format!(
            "[node]\nstate_dir = \"{root}/state\"\nruntime_dir = \"{root}/run\"\n\
             [tpm]\nbackend = \"{root}/no-tpm\"\n[boot]\nfirmware_log = \"{root}/no-log\"\n{more}"
        );
        let config = dir.path().join("agent.toml");
        std::fs::write(&config, text).unwrap();
        Self { dir, config }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = agent(args);
        command.arg("--config").arg(&self.config);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn agent(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay-agent"));
    command.args(args).stdin(Stdio::null()).env_remove("ASSAY_NVML_SCENARIO").env_remove("JOURNAL_STREAM");
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn the_help_is_what_it_was() {
    let help = agent(&["--help"]).output().unwrap();
    assert_eq!(code(&help), 0);
    insta::assert_snapshot!("help", stdout(&help));
}

#[test]
fn wrong_arguments_end_with_2_and_no_command_shows_the_help() {
    for args in [
        &["frobnicate"][..],
        &["job"],
        &["status", "--frob"],
        &["ledger", "export", "nothing", "-o", "x"],
        &[],
    ] {
        assert_eq!(code(&agent(args).output().unwrap()), 2, "{args:?}");
    }
    let place = Place::bare("");
    let wrong = place.run(&["ledger", "export", "claim", "--job", "ab", "-o", "x"]);
    assert_eq!(code(&wrong), 2, "{}", stderr(&wrong));
}

#[test]
fn the_printed_configuration_is_one_that_is_read() {
    let place = Place::bare("");
    let own = place.run(&["--print-config"]);
    assert!(stdout(&own).contains("no-tpm") && stdout(&own).contains("# "), "{own:?}");
    let copy = place.path("copy.toml");
    std::fs::write(&copy, &own.stdout).unwrap();
    let again = agent(&["--print-config", "--config"]).arg(&copy).output().unwrap();
    assert_eq!((code(&again), &again.stdout), (0, &own.stdout));
}

#[test]
fn a_bad_configuration_ends_with_2_and_names_the_key() {
    for (more, named) in
        [("[gpu]\nlibary = \"x\"\n", "libary"), ("[cadence]\nbeat_ms = 1\n", "cadence.beat_ms")]
    {
        let output = Place::bare(more).run(&["status"]);
        assert_eq!(code(&output), 2);
        assert!(stderr(&output).contains(named) && stderr(&output).contains("next: "), "{}", stderr(&output));
    }
    let missing = agent(&["status", "--config", "/nonexistent/agent.toml"]).output().unwrap();
    assert_eq!(code(&missing), 2);
}

#[test]
fn without_a_daemon_commands_say_how_to_start_one() {
    let place = Place::bare("");
    for args in [&["status"][..], &["enrol"], &["evidence", "-o", "x"], &["job", "stop", "ab"]] {
        let output = place.run(args);
        assert_eq!(code(&output), 3, "{args:?}");
        let text = stderr(&output);
        assert!(
            text.contains("not running") && text.contains("assay-agent run") && text.lines().count() == 2,
            "{text}"
        );
    }
    let output = place.run(&["status", "--json"]);
    let failure = json(&output);
    assert_eq!((code(&output), &failure["schema"]), (3, &Value::from(1)));
    assert_eq!(failure["error"]["code"], "agent.not-running");
    assert!(failure["error"]["next"].is_string());
}

#[test]
fn an_inventory_needs_no_library_and_no_configuration() {
    let place = Place::bare("[gpu]\nlibrary = \"/nonexistent/libnvidia-ml.so.1\"\n");
    let output = place.run(&["inventory", "--json"]);
    let inventory = json(&output);
    assert_eq!((code(&output), &inventory["schema"]), (0, &Value::from(1)));
    assert_eq!(inventory["gpu"]["status"]["state"], "library_missing");
    assert_eq!(inventory["gpu"]["gpus"], Value::Array(vec![]));
    assert!(inventory["host"]["cpu"]["threads"].as_u64().unwrap() > 0);
    assert!(inventory["host"]["memory"]["total_mib"]["value"].as_u64().unwrap() > 0);

    let output = place.run(&["inventory"]);
    let page = stdout(&output);
    assert!(page.contains("library missing") && !page.contains('\x1b'), "{page}");
    let output = agent(&["inventory"]).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
}

/// The simulated library, if it was built.
fn simulated_nvml() -> Option<(PathBuf, PathBuf)> {
    let target = Path::new(env!("CARGO_BIN_EXE_assay-agent")).parent()?;
    let library = target.join("libnvidia_ml.so");
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/nvml-sim/scenarios/h100x8.toml");
    (library.exists() && scenario.exists()).then_some((library, scenario))
}

#[test]
fn an_inventory_shows_simulated_gpus_as_simulated() {
    let Some((library, scenario)) = simulated_nvml() else {
        eprintln!("SKIPPED: the simulated NVML is not built");
        return;
    };
    let place = Place::bare(&format!("[gpu]\nlibrary = \"{}\"\n", library.display()));
    let output =
        place.command(&["inventory", "--json"]).env("ASSAY_NVML_SCENARIO", &scenario).output().unwrap();
    let inventory = json(&output);
    assert_eq!(inventory["gpu"]["status"]["state"], "ready", "{inventory}");
    assert_eq!(inventory["gpu"]["simulated"], true);
    let gpus = inventory["gpu"]["gpus"].as_array().unwrap();
    assert_eq!(gpus.len(), 8);
    assert!(gpus[0]["device"]["uuid"]["value"].as_str().unwrap().starts_with("GPU-"));
    let page = place.command(&["inventory"]).env("ASSAY_NVML_SCENARIO", &scenario).output().unwrap();
    assert!(stdout(&page).contains("simulation"), "{}", stdout(&page));
}

#[test]
fn doctor_on_a_machine_with_nothing_fails_and_says_what_next() {
    let place = Place::bare(
        "[gpu]\nlibrary = \"/nonexistent/libnvidia-ml.so.1\"\n[sandbox]\njailer = \"/nonexistent/jailer\"\n",
    );
    let output = place.run(&["doctor", "--json"]);
    let report = json(&output);
    assert_eq!(
        (code(&output), &report["schema"], &report["passed"]),
        (1, &Value::from(1), &Value::from(false))
    );
    let checks = report["checks"].as_array().unwrap();
    let find = |code: &str| {
        checks.iter().find(|check| check["code"] == code).unwrap_or_else(|| panic!("{code} in {report}"))
    };
    for (code, mark) in [
        ("config.file", "good"),
        ("agent.running", "warning"),
        ("tpm.usable", "failed"),
        ("boot.firmware-log", "warning"),
        ("sandbox.jailer", "failed"),
        ("node.state-dir", "note"),
        ("validator.configured", "warning"),
        ("clock.plausible", "good"),
    ] {
        assert_eq!(find(code)["mark"], mark, "{code}");
    }
    assert!(checks.iter().filter(|check| check["mark"] == "failed").all(|check| check["next"].is_string()));
    assert!(checks.iter().any(|check| check["code"].as_str().unwrap().starts_with("gpu.")));

    let page = place.run(&["doctor"]);
    assert_eq!(code(&page), 1);
    assert!(
        stdout(&page).contains("FAIL  tpm.usable") && stdout(&page).contains("next: "),
        "{}",
        stdout(&page)
    );
}

#[test]
fn a_child_whose_parent_is_gone_does_not_start() {
    let place = Place::bare("");
    // Process 1 is not the parent of what this test starts.
    let output = place.run(&["core", "--die-with-parent", "1"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("process 1"), "{}", stderr(&output));
}

#[test]
fn the_gpu_process_ends_with_its_socket_and_refuses_another_stdin() {
    let mut child = agent(&["nvml", "--library", "/nonexistent.so"]).stdin(Stdio::piped()).spawn().unwrap();
    // It may have looked at its stdin, and ended, before this is written.
    let _ = child.stdin.take().unwrap().write_all(b"\xff\xff\xff\xff");
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_job_file_is_refused_before_anyone_is_asked() {
    let place = Place::bare("");
    let job = place.path("job.toml");
    std::fs::write(&job, "[job]\nimage = \"oci:img:v1\"\nhooks = []\n").unwrap();
    let output = place.run(&["job", "run", job.to_str().unwrap()]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("hooks"), "{}", stderr(&output));
    let output = place.run(&["job", "run", "/nonexistent/job.toml"]);
    assert_eq!(code(&output), 3);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let place = Place::bare("");
    let mut child = place.command(&["--print-config"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A running `assay-agent run` that is killed with the test.
struct Running(std::process::Child);

impl Running {
    fn start(place: &Place) -> Self {
        let child = place.command(&["run"]).stderr(Stdio::null()).spawn().unwrap();
        let running = Self(child);
        until("core answers", || code(&place.run(&["status"])) == 0);
        running
    }

    fn id(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    /// Process ids of core and link.
    fn children(&self) -> Vec<i32> {
        let (id, children) = (self.id(), format!("/proc/{0}/task/{0}/children", self.id()));
        let text = std::fs::read_to_string(children).unwrap_or_else(|error| panic!("{id}: {error}"));
        text.split_whitespace().map(|child| child.parse().unwrap()).collect()
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.id()), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..200 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("ten seconds passed before {what}");
}

fn is_alive(pid: i32) -> bool {
    // A zombie has ended; its new parent has not looked yet.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_running_agent_answers_and_ends_in_order() {
    let place = Place::bare("[gpu]\nenabled = false\n");
    let mut running = Running::start(&place);
    let status = json(&place.run(&["status", "--json"]));
    assert_eq!((&status["schema"], &status["session"]), (&Value::from(1), &Value::Null));
    assert!(stdout(&place.run(&["status"])).contains("validator.none"));
    assert_eq!(json(&place.run(&["job", "list", "--json"]))["jobs"], Value::Array(vec![]));
    assert_eq!(code(&place.run(&["job", "stop", "ab"])), 3);
    assert_eq!(code(&place.run(&["job", "show", "ab"])), 2);
    assert_eq!(code(&place.run(&["enrol", "--timeout", "1"])), 3);
    let evidence = place.path("evidence.cbor");
    assert_eq!(code(&place.run(&["evidence", "-o", evidence.to_str().unwrap()])), 3);
    assert!(!evidence.exists());

    let children = running.children();
    assert_eq!(children.len(), 2);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert!(!children.into_iter().any(is_alive));
    assert_eq!(code(&place.run(&["status"])), 3);
}

#[test]
fn children_die_with_a_killed_supervisor_and_a_new_one_takes_over() {
    let place = Place::bare("[gpu]\nenabled = false\n");
    let mut running = Running::start(&place);
    let children = running.children();
    running.signal(nix::sys::signal::Signal::SIGKILL);
    running.0.wait().unwrap();
    until("the children are gone", || !children.iter().any(|child| is_alive(*child)));
    drop(Running::start(&place));
}

#[test]
fn a_second_agent_is_refused_with_cores_code() {
    let place = Place::bare("[gpu]\nenabled = false\n");
    let _running = Running::start(&place);
    let second = place.run(&["run"]);
    assert_eq!(code(&second), 3);
    assert!(stderr(&second).contains("another agent"), "{}", stderr(&second));
}

#[test]
fn a_ledger_is_shown_and_verified_without_an_agent() {
    let place = Place::bare("[gpu]\nenabled = false\n");
    assert_eq!(code(&place.run(&["ledger", "verify"])), 3);
    drop(Running::start(&place));
    let verified = place.run(&["ledger", "verify", "--json"]);
    assert_eq!((code(&verified), &json(&verified)["holds"]), (0, &Value::from(true)));
    let shown = json(&place.run(&["ledger", "show", "--json"]));
    assert_eq!((&shown["schema"], &shown["sessions"]), (&Value::from(1), &Value::Array(vec![])));
    assert_eq!(json(&place.run(&["job", "list", "--json"]))["jobs"], Value::Array(vec![]));

    // Bytes of the file that are no longer a ledger's.
    let file = place.path("state/ledger.db");
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::write(&file, vec![0x5a; usize::try_from(length).unwrap()]).unwrap();
    for wal in ["state/ledger.db-wal", "state/ledger.db-shm"] {
        let _ = std::fs::remove_file(place.path(wal));
    }
    assert_ne!(code(&place.run(&["ledger", "verify"])), 0);
}

#[test]
fn the_service_manager_hears_of_cores_readiness_from_the_process_it_started() {
    let place = Place::bare("[gpu]\nenabled = false\n");
    let path = place.path("manager.sock");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut command = place.command(&["run"]);
    let _running = Running(command.env("NOTIFY_SOCKET", &path).stderr(Stdio::null()).spawn().unwrap());
    let mut message = [0; 64];
    let length = manager.recv(&mut message).unwrap();
    assert_eq!(String::from_utf8_lossy(&message[..length]).trim(), "READY=1");
}

/// libtss2 opens the TPM without close-on-exec; a child that kept it would keep everyone else out.
#[test]
fn the_gpu_child_keeps_no_file_that_it_was_not_given() {
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::os::unix::net::UnixStream;

    use nix::poll::{PollFd, PollFlags, poll};

    let (read, write) = nix::unistd::pipe().unwrap();
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_assay-agent"))
        .arg("nvml")
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    drop(write);
    let mut fds = [PollFd::new(read.as_fd(), PollFlags::POLLIN)];
    let hung_up = poll(&mut fds, 20_000u16).unwrap() == 1;
    let alive = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(alive, "the child ended by itself");
    assert!(hung_up, "the child holds a pipe of its parent");
}
