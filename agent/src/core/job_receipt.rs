//! Job receipts: made from an outcome, kept beside the job's files, shown as rows.
//!
//! A receipt goes into the ledger when a session signs it. One that nobody can check, because the
//! node is not enrolled, is in the job's directory alone; so every receipt is kept there too, and
//! read back as outside bytes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use assay_ledger::job::{JobExit, JobOutput, JobReceipt};
use assay_sandbox::outcome::{IdMode, Output};
use assay_sandbox::{Exit, JobOutcome};
use assay_wire::{Digest, Envelope, Kind, limits};

use super::answer::{Checkable, JobAnswer, JobDetail, JobRow, OutputRow};
use super::clock;
use crate::config::Config;
use crate::ledger::Stored;

/// A receipt in its job's directory.
const FILE: &str = "receipt.cbor";

/// Most jobs that are told of where several could be meant.
const MATCHES_MAX: usize = 64;

/// What a receipt says of an outcome.
pub(super) fn receipt(outcome: &JobOutcome, seq: u64) -> JobReceipt {
    let output = |output: &Output| JobOutput {
        path: output.path.clone(),
        size: output.size,
        sha256: Digest(output.sha256),
    };
    let ids = match outcome.ids {
        IdMode::Range => "range",
        IdMode::Single => "single",
    };
    JobReceipt {
        job: Digest(outcome.job_digest),
        image: Digest(outcome.image_digest),
        started_mono_ms: clock::boot_of_monotonic_ms(outcome.started_ms),
        wall_ms: outcome.wall_ms,
        exit: exit(&outcome.exit),
        cpu_us: outcome.usage.cpu_us,
        max_rss_kib: outcome.usage.max_rss_kib,
        limits: outcome.limits.name().to_owned(),
        ids: ids.to_owned(),
        network: outcome.network.name().to_owned(),
        outputs: outcome.outputs.iter().map(output).collect(),
        stdout: Digest(outcome.stdout.sha256),
        stderr: Digest(outcome.stderr.sha256),
        seq,
        config: Digest(outcome.config_digest),
        policy: Digest(outcome.policy_digest),
        io_read: outcome.usage.io_read_bytes,
        io_write: outcome.usage.io_write_bytes,
        checkpoint: outcome.checkpoint.map(Digest),
        restarts: outcome.restarts,
        outputs_skipped: outcome.outputs_skipped,
    }
}

fn exit(exit: &Exit) -> JobExit {
    match exit {
        Exit::Code(code) => JobExit::Code(*code),
        Exit::Signal(signal) => JobExit::Signal(u8::try_from(*signal).unwrap_or(u8::MAX)),
        Exit::OutOfMemory => JobExit::OutOfMemory,
        Exit::TimedOut => JobExit::TimedOut,
        Exit::Quota => JobExit::Quota,
        Exit::Cancelled => JobExit::Cancelled,
        Exit::Refused { .. } => JobExit::NotStarted,
    }
}

fn state(exit: JobExit) -> String {
    match exit {
        JobExit::Code(code) => format!("exit {code}"),
        JobExit::Signal(signal) => format!("signal {signal}"),
        JobExit::OutOfMemory => "out of memory".to_owned(),
        JobExit::TimedOut => "timed out".to_owned(),
        JobExit::Quota => "over quota".to_owned(),
        JobExit::Cancelled => "cancelled".to_owned(),
        JobExit::NotStarted => "not started".to_owned(),
    }
}

fn outputs(receipt: &JobReceipt) -> Vec<OutputRow> {
    let row = |output: &JobOutput| OutputRow {
        path: output.path.clone(),
        size: output.size,
        sha256: output.sha256.to_string(),
    };
    receipt.outputs.iter().map(row).collect()
}

