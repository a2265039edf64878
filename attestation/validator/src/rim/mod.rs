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
mod content;
mod document;
mod examine;
mod import;
mod load;
mod signature;

pub use content::Content;
pub use document::{DocumentError, MAX_DOCUMENT};
pub use examine::{ChainFault, Examined, Unproven, examine};
pub(crate) use import::{Command, run};
pub use load::{MAX_FILES, Reason, Refused, load_dir, load_document};
pub use signature::SignatureFault;
