//! The envelope: a tagged `COSE_Sign1` (RFC 9052 4.2) with one shape.
//!
//! Protected header `{1: -8 (EdDSA), 3: content type, 4: kid}`, empty unprotected
//! header, payload attached. `external_aad` is the network's id and the protocol
//! version, so that a message of one network means nothing on another.

use minicbor::{Encode, Encoder};

use crate::error::{Result, WireError};
use crate::key::{SigningKey, VerifyingKey};
use crate::{Batch, Digest, Domain, cbor, hash, limits};

/// The protocol version that this crate speaks; part of every signature.
pub const PROTOCOL_VERSION: u64 = 1;

/// CBOR tag 18, `COSE_Sign1`, in its one-byte form.
const TAG_SIGN1: u8 = 0xd2;

/// What an envelope holds; its content type (COSE header 3) is `assay/` and the kind's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A validator's record that EK, AK and node id live in one TPM.
    Enrolment,
    /// A session's boot evidence, by the node.
    Evidence,
    /// One heartbeat of a session.
    Beat,
    /// The TPM's word on the chain's head.
    Anchor,
    /// An orderly end of a session.
    SessionEnd,
    /// What a job used and produced, by the node.
    JobReceipt,
    /// Public randomness with a time, by a validator.
    Beacon,
    /// A validator's "I had this by then".
    BeatReceipt,
    /// An exported uptime claim, by the node.
    Claim,
    /// An exported job receipt with the evidence of its session, by the node.
    Receipt,
    /// What a good node of a release measures, by the release's signer.
    Release,
    /// A validator's list of what it has taken back.
    Revocations,
    /// An owner's word that a node has another owner now.
    OwnerTransfer,
    /// Firmware that a validator has seen, and at how many owners.
    Firmware,
    /// Reference values of a GPU's driver or firmware, as a validator read them in the vendor's signed document.
    GpuRim,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Enrolment,
        Self::Evidence,
        Self::Beat,
        Self::Anchor,
        Self::SessionEnd,
        Self::JobReceipt,
        Self::Beacon,
        Self::BeatReceipt,
        Self::Claim,
        Self::Receipt,
        Self::Release,
        Self::Revocations,
        Self::OwnerTransfer,
        Self::Firmware,
        Self::GpuRim,
    ];

    /// The name that people and JSON see.
    pub fn name(self) -> &'static str {
        self.content_type().trim_start_matches("assay/")
    }

    /// The content type; it ends in the kind's name.
    const fn content_type(self) -> &'static str {
        match self {
            Self::Enrolment => "assay/enrolment",
            Self::Evidence => "assay/evidence",
            Self::Beat => "assay/beat",
            Self::Anchor => "assay/anchor",
            Self::SessionEnd => "assay/session-end",
            Self::JobReceipt => "assay/job-receipt",
            Self::Beacon => "assay/beacon",
            Self::BeatReceipt => "assay/beat-receipt",
            Self::Claim => "assay/claim",
            Self::Receipt => "assay/receipt",
            Self::Release => "assay/release",
            Self::Revocations => "assay/revocations",
            Self::OwnerTransfer => "assay/owner-transfer",
            Self::Firmware => "assay/firmware",
            Self::GpuRim => "assay/gpu-rim",
        }
    }

    fn from_content_type(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.content_type() == value)
    }
}

/// The network that a signature is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    aad: Vec<u8>,
    id: String,
}

impl Network {
    /// The network with this id, at [`PROTOCOL_VERSION`].
    pub fn new(id: &str) -> Self {
        Self { aad: cbor::to_vec(&(id, PROTOCOL_VERSION)), id: id.to_owned() }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A decoded envelope whose signature has *not* been checked yet.
///
/// Nothing in it may be believed before [`Envelope::verify`] or a [`Batch`] held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What the content type says it is.
    pub kind: Kind,
    /// Who claims to have signed: a session id or a validator id.
    pub kid: Digest,
    /// The message, still encoded.
    pub payload: Vec<u8>,
    signature: [u8; 64],
    hash: Digest,
}

impl Envelope {
    /// Signs `payload` and returns the envelope's bytes.
    pub fn sign(kind: Kind, kid: Digest, payload: &[u8], key: &SigningKey, network: &Network) -> Vec<u8> {
        let protected = protected(kind, kid);
        let signature = key.sign(&to_be_signed(&protected, payload, network));
        write(&protected, payload, &signature)
    }

