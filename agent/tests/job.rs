//! Jobs from the command line, with and without a running agent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// An agent without TPM and GPUs, an image and a jailer; `None` where a part is missing.
struct Place {
    dir: TempDir,
    daemon: Option<Child>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Place {
    fn new() -> Option<Self> {
        let beside = || Path::new(env!("CARGO_BIN_EXE_assay-agent")).with_file_name("assay-jailer");
        let jailer = std::env::var_os("ASSAY_JAILER").map_or_else(beside, PathBuf::from);
        if !jailer.is_file() || !jailer.with_file_name("assay-probe").is_file() {
            eprintln!("SKIPPED: assay-jailer and assay-probe are not built");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        if let Err(error) = assay_demo::image::make_image(&dir.path().join("image")) {
            eprintln!("SKIPPED: no image can be made here: {error}");
            return None;
        }
        let root = dir.path().display();
        let text = format!(
            "[node]\nstate_dir = \"{root}/state\"\nruntime_dir = \"{root}/run\"\n\
             [tpm]\nbackend = \"{root}/no-tpm\"\n[gpu]\nenabled = false\n\
             [sandbox]\njailer = {jailer:?}\n"
        );
        std::fs::write(dir.path().join("agent.toml"), text).unwrap();
        Some(Self { dir, daemon: None })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assay-agent"));
        command.args(args).arg("--config").arg(self.dir.path().join("agent.toml")).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn start(&mut self) {
        self.daemon = Some(self.command(&["run"]).stderr(Stdio::null()).spawn().unwrap());
        for _ in 0..200 {
            if self.run(&["status"]).status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the agent does not answer");
    }

    /// A job file beside the image, which it names relative to itself.
    fn job(&self, name: &str, script: &str) -> String {
        let text = format!(
            "[job]\nimage = \"oci:image:{}\"\ncommand = [\"/bin/sh\", \"-c\", {script:?}]\n\
             timeout = \"30s\"\noutputs = [\"/out\"]\n[job.resources]\nlimits = \"rlimit\"\n",
            tag(&self.dir.path().join("image"))
        );
        let path: PathBuf = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// The name of the only image in a layout.
fn tag(layout: &Path) -> String {
    let index = std::fs::read(layout.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let tag = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
    tag.as_str().unwrap().to_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn runs_good_and_bad_jobs(place: &Place) {
    let good = place.job("good.toml", "echo said; echo warned >&2; echo made > /out/file");
    let output = place.run(&["job", "run", "--json", &good]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let answer = json(&output);
    assert_eq!((&answer["schema"], &answer["succeeded"]), (&Value::from(1), &Value::from(true)));
    assert_eq!((&answer["state"], &answer["checkable"]), (&Value::from("exit 0"), &Value::from("nobody")));
    assert_eq!(answer["outputs"][0]["path"], "/out/file");
    let directory = Path::new(answer["directory"].as_str().unwrap());
    assert!(directory.is_dir(), "{}", directory.display());

    let bad = place.job("bad.toml", "echo no; exit 7");
    let output = place.run(&["job", "run", &bad]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("exit 7"));

    let missing = place.job("missing.toml", "true");
    let text = std::fs::read_to_string(&missing).unwrap().replace("oci:image:", "oci:none:");
    std::fs::write(&missing, text).unwrap();
    let output = place.run(&["job", "run", &missing]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).is_empty());
}

#[test]
fn without_an_agent() {
    if let Some(place) = Place::new() {
        runs_good_and_bad_jobs(&place);
    }
}

#[test]
fn through_a_running_agent() {
    let Some(mut place) = Place::new() else { return };
    place.start();
    runs_good_and_bad_jobs(&place);
}

/// The session's keys are in core's memory.
#[test]
fn core_cannot_be_dumped() {
    let Some(mut place) = Place::new() else { return };
    place.start();
    let parent = place.daemon.as_ref().unwrap().id();
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let is_core = |pid: &&str| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|b| *b == 0).any(|arg| arg == b"core"))
    };
    let core = children.split_whitespace().find(is_core).expect("core runs");
    let limits = std::fs::read_to_string(format!("/proc/{core}/limits")).unwrap();
    let limit = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(limit.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{limit}");
}

/// Without its probe a machine cannot show that its walls stand, and says what to do.
#[test]
fn a_machine_without_a_probe_takes_no_job_until_it_has_one() {
    let Some(mut place) = Place::new() else { return };
    let file = place.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (settings, jailer) = text.rsplit_once("jailer = ").unwrap();
    let jailer = PathBuf::from(jailer.trim().trim_matches('"'));
    let (own, probe) = (place.dir.path().join("assay-jailer"), place.dir.path().join("assay-probe"));
    std::fs::copy(&jailer, &own).unwrap();
    std::fs::write(&file, format!("{settings}jailer = {own:?}\n")).unwrap();
    place.start();
    let job = place.job("job.toml", "true");
    let refused = place.run(&["job", "run", "--json", &job]);
    assert_eq!((refused.status.code(), &json(&refused)["error"]["code"]), (Some(3), &"sandbox.audit".into()));
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(said.contains("install it there") && said.contains("doctor --sandbox"), "{said}");
    std::fs::copy(jailer.with_file_name("assay-probe"), &probe).unwrap();
    let output = place.run(&["job", "run", &job]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_running_job_is_listed_and_stopped() {
    let Some(mut place) = Place::new() else { return };
    place.start();
    let endless = place.job("endless.toml", "echo on; sleep 1000");
    let running = place.command(&["job", "run", "--json", &endless]).stdout(Stdio::piped()).spawn().unwrap();
    let mut job = String::new();
    for _ in 0..200 {
        let listed = json(&place.run(&["job", "list", "--json"]));
        if listed["jobs"][0]["state"] == "running" {
            job = listed["jobs"][0]["job"].as_str().unwrap().to_owned();
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let short = job.get(..12).expect("the job is running");
    assert_eq!(json(&place.run(&["job", "show", "--json", short]))["job"], job);
    let mut said = Vec::new();
    for _ in 0..200 {
        said = place.run(&["job", "logs", short]).stdout;
        if !said.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(said, b"on\n");
    let stopped = place.run(&["job", "stop", short]);
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    let ended = running.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(json(&ended)["state"], "cancelled");
}

/// What a terminal sends goes to the command alone: the jailer is in a group of its own.
#[test]
fn a_job_without_an_agent_that_is_interrupted_leaves_its_account() {
    use nix::sys::signal::{Signal, kill};
    let Some(place) = Place::new() else { return };
    let endless = place.job("endless.toml", "echo made > /out/file; echo on; sleep 1000");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let running =
            place.command(&["job", "run", "--json", &endless]).stdout(Stdio::piped()).spawn().unwrap();
        let started = running_job(&place);
        kill(nix::unistd::Pid::from_raw(i32::try_from(running.id()).unwrap()), signal).unwrap();
        let ended = running.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let answer = json(&ended);
        assert_eq!(
            (&answer["state"], &answer["outputs"][0]["path"]),
            (&"cancelled".into(), &"/out/file".into())
        );
        assert!(started.join("receipt.cbor").is_file());
    }
    let listed = json(&place.run(&["job", "list", "--json"]));
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 2);
}

/// The directory of the job that runs and has said something.
fn running_job(place: &Place) -> PathBuf {
    let jobs = place.dir.path().join("state/sandbox/jobs");
    let runs = |entry: &std::fs::DirEntry| {
        let path = entry.path();
        let log = std::fs::read(path.join("stdout")).unwrap_or_default();
        !path.join("outcome.json").exists() && log.windows(3).any(|said| said == b"on\n")
    };
    for _ in 0..400 {
        if let Some(entry) = std::fs::read_dir(&jobs).into_iter().flatten().flatten().find(runs) {
            return entry.path();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no job runs");
}

#[test]
fn what_jobs_left_is_removed_by_name_and_by_rule() {
    let Some(mut place) = Place::new() else { return };
    let file = place.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}jobs_kept = 2\n")).unwrap();
    let jobs = place.dir.path().join("state/sandbox/jobs");
    let left = || std::fs::read_dir(&jobs).unwrap().count();
    let first = place.job("first.toml", "echo 1 > /out/file; exit 1");
    let text = std::fs::read_to_string(&first).unwrap();
    std::fs::write(&first, text.replacen("[job]\n", "[job]\ncheckpoint = \"/ckpt\"\n", 1)).unwrap();
    let ran = json(&place.run(&["job", "run", "--json", &first]));
    let job = ran["job"].as_str().unwrap();
    assert!(place.dir.path().join("state/sandbox/checkpoints").join(job).is_dir());
    let removed = json(&place.run(&["job", "remove", "--json", &job[..12]]));
    assert_eq!((&removed["runs"], &removed["checkpoint"], left()), (&1.into(), &true.into(), 0));
    place.start();
    let second = place.job("second.toml", "echo 2 > /out/file");
    for _ in 0..3 {
        assert_eq!(json(&place.run(&["job", "run", "--json", &second]))["succeeded"], true);
    }
    assert_eq!(left(), 2);
    let listed = json(&place.run(&["job", "list", "--json"]));
    assert!(listed["jobs"][0]["detail"]["restarts"].is_number(), "{listed}");
    assert!(listed["jobs"][0]["detail"]["outputs"].is_null(), "{listed}");
    let shown = json(&place.run(&["job", "show", "--json", listed["jobs"][0]["job"].as_str().unwrap()]));
    assert_eq!(shown["detail"]["outputs"][0]["path"], "/out/file");
}

#[test]
fn jobs_without_an_agent_are_found_again() {
    let Some(place) = Place::new() else { return };
    let file = place.job("kept.toml", "echo said; echo made > /out/file");
    let ran = json(&place.run(&["job", "run", "--json", &file]));
    let listed = json(&place.run(&["job", "list", "--json"]));
    assert_eq!((listed["jobs"].as_array().unwrap().len(), &listed["jobs"][0]["job"]), (1, &ran["job"]));
    let short = ran["job"].as_str().unwrap().get(..10).unwrap();
    let shown = json(&place.run(&["job", "show", "--json", short]));
    assert_eq!((&shown["detail"], &shown["session"]), (&ran["detail"], &ran["session"]));
    assert_eq!(shown["detail"]["outputs"][0]["path"], "/out/file");
    let page = place.run(&["job", "show", short]);
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    for part in ["image manifest", "confinement", "/out/file", "exit 0"] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert_eq!(place.run(&["job", "logs", short]).stdout, b"said\n");
    assert_eq!(place.run(&["job", "logs", "-f", short]).stdout, b"said\n");
    let log = json(&place.run(&["job", "logs", "--json", short]));
    assert_eq!(
        (&log["stream"], &log["text"], &log["written"]),
        (&"stdout".into(), &"said\n".into(), &5.into())
    );
    assert_eq!(place.run(&["job", "show", "ffff"]).status.code(), Some(2));
}

#[test]
fn a_log_is_followed_while_the_job_runs() {
    let Some(place) = Place::new() else { return };
    let file = place.job(
        "slow.toml",
        "echo one; while [ ! -e /out/never ] && [ $((i += 1)) -lt 6 ]; do sleep 0.5; done; echo two",
    );
    let running = place.command(&["job", "run", "--json", &file]).stdout(Stdio::piped()).spawn().unwrap();
    let jobs = place.dir.path().join("state/sandbox/jobs");
    let mut name = String::new();
    for _ in 0..400 {
        let entry = std::fs::read_dir(&jobs).into_iter().flatten().flatten().next();
        if let Some(entry) = entry.filter(|e| e.path().join("jailer.log").exists()) {
            name = entry.file_name().into_string().unwrap();
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let followed = place.run(&["job", "logs", "--follow", name.get(..12).expect("the job runs")]);
    assert_eq!(followed.stdout, b"one\ntwo\n", "{followed:?}");
    assert_eq!(json(&running.wait_with_output().unwrap())["succeeded"], true);
}

#[test]
fn schema_and_hashes_need_no_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_assay-agent")).args(args).output().unwrap();
    let schema = json(&run(&["job", "schema"]));
    assert_eq!(schema["title"], "Assay job file");
    let file = dir.path().join("file");
    std::fs::write(&file, "abc").unwrap();
    let path = file.to_str().unwrap();
    // FIPS 180-4's first example.
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(run(&["job", "hash", path]).stdout, format!("{hash}\n").into_bytes());
    let hashed = json(&run(&["job", "hash", "--json", path]));
    assert_eq!((&hashed["sha256"], &hashed["kind"]), (&hash.into(), &"file".into()));
    assert_eq!(run(&["job", "hash", "/dev/null"]).status.code(), Some(3));
}

#[test]
fn secrets_need_a_session() {
    let Some(mut place) = Place::new() else { return };
    let file = place.job("secret.toml", "cat /run/secrets/KEY");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}[job.secrets]\nKEY = \"{}\"\n", "A".repeat(64))).unwrap();
    let alone = place.run(&["job", "run", &file]);
    assert_eq!(alone.status.code(), Some(3), "{alone:?}");
    place.start();
    let refused = place.run(&["job", "run", "--json", &file]);
    assert_eq!((refused.status.code(), &json(&refused)["error"]["code"]), (Some(3), &"job.secrets".into()));
}
