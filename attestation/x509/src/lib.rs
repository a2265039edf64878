//! Certificates of TPMs and machines: read as they are, judged, and chained to a pinned store.
//!
//! Purpose: say of an EK certificate whether it is for this EK and what the TCG's profile asks of it
//! ([`judge_ek`]), who vouches for it ([`chain`], [`Store`]), and what stands behind it
//! ([`VendorClass`]); read platform and device certificates and say what they are bound to; ask whether a
//! certificate was taken back and judge the answer ([`ocsp_request`], [`judge_ocsp`]).
//!
//! Trust boundary: every certificate is chosen by an attacker, authorities that a node sends
//! included. Reading is total: a [`Certificate`], or an [`X509Error`] that names field and offset; work
//! and memory are bounded by [`MAX_NV`], [`MAX_DEPTH`] and [`MAX_CHECKS`]. A read certificate is only a
//! claim until [`chain`] ends at an entry of a [`Store`], which somebody vouched for byte for byte.
//! Deviations of real certificates from DER are read under the names in [`Quirk`], and no others;
//! signatures are always checked over the bytes as they came.
//!
//! Non-goals: no I/O, no clock (times come in as arguments), no revocation lists (CRLs), no private keys.
#![forbid(unsafe_code)]

mod certificate;
mod chain;
mod der;
mod device;
mod dice;
mod ek;
mod error;
mod extension;
mod key;
mod name;
mod nv;
mod ocsp;
mod oids;
mod platform;
mod platform_attributes;
mod quirk;
mod roca;
mod signature;
mod store;
mod time;
mod vendor;

pub use certificate::{Certificate, Fingerprint};
pub use chain::{Chain, ChainFault, Dates, MAX_CHECKS, MAX_DEPTH, chain, chain_within, dates};
pub use device::{Assurance, DeviceBinding, DeviceIdentity, device_binding};
pub use dice::{Fwid, fwids};
pub use ek::{EkCheck, EkResult, TpmNames, judge_ek, strong, tpm_names};
pub use error::X509Error;
pub use extension::{AltName, BasicConstraints, Extensions, KeyUsage, OtherName, TpmSpecification};
pub use key::{EcCurve, PublicKey};
pub use name::Name;
pub use nv::{MAX_NV, der_to_pem, pem_to_der};
pub use ocsp::{
    CertIdHash, NonceResult, OcspAnswer, OcspFault, OcspQuestion, OcspResponse, OcspStatus, OcspTerms,
    Refusal, Responder, Revoked, judge_ocsp, ocsp_request, ocsp_request_nonce,
};
pub use platform::{Holder, PlatformCertificate, PlatformNames};
pub use platform_attributes::{Attributes as PlatformAttributes, Component};
pub use quirk::{Quirk, Quirks};
pub use roca::is_roca;
pub use signature::{Hash, SignatureAlgorithm, SignatureFault, verify_spki};
pub use store::{Entry, Role, Store};
pub use time::Seconds;
pub use vendor::{FirmwareFloor, Vendor, VendorClass};
