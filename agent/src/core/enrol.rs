//! Enrolment, from the node's side: once per TPM and validator, until the record ends.

use std::fs::File;
use std::io::Read as _;

use assay_attester::{Identity, LONGEST_CERTIFICATE, MOST_CERTIFICATES};
use assay_ledger::ByteVec;
use assay_ledger::enrolment::{
    EnrolAnswer, EnrolChallenge, EnrolRequest, EnrolmentRecord, node_id, proof_input, quote_extra_data,
    transcript,
};
use assay_ledger::session::SESSION_PCRS;
use assay_wire::{Digest, Domain, Envelope, Kind, Network, VerifyingKey, hash, limits};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::client::Validator;
use super::clock;
use super::node::Node;
use super::open::{OpenFault, pcr_values};
use super::port::Port;
use super::status::Severity;
use super::tpm::{TpmFault, TpmHandle};

/// A record that ends sooner than this is replaced before a session is built on it, in ms.
const RENEW_MS: u64 = 60 * 60 * 1000;
/// Longest file with an owner's transfer.
const TRANSFER_BYTES: u64 = 4096;

// What is read from the TPM is what validators take.
const _: () =
    assert!(MOST_CERTIFICATES == limits::CERTIFICATES && LONGEST_CERTIFICATE == limits::CERTIFICATE);

/// An enrolment record that is ours and in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Enrolled {
    /// The node.
    pub(super) node: Digest,
    /// The record's envelope.
    pub(super) bytes: Vec<u8>,
    /// Its envelope hash.
    pub(super) hash: Digest,
}

/// What a record is held against.
pub(super) struct Ours<'a> {
    pub(super) network: &'a Network,
    pub(super) identity: &'a Identity,
    pub(super) owner: Option<VerifyingKey>,
    pub(super) now_ms: u64,
}

impl<'a> Ours<'a> {
    /// This node, now.
    pub(super) fn of(node: &'a Node, identity: &'a Identity) -> Self {
        let owner = node.config.node.owner;
        Self { network: &node.network, identity, owner, now_ms: clock::unix_ms() }
    }
}

/// Checks a record: signed by this validator, for this TPM's keys and owner, in force.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn check(bytes: &[u8], key: &VerifyingKey, ours: &Ours<'_>) -> Result<Enrolled, String> {
    let Ours { network, identity, owner, now_ms } = ours;
    let envelope = Envelope::decode_as(Kind::Enrolment, bytes).map_err(|e| e.to_string())?;
    if envelope.kid != key.validator_id() {
        return Err("the enrolment record is by another validator".to_owned());
    }
    envelope.verify(key, network).map_err(|e| e.to_string())?;
    let record: EnrolmentRecord = envelope.message().map_err(|e| e.to_string())?;
    let node = node_id(&identity.ek_public);
    let keys = (&record.ek_public, &record.ak_public) == (&identity.ek_public, &identity.ak_public);
    if !keys || record.node != node {
        return Err("the enrolment record is of another TPM".to_owned());
    }
    if owner.is_some() && record.owner != *owner {
        return Err("the enrolment record names another owner".to_owned());
    }
    if record.ek_certificates.is_empty() && !identity.ek_certificates.is_empty() {
        return Err("the enrolment record was made without this TPM's certificate".to_owned());
    }
    if record.expires_ms <= now_ms.saturating_add(RENEW_MS) {
        return Err("the enrolment record has ended, or ends within the hour".to_owned());
    }
    Ok(Enrolled { node, bytes: bytes.to_vec(), hash: hash(Domain::Envelope, &[bytes]) })
}

/// What this node says of itself; `keys` are the session's, Ed25519 and X25519.
pub(super) fn request(node: &Node, identity: &Identity, keys: (VerifyingKey, Digest)) -> EnrolRequest {
    let (ek, ak) = (identity.ek_public.clone(), identity.ak_public.clone());
    let mut room = limits::CERTIFICATES_TOTAL;
    // The most important first.
    let ek_certificates = carried(&identity.ek_certificates, &mut room);
    let ek_chain = carried(&identity.ek_chain, &mut room);
    let platform_certificates = carried(&identity.platform_certificates, &mut room);
    let device_certificates = carried(&identity.device_certificates, &mut room);
    let sent =
        ek_certificates.len() + ek_chain.len() + platform_certificates.len() + device_certificates.len();
    tell_of_left_out(node, certificates(identity).saturating_sub(sent));
    EnrolRequest {
        ek_certificates,
        ek_chain,
        platform_certificates,
        device_certificates,
        owner: node.config.node.owner,
        transfer: transfer(node).map(Into::into),
        ..EnrolRequest::new(ek, ak, keys.0, keys.1)
    }
}

