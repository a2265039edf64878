//! `job`: run, list, show, logs, stop, remove, schema, hash.

use std::path::Path;

use assay_sandbox::{Event, images, inputs, kept};
use serde::Serialize;

use super::{
    args::Job,
    client::Client,
    error::{self, CliError},
    print::{self, Page, Paint, Tone},
    progress::Progress,
    units,
};
use crate::{
    config::Config,
    control::Request,
    core::answer::{Answer, Checkable, JobAnswer, JobDetail, JobRow, OutputRow},
};

mod file;
mod logs;

/// Runs a `job` command.
pub(super) fn run(command: &Job, config: &Config, client: &Client) -> Result<u8, CliError> {
    match command {
        Job::Run { file, json } => run_file(file, config, client, json.json),
        Job::List(json) => list(&rows(config, client)?, json.json),
        Job::Show(name) => show(&found(config, client, &name.job)?, name.json.json),
        Job::Logs { job, stderr, follow, json } => {
            let wanted = logs::Wanted { job: named(config, client, job)?, stderr: *stderr };
            logs::run(config, &wanted, *follow, json.json)
        }
        Job::Stop(name) => stop(client, &name.job, name.json.json),
        Job::Remove(name) => remove(config, &found(config, client, &name.job)?.job, name.json.json),
        Job::Schema(_) => schema(),
        Job::Hash { path, json } => hash(path, json.json),
    }
}

/// A value and the version of its shape.
#[derive(Serialize)]
struct Versioned<'a, T> {
    schema: u32,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(Serialize)]
struct Rows<'a> {
    schema: u32,
    jobs: &'a [JobRow],
}

fn versioned<T: Serialize>(value: &T) -> Result<(), CliError> {
    print::json(&Versioned { schema: print::SCHEMA, value }).map_err(CliError::Print)
}

fn run_file(path: &Path, config: &Config, client: &Client, json: bool) -> Result<u8, CliError> {
    let text = file::read(path)?;
    let progress = Progress::start("running the job");
    let answer = match client.ask(&Request::JobRun { file: text.clone() }) {
        Ok(Answer::Job(answer)) => *answer,
        Ok(other) => return Err(client.unexpected(&other)),
        Err(CliError::NoDaemon { .. }) => without_daemon(config, &text, &progress)?,
        Err(error) => return Err(error),
    };
    drop(progress);
    if json {
        versioned(&answer)?;
    } else {
        page(&answer, Paint::stdout()).print().map_err(CliError::Print)?;
    }
    Ok(exit_code(&answer))
}

fn without_daemon(config: &Config, text: &str, progress: &Progress) -> Result<JobAnswer, CliError> {
    crate::core::job_without_daemon(config, text, &|event| progress.say(&said(&event)))
        .map_err(|error| CliError::part("without a daemon", error))
}

/// What goes on, for the line on the terminal.
fn said(event: &Event) -> String {
    match event {
        Event::Image(images::Event::Resolving { reference }) => format!("asking for {reference}"),
        Event::Image(images::Event::Layer { index, layers, bytes, total, .. })
            if index + 1 < *layers || bytes < total =>
        {
            let (bytes, total) = (units::bytes(*bytes), units::bytes(*total));
            format!("layer {} of {layers}: {bytes} of {total}", index + 1)
        }
        Event::Restarting { number, .. } => format!("running the job, restart {number}"),
        _ => "running the job".to_owned(),
    }
}

/// 0: it did what it was asked. 1: it ran and failed. 3: it never ran.
fn exit_code(answer: &JobAnswer) -> u8 {
    match (answer.row.succeeded, &answer.refusal) {
        (true, _) => 0,
        (false, None) => error::FAILED,
        (false, Some(_)) => error::UNABLE,
    }
}

fn page(answer: &JobAnswer, paint: Paint) -> Page {
    let mut page = Page::new(paint);
    facts(&mut page, &answer.row);
    if let Some(refusal) = &answer.refusal {
        page.toned("never started", Tone::Red, refusal);
    }
    page.fact("kept in", &answer.directory.to_string_lossy());
    page.fact(
        "receipt",
        match answer.checkable {
            Checkable::Session => "anyone can check it: assay-agent ledger export receipt -o FILE",
            Checkable::Quote => "bound to this TPM, but no validator has seen its session",
            Checkable::Nobody => "nobody can check it: this node is not enrolled",
        },
    );
    outputs(&mut page, &answer.outputs);
    if answer.outputs_over > 0 {
        let text = format!(
            "{} more exceeded output_bytes, the node's disk or a receipt's list and were not kept",
            answer.outputs_over
        );
        page.line(Tone::Yellow, &text);
    }
    page
}

fn outputs(page: &mut Page, outputs: &[OutputRow]) {
    page.section("Outputs");
    if outputs.is_empty() {
        return page.line(Tone::Plain, "none");
    }
    let row =
        |output: &OutputRow| vec![output.path.clone(), units::bytes(output.size), output.sha256.clone()];
    let rows: Vec<_> = outputs.iter().map(row).collect();
    page.table(&["path in the job", "size", "SHA-256"], &rows);
}

