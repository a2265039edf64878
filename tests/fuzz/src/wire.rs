//! Our own encoding: envelopes and every message.

use assay_boot::Release;
use assay_gpu::rim::Rim;
use assay_ledger::anchor::Anchor;
use assay_ledger::beacon::Beacon;
use assay_ledger::beat::Beat;
use assay_ledger::claim::Claim;
use assay_ledger::enrolment::{EnrolAnswer, EnrolChallenge, EnrolRequest, EnrolmentRecord};
use assay_ledger::firmware::FirmwareTable;
use assay_ledger::job::{JobReceipt, ReceiptBundle};
use assay_ledger::owner::OwnerTransfer;
use assay_ledger::protocol::{Accepted, ChallengeRequest, Records, Refusal, SessionChallenge};
use assay_ledger::receipt::BeatReceipt;
use assay_ledger::revocation::RevocationList;
use assay_ledger::session::{Evidence, SessionEnd};
use assay_wire::{Envelope, Kind, SigningKey, cbor, limits};
use minicbor::{Decode, Encode};

use crate::world;

/// Reads bytes as one message.
type Reader = fn(&[u8]);

/// Every message, in the order of [`message`]'s first byte: with the kind of envelope that carries it,
/// if one does.
pub const MESSAGES: [(&str, Option<Kind>, Reader); 23] = [
    ("enrolment record", Some(Kind::Enrolment), one::<EnrolmentRecord>),
    ("evidence", Some(Kind::Evidence), one::<Evidence>),
    ("beat", Some(Kind::Beat), one::<Beat>),
    ("anchor", Some(Kind::Anchor), one::<Anchor>),
    ("session end", Some(Kind::SessionEnd), one::<SessionEnd>),
    ("job receipt", Some(Kind::JobReceipt), one::<JobReceipt>),
    ("beacon", Some(Kind::Beacon), one::<Beacon>),
    ("beat receipt", Some(Kind::BeatReceipt), one::<BeatReceipt>),
    ("claim", Some(Kind::Claim), one::<Claim>),
    ("receipt", Some(Kind::Receipt), one::<ReceiptBundle>),
    ("revocations", Some(Kind::Revocations), one::<RevocationList>),
    ("owner transfer", Some(Kind::OwnerTransfer), one::<OwnerTransfer>),
    ("firmware", Some(Kind::Firmware), one::<FirmwareTable>),
    ("release", Some(Kind::Release), one::<Release>),
    ("gpu rim", Some(Kind::GpuRim), one::<Rim>),
    ("enrol request", None, one::<EnrolRequest>),
    ("enrol challenge", None, one::<EnrolChallenge>),
    ("enrol answer", None, one::<EnrolAnswer>),
    ("challenge request", None, one::<ChallengeRequest>),
    ("session challenge", None, one::<SessionChallenge>),
    ("records", None, one::<Records>),
    ("accepted", None, one::<Accepted>),
    ("refusal", None, one::<Refusal>),
];

/// What decodes is what its value encodes to, and keeps the rules of RFC 8949 4.2.1.
fn one<T>(bytes: &[u8])
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    let rules = cbor::check(bytes);
    if let Ok(value) = cbor::from_slice::<T>("fuzz", bytes, limits::ENVELOPE) {
        assert_eq!(cbor::to_vec(&value), bytes, "one encoding");
        assert_eq!(rules, Ok(()), "a decoded message that breaks the rules");
    }
}

/// One message: the first byte says which.
pub fn message(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let (_, _, read) = MESSAGES[usize::from(*first) % MESSAGES.len()];
    read(bytes);
}

/// An envelope: what decodes is, but for the signature, what signing the same content writes; only a
/// signature of the fixture's makes it hold.
pub fn envelope(data: &[u8]) {
    let Ok(envelope) = Envelope::decode(data) else { return };
    let world = world();
    let key = SigningKey::from_seed(&[1; 32]);
    let again = Envelope::sign(envelope.kind, envelope.kid, &envelope.payload, &key, &world.trust.network);
    assert_eq!(again.len(), data.len());
    let signature = data.len() - 64;
    assert_eq!(again[..signature], data[..signature], "one encoding");
    for kind in Kind::ALL {
        assert_eq!(Envelope::decode_as(kind, data).is_ok(), kind == envelope.kind);
    }
    for key in world.trust.keys().values().chain([&world.evidence.session.key]) {
        let held = envelope.verify(key, &world.trust.network).is_ok();
        assert!(!held || world.envelopes.contains(data), "a signature that nobody made");
    }
    for (_, _, read) in MESSAGES.iter().filter(|(_, kind, _)| *kind == Some(envelope.kind)) {
        read(&envelope.payload);
    }
}
