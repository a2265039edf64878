//! `assay-gpu` in a program of its own: what a page loads that checks device evidence and nothing else.
#![forbid(unsafe_code)]

mod devices;

use std::hint::black_box;
use std::process::ExitCode;

use devices::devices;

fn main() -> ExitCode {
    // Nothing can be known about the inputs, so nothing of the checks is left out.
    match black_box(devices(&black_box(Vec::new()), &black_box(Vec::new()), black_box(0))) {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}
