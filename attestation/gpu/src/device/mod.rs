//! A device's own word: its measurement report, its certificates, and what they prove together.
//!
//! **Purpose.** Say of bytes that claim to be a GPU's or an NVSwitch's evidence whether the device
//! signed them, whether its maker certified it, whether its firmware is the certified one, and for
//! which nonce ([`verify`]); and of several devices whether they are one machine ([`topology`]).
//!
//! **Trust boundary.** Reports, certificates and answers of a responder are an attacker's. Reading is
//! total and bounded ([`Report::MAX`], [`DeviceChain::MAX`]); what is read is a claim until [`verify`]
//! has judged it under [`Roots`] that the caller chose. A report proves a device, not where it is, who
//! uses it nor how fast it is.
//!
//! **Not here.** Fetching anything, clocks, policy. Which check costs what is for the appraisal.
//!
//! "SPDM" in the comments is DMTF DSP0274 1.1.

mod architecture;
pub(crate) mod chain;
mod cursor;
mod error;
mod evidence;
mod facts;
mod fwid;
mod judgement;
mod nonce;
mod opaque;
pub(crate) mod pem;
mod report;
mod revocation;
mod roots;
mod seen;
mod topology;
mod verify;

pub use architecture::{Architecture, Pdi};
pub use chain::{ChainFault, DeviceChain, DeviceIdentity};
pub use error::DeviceError;
pub use evidence::{DeviceEvidence, MAX_OCSP};
pub use facts::ReportFacts;
pub use fwid::FwidFault;
pub use judgement::{Check, Checks, DeviceFacts, Judgement, Note};
pub use nonce::{BootId, nonce};
pub use opaque::OpaqueField;
pub use report::{Measurement, Report, SignatureFault};
pub use revocation::{
    Asking, CertificateStatus, ChainKind, HoldPolicy, MAX_JUDGED, Revocation, about, asked, crowded,
    judge as judge_revocation, judge_device, judge_rim, responder_url,
};
pub use roots::Roots;
pub use topology::{Topology, TopologyFault, topology};
pub use verify::{Expectation, verify};
