//! `make bench`: figures with their limits or rivals, each pair from one run.
//!
//! Nothing is asserted: a slow machine is not a defect. Last figures: `RESULTS.md`.
//! `--quick` leaves out what takes minutes: the processes' footprint and the wasm module.

mod beats;
mod evidence;
mod ima;
mod processes;
mod wasm;

use std::process::ExitCode;

fn main() -> ExitCode {
    println!("{:<34} {:>14} {:>14} {:>8}", "figure", "ours", "limit or rival", "ratio");
    beats::sizes();
    beats::verification();
    evidence::appraisal();
    ima::replay();
    if std::env::args().any(|argument| argument == "--quick") {
        return ExitCode::SUCCESS;
    }
    if let Err(error) = wasm::size() {
        eprintln!("assay-bench: {error}");
        return ExitCode::from(3);
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
