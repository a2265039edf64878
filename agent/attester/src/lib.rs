//! The TPM as a node uses it: who it is, what it vouches for, what it has measured.
//!
//! One [`Tpm`] talks to one TPM 2.0 through `libtss2` and returns structures exactly as the TPM
//! marshalled them (`TPMT_PUBLIC`, `TPMS_ATTEST`, `TPMT_SIGNATURE`). It offers the five things the
//! protocol needs: the identity (canonical endorsement key, its certificates, the attestation
//! key), credential activation, quotes, signed time, and PCRs.
//!
//! Trust boundary: everything here runs on a machine that the verifier does not trust. Nothing is
//! verified here; verifying is for `assay-tpm` and what builds on it. What this crate must
//! get right is to ask the TPM for the right things, to leave no object or session behind, and to
//! say precisely what went wrong.
//!
//! Not here: sealing, NV writes, key import, `TPM2_Clear`, ownership, policy of any kind, and
//! repair of a TPM. The one command that changes what the TPM attests to is [`Tpm::pcr_extend`],
//! for simulated boots.
//!
//! # Discipline
//!
//! A TPM has room for about three transient objects and three sessions. Every key is created as
//! a primary (so nothing is stored outside the TPM), used, and flushed before the call returns, on
//! every path; at most two keys and one session are loaded at a time. A killed process can leave
//! objects behind only where no resource manager cleans up after it, and there
//! [`Tpm::open`] removes them.

mod ak;
mod backend;
mod chain;
mod ek;
mod ek_policy;
mod error;
mod identity;
mod key;
mod machine;
mod nv;
mod pcr;
mod sign;
mod template;
mod tpm;

pub use backend::Backend;
pub use error::TpmError;
pub use identity::{Identity, LockoutState, Properties, is_virtual_hint};
pub use machine::{LONGEST_CERTIFICATE, MOST_CERTIFICATES, SkippedIndex};
pub use sign::{Quoted, Signed};
pub use tpm::Tpm;
