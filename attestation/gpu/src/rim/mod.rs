//! Reference values of GPUs and switches (RIMs): the reduced form, and what a report is held against.
//!
//! **Purpose.** A vendor's RIM is a signed XML document. Whoever checks it (`assay-validator`) keeps
//! what counts of it as a [`Rim`]: what it is for, and the values of its active rows. [`compare`] holds
//! a report's measurements against the ones that are for it ([`rim_ids`]).
//!
//! **Trust boundary.** A [`Rim`] is worth what its source was worth: the document's signature, or the
//! envelope of a validator that the reader believes. [`Rim::decode`] bounds and checks the form only.
//! Kind, product and version of a RIM are signed by its vendor; for which board it is stands in no
//! document, so [`Rim::board`] is whoever stored it saying so, and can only make a RIM apply to less.
//!
//! **Not here.** XML, files and networks; signatures of reports and chains.

mod compare;
mod ids;
mod model;
mod signer;

pub use compare::{Comparison, Part, Verdict, compare, same_rows};
pub use ids::{Wanted, rim_ids};
pub use model::{
    Board, MAX_ANSWERS, MAX_NAME, MAX_RIM_BYTES, MAX_ROWS, MAX_VALUES, RIM_NETWORK, Rim, RimError, RimKind,
    RimRow, SignerProof,
};
pub use signer::{SignerChain, SignerStatus};
