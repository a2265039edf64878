//! The whole verifier in one program: a trust file, a policy and an exported file in, the report out; a bundle
//! of device evidence and reduced reference values in, the checks out.
//! It exists to be built for `wasm32-unknown-unknown` and weighed; a real page would call the
//! libraries itself.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::process::ExitCode;

use assay_appraisal::{Policy, State, Trust, appraise};
use assay_gpu::bundle;
use assay_gpu::device::{Expectation, HoldPolicy, Roots, topology, verify};
use assay_gpu::rim::Rim;

fn report(file: &[u8], trust: &str, policy: &str, now_ms: u64) -> Option<String> {
    let (trust, policy) = (Trust::parse(trust).ok()?, Policy::parse(policy).ok()?);
    let appraisal = appraise(file, &trust, &policy, &State::default(), now_ms).ok()?;
    serde_json::to_string(&appraisal.report()).ok()
}

fn devices(text: &[u8], rims: &[Vec<u8>], at: i64) -> Option<String> {
    let rims: Vec<Rim> = rims.iter().filter_map(|bytes| Rim::decode(bytes).ok()).collect();
    let roots = Roots::nvidia();
    let expect = Expectation { nonce: None, at, roots: &roots, rims: &rims, hold: HoldPolicy::default() };
    let devices = bundle::parse(text).ok()?;
    let judged: Vec<_> = devices.into_iter().map(|device| verify(&device.into(), &expect)).collect();
    let facts: Vec<_> = judged.iter().map(|device| device.facts.clone()).collect();
    let checks: Vec<_> = judged.iter().map(|device| &device.checks).collect();
    serde_json::to_string(&(checks, topology(&facts))).ok()
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