/// A receipt as a line of a list.
fn row(receipt: &JobReceipt, session: &Digest) -> JobRow {
    JobRow {
        job: receipt.job.to_string(),
        session: session.to_string(),
        state: state(receipt.exit),
        succeeded: receipt.exit.succeeded(),
        wall_ms: receipt.wall_ms,
        cpu_us: receipt.cpu_us,
        max_rss_kib: receipt.max_rss_kib,
        limits: receipt.limits.clone(),
        ids: receipt.ids.clone(),
        network: receipt.network.clone(),
        detail: Some(Box::new(JobDetail {
            image: receipt.image.to_string(),
            config: receipt.config.to_string(),
            policy: receipt.policy.to_string(),
            io_read: receipt.io_read,
            io_write: receipt.io_write,
            restarts: receipt.restarts,
            checkpoint: receipt.checkpoint.map(|hash| hash.to_string()),
            outputs: Some(outputs(receipt)),
            outputs_skipped: receipt.outputs_skipped,
            stdout: receipt.stdout.to_string(),
            stderr: receipt.stderr.to_string(),
            started_mono_ms: receipt.started_mono_ms,
            seq: receipt.seq,
        })),
    }
}

/// What is said of a job whose receipt is signed.
pub(super) fn answer(
    outcome: &JobOutcome,
    receipt: &JobReceipt,
    session: &Digest,
    bytes: Vec<u8>,
    checkable: Checkable,
) -> JobAnswer {
    let refusal = match &outcome.exit {
        Exit::Refused { reason } => Some(reason.clone()),
        _ => None,
    };
    JobAnswer {
        row: row(receipt, session),
        refusal,
        directory: PathBuf::from(&outcome.dir),
        outputs: outputs(receipt),
        outputs_over: outcome.outputs_over,
        receipt: hex::encode(bytes),
        checkable,
    }
}

/// Keeps a receipt beside its job's files.
pub(super) fn keep(outcome: &JobOutcome, receipt: &[u8]) {
    let path = outcome.dir.join(FILE);
    if let Err(error) = fs::write(&path, receipt) {
        log::warn!("cannot keep the receipt {}: {error}", path.display());
    }
}

/// The row of an envelope; `None` when it is no job receipt.
fn decoded(bytes: &[u8]) -> Option<JobRow> {
    let envelope = Envelope::decode_as(Kind::JobReceipt, bytes).ok()?;
    Some(row(&envelope.message().ok()?, &envelope.kid))
}

/// The row of a stored receipt; `None` when it does not decode.
pub(super) fn stored_row(stored: &Stored) -> Option<JobRow> {
    decoded(&stored.bytes)
}

/// Jobs that have ended, newest first: those whose receipts are in directories alone, then those
/// of the ledger. What does not decode is left out.
pub(super) fn ended(config: &Config, stored: &[Stored]) -> Vec<JobRow> {
    let known: BTreeSet<&[u8]> = stored.iter().map(|stored| stored.bytes.as_slice()).collect();
    let mut kept = kept(&config.node.sandbox_dir().join("jobs"));
    kept.retain(|bytes| !known.contains(bytes.as_slice()));
    kept.iter().filter_map(|bytes| decoded(bytes)).chain(stored.iter().filter_map(stored_row)).collect()
}

/// The newest run of each job whose digest starts with `prefix`, at most [`MATCHES_MAX`] of them; with
/// its outputs where it is the only one.
pub(super) fn matching(rows: Vec<JobRow>, prefix: &str) -> Vec<JobRow> {
    let mut seen = BTreeSet::new();
    let mut found: Vec<JobRow> = rows
        .into_iter()
        .filter(|row| row.job.starts_with(prefix) && seen.insert(row.job.clone()))
        .take(MATCHES_MAX)
        .collect();
    if found.len() > 1 {
        found = found.into_iter().map(JobRow::brief).collect();
    }
    found
}

/// Receipts of the jobs' directories, newest first.
fn kept(jobs: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(jobs).into_iter().flatten().flatten();
    let read = |entry: fs::DirEntry| read(&entry.path().join(FILE)).ok();
    let mut kept: Vec<_> = entries.filter_map(read).collect();
    kept.sort_by(|(a, _), (b, _)| b.cmp(a));
    kept.into_iter().map(|(_, bytes)| bytes).collect()
}

