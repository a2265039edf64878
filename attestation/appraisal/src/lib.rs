//! Appraisal: trust, policy and evidence in, findings and a verdict out.
//!
//! A verdict is a value, never an error, and *reject* unless every check that the
//! policy asks for was made and held. Each check leaves a [`Finding`] with a stable
//! id. Appraisal is a pure function of bytes, trust, policy, state and time: the same
//! input gives the same findings in the same order, anywhere.
//!
//! Trust boundary: evidence is hostile; the trust file and the policy are the
//! verifier's own. What a node says about itself can only lower an axis.
//!
//! Not here: I/O, clocks, storage.
#![forbid(unsafe_code)]

mod advice;
mod appraise;
mod axes;
mod boot;
mod checks;
mod claim;
mod cross;
mod device;
mod ear;
mod ear_claims;
mod ear_device;
mod ear_map;
mod ear_token;
mod ek;
mod enrol;
mod facts;
mod finding;
mod firmware;
mod ima;
mod job;
mod machine;
mod measure;
mod platform;
mod platform_signer;
mod policy;
mod policy_cbor;
mod policy_file;
mod releases;
mod revoked;
mod session;
mod state;
mod telemetry;
mod threshold;
mod topology;
mod trust;
#[cfg(test)]
#[path = "../../x509/tests/world/mod.rs"]
mod world;

pub use advice::advice;
pub use appraise::{Appraisal, PolicyRef, Report, Validity, appraise};
pub use axes::Axes;
pub use checks::{CHECKS, CheckInfo, Freedom, check_info};
pub use claim::claim_totals;
pub use ear::{Ear, Tier, Vector};
pub use enrol::{EnrolFacts, check_answer, check_request, record_identity};
pub use facts::{
    BootFacts, DeviceFacts, Facts, GapFacts, GpuUse, JobFacts, NodeFacts, SessionFacts, UptimeFacts,
};
pub use finding::{EventRef, Finding, Severity, Verdict};
pub use firmware::firmware_changed;
pub use platform_signer::PlatformSigner;
pub use policy::{Policy, ReleaseRule};
pub use releases::{RELEASE_NETWORK, ReleaseError, TrustedRelease};
pub use revoked::{ListFault, RecordRef, newer, revocation};
pub use session::{OpenSession, open_session};
pub use state::{State, StateError};
pub use trust::{ReleaseSigner, Trust, TrustError, TrustedCa, TrustedValidator, Vendors};