fn facts(page: &mut Page, row: &JobRow) {
    page.section("Job");
    page.fact("job", &row.job);
    page.fact("session", &row.session);
    page.toned("state", if row.succeeded { Tone::Green } else { Tone::Yellow }, &row.state);
    page.fact("wall time", &units::duration(row.wall_ms));
    page.fact("CPU time", &units::duration(row.cpu_us / 1000));
    page.fact("peak memory", &units::bytes(row.max_rss_kib.saturating_mul(1024)));
    let walls = [("limits", &row.limits), ("ids", &row.ids), ("network", &row.network)];
    for (key, value) in walls.into_iter().filter(|(_, value)| !value.is_empty()) {
        page.fact(key, value);
    }
    if let Some(detail) = row.detail.as_ref().filter(|detail| detail.restarts > 0) {
        page.fact("restarts", &detail.restarts.to_string());
    }
}

/// What a receipt says beside the facts.
fn detail(page: &mut Page, detail: &JobDetail) {
    page.fact("disk reads", &units::bytes(detail.io_read));
    page.fact("disk writes", &units::bytes(detail.io_write));
    page.section("Hashes");
    page.fact("image manifest", &detail.image);
    page.fact("image config", &detail.config);
    page.fact("confinement", &detail.policy);
    page.fact("stdout", &detail.stdout);
    page.fact("stderr", &detail.stderr);
    if let Some(checkpoint) = &detail.checkpoint {
        page.fact("checkpoint", checkpoint);
    }
    outputs(page, detail.outputs.as_deref().unwrap_or_default());
    if detail.outputs_skipped > 0 {
        let text = format!("{} more entries were not collected", detail.outputs_skipped);
        page.line(Tone::Yellow, &text);
    }
}

/// The jobs, from the running agent or, without one, from its ledger.
fn rows(config: &Config, client: &Client) -> Result<Vec<JobRow>, CliError> {
    match client.ask(&Request::JobList) {
        Ok(Answer::Jobs { jobs }) => Ok(jobs),
        Ok(other) => Err(client.unexpected(&other)),
        Err(CliError::NoDaemon { .. }) => {
            Ok(super::ledger::jobs(config)?.into_iter().map(JobRow::brief).collect())
        }
        Err(error) => Err(error),
    }
}

/// The one job whose digest starts with `given`, with its outputs.
fn found(config: &Config, client: &Client, given: &str) -> Result<JobRow, CliError> {
    let rows = match client.ask(&Request::JobShow { job: given.to_owned() }) {
        Ok(Answer::Jobs { jobs }) => jobs,
        Ok(other) => return Err(client.unexpected(&other)),
        Err(CliError::NoDaemon { .. }) => super::ledger::jobs(config)?,
        Err(error) => return Err(error),
    };
    pick(rows, given)
}

/// The one job whose digest starts with `given`.
fn pick(rows: Vec<JobRow>, given: &str) -> Result<JobRow, CliError> {
    let wanted = given.to_ascii_lowercase();
    let mut matching: Vec<JobRow> = rows.into_iter().filter(|row| row.job.starts_with(&wanted)).collect();
    // One job file run several times is one job; its newest run stands first.
    let first = matching.first().map(|row| row.job.clone());
    if !wanted.is_empty() && first.is_some_and(|job| matching.iter().all(|row| row.job == job)) {
        return Ok(matching.swap_remove(0));
    }
    matching.dedup_by(|a, b| a.job == b.job);
    Err(CliError::WhichJob { given: given.to_owned(), matches: matching.len() })
}

fn list(rows: &[JobRow], json: bool) -> Result<u8, CliError> {
    if json {
        return print::json(&Rows { schema: print::SCHEMA, jobs: rows }).map_err(CliError::Print).map(|()| 0);
    }
    let mut page = Page::new(Paint::stdout());
    page.section("Jobs");
    let row = |row: &JobRow| {
        let short: String = row.job.chars().take(16).collect();
        let memory = units::bytes(row.max_rss_kib.saturating_mul(1024));
        vec![
            short,
            row.state.clone(),
            units::duration(row.wall_ms),
            units::duration(row.cpu_us / 1000),
            memory,
        ]
    };
    let cells: Vec<_> = rows.iter().map(row).collect();
    if cells.is_empty() {
        page.line(Tone::Plain, "none");
    } else {
        page.table(&["job", "state", "wall time", "CPU time", "peak memory"], &cells);
    }
    page.print().map_err(CliError::Print).map(|()| 0)
}

fn show(row: &JobRow, json: bool) -> Result<u8, CliError> {
    if json {
        return versioned(row).map(|()| 0);
    }
    let mut page = Page::new(Paint::stdout());
    facts(&mut page, row);
    if let Some(rest) = &row.detail {
        detail(&mut page, rest);
    }
    page.print().map_err(CliError::Print).map(|()| 0)
}

