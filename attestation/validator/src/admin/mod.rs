//! What only the holder of a validator's directory may do, apart from everything nodes can reach.
//!
//! An order is one CBOR value. While the directory is served it travels over a unix socket in
//! the directory ([`socket`]), for the store has one writer; otherwise the command takes the
//! directory's lock and writes itself ([`command`]). Both end in [`apply`].
//!
//! Trust boundary: whoever can open the socket owns the directory, keys included. Orders are
//! bounded and decoded totally all the same; imported files are by strangers.
//!
//! Not here: any way to these from the node API.

pub(crate) mod command;
mod import;
pub(crate) mod socket;

use assay_appraisal::Trust;
use assay_ledger::ByteVec;
use assay_ledger::revocation::{Revocation, RevokedKind};
use assay_wire::{Digest, limits};
use minicbor::{Decode, Encode};

use crate::store::{Store, StoreError};

/// The longest reason or note, in bytes.
const TEXT: usize = 256;
/// Entries after which the list would outgrow an envelope: each has at most 320 bytes.
const MOST_ENTRIES: usize = limits::ENVELOPE / 320 - 1;

/// An order to a validator.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Order {
    /// Takes a node or a record back, for ever.
    #[n(0)]
    Revoke {
        #[n(0)]
        kind: RevokedKind,
        #[n(1)]
        digest: Digest,
        #[n(2)]
        reason: String,
    },
    /// Lets a node enrol once although it was revoked, its owner changed, its AK is new too soon, or
    /// another node has sent its certificate.
    #[n(1)]
    Allow {
        #[n(0)]
        node: Digest,
    },
    /// Takes this firmware as a node's.
    #[n(2)]
    Approve {
        #[n(0)]
        node: Digest,
        #[n(1)]
        pcr0: Digest,
    },
    /// Vouches for a node's EK.
    #[n(3)]
    Pin {
        #[n(0)]
        node: Digest,
        #[n(1)]
        note: String,
    },
    /// Takes a pin back.
    #[n(4)]
    Unpin {
        #[n(0)]
        node: Digest,
    },
    /// Keeps another validator's revocation list or firmware table.
    #[n(5)]
    Import {
        #[n(0)]
        envelope: ByteVec,
    },
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Done {
    /// Whether it was carried out.
    #[n(0)]
    pub(crate) done: bool,
    /// Stable code.
    #[n(1)]
    pub(crate) code: String,
    /// One line for people.
    #[n(2)]
    pub(crate) message: String,
}

impl Done {
    fn yes(code: &str, message: impl Into<String>) -> Self {
        Self { done: true, code: code.to_owned(), message: message.into() }
    }

    fn no(code: &str, message: impl Into<String>) -> Self {
        Self { done: false, code: code.to_owned(), message: message.into() }
    }
}

/// Carries an order out. The caller holds a transaction.
pub(crate) fn apply(store: &Store, trust: &Trust, order: &Order, now_ms: u64) -> Result<Done, StoreError> {
    match order {
        Order::Revoke { kind, digest, reason } => revoke(store, *kind, *digest, reason, now_ms),
        Order::Allow { node } => {
            store.allow(node, now_ms)?;
            Ok(Done::yes("admin.allowed", "the node's next enrolment is allowed, once"))
        }
        Order::Approve { node, pcr0 } => {
            store.approve_firmware(node, pcr0, now_ms)?;
            Ok(Done::yes("admin.approved", "this firmware is the node's now"))
        }
        Order::Pin { node, note } => match plain(note) {
            false => Ok(bad_text()),
            true => {
                store.pin(node, note, now_ms)?;
                Ok(Done::yes(
                    "admin.pinned",
                    "pinned: I1 at this validator; others need it in their trust file",
                ))
            }
        },
        Order::Unpin { node } => match store.unpin(node)? {
            true => Ok(Done::yes("admin.unpinned", "no longer pinned by hand")),
            false => {
                Ok(Done::no("admin.not-pinned", "was not pinned by hand; the trust file has its own pins"))
            }
        },
        Order::Import { envelope } => import::import(store, trust, envelope),
    }
}

/// What a person wrote, in one line that no terminal and no list is hurt by.
fn plain(text: &str) -> bool {
    text.len() <= TEXT && crate::text::plain(text) == text
}

fn bad_text() -> Done {
    Done::no("admin.text", format!("one line of at most {TEXT} bytes without control characters"))
}

fn revoke(
    store: &Store,
    kind: RevokedKind,
    digest: Digest,
    reason: &str,
    now_ms: u64,
) -> Result<Done, StoreError> {
    if !plain(reason) || reason.is_empty() {
        return Ok(bad_text());
    }
    if usize::try_from(store.newest_revocation()?).is_ok_and(|count| count >= MOST_ENTRIES) {
        return Ok(Done::no("admin.full", "the list has as many entries as an envelope can hold"));
    }
    store.insert_revocation(&Revocation { kind, digest, at_ms: now_ms, reason: reason.to_owned() })?;
    if kind == RevokedKind::Node {
        // A permission given earlier would undo this at the node's next try.
        store.use_permission(&digest)?;
    }
    let closed = store.close_sessions(&digest, "enrolment.revoked")?;
    let number = store.newest_revocation()?;
    Ok(Done::yes("admin.revoked", format!("list {number}; {closed} sessions closed")))
}