/// As many certificates as validators take, and as find room: one more, and they refuse the request.
fn carried(all: &[Vec<u8>], room: &mut usize) -> Vec<ByteVec> {
    let fits = |one: &&Vec<u8>| match room.checked_sub(one.len()) {
        Some(less) if one.len() <= limits::CERTIFICATE => {
            *room = less;
            true
        }
        _ => false,
    };
    all.iter().take(limits::CERTIFICATES).filter(fits).map(|one| one.clone().into()).collect()
}

fn certificates(identity: &Identity) -> usize {
    let all = [&identity.ek_certificates, &identity.ek_chain];
    let machine = [&identity.platform_certificates, &identity.device_certificates];
    all.into_iter().chain(machine).map(Vec::len).sum()
}

fn tell_of_left_out(node: &Node, left_out: usize) {
    const CODE: &str = "identity.certificates";
    if left_out == 0 {
        return node.clear(CODE);
    }
    let (most, total) = (limits::CERTIFICATES, limits::CERTIFICATES_TOTAL);
    let text = format!(
        "{left_out} certificates are not sent: validators take {most} of a kind, and {total} bytes of all kinds"
    );
    node.raise(CODE, Severity::Warning, text);
}

/// The earlier owner's word, when there is a file of it.
fn transfer(node: &Node) -> Option<Vec<u8>> {
    let path = node.config.node.transfer.as_ref()?;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(TRANSFER_BYTES + 1).read_to_end(&mut bytes)?;
        let fits = u64::try_from(bytes.len()).is_ok_and(|len| len <= TRANSFER_BYTES);
        let good = fits && Envelope::decode_as(Kind::OwnerTransfer, &bytes).is_ok();
        if good { Ok(bytes) } else { Err(std::io::Error::other("it is no owner's transfer")) }
    };
    match read() {
        Ok(bytes) => {
            node.clear("owner.transfer");
            Some(bytes)
        }
        Err(error) => {
            let text = format!("the transfer {} cannot be used: {error}", path.display());
            node.raise("owner.transfer", Severity::Warning, text);
            None
        }
    }
}

/// Proves to a validator that EK and AK live in one TPM; returns the record, unchecked.
///
/// # Errors
/// [`OpenFault`]: the TPM's or the exchange's.
pub(super) async fn enrol(
    validator: &Validator,
    port: &Port,
    tpm: &TpmHandle,
    request: &EnrolRequest,
) -> Result<Vec<u8>, OpenFault> {
    let challenge = validator.enrol(port, request).await?;
    let bound = transcript(request, &challenge);
    let answer = prove(tpm, challenge, bound).await?;
    Ok(validator.answer(port, &answer).await?)
}

async fn prove(tpm: &TpmHandle, challenge: EnrolChallenge, bound: Digest) -> Result<EnrolAnswer, TpmFault> {
    let EnrolChallenge { nonce, id_object, encrypted_secret } = challenge;
    let (secret, quote) = tpm
        .call(move |tpm| {
            let secret = Zeroizing::new(tpm.activate_credential(&id_object, &encrypted_secret)?);
            let quote = tpm.quote(&quote_extra_data(&bound).0, &SESSION_PCRS)?;
            Ok((secret, quote))
        })
        .await?;
    let proof = proof(&secret, &bound);
    let pcrs = pcr_values(&quote);
    Ok(EnrolAnswer { nonce, proof, attest: quote.attest, signature: quote.signature, pcrs })
}

