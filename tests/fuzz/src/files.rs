//! A verifier's own files: they are its owner's, but an owner pastes.

use assay_appraisal::{Policy, Trust};

/// A trust file: what is written from it reads back to the same trust.
pub fn trust(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(trust) = Trust::parse(text) else { return };
    assert!((1..=trust.operators()).contains(&trust.receipt_threshold));
    assert_eq!(trust.keys().len(), trust.validators.len());
    assert_eq!(Trust::parse(&trust.to_toml()).as_ref(), Ok(&trust));
}

/// A policy file: within its bounds, and read alike every time.
pub fn policy(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(policy) = Policy::parse(text) else { return };
    assert!(policy.floor.identity <= 2 && policy.floor.platform <= 2 && policy.floor.gpu <= 3);
    assert_eq!(Policy::parse(text).as_ref(), Ok(&policy));
}
