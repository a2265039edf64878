//! TPM 2.0 structures, signature checks and credential making, in pure Rust.
//!
//! Purpose: read what a node's TPM says about itself ([`Public`], [`Attest`], [`Signature`]), decide
//! whether a key really signed it ([`Public::verify`]), and make the challenge that only the TPM
//! holding both endorsement key and attestation key can answer ([`make_credential`]).
//!
//! Trust boundary: every byte handed to a `parse` function is chosen by an attacker. Parsing is
//! total: a value, or a [`TpmError`] that names the field and its offset. Nothing here allocates
//! more than a small multiple of the input, and trailing bytes are refused. A parsed value is
//! still only a claim: it means something after [`Public::verify`] under a key that was enrolled.
//!
//! Non-goals: no I/O, no clock, no source of randomness of its own, no TPM commands, no
//! certificates, no event logs, no policy beyond the shape of an attestation key ([`check_ak`]).
//! Algorithms outside RSA 2048 to 4096, P-256, P-384, SHA-256, SHA-384 and AES-CFB are refused;
//! SHA-1 is read where a PCR bank needs it and refused wherever security rests on it.
//!
//! The arithmetic is RustCrypto's, or `ring`'s under the feature `ring`; verdicts are the same.
//!
//! "Part 1" and "Part 2" in the comments are the TCG TPM 2.0 Library Specification, revision 1.59.
#![forbid(unsafe_code)]

mod ak;
mod alg;
mod attest;
mod attributes;
mod backend;
mod bare;
mod credential;
mod ec;
mod ek_template;
mod error;
mod kdf;
mod name;
mod pcr;
mod public;
mod public_codec;
mod rsa_keys;
mod signature;
#[cfg(test)]
mod testing;
mod verify;
mod wire;

pub use ak::{AK_ATTRIBUTES, AkFault, check_ak};
pub use alg::{Curve, HashAlg, Scheme, Symmetric};
pub use attest::{Attest, AttestBody, ClockInfo, QuoteInfo, TimeInfo};
pub use attributes::Attributes;
pub use backend::BACKEND;
pub use bare::{RsaKey, SignatureHash, verify_ecdsa, verify_rsapss, verify_rsassa};
pub use credential::{Credential, make_credential};
pub use ek_template::{EkFault, EkTemplate, ek_template};
pub use error::TpmError;
pub use name::{Name, RH_ENDORSEMENT, RH_NULL, RH_OWNER, RH_PLATFORM, qualified_name};
pub use pcr::{PCR_COUNT, PcrSelection, PcrSet, pcr_digest};
pub use public::{KeyKind, Public, PublicParts};
pub use signature::Signature;
pub use verify::verify_p256;