fn proof(secret: &[u8], bound: &Digest) -> Digest {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return Digest::default() };
    mac.update(&proof_input(bound).0);
    Digest(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_attester::Properties;
    use assay_ledger::enrolment::TpmClass;
    use assay_wire::SigningKey;

    const NOW: u64 = 1_000_000_000;

    #[test]
    fn a_request_has_no_more_certificates_than_validators_take() {
        let many: Vec<_> = (0..limits::CERTIFICATES + 5).map(|n| vec![u8::try_from(n).unwrap()]).collect();
        assert_eq!(carried(&many, &mut 100).len(), limits::CERTIFICATES);
        assert_eq!(carried(&many[..2], &mut 100), [ByteVec::from(vec![0]), ByteVec::from(vec![1])]);
        let mut room = limits::CERTIFICATES_TOTAL;
        let long = vec![vec![7; limits::CERTIFICATE]; limits::CERTIFICATES];
        assert_eq!((carried(&long, &mut room).len(), room), (5, 0), "the rest has no room");
        assert_eq!(carried(&[vec![7; limits::CERTIFICATE + 1]], &mut 100_000).len(), 0);
    }

    fn identity() -> Identity {
        let properties = Properties {
            manufacturer: "IBM".into(),
            vendor_string: "SW   TPM".into(),
            firmware_version: 1,
            spec_revision: 183,
            spec_year: 2024,
        };
        let (ek_public, ak_public) = (vec![1, 2], vec![3]);
        Identity {
            ek_public,
            ek_certificates: vec![],
            ek_chain: vec![],
            platform_certificates: vec![],
            device_certificates: vec![],
            skipped: vec![],
            ak_public,
            properties,
        }
    }

    fn record() -> EnrolmentRecord {
        EnrolmentRecord {
            node: node_id(&[1, 2]),
            ek_public: vec![1, 2],
            ek_certificates: vec![],
            ak_public: vec![3],
            class: TpmClass::Virtual,
            model: String::new(),
            firmware_version: 1,
            reset_count: 1,
            issued_ms: NOW,
            expires_ms: NOW + RENEW_MS + 1,
            ek_chain: vec![],
            platform_certificates: vec![],
            device_certificates: vec![],
            owner: None,
            firmware: vec![],
        }
    }

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32])
    }

    fn judged(record: &EnrolmentRecord, signer: u8, network: &str) -> Result<Enrolled, String> {
        let signer = key(signer);
        let kid = signer.verifying_key().validator_id();
        let bytes = Envelope::seal(Kind::Enrolment, kid, record, &signer, &Network::new(network));
        held(&bytes, None, &identity())
    }

    fn held(bytes: &[u8], owner: Option<VerifyingKey>, identity: &Identity) -> Result<Enrolled, String> {
        let ours = Ours { network: &Network::new("n"), identity, owner, now_ms: NOW };
        check(bytes, &key(1).verifying_key(), &ours)
    }

    #[test]
    fn another_owner_or_a_new_certificate_needs_a_new_record() {
        let sealed = |record: &EnrolmentRecord| {
            let kid = key(1).verifying_key().validator_id();
            Envelope::seal(Kind::Enrolment, kid, record, &key(1), &Network::new("n"))
        };
        let (bare, ours) = (sealed(&record()), Some(key(3).verifying_key()));
        let owned = sealed(&EnrolmentRecord { owner: ours, ..record() });
        assert!(held(&bare, ours, &identity()).unwrap_err().contains("another owner"));
        assert!(held(&owned, Some(key(4).verifying_key()), &identity()).is_err());
        assert!(held(&owned, ours, &identity()).is_ok());
        assert!(held(&owned, None, &identity()).is_ok(), "a file that names nobody takes nothing back");
        let certified = Identity { ek_certificates: vec![vec![1]], ..identity() };
        assert!(held(&bare, None, &certified).unwrap_err().contains("without this TPM's certificate"));
        let with = EnrolmentRecord { ek_certificates: vec![vec![1].into()], ..record() };
        assert!(held(&sealed(&with), None, &certified).is_ok());
    }

    #[test]
    fn only_our_own_record_by_our_own_validator_is_used() {
        assert_eq!(judged(&record(), 1, "n").unwrap().node, record().node);
        assert!(judged(&record(), 2, "n").unwrap_err().contains("another validator"));
        assert!(judged(&record(), 1, "m").unwrap_err().contains("signature"));
        let changed = |change: &dyn Fn(&mut EnrolmentRecord)| {
            let mut record = record();
            change(&mut record);
            judged(&record, 1, "n").unwrap_err()
        };
        assert!(changed(&|r| r.ek_public = vec![9]).contains("another TPM"));
        assert!(changed(&|r| r.ak_public = vec![9]).contains("another TPM"));
        assert!(changed(&|r| r.node = Digest([0; 32])).contains("another TPM"));
        assert!(changed(&|r| r.expires_ms -= 1).contains("ended"));
        assert!(held(b"x", None, &identity()).is_err());
    }

    #[test]
    fn the_proof_depends_on_secret_and_exchange() {
        let bound = Digest([7; 32]);
        assert_ne!(proof(b"a", &bound), proof(b"b", &bound));
        assert_ne!(proof(b"a", &bound), proof(b"a", &Digest([8; 32])));
    }
}
