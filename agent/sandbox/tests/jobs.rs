//! Jobs from file to outcome: results, limits, ends of every kind, and nothing left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use assay_sandbox::collect::output_file;
use assay_sandbox::job::Limits;
use assay_sandbox::outcome::IdMode;
use assay_sandbox::{Exit, Sandbox, SandboxError};
use common::{Bench, ImageBuilder, LayerTar, busybox, can_run, config, is_root, job, processes_with};
use sha2::{Digest, Sha256};

#[test]
fn hello_with_an_output() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let script =
        "echo hello; echo oops >&2; mkdir /out/sub; echo -n result > /out/sub/file; echo $IMAGE $KEY; exit 3";
    let done = bench.run_with(script, "outputs = [\"/out\"]\nenv = { KEY = \"v\" }").unwrap();
    assert_eq!(done.exit, Exit::Code(3));
    assert_eq!((done.stdout.tail.as_str(), done.stderr.tail.as_str()), ("hello\nyes v\n", "oops\n"));
    assert_eq!(done.stdout.sha256, <[u8; 32]>::from(Sha256::digest(b"hello\nyes v\n")));
    assert_eq!(done.outputs.len(), 1);
    let output = &done.outputs[0];
    assert_eq!((output.path.as_str(), output.size), ("/out/sub/file", 6));
    assert_eq!(output.sha256, <[u8; 32]>::from(Sha256::digest(b"result")));
    assert_eq!(std::fs::read(output_file(&done.dir.join("out"), output)).unwrap(), b"result");
    assert_eq!(done.job_digest, bench.job(script, "outputs = [\"/out\"]\nenv = { KEY = \"v\" }").digest());
    assert!(done.ended_ms >= done.started_ms && done.usage.max_rss_kib > 0);
    assert_eq!(done.limits, Limits::Rlimit);
    assert_eq!(done.ids, if is_root() { IdMode::Range } else { IdMode::Single });
    let recorded = std::fs::read(done.dir.join("outcome.json")).unwrap();
    let recorded: assay_sandbox::JobOutcome = serde_json::from_slice(&recorded).unwrap();
    assert_eq!(recorded.exit, done.exit);
    let removed = assay_sandbox::kept::remove_job(&bench.state(), &hex::encode(done.job_digest)).unwrap();
    assert_eq!(removed.runs, 1);
    assert!(!done.dir.exists());
}

#[test]
fn layers_stack_with_whiteouts() {
    if !can_run() {
        return;
    }
    let middle =
        LayerTar::new().file("a/gone", b"1").file("a/kept", b"2").file("b/old", b"3").file("c/old", b"4");
    let top = LayerTar::new()
        .file("a/.wh.gone", b"")
        .file("b/.wh..wh..opq", b"")
        .file("b/new", b"5")
        .file(".wh.c", b"");
    let bench = Bench::with_image(&ImageBuilder::new(vec![busybox().bytes(), middle.bytes(), top.bytes()]));
    let done = bench.run("cd /; ls a b; ls c 2>&1; echo more >> a/kept; cat a/kept; rm b/new; ls b");
    assert_eq!(done.stdout.tail, "a:\nkept\n\nb:\nnew\nls: c: No such file or directory\n2more\n");
    // The next job sees the layers as they were.
    assert_eq!(bench.run("cat /a/kept; ls /b").stdout.tail, "2new\n");
}

#[test]
fn the_images_user_and_directory_are_used() {
    if !can_run() {
        return;
    }
    let mut image =
        ImageBuilder::new(vec![busybox().file("etc/passwd", b"app:x:1000:1000::/:\n").dir("home").bytes()]);
    image.config = serde_json::json!({"User": "app", "WorkingDir": "/home", "Entrypoint": ["/bin/sh"],
                                      "Cmd": ["-c", "id -u; pwd; echo x > /out/x"]});
    let bench = Bench::with_image(&image);
    let text = format!(
        "[job]\nimage = \"oci:{}/image:test\"\noutputs = [\"/out\"]\n[job.resources]\nlimits = \"rlimit\"\n",
        bench.dir.path().display()
    );
    let job = assay_sandbox::JobFile::parse(text.as_bytes()).unwrap();
    let done = bench.sandbox.run(&job, &[], &AtomicBool::new(false), &|_| {}).unwrap();
    assert_eq!((done.stdout.tail.as_str(), done.exit), ("1000\n/home\n", Exit::Code(0)));
    assert_eq!(done.outputs.len(), 1);
}