    /// Encodes `message` and signs it.
    pub fn seal<T: Encode<()>>(
        kind: Kind,
        kid: Digest,
        message: &T,
        key: &SigningKey,
        network: &Network,
    ) -> Vec<u8> {
        Self::sign(kind, kid, &cbor::to_vec(message), key, network)
    }

    /// Decodes an envelope of any kind.
    ///
    /// # Errors
    /// Anything but the one encoding that [`Envelope::sign`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        const WHAT: &str = "envelope";
        if bytes.len() > limits::ENVELOPE {
            return Err(WireError::TooLong { what: WHAT, len: bytes.len(), limit: limits::ENVELOPE });
        }
        let body = match bytes.split_first() {
            Some((&TAG_SIGN1, body)) => body,
            _ => return Err(WireError::Header("no COSE_Sign1 tag")),
        };
        cbor::check(body).map_err(|(fault, at)| WireError::Cbor { what: WHAT, fault, offset: at + 1 })?;
        let (protected_seen, payload, signature) = split(body)?;
        let (kind, kid) = read_protected(protected_seen)?;
        Ok(Self { kind, kid, payload: payload.to_vec(), signature, hash: hash(Domain::Envelope, &[bytes]) })
    }

    /// Decodes an envelope that must be of this kind.
    ///
    /// # Errors
    /// As [`Envelope::decode`], and [`WireError::Kind`].
    pub fn decode_as(kind: Kind, bytes: &[u8]) -> Result<Self> {
        let envelope = Self::decode(bytes)?;
        if envelope.kind != kind {
            return Err(WireError::Kind { expected: kind.name(), seen: envelope.kind.name() });
        }
        Ok(envelope)
    }

    /// The hash by which other records name this one, over its bytes as they came.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// Checks the signature (ZIP 215).
    ///
    /// # Errors
    /// [`WireError::Key`] or [`WireError::Signature`].
    pub fn verify(&self, key: &VerifyingKey, network: &Network) -> Result<()> {
        key.verify(&self.to_be_signed(network), &self.signature)
    }

    /// Leaves the signature check to a batch.
    pub fn add_to(&self, batch: &mut Batch, key: &VerifyingKey, network: &Network) {
        batch.add(key, &self.to_be_signed(network), &self.signature);
    }

    /// Decodes the payload.
    ///
    /// # Errors
    /// As [`cbor::from_slice`].
    pub fn message<'b, T: minicbor::Decode<'b, ()> + Encode<()>>(&'b self) -> Result<T> {
        cbor::from_slice(self.kind.name(), &self.payload, limits::ENVELOPE)
    }

    fn to_be_signed(&self, network: &Network) -> Vec<u8> {
        to_be_signed(&protected(self.kind, self.kid), &self.payload, network)
    }
}

/// Encodes by a closure into memory, which cannot fail.
/// `room` is what its parts will take, so that memory is asked for once.
fn encoded<const N: usize>(
    room: [usize; N],
    write: impl FnOnce(
        &mut Encoder<Vec<u8>>,
    ) -> std::result::Result<(), minicbor::encode::Error<std::convert::Infallible>>,
) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::with_capacity(room.into_iter().sum()));
    match write(&mut encoder) {
        Ok(()) => encoder.into_writer(),
        Err(_) => Vec::new(),
    }
}

fn protected(kind: Kind, kid: Digest) -> Vec<u8> {
    encoded([64], |e| e.map(3)?.u8(1)?.i8(-8)?.u8(3)?.str(kind.content_type())?.u8(4)?.bytes(&kid.0)?.ok())
}

