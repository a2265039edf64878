//! `ledger`: show, verify, export. Show and verify read the file itself, beside a running agent or without one.

use assay_wire::Network;
use serde::Serialize;

use super::{
    args,
    client::Client,
    error::{self, CliError},
    export,
    print::{self, Page, Paint, Tone},
    units,
};
use crate::{
    config::Config,
    core::{answer::JobRow, ended_jobs, job_row},
    ledger::{Ledger, LedgerError, SessionRow, VerifyReport},
};

/// Runs a `ledger` command.
pub(super) fn run(command: &args::Ledger, config: &Config, client: &Client) -> Result<u8, CliError> {
    match command {
        args::Ledger::Show(json) => show(&open(config)?, json.json),
        args::Ledger::Verify(json) => verify(&open(config)?, config, json.json),
        args::Ledger::Export { what, output, job, json } => {
            export::write(client, export::what(*what, job.clone())?, output, json.json)
        }
    }
}

fn open(config: &Config) -> Result<Ledger, CliError> {
    Ledger::open_read_only(&config.node.ledger()).map_err(|source| CliError::OpenLedger { source })
}

fn unreadable(source: LedgerError) -> CliError {
    CliError::ReadLedger { source }
}

/// Every job that has ended, newest first.
pub(super) fn jobs(config: &Config) -> Result<Vec<JobRow>, CliError> {
    let stored = open(config)?.jobs().map_err(unreadable)?;
    match stored.iter().find(|stored| job_row(stored).is_none()) {
        Some(foreign) => Err(CliError::ForeignReceipt { hash: foreign.hash }),
        None => Ok(ended_jobs(config, &stored)),
    }
}

#[derive(Serialize)]
struct Shown {
    schema: u32,
    path: std::path::PathBuf,
    sessions: Vec<Session>,
}

#[derive(Serialize)]
struct Session {
    session: String,
    opened_ms: u64,
    local: bool,
    accepted: bool,
    ended: bool,
    beats: u64,
    anchors: u64,
    jobs: u64,
    receipts: u64,
    bytes: u64,
}

fn session(ledger: &Ledger, row: &SessionRow) -> Result<Session, CliError> {
    let SessionRow { id, local, accepted, opened_ms, beats, anchors, jobs, receipts, ended } = *row;
    let bytes = ledger.size(&id).map_err(unreadable)?;
    let session = id.to_string();
    Ok(Session { session, opened_ms, local, accepted, ended, beats, anchors, jobs, receipts, bytes })
}

fn show(ledger: &Ledger, json: bool) -> Result<u8, CliError> {
    let rows = ledger.sessions().map_err(unreadable)?;
    let sessions = rows.iter().map(|row| session(ledger, row)).collect::<Result<Vec<_>, _>>()?;
    let shown = Shown { schema: print::SCHEMA, path: ledger.path().to_owned(), sessions };
    let printed = if json { print::json(&shown) } else { page(&shown, Paint::stdout()).print() };
    printed.map_err(CliError::Print).map(|()| 0)
}

fn page(shown: &Shown, paint: Paint) -> Page {
    let mut page = Page::new(paint);
    page.section(&format!("Sessions of {}", print::plain(&shown.path.to_string_lossy())));
    if shown.sessions.is_empty() {
        page.line(Tone::Plain, "none");
        return page;
    }
    let row = |one: &Session| {
        let state = match (one.local, one.accepted, one.ended) {
            (true, _, _) => "local",
            (_, false, _) => "not accepted",
            (_, true, true) => "ended",
            (_, true, false) => "open",
        };
        let short: String = one.session.chars().take(16).collect();
        let counts = [one.beats, one.anchors, one.jobs, one.receipts].map(|count| count.to_string());
        let mut row = vec![short, units::utc(one.opened_ms), state.to_owned()];
        row.extend(counts);
        row.push(units::bytes(one.bytes));
        row
    };
    let rows: Vec<_> = shown.sessions.iter().map(row).collect();
    page.table(&["session", "opened", "state", "beats", "anchors", "jobs", "receipts", "size"], &rows);
    page
}

#[derive(Serialize)]
struct Verified {
    schema: u32,
    holds: bool,
    sessions: u64,
    beats: u64,
    anchors: u64,
    jobs: u64,
    receipts: u64,
    unknown_receipts: u64,
    faults: Vec<Fault>,
}

#[derive(Serialize)]
struct Fault {
    session: String,
    text: String,
}

impl From<VerifyReport> for Verified {
    fn from(report: VerifyReport) -> Self {
        let holds = report.holds();
        let VerifyReport { sessions, beats, anchors, jobs, receipts, unknown_receipts, faults } = report;
        let fault = |fault: crate::ledger::LedgerFault| Fault {
            session: fault.session.to_string(),
            text: fault.text,
        };
        let faults = faults.into_iter().map(fault).collect();
        Self {
            schema: print::SCHEMA,
            holds,
            sessions,
            beats,
            anchors,
            jobs,
            receipts,
            unknown_receipts,
            faults,
        }
    }
}

fn verify(ledger: &Ledger, config: &Config, json: bool) -> Result<u8, CliError> {
    let network = Network::new(&config.network.id);
    let keys = config.validator.iter().map(|one| (one.key.validator_id(), one.key)).collect();
    let progress = super::progress::Progress::start("checking the ledger");
    let verified = Verified::from(ledger.verify(&network, &keys).map_err(unreadable)?);
    drop(progress);
    let printed = if json { print::json(&verified) } else { findings(&verified, Paint::stdout()).print() };
    printed.map_err(CliError::Print)?;
    Ok(if verified.holds { 0 } else { error::FAILED })
}

fn findings(verified: &Verified, paint: Paint) -> Page {
    let mut page = Page::new(paint);
    page.section("Checked");
    let counts = [
        ("sessions", verified.sessions),
        ("beats", verified.beats),
        ("anchors", verified.anchors),
        ("job receipts", verified.jobs),
        ("beat receipts", verified.receipts),
    ];
    for (name, count) in counts {
        page.fact(name, &count.to_string());
    }
    if verified.unknown_receipts > 0 {
        let text =
            format!("{} beat receipts by validators that are not configured", verified.unknown_receipts);
        page.toned("unchecked", Tone::Yellow, &text);
    }
    page.section("Findings");
    if verified.holds {
        page.line(Tone::Green, "every hash and signature holds");
    }
    for fault in &verified.faults {
        let short: String = fault.session.chars().take(16).collect();
        page.line(Tone::Red, &format!("{short}  {}", fault.text));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_ledger_is_empty_and_holds() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.state_dir = dir.path().to_owned();
        assert!(matches!(jobs(&config), Err(CliError::OpenLedger { .. })));
        drop(Ledger::open(&config.node.ledger()).unwrap());
        assert!(jobs(&config).unwrap().is_empty());
        let report = open(&config).unwrap().verify(&Network::new("x"), &[].into()).unwrap();
        assert!(findings(&report.into(), Paint(false)).text().contains("every hash and signature holds"));
    }

    #[test]
    fn a_fault_is_shown_with_its_session() {
        let faults = vec![Fault { session: "ab".repeat(32), text: "beat 3 is missing".into() }];
        let mut verified = Verified::from(VerifyReport::default());
        (verified.holds, verified.faults, verified.unknown_receipts) = (false, faults, 2);
        let text = findings(&verified, Paint(false)).text().to_owned();
        assert!(text.contains("abababababababab  beat 3") && text.contains("2 beat receipts"), "{text}");
    }
}
