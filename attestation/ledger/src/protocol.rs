//! What link and validator say to each other: HTTP paths and bodies.
//!
//! Every request comes down the connection that the node opened. Bodies are
//! deterministic CBOR; what matters in them is signed by itself, so the transport
//! is only a way to carry bytes. The protocol version is part of every signature
//! and of every path.

use assay_wire::Digest;
use minicbor::{Decode, Encode};

use crate::ByteVec;

/// GET: the newest beacon's envelope.
pub const BEACON: &str = "/v1/beacon";
/// POST [`crate::enrolment::EnrolRequest`]: an [`crate::enrolment::EnrolChallenge`].
pub const ENROL: &str = "/v1/enrol";
/// POST [`crate::enrolment::EnrolAnswer`]: the enrolment record's envelope.
pub const ENROL_ANSWER: &str = "/v1/enrol/answer";
/// POST [`ChallengeRequest`]: a [`SessionChallenge`].
pub const CHALLENGE: &str = "/v1/challenge";
/// POST an evidence envelope: the receipt's envelope.
pub const SESSION: &str = "/v1/session";
/// POST [`Records`]: [`Accepted`].
pub const RECORDS: &str = "/v1/records";

/// GET: the validator's [`crate::revocation::RevocationList`], as an envelope.
pub const REVOCATIONS: &str = "/v1/revocations";

/// The most bytes of envelopes in one [`Records`].
pub const RECORDS_BYTES: usize = 256 << 10;
/// The most envelopes in one [`Records`].
pub const RECORDS_COUNT: usize = 512;

/// A node asks for a nonce to open a session with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ChallengeRequest {
    /// The node.
    #[n(0)]
    pub node: Digest,
}

/// The nonce: unpredictable, used once, expiring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionChallenge {
    /// Goes into [`crate::session::SessionStart::challenge`].
    #[n(0)]
    pub nonce: Digest,
}

/// Records of one session in the order the ledger holds them: beats, anchors, job receipts, the end.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Records {
    /// The session.
    #[n(0)]
    pub session: Digest,
    /// The envelopes.
    #[n(1)]
    pub envelopes: Vec<ByteVec>,
}

/// How far a delivery got.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Accepted {
    /// How many envelopes, from the first, are stored durably now.
    #[n(0)]
    pub count: u32,
    /// Beat-receipt envelopes for what was stored.
    #[n(1)]
    pub receipts: Vec<ByteVec>,
    /// Why the next envelope was not, when one was not.
    #[n(2)]
    pub refusal: Option<Refusal>,
}

/// Why a request was refused; the body of every response whose status is not 200.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refusal {
    /// Stable code, such as `ledger.rollback`.
    #[n(0)]
    pub code: String,
    /// One line for people.
    #[n(1)]
    pub message: String,
}
