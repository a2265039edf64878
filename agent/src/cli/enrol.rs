//! `enrol`: waits until a validator has enrolled this node. The agent does it by itself; this shows it.

use std::{
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{args::Enrol, client::Client, error::CliError, export, print, progress::Progress};
use crate::{
    certificate,
    control::{Export, Request},
    core::{answer::Answer, status::Status},
};

const POLL: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Enrolled {
    schema: u32,
    node: Option<String>,
    enrolled: bool,
    record_bytes: usize,
}

/// Hands over a certificate if there is one, then waits.
pub(super) fn run(client: &Client, enrol: &Enrol) -> Result<u8, CliError> {
    if let Some(path) = &enrol.ek_cert {
        give(client, path)?;
    }
    wait(client, enrol.timeout, enrol.json.json)
}

fn give(client: &Client, path: &Path) -> Result<(), CliError> {
    let failed = |source| CliError::ReadCertificate { path: path.to_owned(), source };
    // Refused here already when it is no certificate, and not only by the agent.
    certificate::read(path).map_err(failed)?;
    let file = hex::encode(std::fs::read(path).map_err(failed)?);
    match client.ask(&Request::EkCertificate { file })? {
        Answer::Taken => Ok(()),
        other => Err(client.unexpected(&other)),
    }
}

/// Waits for the enrolment record, at most `seconds`.
fn wait(client: &Client, seconds: u64, json: bool) -> Result<u8, CliError> {
    let start = Instant::now();
    let progress = Progress::start("waiting to be enrolled");
    loop {
        let status = client.status()?;
        match export::fetch(client, Export::Enrolment) {
            Ok((_, record)) => {
                drop(progress);
                return tell(status.node, record.len(), json).map(|()| 0);
            }
            // A refusal means: not yet. That the agent cannot be asked is an error.
            Err(CliError::Refused { .. }) => progress.say(&waiting_for(&status)),
            Err(error) => return Err(error),
        }
        if start.elapsed() >= Duration::from_secs(seconds) {
            return Err(CliError::NotEnrolled { seconds });
        }
        sleep(POLL);
    }
}

fn waiting_for(status: &Status) -> String {
    match (status.health.first(), status.validators.is_empty()) {
        (Some(item), _) => format!("waiting to be enrolled; {}", item.text),
        (None, true) => "waiting to be enrolled; no validator is configured".to_owned(),
        (None, false) => "waiting to be enrolled".to_owned(),
    }
}

fn tell(node: Option<String>, record_bytes: usize, json: bool) -> Result<(), CliError> {
    let enrolled = Enrolled { schema: print::SCHEMA, node, enrolled: true, record_bytes };
    let told = if json {
        print::json(&enrolled)
    } else {
        print::out(&format!("enrolled as node {}\n", enrolled.node.as_deref().unwrap_or("(unknown)")))
    };
    told.map_err(CliError::Print)
}
