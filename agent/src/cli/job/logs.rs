//! `job logs`: what was kept of a job's output, while it runs or afterwards.
//!
//! The jailer writes each stream into a ring (`assay_sandbox::ring`), which is read as outside bytes.

use std::{
    fs::{self, DirEntry, File},
    io::{self, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use assay_sandbox::ring::{self, Tail};
use serde::Serialize;

use super::versioned;
use crate::{cli::error::CliError, config::Config};

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Which log.
pub(super) struct Wanted {
    /// The job's digest, or its first 16 digits.
    pub(super) job: String,
    /// Standard error in place of standard output.
    pub(super) stderr: bool,
}

#[derive(Serialize)]
struct Log<'a> {
    job: &'a str,
    stream: &'a str,
    /// Place of the first byte of `text` in the stream.
    start: u64,
    /// Bytes ever written.
    written: u64,
    /// What was kept; bytes that are not UTF-8 are replaced.
    text: String,
}

/// Prints a log: as it is, so that redirected it is the job's own bytes, or as JSON.
pub(super) fn run(config: &Config, wanted: &Wanted, follow: bool, json: bool) -> Result<u8, CliError> {
    let dir = directory(&jobs(config), &wanted.job);
    let stream = if wanted.stderr { "stderr" } else { "stdout" };
    let path = dir.join(stream);
    let unreadable = |source| CliError::ReadLog { path: path.clone(), source };
    let mut out = io::stdout().lock();
    if follow {
        return self::follow(&dir, &path, &mut out).map_err(unreadable)?.map_err(CliError::Print).map(|()| 0);
    }
    let Tail { start, bytes, written } =
        File::open(&path).and_then(|f| ring::read(&f)).map_err(unreadable)?;
    if json {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        return versioned(&Log { job: &wanted.job, stream, start, written, text }).map(|()| 0);
    }
    ignore_closed(out.write_all(&bytes)).map_err(CliError::Print).map(|()| 0)
}

/// Whoever closed standard output has read enough.
fn ignore_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints what comes until the job is over. The outer error is the log's, the inner one the output's.
fn follow(dir: &Path, path: &Path, out: &mut impl Write) -> io::Result<io::Result<()>> {
    let (mut file, mut shown) = (0, 0);
    loop {
        // Asked before the log is read: what came before the end is read after it.
        let over = is_over(dir);
        match File::open(path) {
            Ok(log) => {
                let inode = log.metadata()?.ino();
                if inode != file {
                    // A restarted job's log is a new one.
                    (file, shown) = (inode, 0);
                }
                let tail = ring::read(&log)?;
                if let Err(error) = out.write_all(news(&tail, shown)).and_then(|()| out.flush()) {
                    return Ok(ignore_closed(Err(error)));
                }
                shown = tail.written;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !over => {}
            Err(error) => return Err(error),
        }
        if over {
            return Ok(Ok(()));
        }
        thread::sleep(LOOK);
    }
}

/// The bytes of a log after the first `shown` of its stream.
fn news(tail: &Tail, shown: u64) -> &[u8] {
    let old = usize::try_from(shown.saturating_sub(tail.start)).unwrap_or(usize::MAX);
    tail.bytes.get(old..).unwrap_or_default()
}

/// Whether a job was accounted for, or nobody runs it any more.
fn is_over(dir: &Path) -> bool {
    let held = || {
        let lock = File::open(dir.join("lock"))?;
        // The sandbox holds it while the job runs.
        Ok::<_, io::Error>(matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
    };
    dir.join("outcome.json").exists() || !held().unwrap_or(false)
}

fn jobs(config: &Config) -> PathBuf {
    config.node.sandbox_dir().join("jobs")
}

/// The start of the digest of the one job that is being run without an agent and starts like this.
pub(super) fn running_alone(config: &Config, given: &str) -> Option<String> {
    let given: String = given.to_ascii_lowercase().chars().take(16).collect();
    let running = |entry: DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let job = name.split_once('-')?.0.to_owned();
        (!given.is_empty() && job.starts_with(&given) && !is_over(&entry.path())).then_some(job)
    };
    let entries = fs::read_dir(jobs(config)).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.filter_map(running).collect();
    found.dedup();
    found.pop().filter(|_| found.is_empty())
}

/// Where the newest run of a job keeps its files: 16 digits of its digest and the number of the run.
fn directory(jobs: &Path, job: &str) -> PathBuf {
    let prefix: String = job.chars().take(16).collect();
    let run = |entry: DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_prefix(&prefix)?.strip_prefix('-')?.parse::<u32>().ok()
    };
    let runs = fs::read_dir(jobs).into_iter().flatten().flatten().filter_map(run);
    jobs.join(format!("{prefix}-{}", runs.max().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_those_of_the_newest_run() {
        let dir = tempfile::tempdir().unwrap();
        let job = "0123456789abcdef".repeat(4);
        assert_eq!(directory(dir.path(), &job), dir.path().join("0123456789abcdef-0"));
        for name in ["0123456789abcdef-9", "0123456789abcdef-10", "0123456789abcdee-11", "0123456789abcdef-x"]
        {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(directory(dir.path(), &job), dir.path().join("0123456789abcdef-10"));
    }

    #[test]
    fn only_what_is_new_is_shown() {
        let tail = Tail { start: 10, bytes: b"abcdef".to_vec(), written: 16 };
        assert_eq!(news(&tail, 0), b"abcdef");
        assert_eq!(news(&tail, 13), b"def");
        assert_eq!(news(&tail, 16), b"");
        assert_eq!(news(&tail, 99), b"");
    }

    #[test]
    fn a_log_is_followed_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let (path, lock) = (dir.path().join("stdout"), File::create(dir.path().join("lock")).unwrap());
        lock.lock().unwrap();
        assert!(!is_over(dir.path()));
        let mut out = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut ring = ring::Writer::create(File::create_new(&path).unwrap(), 64).unwrap();
                ring.write(b"one ").unwrap();
                thread::sleep(LOOK * 2);
                ring.write(b"two ").unwrap();
                fs::rename(&path, dir.path().join("stdout.before")).unwrap();
                let mut ring = ring::Writer::create(File::create_new(&path).unwrap(), 64).unwrap();
                ring.write(b"three").unwrap();
                fs::write(dir.path().join("outcome.json"), "{}").unwrap();
            });
            follow(dir.path(), &path, &mut out).unwrap().unwrap();
        });
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("one ") && text.ends_with("three"), "{text}");
    }

    #[test]
    fn a_job_that_nobody_runs_is_over() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_over(dir.path()));
        let lock = File::create(dir.path().join("lock")).unwrap();
        assert!(is_over(dir.path()));
        lock.lock().unwrap();
        assert!(!is_over(dir.path()));
        fs::write(dir.path().join("outcome.json"), "{}").unwrap();
        assert!(is_over(dir.path()));
    }
}
