//! What a job is given beside its image, and keeps beyond one run: inputs, secrets, checkpoints, restarts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use assay_sandbox::job::JobFile;
use assay_sandbox::{Event, Exit, JobOutcome, SandboxError, Secret, inputs};
use common::{Bench, can_run};

const SEALED: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn secret(name: &str, value: &[u8]) -> Secret {
    Secret { name: name.to_owned(), value: value.to_vec().into() }
}

fn run(bench: &Bench, job: &JobFile, secrets: &[Secret]) -> Result<JobOutcome, SandboxError> {
    bench.sandbox.run(job, secrets, &AtomicBool::new(false), &|_| {})
}

/// An input of what is at `source`.
fn input(source: &Path, target: &str) -> String {
    let hash = hex::encode(inputs::hash(source).unwrap().sha256);
    format!("[[job.inputs]]\nsource = {source:?}\nsha256 = \"{hash}\"\ntarget = \"{target}\"\n")
}

/// A real path: an input is reached through no link.
fn place(bench: &Bench, name: &str) -> PathBuf {
    bench.dir.path().canonicalize().unwrap().join(name)
}

#[test]
fn inputs_are_read_only_copies() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let (file, set) = (place(&bench, "file"), place(&bench, "set"));
    fs::write(&file, "content").unwrap();
    fs::create_dir_all(set.join("a")).unwrap();
    fs::write(set.join("a/b"), "deep").unwrap();
    let script =
        "cat /in/file /set/a/b; echo x 2>&1 > /in/file; rm /set/a/b 2>&1; touch /set/new 2>&1; ls /set";
    let given = format!("{}{}", input(&file, "/in/file"), input(&set, "/set"));
    let job = bench.job(script, &given);
    let done = run(&bench, &job, &[]).unwrap();
    assert!(done.stdout.tail.starts_with("contentdeep"), "{done:?}");
    assert_eq!(done.stdout.tail.matches("ead-only file system").count(), 3, "{done:?}");
    assert!(done.stdout.tail.ends_with("\na\n"), "{done:?}");
    // The node's own are as they were, and the copies are gone.
    assert_eq!(
        (fs::read(&file).unwrap(), fs::read(set.join("a/b")).unwrap()),
        (b"content".into(), b"deep".into())
    );
    assert!(!done.dir.join("in").exists());
}

#[test]
fn an_input_that_is_not_what_was_said_is_never_shown() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let file = place(&bench, "file");
    fs::write(&file, "content").unwrap();
    let job = bench.job("cat /in > /out/x", &format!("outputs = [\"/out\"]\n{}", input(&file, "/in")));
    fs::write(&file, "other").unwrap();
    assert!(matches!(run(&bench, &job, &[]), Err(SandboxError::Input { .. })));
    // Nothing of the attempt stays.
    assert_eq!(fs::read_dir(bench.state().join("jobs")).unwrap().count(), 0);
}

#[test]
fn another_jobs_results_are_no_input() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let done = bench.run_with("echo private > /out/x", "outputs = [\"/out\"]").unwrap();
    let result = done.dir.canonicalize().unwrap().join("out/out/x");
    let job = bench.job("cat /in", &input(&result, "/in"));
    assert!(matches!(run(&bench, &job, &[]), Err(SandboxError::Input { .. })));
}

#[test]
fn secrets_are_files_in_memory() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let (marker, extra) =
        ("hush-7f3a9", format!("[job.secrets]\nKEY = \"{SEALED}\"\nOTHER = \"{SEALED}\"\n"));
    let script = "sha256sum < /run/secrets/KEY; stat -c '%a %u' /run/secrets/KEY; wc -c < /run/secrets/OTHER; \
                  (echo x > /run/secrets/KEY) 2> /dev/null || echo refused; grep -c /run/secrets /proc/self/mountinfo";
    let job = bench.job(script, &extra);
    assert!(matches!(run(&bench, &job, &[]), Err(SandboxError::Secrets)));
    let done = run(&bench, &job, &[secret("KEY", marker.as_bytes()), secret("OTHER", &[0, 255])]).unwrap();
    let lines: Vec<_> = done.stdout.tail.lines().collect();
    assert!(lines[0].starts_with(&sha256(marker)), "{done:?}");
    assert_eq!(lines[1..], ["400 0", "2", "refused", "1"], "{done:?}");
    // No file that the run left holds it, as it is or in hexadecimal.
    for needle in [marker.as_bytes().to_vec(), hex::encode(marker).into_bytes()] {
        let found = holding(bench.dir.path(), &needle);
        assert_eq!(found, Vec::<PathBuf>::new());
    }
}

