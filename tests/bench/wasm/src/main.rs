//! The whole verifier in one program: a trust file, a policy and an exported file in, the report out; a bundle
//! of device evidence and reduced reference values in, the checks out.
//! It exists to be built for `wasm32-unknown-unknown` and weighed; a real page would call the
//! libraries itself.
#![forbid(unsafe_code)]

mod devices;

use std::hint::black_box;
use std::process::ExitCode;

use assay_appraisal::{Policy, State, Trust, appraise};
use devices::devices;

fn report(file: &[u8], trust: &str, policy: &str, now_ms: u64) -> Option<String> {
    let (trust, policy) = (Trust::parse(trust).ok()?, Policy::parse(policy).ok()?);
    let appraisal = appraise(file, &trust, &policy, &State::default(), now_ms).ok()?;
    serde_json::to_string(&appraisal.report()).ok()
}

fn main() -> ExitCode {
    // Nothing can be known about the inputs, so nothing of the verifier is left out.
    let (file, trust, policy) = black_box((Vec::new(), String::new(), String::new()));
    match black_box(report(&file, &trust, &policy, black_box(0))) {
        Some(_) => match black_box(devices(&black_box(Vec::new()), &black_box(Vec::new()), black_box(0))) {
            Some(_) => ExitCode::SUCCESS,
            None => ExitCode::FAILURE,
        },
        None => ExitCode::FAILURE,
    }
}
