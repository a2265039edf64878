//! What both programs have: a bundle of device evidence and reduced reference values in, the checks out.

use assay_gpu::bundle;
use assay_gpu::device::{Expectation, HoldPolicy, Roots, topology, verify};
use assay_gpu::rim::Rim;

pub(crate) fn devices(text: &[u8], rims: &[Vec<u8>], at: i64) -> Option<String> {
    let rims: Vec<Rim> = rims.iter().filter_map(|bytes| Rim::decode(bytes).ok()).collect();
    let roots = Roots::nvidia();
    let expect = Expectation { nonce: None, at, roots: &roots, rims: &rims, hold: HoldPolicy::default() };
    let devices = bundle::parse(text).ok()?;
    let devices = devices.into_iter().filter_map(|device| device.evidence().ok());
    let judged: Vec<_> = devices.map(|evidence| verify(&evidence, &expect)).collect();
    let facts: Vec<_> = judged.iter().map(|device| device.facts.clone()).collect();
    let checks: Vec<_> = judged.iter().map(|device| &device.checks).collect();
    serde_json::to_string(&(checks, topology(&facts))).ok()
}
