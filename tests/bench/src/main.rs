//! `make bench`: figures with their limits or rivals, each pair from one run.
//!
//! Nothing is asserted: a slow machine is not a defect. Last figures: `RESULTS.md`.
//! `--evidence`, `--gpu`, `--sandbox` and `--processes` measure one part each; `--quick` is `--evidence`
//! without the wasm modules.

mod beats;
mod evidence;
mod gpu;
mod ima;
mod latency;
mod overhead;
mod processes;
mod pull;
mod wasm;

use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("{:<34} {:>14} {:>14} {:>8}", "figure", "ours", "limit or rival", "ratio");
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let is_asked = |part: &str| asked.is_empty() || asked.iter().any(|argument| argument == part);
    match measure(is_asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("assay-bench: {error}");
            ExitCode::from(3)
        }
    }
}

fn measure(is_asked: impl Fn(&str) -> bool) -> Result<(), Box<dyn Error>> {
    if is_asked("--evidence") || is_asked("--quick") {
        beats::sizes();
        beats::verification();
        evidence::appraisal();
        ima::replay();
    }
    if is_asked("--evidence") {
        wasm::size()?;
    }
    if is_asked("--gpu") {
        gpu::verification()?;
    }
    if is_asked("--sandbox") {
        let jailer = assay_sandbox::sandbox::find_jailer()?;
        latency::spawn_to_exit(&jailer)?;
        overhead::cpu_bound(&jailer)?;
        pull::pull_and_unpack(&jailer.with_file_name("assay-agent"))?;
    }
    if is_asked("--processes") {
        processes::footprint()?;
    }
    Ok(())
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
