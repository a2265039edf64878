//! Enrolment: proving once that EK, AK and node id live in one TPM.
//!
//! Request, challenge and answer are bound by one transcript hash, so that no part
//! of one exchange can be swapped into another. The record that ends it is the only
//! place from which anyone takes a node's AK afterwards.

use assay_wire::{Digest, Domain, VerifyingKey, cbor, hash};
use minicbor::{Decode, Encode};

use crate::ByteVec;
use crate::session::PcrValue;

/// Node -> validator: who I say I am.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EnrolRequest {
    /// TPMT_PUBLIC of the canonical EK.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub ek_public: Vec<u8>,
    /// EK certificates as read from NV, the canonical EK's first; may be empty.
    #[n(1)]
    pub ek_certificates: Vec<ByteVec>,
    /// TPMT_PUBLIC of the AK.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub ak_public: Vec<u8>,
    /// The running session's Ed25519 key.
    #[n(3)]
    pub session_key: VerifyingKey,
    /// The running session's X25519 key.
    #[n(4)]
    pub sealing_key: Digest,
    /// Certificates of the authorities above the EK's, as far as the node has them, in any order.
    #[n(5)]
    pub ek_chain: Vec<ByteVec>,
    /// TCG platform certificates of the machine; may be empty.
    #[n(6)]
    pub platform_certificates: Vec<ByteVec>,
    /// IDevID and IAK certificates of the machine; may be empty.
    #[n(7)]
    pub device_certificates: Vec<ByteVec>,
    /// Whom the node belongs to; absent where nobody said.
    #[n(8)]
    pub owner: Option<VerifyingKey>,
    /// Envelope of an owner's transfer of this node to `owner`, when it had another one before.
    #[n(9)]
    pub transfer: Option<ByteVec>,
}

impl EnrolRequest {
    /// A request with keys only: no certificate, no owner.
    pub fn new(
        ek_public: Vec<u8>,
        ak_public: Vec<u8>,
        session_key: VerifyingKey,
        sealing_key: Digest,
    ) -> Self {
        Self {
            ek_public,
            ek_certificates: Vec::new(),
            ak_public,
            session_key,
            sealing_key,
            ek_chain: Vec::new(),
            platform_certificates: Vec::new(),
            device_certificates: Vec::new(),
            owner: None,
            transfer: None,
        }
    }
}

/// Validator -> node: prove it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EnrolChallenge {
    /// Unpredictable, used once, expiring.
    #[n(0)]
    pub nonce: Digest,
    /// TPM2B_ID_OBJECT contents for TPM2_ActivateCredential.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub id_object: Vec<u8>,
    /// TPM2B_ENCRYPTED_SECRET contents for TPM2_ActivateCredential.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub encrypted_secret: Vec<u8>,
}

/// Node -> validator: the proof.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EnrolAnswer {
    /// The challenge's nonce.
    #[n(0)]
    pub nonce: Digest,
    /// HMAC-SHA-256 under the activated secret over [`proof_input`].
    #[n(1)]
    pub proof: Digest,
    /// TPMS_ATTEST of a quote by the AK with `extraData` = [`quote_extra_data`].
    #[cbor(n(2), with = "minicbor::bytes")]
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE over it.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub signature: Vec<u8>,
    /// The quoted PCRs, in the order of [`crate::session::SESSION_PCRS`].
    #[n(4)]
    pub pcrs: Vec<PcrValue>,
}

/// The hash that binds request and challenge.
pub fn transcript(request: &EnrolRequest, challenge: &EnrolChallenge) -> Digest {
    let request = hash(Domain::EnrolTranscript, &[&cbor::to_vec(request)]);
    let challenge = hash(Domain::EnrolTranscript, &[&cbor::to_vec(challenge)]);
    hash(Domain::EnrolTranscript, &[&request.0, &challenge.0])
}

/// What the answer's HMAC is over.
pub fn proof_input(transcript: &Digest) -> Digest {
    hash(Domain::EnrolProof, &[&transcript.0])
}

/// What the answer's quote carries.
pub fn quote_extra_data(transcript: &Digest) -> Digest {
    hash(Domain::EnrolQuote, &[&transcript.0])
}

/// The id of the node with this EK: never chosen by the node.
pub fn node_id(ek_public: &[u8]) -> Digest {
    hash(Domain::NodeId, &[ek_public])
}

