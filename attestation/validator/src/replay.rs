//! `replay`: a stored session appraised again with everything that its appraisal depended on.
//!
//! Evidence, trust, policy, state, challenge and time come from the store, and the validator's vendor
//! file from its directory; appraisal is a
//! function of them, so its result is the same bytes, or this program judges otherwise than
//! the one that accepted the session.

use assay_appraisal::{Policy, State, Trust};
use assay_wire::{Digest, cbor, limits};
use serde_json::Value;

use crate::config::Home;
use crate::engine::{appraise_opening, result_bytes};
use crate::error::Error;
use crate::store::{Store, StoreError};
use crate::trusted;

/// What was kept and what comes out now, as JSON bytes.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) at_ms: u64,
    pub(crate) kept: Vec<u8>,
    pub(crate) now: Vec<u8>,
}

impl Replayed {
    pub(crate) fn same(&self) -> bool {
        self.kept == self.now
    }
}

/// Appraises a stored session again.
pub(crate) fn replay(home: &Home, store: &Store, session: &Digest) -> Result<Replayed, Error> {
    let none = || {
        Error::Argument(format!("session {session}: not in the store, or opened before appraisals were kept"))
    };
    let kept = store.appraisal(session)?.ok_or_else(none)?;
    let evidence = store.evidence(session)?.ok_or_else(none)?;
    let corrupt = |what| Error::Store(StoreError::Corrupt { what });
    let text = |bytes| String::from_utf8(bytes).map_err(|_| corrupt("input"));
    let mut trust = Trust::parse(&text(kept.trust)?).map_err(|_| corrupt("trust file"))?;
    trusted::add_home_vendors(&mut trust, home)?;
    let policy = Policy::parse(&text(kept.policy)?).map_err(|_| corrupt("policy"))?;
    let state: State =
        cbor::from_slice("state", &kept.state, limits::ENVELOPE).map_err(|_| corrupt("state"))?;
    let appraised = appraise_opening(&evidence, (&trust, &policy), &state, &kept.challenge, kept.at_ms);
    let (appraisal, _) = appraised.map_err(|_| corrupt("evidence"))?;
    Ok(Replayed { at_ms: kept.at_ms, kept: kept.result, now: result_bytes(&appraisal) })
}

/// A result as JSON, or null.
pub(crate) fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}