/// Sig_structure (RFC 9052 4.4).
fn to_be_signed(protected: &[u8], payload: &[u8], network: &Network) -> Vec<u8> {
    encoded([protected.len(), network.aad.len(), payload.len(), 32], |e| {
        e.array(4)?.str("Signature1")?.bytes(protected)?.bytes(&network.aad)?.bytes(payload)?.ok()
    })
}

fn write(protected: &[u8], payload: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let body = encoded([protected.len(), payload.len(), 96], |e| {
        e.array(4)?.bytes(protected)?.map(0)?.bytes(payload)?.bytes(signature)?.ok()
    });
    [&[TAG_SIGN1], body.as_slice()].concat()
}

/// Protected header, payload and signature of a body whose encoding was checked.
fn split(body: &[u8]) -> Result<(&[u8], &[u8], [u8; 64])> {
    let shape = |detail: &'static str| move |_| WireError::Header(detail);
    let mut d = minicbor::Decoder::new(body);
    if d.array().map_err(shape("not an array"))? != Some(4) {
        return Err(WireError::Header("not an array of four"));
    }
    let protected = d.bytes().map_err(shape("protected header is not a byte string"))?;
    if d.map().map_err(shape("unprotected header is not a map"))? != Some(0) {
        return Err(WireError::Header("unprotected header is not empty"));
    }
    let payload = d.bytes().map_err(shape("payload is not a byte string"))?;
    let signature = d.bytes().map_err(shape("signature is not a byte string"))?;
    let signature = signature.try_into().map_err(|_| WireError::Header("signature is not 64 bytes"))?;
    Ok((protected, payload, signature))
}

