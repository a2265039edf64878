//! `make bench`: figures with their limits or rivals, each pair from one run.
//!
//! Nothing is asserted: a slow machine is not a defect. Last figures: `RESULTS.md`.
//! `--quick` leaves out what takes a minute: the processes' footprint.

mod beats;
mod processes;

use std::process::ExitCode;

fn main() -> ExitCode {
    println!("{:<34} {:>14} {:>14} {:>8}", "figure", "ours", "limit or rival", "ratio");
    beats::sizes();
    beats::verification();
    if std::env::args().any(|argument| argument == "--quick") {
        return ExitCode::SUCCESS;
    }
    match processes::footprint() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("assay-bench: {error}");
            ExitCode::from(3)
        }
    }
}

/// One line of the table.
fn row(figure: &str, ours: f64, other: f64, unit: &str) {
    println!(
        "{figure:<34} {:>14} {:>14} {:>8.2}",
        format!("{ours:.1} {unit}"),
        format!("{other:.1} {unit}"),
        ours / other
    );
}