fn sha256(text: &str) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(text))
}

/// Files below `dir` that hold `needle`.
fn holding(dir: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(holding(&entry.path(), needle));
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            if bytes.windows(needle.len()).any(|window| window == needle) {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_failing_job_goes_on_from_its_checkpoint() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let script = "cd $ASSAY_CHECKPOINT; echo $ASSAY_RESTART >> tries; wc -l < tries; \
                  [ $(wc -l < tries) -ge 3 ] && cp tries /out/tries && exit 0; echo left > /tmp/left; exit 1";
    let extra = "outputs = [\"/out\"]\ncheckpoint = \"/ckpt\"\nrestart = { on = \"failure\", max = 5, backoff = \"10ms\" }";
    let events = RefCell::new(vec![]);
    let note = |event| events.borrow_mut().push(event);
    let job = bench.job(script, extra);
    let done = bench.sandbox.run(&job, &[], &AtomicBool::new(false), &note).unwrap();
    assert_eq!(
        (&done.exit, done.restarts, done.stdout.tail.as_str()),
        (&Exit::Code(0), 2, "3\n"),
        "{done:?}"
    );
    assert_eq!(fs::read(done.dir.join("out/out/tries")).unwrap(), b"0\n1\n2\n");
    assert!(done.checkpoint.is_some());
    let restarts = events.borrow().iter().filter(|e| matches!(e, Event::Restarting { .. })).count();
    let started = events.borrow().iter().any(|e| matches!(e, Event::Started { id, .. } if *id == done.id));
    assert!(started && restarts == 2);
    // The log of the run before the last is kept; a success leaves no checkpoint.
    assert!(done.dir.join("stdout.before").exists());
    assert_eq!(fs::read_dir(bench.state().join("checkpoints")).unwrap().count(), 0);
}

#[test]
fn restarts_come_to_an_end() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let restart =
        |max, backoff| format!("restart = {{ on = \"failure\", max = {max}, backoff = \"{backoff}\" }}\n");
    let done = bench.run_with("exit 4", &restart(2, "1ms")).unwrap();
    assert_eq!((done.exit, done.restarts), (Exit::Code(4), 2));
    let killed = bench.run_with("kill -9 $$", &restart(1, "1ms")).unwrap();
    assert_eq!((killed.exit, killed.restarts), (Exit::Signal(9), 1));
    // No pause reaches beyond the time limit, and neither a time-out nor a success is a failure.
    let hasty = bench.run_with("exit 4", &format!("timeout = \"30s\"\n{}", restart(2, "1m"))).unwrap();
    assert_eq!((hasty.exit, hasty.restarts), (Exit::Code(4), 0));
    let slow = bench.run_with("sleep 1000", &format!("timeout = \"500ms\"\n{}", restart(2, "1ms"))).unwrap();
    assert_eq!((slow.exit, slow.restarts), (Exit::TimedOut, 0));
    let good = bench.run_with("exit 0", &restart(2, "1ms")).unwrap();
    assert_eq!((good.exit, good.restarts), (Exit::Code(0), 0));
}

#[test]
fn a_pause_can_be_cancelled_and_the_time_limit_covers_all_runs() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let cancel = AtomicBool::new(false);
    let stop = |event| {
        if matches!(event, Event::Restarting { .. }) {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let extra = "timeout = \"100h\"\nrestart = { on = \"failure\", max = 9, backoff = \"10m\" }";
    let done = bench.sandbox.run(&bench.job("exit 1", extra), &[], &cancel, &stop).unwrap();
    assert_eq!((done.exit, done.restarts), (Exit::Cancelled, 0));
    let extra = "timeout = \"2s\"\nrestart = { on = \"failure\", max = 100, backoff = \"1ms\" }";
    let done = bench.run_with("[ $ASSAY_RESTART = 0 ] && exit 1; sleep 1000", extra).unwrap();
    assert_eq!((done.exit, done.restarts), (Exit::TimedOut, 1));
}

#[test]
fn a_checkpoint_has_a_cap_and_is_its_jobs_own() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let extra = "checkpoint = \"/ckpt\"\ncheckpoint_bytes = \"1Mi\"\ntimeout = \"60s\"";
    let script = "dd if=/dev/zero of=/ckpt/fill bs=64k count=64 2>&1; sleep 1000";
    let over = bench.run_with(script, extra).unwrap();
    assert_eq!((over.exit, over.checkpoint), (Exit::Quota, None));
    // What was over its cap is gone; another job sees another directory.
    let script = "ls /ckpt; echo mine > /ckpt/mine; ln -s /etc/passwd /ckpt/link; mkfifo /ckpt/pipe; exit 1";
    let first = bench.run_with(script, extra).unwrap();
    assert_eq!((first.exit, first.stdout.tail.as_str()), (Exit::Code(1), ""));
    let again = bench.run_with(script, extra).unwrap();
    assert_eq!(again.stdout.tail, "link\nmine\npipe\n");
    assert!(first.checkpoint.is_some() && first.checkpoint == again.checkpoint);
    let other = bench.run_with("ls /ckpt; exit 1", extra).unwrap();
    assert_eq!(other.stdout.tail, "");
}