fn read_protected(bytes: &[u8]) -> Result<(Kind, Digest)> {
    let unreadable = |_| WireError::Header("protected header is not {1: -8, 3: content type, 4: kid}");
    let mut d = minicbor::Decoder::new(bytes);
    let mut read = || {
        d.map()?;
        let algorithm = (d.u8()?, d.i8()?);
        let content_type = (d.u8()?, d.str()?);
        d.u8()?;
        Ok::<_, minicbor::decode::Error>((algorithm, content_type, d.bytes()?))
    };
    let (_, (_, content_type), kid) = read().map_err(unreadable)?;
    let kind = Kind::from_content_type(content_type).ok_or(WireError::Header("unknown content type"))?;
    let kid = Digest::try_from(kid).map_err(|_| WireError::Header("kid is not 32 bytes"))?;
    // Written again and compared: labels, algorithm, order and lengths in one rule.
    if protected(kind, kid) != bytes {
        return Err(WireError::Header("protected header is not {1: -8, 3: content type, 4: kid}"));
    }
    Ok((kind, kid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (SigningKey, Network, Vec<u8>) {
        let (key, network) = (SigningKey::from_seed(&[7; 32]), Network::new("test"));
        let bytes = Envelope::seal(Kind::Beat, Digest([1; 32]), &42u64, &key, &network);
        (key, network, bytes)
    }

    #[test]
    fn what_was_sealed_opens() {
        let (key, network, bytes) = sample();
        let envelope = Envelope::decode_as(Kind::Beat, &bytes).unwrap();
        assert_eq!(envelope.verify(&key.verifying_key(), &network), Ok(()));
        assert_eq!(envelope.message::<u64>(), Ok(42));
        assert_eq!(envelope.kid, Digest([1; 32]));
        assert_eq!(envelope.hash(), hash(Domain::Envelope, &[&bytes]));
    }

    #[test]
    fn another_network_another_kind_another_key_do_not() {
        let (key, network, bytes) = sample();
        let envelope = Envelope::decode(&bytes).unwrap();
        assert_eq!(envelope.verify(&key.verifying_key(), &Network::new("tesu")), Err(WireError::Signature));
        assert_eq!((network.id(), Network::new("tesu").id()), ("test", "tesu"));
        let other = SigningKey::from_seed(&[8; 32]).verifying_key();
        assert_eq!(envelope.verify(&other, &network), Err(WireError::Signature));
        assert_eq!(
            Envelope::decode_as(Kind::Anchor, &bytes),
            Err(WireError::Kind { expected: "anchor", seen: "beat" })
        );
    }

    #[test]
    fn a_batch_judges_an_envelope_as_it_is_judged_alone() {
        let (key, network, bytes) = sample();
        let envelope = Envelope::decode(&bytes).unwrap();
        for (network, holds) in [(network, true), (Network::new("tesu"), false)] {
            let mut batch = Batch::default();
            envelope.add_to(&mut batch, &key.verifying_key(), &network);
            assert_eq!((batch.len(), batch.verify()), (1, holds));
            assert_eq!(envelope.verify(&key.verifying_key(), &network).is_ok(), holds);
        }
    }

    #[test]
    fn an_envelopes_length_is_bounded() {
        let decode = |len| Envelope::decode(&vec![0; len]);
        let tag = WireError::Header("no COSE_Sign1 tag");
        assert_eq!(decode(limits::ENVELOPE), Err(tag), "it is read");
        for len in [limits::ENVELOPE + 1, limits::ENVELOPE + 2] {
            let long = WireError::TooLong { what: "envelope", len, limit: limits::ENVELOPE };
            assert_eq!(decode(len), Err(long));
        }
    }

    #[test]
    fn a_fault_is_named_by_its_offset_in_the_envelope() {
        let (_, _, mut bytes) = sample();
        let offset = bytes.len();
        bytes.push(0);
        let trailing = WireError::Cbor { what: "envelope", fault: crate::CborFault::Trailing, offset };
        assert_eq!(Envelope::decode(&bytes), Err(trailing));
        let simple = WireError::Cbor { what: "envelope", fault: crate::CborFault::Simple, offset: 1 };
        assert_eq!(Envelope::decode(&[TAG_SIGN1, 0xf6]), Err(simple));
    }

    #[test]
    fn no_flipped_byte_is_accepted() {
        let (key, network, bytes) = sample();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let held = Envelope::decode(&changed).and_then(|e| e.verify(&key.verifying_key(), &network));
                assert!(held.is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_header_with_anything_else_is_refused() {
        let (_, _, bytes) = sample();
        assert_eq!(Envelope::decode(&bytes[1..]), Err(WireError::Header("no COSE_Sign1 tag")));
        let at = bytes.iter().position(|b| *b == 0xa0).unwrap();
        let unprotected = [&bytes[..at], &[0xa1, 0x01, 0x01], &bytes[at + 1..]].concat();
        assert_eq!(Envelope::decode(&unprotected), Err(WireError::Header("unprotected header is not empty")));
        assert!(matches!(Envelope::decode(&[&bytes[..], &[0]].concat()), Err(WireError::Cbor { .. })));
        let mut es256 = bytes.clone();
        assert_eq!(es256[..7], [0xd2, 0x84, 0x58, 0x32, 0xa3, 0x01, 0x27]);
        es256[6] = 0x26;
        assert!(matches!(Envelope::decode(&es256), Err(WireError::Header(_))));
    }

    /// A second implementation of COSE agrees about every byte.
    #[test]
    fn an_independent_cose_library_reads_it() {
        use coset::{CborSerializable as _, CoseSign1, TaggedCborSerializable as _};
        let (key, network, bytes) = sample();
        let sign1 = CoseSign1::from_tagged_slice(&bytes).unwrap();
        assert_eq!(
            sign1.protected.header.alg,
            Some(coset::Algorithm::Assigned(coset::iana::Algorithm::EdDSA))
        );
        assert_eq!(sign1.protected.header.key_id, [1; 32]);
        sign1
            .verify_signature(&network.aad, |signature, data| {
                key.verifying_key().verify(data, signature.try_into().unwrap())
            })
            .unwrap();
        assert_eq!(sign1.to_vec().unwrap(), &bytes[1..]);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>) {
            let _ = Envelope::decode(&bytes);
            bytes.insert(0, TAG_SIGN1);
            let _ = Envelope::decode(&bytes);
        }
    }
}
