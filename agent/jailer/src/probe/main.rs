//! `assay-probe`: tries from inside a job what a job must not be able to do.
//!
//! Prints one line of JSON for each try (`assay_jailer::attempts`). With the
//! argument `attempts`, and the words of `attempts::Host` behind it, it tries the
//! forbidden things by name; with `sweep` it calls every system call with zeros
//! and opens every file it can find.
//!
//! Only for use inside a sandbox: some of the calls would do harm outside.
//! Each is made by a process of its own, with a time limit.
#![allow(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use assay_jailer::attempts::{ATTEMPTS, Kind, LANDLOCK_ABI, Outcome, Record};

mod child;
mod files;
mod forbidden;
mod surroundings;
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
            let host: Vec<String> = std::env::args().skip(2).collect();
            let abi = Outcome::Text(surroundings::landlock_abi().to_string());
            say(Kind::Status, LANDLOCK_ABI.to_owned(), abi).and_then(|()| {
                let mut tries = ATTEMPTS.iter().map(|attempt| attempt.name);
                tries.try_for_each(|name| say(Kind::Attempt, name.to_owned(), try_one(name, &host)))
            })
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

fn try_one(name: &str, host: &[String]) -> Outcome {
    child::outcome(child::PATIENCE_US, || forbidden::try_it(name, host))
}