fn read(path: &Path) -> io::Result<(SystemTime, Vec<u8>)> {
    let file = File::open(path)?;
    let written = file.metadata()?.modified()?;
    let limit = u64::try_from(limits::ENVELOPE).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok((written, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::answer::MAX_ANSWER;
    use assay_ledger::protocol::RECORDS_BYTES;
    use assay_wire::{Network, SigningKey};

    #[test]
    fn ends_are_told_apart() {
        let told = |one: Exit| state(exit(&one));
        assert_eq!(told(Exit::Code(3)), "exit 3");
        assert_eq!(told(Exit::Signal(9)), "signal 9");
        assert_eq!(told(Exit::Refused { reason: String::new() }), "not started");
        assert_eq!((told(Exit::TimedOut), told(Exit::Cancelled)), ("timed out".into(), "cancelled".into()));
        assert_eq!(
            (told(Exit::OutOfMemory), told(Exit::Quota)),
            ("out of memory".into(), "over quota".into())
        );
    }

    fn receipt(job: u8) -> JobReceipt {
        JobReceipt {
            job: Digest([job; 32]),
            image: Digest([2; 32]),
            started_mono_ms: 1,
            wall_ms: 2,
            exit: JobExit::Code(0),
            cpu_us: 3,
            max_rss_kib: 4,
            limits: "rlimit".into(),
            ids: "single".into(),
            network: "none".into(),
            outputs: vec![JobOutput { path: "/out/x".into(), size: 1, sha256: Digest([5; 32]) }],
            stdout: Digest([6; 32]),
            stderr: Digest([7; 32]),
            seq: 0,
            config: Digest([8; 32]),
            policy: Digest([9; 32]),
            io_read: 10,
            io_write: 11,
            checkpoint: Some(Digest([12; 32])),
            restarts: 13,
            outputs_skipped: 14,
        }
    }

    fn seal(receipt: &JobReceipt) -> Vec<u8> {
        let key = SigningKey::from_seed(&[1; 32]);
        Envelope::seal(Kind::JobReceipt, Digest([9; 32]), receipt, &key, &Network::new("n"))
    }

    fn sealed(job: u8) -> Vec<u8> {
        seal(&receipt(job))
    }

    /// Short paths have the most of what is not path, long ones the fewest lines.
    #[test]
    fn a_full_list_of_outputs_is_one_delivery() {
        for path in ["/o/a".to_owned(), "/out/frames/frame-0001.png".to_owned(), "/n".repeat(2000)] {
            let count = Output::LIST_BYTES / Output::line_bytes(&path);
            let output = JobOutput { path, size: u64::MAX, sha256: Digest([5; 32]) };
            let full = JobReceipt { outputs: vec![output; count], ..receipt(1) };
            let bytes = seal(&full);
            assert!(bytes.len() <= RECORDS_BYTES, "{count} outputs: {} bytes", bytes.len());
            let row = row(&full, &Digest([9; 32]));
            assert!(serde_json::to_vec(&row).unwrap().len() < MAX_ANSWER / 4);
        }
    }

    #[test]
    fn a_list_has_no_outputs_and_one_job_alone_has_them() {
        let rows: Vec<_> = [1, 1, 2].map(|job| row(&receipt(job), &Digest([9; 32]))).into();
        let outputs = |row: &JobRow| row.detail.as_ref().unwrap().outputs.clone();
        let both = matching(rows.clone(), "0");
        assert_eq!(both.iter().map(|row| &row.job[..2]).collect::<Vec<_>>(), ["01", "02"]);
        assert!(both.iter().all(|row| outputs(row).is_none()));
        let one = matching(rows, "01");
        assert_eq!((one.len(), outputs(&one[0]).unwrap().len()), (1, 1));
    }

    #[test]
    fn receipts_of_directories_and_of_the_ledger_are_one_list() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.state_dir = dir.path().to_owned();
        let jobs = config.node.sandbox_dir().join("jobs");
        for (name, bytes) in [("a-0", sealed(1)), ("b-0", sealed(2)), ("c-0", b"junk".to_vec())] {
            fs::create_dir_all(jobs.join(name)).unwrap();
            fs::write(jobs.join(name).join(FILE), bytes).unwrap();
        }
        fs::create_dir(jobs.join("running-0")).unwrap();
        let d = Digest([0; 32]);
        let stored = Stored { session: d, seq: 0, hash: d, bytes: sealed(2) };
        let rows = ended(&config, &[stored]);
        let jobs: Vec<_> = rows.iter().map(|row| row.job.get(..2).unwrap()).collect();
        assert_eq!(jobs, ["01", "02"]);
        let detail = rows[0].detail.as_ref().unwrap();
        let outputs = detail.outputs.as_ref().map(Vec::len);
        assert_eq!((detail.restarts, outputs, detail.io_write), (13, Some(1), 11));
    }
}