#[test]
fn programs_that_cannot_start_are_refusals() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let mut job = bench.job("true", "");
    job.command = vec!["no-such-program".to_owned()];
    let Exit::Refused { reason } =
        bench.sandbox.run(&job, &[], &AtomicBool::new(false), &|_| {}).unwrap().exit
    else {
        panic!()
    };
    assert!(reason.contains("no-such-program"), "{reason}");
    job.command = vec!["/tmp".to_owned()];
    assert!(matches!(
        bench.sandbox.run(&job, &[], &AtomicBool::new(false), &|_| {}).unwrap().exit,
        Exit::Refused { .. }
    ));
}

#[test]
fn an_endless_job_times_out() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let began = Instant::now();
    let done = bench.run_with("echo begun; while :; do :; done", "timeout = \"500ms\"").unwrap();
    assert_eq!((done.exit, done.stdout.tail.as_str()), (Exit::TimedOut, "begun\n"));
    assert!(done.wall_ms >= 500 && began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_cancelled_job_ends() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let cancel = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| bench.sandbox.run(&bench.job("sleep 1000", ""), &[], &cancel, &|_| {}));
        std::thread::sleep(Duration::from_millis(300));
        cancel.store(true, Ordering::Relaxed);
        assert_eq!(run.join().unwrap().unwrap().exit, Exit::Cancelled);
    });
}

#[test]
fn daemons_die_with_the_job() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let mark = format!("7{:06}", std::process::id());
    let script = format!(
        "(setsid nohup sleep {mark} >/dev/null 2>&1 &) ; (trap '' TERM HUP INT; sleep {mark}) & sleep 0.2; exit 0"
    );
    let done = bench.run(&script);
    assert_eq!(done.exit, Exit::Code(0));
    assert_eq!(processes_with(&mark), Vec::<String>::new());
}

#[test]
fn a_flood_of_output_is_cut() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let done = bench.run("yes | head -c 3000000; echo 'kept apart' >&2");
    assert_eq!(done.exit, Exit::Code(0));
    assert_eq!((done.stdout.written, done.stdout.kept), (3_000_000, 64 << 10));
    assert_eq!(std::fs::metadata(done.dir.join("stdout")).unwrap().len(), (64 << 10) + 32);
    assert_eq!(done.stderr.tail, "kept apart\n");
    let endless = bench.run_with("yes", "timeout = \"500ms\"").unwrap();
    assert_eq!(endless.exit, Exit::TimedOut);
}

#[test]
fn limits_hold() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let disk =
        bench.run("dd if=/dev/zero of=/tmp/a bs=1M count=10 && dd if=/dev/zero of=/tmp/b bs=1M count=10");
    assert!(disk.stderr.tail.contains("No space left"), "{}", disk.stderr.tail);
    let memory = bench.run("x=$(head -c 80000000 /dev/zero | tr '\\0' x); echo ${#x}");
    assert!(!memory.exit.is_success() || memory.stdout.tail.trim() == "0", "{memory:?}");
    let forks = bench
        .run_with("i=0; while [ $i -lt 64 ]; do sleep 5 & i=$((i+1)); done; echo all", "timeout = \"20s\"");
    let forks = forks.unwrap();
    assert!(forks.stderr.tail.contains("fork") && !forks.stdout.tail.contains("all"), "{forks:?}");
}

#[test]
fn odd_outputs_are_skipped() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let script = "cd /out; echo x > real; ln -s /etc/passwd link; mkfifo pipe; ln real hard; mkdir -p a/b; \
                  ln -s / a/b/root; echo y > a/b/deep; printf z > $(printf '\\377')";
    let done = bench.run_with(script, "outputs = [\"/out\"]").unwrap();
    let paths: Vec<_> = done.outputs.iter().map(|o| o.path.as_str()).collect();
    assert_eq!(paths, ["/out/a/b/deep", "/out/hard", "/out/real"]);
    assert_eq!(done.outputs_skipped, 4);
    // An output directory that has become a link to elsewhere yields nothing.
    let moved = bench.run_with("rmdir /out; ln -s /bin /out", "outputs = [\"/out\"]").unwrap();
    assert_eq!((moved.outputs.len(), moved.outputs_skipped), (0, 1));
}