/// The digest, or as much of it as a directory's name has, of the job that is meant: one that has
/// ended, runs under the agent, or is being run by a `job run` without one.
fn named(config: &Config, client: &Client, given: &str) -> Result<String, CliError> {
    match found(config, client, given) {
        Ok(row) => Ok(row.job),
        Err(error) => logs::running_alone(config, given).ok_or(error),
    }
}

/// Prints the JSON Schema of job files.
pub(super) fn schema() -> Result<u8, CliError> {
    print::out(assay_job::SCHEMA).map_err(CliError::Print).map(|()| 0)
}

#[derive(Serialize)]
struct Hashed<'a> {
    path: &'a Path,
    kind: &'a str,
    sha256: &'a str,
}

/// Prints the hash by which a job file names a file or directory.
pub(super) fn hash(path: &Path, json: bool) -> Result<u8, CliError> {
    let found = inputs::hash(path).map_err(|error| CliError::part("the input has no hash", error))?;
    let (sha256, kind) = (hex::encode(found.sha256), if found.is_directory { "directory" } else { "file" });
    match json {
        true => versioned(&Hashed { path, kind, sha256: &sha256 })?,
        false => print::out(&format!("{sha256}\n")).map_err(CliError::Print)?,
    }
    Ok(0)
}

#[derive(Serialize)]
struct Removed<'a> {
    removed: &'a str,
    runs: u64,
    checkpoint: bool,
}

/// Removes what is on the disk; what a run uses stays, and so do receipts in the ledger.
fn remove(config: &Config, job: &str, json: bool) -> Result<u8, CliError> {
    let kept::Removed { runs, checkpoint } = kept::remove_job(&config.node.sandbox_dir(), job)
        .map_err(|error| CliError::part("the job's files are not removed", error))?;
    if json {
        return versioned(&Removed { removed: job, runs, checkpoint }).map(|()| 0);
    }
    let also = if checkpoint { " and its checkpoint" } else { "" };
    let text = format!("removed the files of {runs} runs of {}{also}\n", print::plain(job));
    print::out(&text).map_err(CliError::Print).map(|()| 0)
}

#[derive(Serialize)]
struct Stopping<'a> {
    stopping: &'a str,
}

fn stop(client: &Client, job: &str, json: bool) -> Result<u8, CliError> {
    let answer = client.ask(&Request::JobStop { job: job.to_owned() })?;
    let Answer::Stopping { job } = &answer else { return Err(client.unexpected(&answer)) };
    if json {
        return versioned(&Stopping { stopping: job }).map(|()| 0);
    }
    print::out(&format!("stopping {}\n", print::plain(job))).map_err(CliError::Print).map(|()| 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(job: &str, state: &str) -> JobRow {
        JobRow { job: job.into(), state: state.into(), ..JobRow::default() }
    }

    #[test]
    fn a_job_is_named_by_enough_of_its_digest() {
        let rows = || vec![row("ab12", "new"), row("ab12", "old"), row("ab99", "other"), row("cd00", "")];
        assert_eq!(pick(rows(), "AB1").unwrap().state, "new");
        assert_eq!(pick(rows(), "c").unwrap().job, "cd00");
        let matches = |given: &str| match pick(rows(), given) {
            Err(CliError::WhichJob { matches, .. }) => matches,
            other => panic!("{other:?}"),
        };
        assert_eq!((matches("ab"), matches("ff"), matches("")), (2, 0, 3));
    }

    fn answer(succeeded: bool, refusal: Option<&str>) -> JobAnswer {
        JobAnswer {
            row: JobRow { succeeded, state: "exit 0".into(), wall_ms: 1234, ..row("ab", "") },
            refusal: refusal.map(str::to_owned),
            directory: "/var/lib/assay/jobs/ab".into(),
            outputs: vec![],
            outputs_over: 0,
            receipt: String::new(),
            checkable: Checkable::Nobody,
        }
    }

    #[test]
    fn the_line_says_how_the_image_comes() {
        let said = |event| said(&Event::Image(event));
        let layer = |index, bytes| {
            said(images::Event::Layer { index, layers: 2, digest: [0; 32], bytes, total: 2 << 20 })
        };
        assert!(layer(0, 1 << 20).starts_with("layer 1 of 2: 1"), "{}", layer(0, 1 << 20));
        assert!(layer(0, 2 << 20).starts_with("layer 1 of 2: 2"));
        assert_eq!(layer(1, 2 << 20), "running the job");
        assert_eq!(said(images::Event::Resolving { reference: "r/a".into() }), "asking for r/a");
    }

    #[test]
    fn the_exit_code_tells_failing_from_never_running() {
        assert_eq!(exit_code(&answer(true, None)), 0);
        assert_eq!(exit_code(&answer(false, None)), 1);
        assert_eq!(exit_code(&answer(false, Some("no such program"))), 3);
    }

    #[test]
    fn a_page_says_how_it_ended_and_where_its_files_are() {
        let text = page(&answer(false, Some("exec: no such file")), Paint(false)).text().to_owned();
        for part in
            ["never started", "exec: no such file", "/var/lib/assay/jobs/ab", "1.2 s", "nobody can check"]
        {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