/// Names so long that the tree hash has no path for them: within every cap, and no reason for a
/// job to go without its account.
#[test]
fn a_checkpoint_that_has_no_hash_is_over_its_bounds() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let script = "cd /ckpt; ls | wc -l; n=$(printf %0255d 0); \
                  mkdir $n; for i in $(seq 17); do mkdir t; mv $n t; mv t $n; done; exit 3";
    let extra = "checkpoint = \"/ckpt\"\ntimeout = \"60s\"";
    for _ in 0..2 {
        let done = bench.run_with(script, extra).unwrap();
        assert_eq!((&done.exit, done.checkpoint), (&Exit::Quota, None), "{done:?}");
        assert_eq!(done.stdout.tail, "0\n");
        assert_eq!(fs::read_dir(bench.state().join("checkpoints")).unwrap().count(), 0);
    }
}

/// A file of terabytes without a block: neither the disk nor the account suffers.
#[test]
fn a_sparse_output_is_counted_and_not_copied() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let script = "cd /out; busybox truncate -s 17592186044416 sparse; ls -l sparse; echo good > x";
    let mut job = bench.job(script, "outputs = [\"/out\"]");
    (job.resources.disk_bytes, job.output_bytes) = (64 << 40, 64 << 40);
    let done = run(&bench, &job, &[]).unwrap();
    assert!(done.stdout.tail.contains("17592186044416"), "{done:?}");
    let paths: Vec<_> = done.outputs.iter().map(|o| o.path.as_str()).collect();
    assert_eq!((paths, done.outputs_skipped, done.outputs_over), (vec!["/out/x"], 1, 1));
}

/// They are checked before anything is fetched.
#[test]
fn missing_secrets_are_refused_before_the_image() {
    let bench = Bench::new();
    fs::remove_dir_all(bench.dir.path().join("image")).unwrap();
    let job = bench.job("true", &format!("[job.secrets]\nKEY = \"{SEALED}\"\n"));
    assert!(matches!(run(&bench, &job, &[]), Err(SandboxError::Secrets)));
}

#[test]
fn one_run_at_a_time_has_the_checkpoint() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let job = bench.job("sleep 1000", "checkpoint = \"/ckpt\"");
    let cancel = AtomicBool::new(false);
    let busy = std::thread::scope(|scope| {
        let (started, running) = std::sync::mpsc::channel();
        let (bench, job, cancel) = (&bench, &job, &cancel);
        scope.spawn(move || {
            let tell = |event| {
                if let Event::Started { dir, .. } = event {
                    started.send(dir).unwrap();
                }
            };
            bench.sandbox.run(job, &[], cancel, &tell).unwrap();
        });
        // The jailer is started once the checkpoint is held.
        let log = running.recv().unwrap().join("jailer.log");
        while !log.exists() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let second = run(bench, job, &[]).map(|_| ()).unwrap_err();
        cancel.store(true, Ordering::Relaxed);
        second
    });
    assert!(matches!(busy, SandboxError::CheckpointBusy), "{busy}");
}

#[test]
fn what_does_not_fit_is_said() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let script = "cd /out; head -c 600 /dev/zero > a; head -c 600 /dev/zero > b; echo x > c";
    let done = bench.run_with(script, "outputs = [\"/out\"]\noutput_bytes = \"1000\"").unwrap();
    let paths: Vec<_> = done.outputs.iter().map(|o| o.path.as_str()).collect();
    assert_eq!((paths, done.outputs_skipped, done.outputs_over), (vec!["/out/a", "/out/c"], 1, 1));
}

#[test]
fn the_policy_hash_is_of_what_confined_the_job() {
    if !can_run() {
        return;
    }
    let bench = Bench::new();
    let policy = |extra: &str| bench.run_with("true", extra).unwrap().policy_digest;
    let plain = policy("");
    assert_eq!(plain, policy("env = { A = \"1\" }"));
    assert_ne!(plain, policy("timeout = \"9m\""));
    assert_ne!(plain, policy("outputs = [\"/out\"]"));
    assert_ne!(plain, policy("checkpoint = \"/ckpt\""));
}
