//! The Online Certificate Status Protocol (RFC 6960, RFC 5019; nonces by RFC 9654): what to ask about a
//! certificate, and what an answer is worth.
//!
//! Trust boundary: an answer is made by anyone. [`OcspResponse::parse`] is form only; [`judge_ocsp`] believes what
//! is signed by the issuer of the certificate, or by a responder that this issuer has named for it directly,
//! and nothing else. The issuer itself comes from a chain that the caller has judged. Sending, fetching and
//! keeping answers are the caller's.
//!
//! Revocation of a delegated responder is not asked for: [`Responder::Delegated`] says whether its
//! certificate asks for that to be left out (RFC 6960 4.2.2.2.1), and its dates bound it.

mod cert_id;
mod extensions;
mod fault;
mod judge;
mod request;
mod response;

pub use cert_id::CertIdHash;
pub use fault::{OcspFault, Refusal};
pub use judge::{
    NonceResult, OcspAnswer, OcspQuestion, OcspStatus, OcspTerms, Responder, Revoked, judge as judge_ocsp,
};
pub use request::{nonce as ocsp_request_nonce, request as ocsp_request};
pub use response::OcspResponse;
