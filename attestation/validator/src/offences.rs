//! Proofs of offences as a file: whoever has it needs nobody's word.
//!
//! A CBOR array with an array per offence: the session's evidence, whose quote binds the
//! session key, and the two beats of one place that the key signed.

use assay_ledger::ByteVec;
use assay_wire::cbor;

use crate::error::Error;
use crate::store::{Offence, Store, StoreError};

/// The file for these offences.
pub(crate) fn file(store: &Store, offences: &[Offence]) -> Result<Vec<u8>, Error> {
    let mut proofs: Vec<[ByteVec; 3]> = Vec::new();
    for offence in offences {
        let evidence = store.evidence(&offence.session)?.ok_or(StoreError::Corrupt { what: "offence" })?;
        proofs.push([evidence.into(), offence.first.clone().into(), offence.second.clone().into()]);
    }
    Ok(cbor::to_vec(&proofs))
}
