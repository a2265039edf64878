//! What a test expects of a verdict.

use assay_appraisal::{Appraisal, Finding, Severity};
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore as _;

/// Asserts that it was accepted, showing what speaks against it if not.
#[track_caller]
pub fn accepted(appraisal: &Appraisal) {
    let against: Vec<_> = appraisal.findings.iter().filter(|f| f.severity == Severity::Fatal).collect();
    assert!(appraisal.accepted(), "{against:#?}");
}

/// Asserts that it was rejected, and that the first fatal finding is this one.
#[track_caller]
pub fn fatal<'a>(appraisal: &'a Appraisal, id: &str) -> &'a Finding {
    assert!(!appraisal.accepted(), "accepted, {id} was due");
    let first = appraisal.findings.iter().find(|f| f.severity == Severity::Fatal);
    let first = first.unwrap_or_else(|| panic!("rejected without a fatal finding, {id} was due"));
    assert_eq!(first.id, id, "{first:#?}");
    first
}

/// Asserts that it was accepted with this warning.
#[track_caller]
pub fn warned<'a>(appraisal: &'a Appraisal, id: &str) -> &'a Finding {
    accepted(appraisal);
    let warning = appraisal.findings.iter().find(|f| f.id == id && f.severity == Severity::Warning);
    warning.unwrap_or_else(|| panic!("no warning {id}: {:#?}", appraisal.findings))
}

/// The first finding with this id.
#[track_caller]
pub fn finding<'a>(appraisal: &'a Appraisal, id: &str) -> &'a Finding {
    let found = appraisal.findings.iter().find(|f| f.id == id);
    found.unwrap_or_else(|| panic!("no finding {id}: {:#?}", appraisal.findings))
}

/// Asserts that an enrolment was refused with this finding.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(outcome: Result<T, Finding>, id: &str) -> Finding {
    let finding = outcome.expect_err("must be refused");
    assert_eq!(finding.id, id, "{finding:#?}");
    finding
}

/// A copy with one random bit flipped in the byte at `at`.
pub fn flip(bytes: &[u8], at: usize, rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[at] ^= 1 << (rng.next_u32() % 8);
    flipped
}
