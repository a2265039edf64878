//! `job`: run, list, show, logs, stop.

use std::{
    fs::{self, DirEntry, File},
    io,
    path::{Path, PathBuf},
};

use assay_sandbox::images::Event;
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
    core::answer::{Answer, Checkable, JobAnswer, JobRow},
};

mod file;

/// Runs a `job` command.
pub(super) fn run(command: &Job, config: &Config, client: &Client) -> Result<u8, CliError> {
    match command {
        Job::Run { file, json } => run_file(file, config, client, json.json),
        Job::List(json) => list(&rows(config, client)?, json.json),
        Job::Show(name) => show(&pick(rows(config, client)?, &name.job)?, name.json.json),
        Job::Logs { job, stderr } => logs(config, &pick(rows(config, client)?, job)?, *stderr),
        Job::Stop(name) => stop(client, &name.job, name.json.json),
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
        .map_err(|error| CliError::part("the job could not be run", error))
}

/// What goes on with the image, for the line on the terminal.
fn said(event: &Event) -> String {
    match event {
        Event::Resolving { reference } => format!("asking for {reference}"),
        Event::Layer { index, layers, bytes, total, .. } if index + 1 == *layers && bytes == total => {
            "running the job".to_owned()
        }
        Event::Layer { index, layers, bytes, total, .. } => {
            let (bytes, total) = (units::bytes(*bytes), units::bytes(*total));
            format!("layer {} of {layers}: {bytes} of {total}", index + 1)
        }
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
    page.section("Outputs");
    if answer.outputs.is_empty() {
        page.line(Tone::Plain, "none");
    } else {
        let row = |output: &crate::core::answer::OutputRow| {
            vec![output.path.clone(), units::bytes(output.size), output.sha256.clone()]
        };
        let rows: Vec<_> = answer.outputs.iter().map(row).collect();
        page.table(&["path in the job", "size", "SHA-256"], &rows);
    }
    page
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
}

/// The jobs, from the running agent or, without one, from its ledger.
fn rows(config: &Config, client: &Client) -> Result<Vec<JobRow>, CliError> {
    match client.ask(&Request::JobList) {
        Ok(Answer::Jobs { jobs }) => Ok(jobs),
        Ok(other) => Err(client.unexpected(&other)),
        Err(CliError::NoDaemon { .. }) => super::ledger::jobs(config),
        Err(error) => Err(error),
    }
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
    page.print().map_err(CliError::Print).map(|()| 0)
}

/// Copies what was kept of a job's output as it is: redirected, it is the job's own bytes.
fn logs(config: &Config, row: &JobRow, stderr: bool) -> Result<u8, CliError> {
    let path = directory(&config.node.sandbox_dir().join("jobs"), &row.job);
    let path = path.join(if stderr { "stderr" } else { "stdout" });
    let mut log = File::open(&path).map_err(|source| CliError::ReadLog { path, source })?;
    match io::copy(&mut log, &mut io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Print(error)),
        _ => Ok(0),
    }
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

    fn answer(succeeded: bool, refusal: Option<&str>) -> JobAnswer {
        JobAnswer {
            row: JobRow { succeeded, state: "exit 0".into(), wall_ms: 1234, ..row("ab", "") },
            refusal: refusal.map(str::to_owned),
            directory: "/var/lib/assay/jobs/ab".into(),
            outputs: vec![],
            receipt: String::new(),
            checkable: Checkable::Nobody,
        }
    }

    #[test]
    fn the_line_says_how_the_image_comes() {
        let layer =
            |index, bytes| said(&Event::Layer { index, layers: 2, digest: [0; 32], bytes, total: 2 << 20 });
        assert!(layer(0, 1 << 20).starts_with("layer 1 of 2: 1"), "{}", layer(0, 1 << 20));
        assert!(layer(0, 2 << 20).starts_with("layer 1 of 2: 2"));
        assert_eq!(layer(1, 2 << 20), "running the job");
        assert_eq!(said(&Event::Resolving { reference: "r/a".into() }), "asking for r/a");
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