/// What stands behind an EK, as the validator found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum TpmClass {
    /// A chip of its own.
    #[n(0)]
    Discrete,
    /// Firmware of the CPU.
    #[n(1)]
    Firmware,
    /// Software: proves nothing about hardware.
    #[n(2)]
    Virtual,
    /// Not in any table.
    #[n(3)]
    Unknown,
}

impl TpmClass {
    /// The word for people and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Firmware => "firmware",
            Self::Virtual => "virtual",
            Self::Unknown => "unknown",
        }
    }
}

/// Validator's signed record; the payload of an envelope of kind `enrolment`, `kid` the validator's id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EnrolmentRecord {
    /// [`node_id`] of `ek_public`.
    #[n(0)]
    pub node: Digest,
    /// TPMT_PUBLIC of the canonical EK.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub ek_public: Vec<u8>,
    /// EK certificates as the node sent them.
    #[n(2)]
    pub ek_certificates: Vec<ByteVec>,
    /// TPMT_PUBLIC of the AK that was activated.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub ak_public: Vec<u8>,
    /// What stands behind the EK.
    #[n(4)]
    pub class: TpmClass,
    /// TPM manufacturer and model from the EK certificate, or from nowhere: empty.
    #[n(5)]
    pub model: String,
    /// `firmwareVersion` of the enrolment quote.
    #[n(6)]
    pub firmware_version: u64,
    /// `resetCount` of the enrolment quote.
    #[n(7)]
    pub reset_count: u32,
    /// Unix time in ms.
    #[n(8)]
    pub issued_ms: u64,
    /// Unix time in ms.
    #[n(9)]
    pub expires_ms: u64,
    /// Certificates of the authorities above the EK's, as the node sent them.
    #[n(10)]
    pub ek_chain: Vec<ByteVec>,
    /// TCG platform certificates as the node sent them.
    #[n(11)]
    pub platform_certificates: Vec<ByteVec>,
    /// IDevID and IAK certificates as the node sent them.
    #[n(12)]
    pub device_certificates: Vec<ByteVec>,
    /// Whom the node belongs to; absent where nobody said.
    #[n(13)]
    pub owner: Option<VerifyingKey>,
    /// [`FIRMWARE_PCRS`] as the enrolment quote had them.
    #[n(14)]
    pub firmware: Vec<PcrValue>,
}

/// The PCRs that hold a machine's firmware and its configuration (PFP 1.06, 3.3.4), in order.
pub const FIRMWARE_PCRS: [u8; 4] = [0, 1, 2, 3];

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> (EnrolRequest, EnrolChallenge) {
        let request = EnrolRequest {
            ek_certificates: vec![vec![2].into()],
            ..EnrolRequest::new(vec![1], vec![3], VerifyingKey([4; 32]), Digest([5; 32]))
        };
        let challenge =
            EnrolChallenge { nonce: Digest([6; 32]), id_object: vec![7], encrypted_secret: vec![8] };
        (request, challenge)
    }

    #[test]
    fn every_field_moves_the_transcript() {
        let (request, challenge) = exchange();
        let before = transcript(&request, &challenge);
        let changed = |change: &dyn Fn(&mut EnrolRequest, &mut EnrolChallenge)| {
            let (mut r, mut c) = exchange();
            change(&mut r, &mut c);
            transcript(&r, &c) != before
        };
        assert!(changed(&|r, _| r.ek_public = vec![9]));
        assert!(changed(&|r, _| r.ek_certificates.clear()));
        assert!(changed(&|r, _| r.ak_public = vec![9]));
        assert!(changed(&|r, _| r.session_key = VerifyingKey([9; 32])));
        assert!(changed(&|r, _| r.sealing_key = Digest([9; 32])));
        assert!(changed(&|r, _| r.ek_chain.push(vec![9].into())));
        assert!(changed(&|r, _| r.platform_certificates.push(vec![9].into())));
        assert!(changed(&|r, _| r.device_certificates.push(vec![9].into())));
        assert!(changed(&|r, _| r.owner = Some(VerifyingKey([9; 32]))));
        assert!(changed(&|r, _| r.transfer = Some(vec![9].into())));
        assert!(changed(&|_, c| c.nonce = Digest([9; 32])));
        assert!(changed(&|_, c| c.id_object = vec![9]));
        assert!(changed(&|_, c| c.encrypted_secret = vec![9]));
    }
}
