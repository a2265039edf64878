//! `assay-probe`: tries from inside a job what a job must not be able to do.
//!
//! Prints one line of JSON for each try (`assay_jailer::attempts`). With the
//! argument `attempts` it tries the forbidden things by name; with `sweep` it
//! calls every system call with zeros and opens every file it can find.
//!
//! Only for use inside a sandbox: some of the calls would do harm outside.
//! Each is made by a process of its own, with a time limit.
#![allow(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use assay_jailer::attempts::{ATTEMPTS, Kind, Outcome, Record};

mod child;
mod files;
mod forbidden;
mod sweep;

fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let mut say = |kind, name: String, outcome| {
        let line = serde_json::to_string(&Record { kind, name, outcome }).map_err(io::Error::other)?;
        writeln!(out, "{line}")?;
        out.flush()
    };
    let done = match std::env::args().nth(1).as_deref() {
        Some("attempts") => {
            ATTEMPTS.iter().try_for_each(|(name, ..)| say(Kind::Attempt, (*name).into(), try_one(name)))
        }
        Some("status") => files::say_status(&mut say),
        Some("sweep") => sweep::run(&mut say).and_then(|()| files::run(&mut say)),
        _ => Err(io::Error::other("usage: assay-probe attempts|status|sweep")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("assay-probe: {error}");
            ExitCode::from(2)
        }
    }
}

fn try_one(name: &str) -> Outcome {
    child::outcome(child::PATIENCE_US, || forbidden::try_it(name))
}
