//! A verifier's own files: they are its owner's, but an owner pastes.

use assay_appraisal::{Policy, State, Trust};

use crate::world;

/// A trust file: what is written from it reads back to the same trust.
pub fn trust(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(trust) = Trust::parse(text) else { return };
    assert!((1..=trust.operators()).contains(&trust.receipt_threshold));
    assert_eq!(trust.keys().len(), trust.validators.len());
    assert_eq!(Trust::parse(&trust.to_toml()).as_ref(), Ok(&trust));
}

/// A policy, as a file and in canonical form: within its bounds, and one encoding of each value.
pub fn policy(data: &[u8]) {
    if let Ok(policy) = Policy::from_cbor(data) {
        assert_eq!(policy.to_cbor(), data, "one encoding");
        bounded(&policy);
    }
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(policy) = Policy::parse(text) else { return };
    bounded(&policy);
    assert_eq!(Policy::parse(text).as_ref(), Ok(&policy));
    assert_eq!(Policy::from_cbor(&policy.to_cbor()).as_ref(), Ok(&policy));
}

fn bounded(policy: &Policy) {
    assert!(policy.floor.identity <= 2 && policy.floor.platform <= 2 && policy.floor.gpu <= 3);
}

/// A verifier's state in canonical form: one encoding; and a signed statement is taken only from a
/// validator that the trust file names.
pub fn state(data: &[u8]) {
    let trust = &world().trust;
    if let Ok(state) = State::from_cbor(data) {
        assert_eq!(state.to_cbor(), data, "one encoding");
    }
    let mut state = State::default();
    match state.take(data, trust) {
        Ok(_) => assert!(world().envelopes.contains(data), "a statement that nobody made"),
        Err(_) => assert_eq!(state, State::default(), "refused, and yet changed"),
    }
}
