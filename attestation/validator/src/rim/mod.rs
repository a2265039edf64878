//! RIM documents of GPUs: checked as the vendor signed them, and kept in a reduced form that this validator signs.
//!
//! A document is XML with an enveloped XML signature (XML-DSig, W3C Recommendation of 11 April 2013) and four
//! certificates. Only the one shape that RIMs have is read, and nothing else of XML-DSig:
//!
//! - UTF-8 without a byte order mark; no DTD, comment, CDATA section or processing instruction; bounded in
//!   bytes, tags, attributes, namespaces and depth before the parser sees it.
//! - One `Signature`, the last element in the document element; one `Reference` to the whole document
//!   with the enveloped-signature transform; inclusive canonical XML, SHA-384, ECDSA P-384.
//! - The key is that of the first certificate. The certificates lead, each signed by the next, to a root that is
//!   compared byte for byte with the one that the caller trusts.
//! - What a RIM says is read out of the canonical bytes that were hashed, never out of the document: there is nothing
//!   else to read. The same holds for the signature's own parameters.
//!
//! Three facts stay apart: whether the signature holds, whether the chain does, and in which time.

mod c14n;
mod command;
mod content;
mod document;
mod examine;
mod import;
mod load;
mod shelf;
mod signature;

pub(crate) use command::{Command, run};
pub use content::Content;
pub use document::{DocumentError, MAX_DOCUMENT};
pub use examine::{ChainFault, Examined, Unproven, examine};
pub use import::{Import, Imported};
pub use load::{MAX_FILES, Reason, Refused, load_dir, load_document};
pub use shelf::Shelf;
pub use signature::SignatureFault;

/// A RIM that nothing was signed for.
#[cfg(test)]
pub(crate) fn made_up(version: &str) -> assay_gpu::rim::Rim {
    use assay_gpu::rim::{Rim, RimKind, RimRow, SignerProof};
    use assay_wire::Digest;
    Rim {
        kind: RimKind::Driver,
        product: "GH100".into(),
        version: version.into(),
        tag: "t".into(),
        board: None,
        rows: vec![RimRow { index: 7, name: "m".into(), values: vec![[1; 48].into()] }],
        source: Digest([1; 32]),
        signer: Digest([2; 32]),
        not_before: 0,
        not_after: 1,
        proof: SignerProof::default(),
    }
}
