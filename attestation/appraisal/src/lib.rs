//! Appraisal: trust, policy and evidence in, findings and a verdict out.
//!
//! A verdict is a value, never an error, and *reject* unless every check that the
//! policy asks for was made and held. Each check leaves a [`Finding`] with a stable
//! id. Appraisal is a pure function of bytes, trust, policy and time: the same
//! input gives the same findings in the same order, anywhere.
//!
//! Trust boundary: evidence is hostile; the trust file and the policy are the
//! verifier's own. What a node says about itself can only lower an axis.
//!
//! Not here: I/O, clocks, storage, and any judgement of a release's reference
//! values: without them no node is above P0.
#![forbid(unsafe_code)]

mod appraise;
mod axes;
mod boot;
mod claim;
mod ek;
mod enrol;
mod facts;
mod finding;
mod job;
mod machine;
mod measure;
mod policy;
mod session;
mod telemetry;
mod trust;
#[cfg(test)]
#[path = "../../x509/tests/world/mod.rs"]
mod world;

pub use appraise::{Appraisal, Report, appraise};
pub use axes::Axes;
pub use claim::claim_totals;
pub use enrol::{EnrolFacts, check_answer, check_request};
pub use facts::{BootFacts, Facts, GapFacts, GpuUse, JobFacts, NodeFacts, SessionFacts, UptimeFacts};
pub use finding::{Finding, Severity, Verdict};
pub use policy::Policy;
pub use session::{OpenSession, open_session};
pub use trust::{ReleaseSigner, Trust, TrustError, TrustedCa, TrustedValidator, Vendors};