#[test]
fn cgroup_limits_without_controllers_are_refused() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let mut job = bench.job("true", "");
    job.resources.limits = Limits::Cgroup;
    match bench.sandbox.run(&job, &[], &AtomicBool::new(false), &|_| {}) {
        Err(SandboxError::NoControllers { .. }) => {}
        Ok(done) => assert_eq!(done.exit, Exit::Code(0)),
        Err(other) => eprintln!("SKIPPED: controllers exist but are not ours: {other}"),
    }
}

/// A cgroup v2 directory of this test's own, without any controller needed.
fn cgroup_parent(name: &str) -> Option<std::path::PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|l| l.contains(" - cgroup2 "))?.split(' ').nth(4)?.to_owned();
    let parent = Path::new(&mount).join(format!("assay-test-{name}-{}", std::process::id()));
    std::fs::create_dir(&parent).ok()?;
    Some(parent)
}

#[test]
fn a_job_is_born_into_its_cgroup() {
    if !can_run() {
        return;
    }
    let Some(parent) = cgroup_parent("born") else {
        eprintln!("SKIPPED: no writable cgroup v2");
        return;
    };
    let bench = Bench::new();
    let config =
        assay_sandbox::SandboxConfig { cgroup_parent: Some(parent.clone()), ..config(&bench.state()) };
    let sandbox = Sandbox::new(config.clone()).unwrap();
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; cat /proc/self/cgroup";
    let done = sandbox.run(&bench.job(script, ""), &[], &AtomicBool::new(false), &|_| {}).unwrap();
    // Inside, the job's own cgroup is the root.
    assert!(done.stdout.tail.lines().any(|l| l == "0::/"), "{}", done.stdout.tail);
    assert!(done.usage.cpu_us > 0);
    let groups = |parent: &Path| {
        std::fs::read_dir(parent).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count()
    };
    assert_eq!(groups(&parent), 0);
    // What a crash has left there goes with the next start, processes and all.
    let tag = name_of_a_run(&sandbox, &bench.job("sleep 1", ""), &parent);
    let tag = tag.split('-').next().unwrap();
    let left = parent.join(format!("{tag}-5-1-0"));
    let foreign = parent.join("000000000000-5-1-0");
    for dir in [&left, &foreign] {
        std::fs::create_dir(dir).unwrap();
    }
    let mut orphan = Command::new("sleep").arg("100").spawn().unwrap();
    std::fs::write(left.join("cgroup.procs"), orphan.id().to_string()).unwrap();
    Sandbox::new(config).unwrap();
    assert!(!orphan.wait().unwrap().success());
    // Another state directory's jobs are not ours to end.
    assert!(foreign.exists());
    std::fs::remove_dir(&foreign).unwrap();
    assert_eq!(groups(&parent), 0);
    std::fs::remove_dir(&parent).unwrap();
}

/// Runs a job and says what its cgroup was called.
fn name_of_a_run(sandbox: &Sandbox, job: &assay_sandbox::JobFile, parent: &Path) -> String {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| sandbox.run(job, &[], &AtomicBool::new(false), &|_| {}));
        let found = || {
            let entries = std::fs::read_dir(parent).unwrap().flatten();
            entries.filter(|e| e.path().is_dir()).find_map(|e| e.file_name().into_string().ok())
        };
        let name = loop {
            match found() {
                Some(name) => break name,
                None if run.is_finished() => panic!("the job had no cgroup"),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        run.join().unwrap().unwrap();
        name
    })
}

/// Not a test: the supervisor that `a_killed_supervisor_leaves_nothing` kills.
#[test]
fn supervisor_for_killing() {
    let Some(dir) = std::env::var_os("ASSAY_TEST_SUPERVISE") else { return };
    let dir = Path::new(&dir);
    let sandbox = Sandbox::new(config(&dir.join("state"))).unwrap();
    let mark = std::env::var("ASSAY_TEST_MARK").unwrap();
    let job = job(&dir.join("image"), &format!("setsid sleep {mark} & sleep {mark}"), "");
    println!("supervising");
    let _ = sandbox.run(&job, &[], &AtomicBool::new(false), &|_| {});
}

#[test]
fn a_killed_supervisor_leaves_nothing() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let mark = format!("8{:06}", std::process::id());
    let mut supervisor = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "supervisor_for_killing", "--nocapture"])
        .env("ASSAY_TEST_SUPERVISE", bench.dir.path())
        .env("ASSAY_TEST_MARK", &mark)
        .env("ASSAY_JAILER", common::jailer())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(supervisor.stdout.take().unwrap()).lines();
    assert!(lines.any(|l| l.unwrap().contains("supervising")));
    let sleeping =
        || processes_with(&format!("sleep {mark}")).iter().filter(|l| l.starts_with("sleep")).count();
    wait_until("the job runs", || sleeping() == 2);
    let jobs = bench.state().join("jobs");
    assert_eq!(std::fs::read_dir(&jobs).unwrap().count(), 1);
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    wait_until("the job is gone", || processes_with(&mark).is_empty());
    Sandbox::new(config(&bench.state())).unwrap();
    assert_eq!(std::fs::read_dir(&jobs).unwrap().count(), 0);
    assert_eq!(bench.run("true").exit, Exit::Code(0));
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_hundred_jobs_leak_nothing() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let job = bench.job("true", "");
    let run = || {
        assert_eq!(
            bench.sandbox.run(&job, &[], &AtomicBool::new(false), &|_| {}).unwrap().exit,
            Exit::Code(0)
        )
    };
    run();
    let descriptors = || -> BTreeSet<_> {
        let entries = std::fs::read_dir("/proc/self/fd").unwrap();
        entries
            .filter_map(|e| std::fs::read_link(e.unwrap().path()).ok())
            .filter(|p| p.starts_with(bench.dir.path()))
            .collect()
    };
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = (descriptors(), mounts());
    let began = Instant::now();
    (0..100).for_each(|_| run());
    eprintln!("job file to outcome: {:?} each", began.elapsed() / 100);
    assert_eq!((descriptors(), mounts()), before);
    assert_eq!(std::fs::read_dir(bench.state().join("slots")).unwrap().count().min(1), 1);
    let jailer = common::jailer();
    let ours = format!("{}", std::process::id());
    let children = std::fs::read_to_string(format!("/proc/{ours}/task/{ours}/children")).unwrap_or_default();
    assert!(
        children
            .split_whitespace()
            .all(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok() != Some(jailer.clone()))
    );
}

#[test]
fn without_root_jobs_run_under_the_callers_id() {
    if !can_run() {
        return;
    }
    if !is_root() {
        eprintln!("SKIPPED: already without root");
        return;
    }
    let bench = Bench::new();
    let jailer = bench.dir.path().join("assay-jailer");
    std::fs::copy(common::jailer(), &jailer).unwrap();
    let exe = bench.dir.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
    let home = bench.dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65_534), Some(65_534)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&exe)
        .args(["--exact", "unprivileged_job", "--nocapture"])
        .env("ASSAY_TEST_UNPRIVILEGED", bench.dir.path())
        .env("ASSAY_JAILER", &jailer)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("unprivileged: ok"), "{output:?}");
}

/// Not a test: run by `without_root_jobs_run_under_the_callers_id` as another user.
#[test]
fn unprivileged_job() {
    let Some(dir) = std::env::var_os("ASSAY_TEST_UNPRIVILEGED") else { return };
    let dir = Path::new(&dir);
    let sandbox = Sandbox::new(config(&dir.join("home/state"))).unwrap();
    let script =
        "id -u; echo x > /bin/new && echo y > /out/file; grep Cap /proc/self/status; cat /proc/self/uid_map";
    let done = sandbox
        .run(&job(&dir.join("image"), script, "outputs = [\"/out\"]"), &[], &AtomicBool::new(false), &|_| {})
        .unwrap();
    assert_eq!((done.exit, done.ids), (Exit::Code(0), IdMode::Single));
    assert!(done.stdout.tail.starts_with("0\n"), "{}", done.stdout.tail);
    assert!(
        done.stdout.tail.lines().filter(|l| l.starts_with("Cap")).all(|l| l.ends_with("0000000000000000"))
    );
    assert_eq!(done.outputs.len(), 1);
    println!("unprivileged: ok");
}
