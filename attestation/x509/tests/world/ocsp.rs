//! Answers of responders, written byte by byte.

use assay_x509::Certificate;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use sha1::Digest as _;

use super::{Draft, basic, extension, key, oid, purpose, seq, tlv, usage};

pub const SIGNING: &str = "1.3.6.1.5.5.7.3.9";
pub const NONCE: &str = "1.3.6.1.5.5.7.48.1.2";
pub const NO_CHECK: &str = "1.3.6.1.5.5.7.48.1.5";
pub const SHA1: &str = "1.3.14.3.2.26";

/// Noon of 2024-06-01, when everything here is judged.
pub const AT: i64 = 1_717_243_200;

/// The issuer of all that is asked about.
pub fn issuer() -> Draft {
    Draft::authority("root", "root", &key(1))
}

/// The certificate that is asked about.
pub fn subject() -> Draft {
    Draft { serial: vec![0x2a, 7], ..Draft::ek("root", &key(3)) }
}

/// A responder that the issuer named.
pub fn delegate() -> Draft {
    let no_check = extension(NO_CHECK, false, &tlv(5, &[]));
    Draft {
        serial: vec![5],
        not_before: "240101000000Z",
        not_after: "241231235959Z",
        extensions: vec![basic(false, None), usage(0), purpose(SIGNING), no_check],
        ..Draft::authority("responder", "root", &key(5))
    }
}

pub fn date(text: &str) -> Vec<u8> {
    tlv(0x18, text.as_bytes())
}

/// Content of subjectPublicKey.
fn bits(certificate: &Certificate) -> Vec<u8> {
    match &certificate.key {
        assay_x509::PublicKey::Ec { point, .. } => point.clone(),
        _ => panic!("no curve"),
    }
}

pub fn by_name(draft: &Draft) -> Vec<u8> {
    tlv(0xa1, &draft.subject)
}

pub fn by_key(draft: &Draft, by: &SigningKey) -> Vec<u8> {
    let certificate = Certificate::parse(&draft.sign(by)).unwrap();
    tlv(0xa2, &tlv(4, &sha1::Sha1::digest(bits(&certificate))))
}

/// CertID under SHA-1.
pub fn cert_id(serial: &[u8], issuer: &Draft) -> Vec<u8> {
    id_of(serial, &Certificate::parse(&issuer.sign(&key(1))).unwrap())
}

/// The same under any issuer.
pub fn id_of(serial: &[u8], issuer: &Certificate) -> Vec<u8> {
    let name = sha1::Sha1::digest(issuer.subject.as_bytes());
    let hash = sha1::Sha1::digest(bits(issuer));
    seq(&[&seq(&[&oid(SHA1), &tlv(5, &[])]), &tlv(4, &name), &tlv(4, &hash), &tlv(2, serial)])
}

pub fn good() -> Vec<u8> {
    tlv(0x80, &[])
}

pub fn unknown() -> Vec<u8> {
    tlv(0x82, &[])
}

pub fn revoked(at: &str, reason: Option<u8>) -> Vec<u8> {
    let reason = reason.map(|reason| tlv(0xa0, &tlv(0x0a, &[reason]))).unwrap_or_default();
    tlv(0xa1, &[date(at), reason].concat())
}

pub fn single(id: &[u8], status: &[u8], this: &str, next: Option<&str>, extensions: &[Vec<u8>]) -> Vec<u8> {
    let next = next.map(|next| tlv(0xa0, &date(next))).unwrap_or_default();
    seq(&[id, status, &date(this), &next, &listed(1, extensions)])
}

/// Extensions under `[n]`.
pub fn listed(n: u8, extensions: &[Vec<u8>]) -> Vec<u8> {
    match extensions {
        [] => vec![],
        some => tlv(0xa0 | n, &tlv(0x30, &some.concat())),
    }
}

pub fn nonce(bytes: &[u8]) -> Vec<u8> {
    extension(NONCE, false, &tlv(4, bytes))
}

/// An answer to be, every part of it open to change.
#[derive(Clone)]
pub struct Answer {
    pub version: Vec<u8>,
    pub responder: Vec<u8>,
    pub produced: Vec<u8>,
    pub singles: Vec<Vec<u8>>,
    pub extensions: Vec<Vec<u8>>,
    pub algorithm: Vec<u8>,
    pub certificates: Vec<Vec<u8>>,
}

impl Answer {
    /// Good, from that morning, signed by the issuer.
    pub fn good() -> Self {
        Self::of(&good())
    }

    pub fn of(status: &[u8]) -> Self {
        let id = cert_id(&subject().serial, &issuer());
        Self {
            version: vec![],
            responder: by_name(&issuer()),
            produced: date("20240601080000Z"),
            singles: vec![single(&id, status, "20240601080000Z", Some("20240602080000Z"), &[])],
            extensions: vec![],
            algorithm: seq(&[&oid("1.2.840.10045.4.3.2")]),
            certificates: vec![],
        }
    }

    /// The same by a delegated responder, whose certificate `by` signed.
    pub fn delegated(self, draft: &Draft, by: &SigningKey) -> Self {
        Self { responder: by_name(draft), certificates: vec![draft.sign(by)], ..self }
    }

    /// With the one status's times.
    pub fn at(self, this: &str, next: Option<&str>) -> Self {
        let id = cert_id(&subject().serial, &issuer());
        Self { singles: vec![single(&id, &good(), this, next, &[])], ..self }
    }

    pub fn data(&self) -> Vec<u8> {
        let responses = tlv(0x30, &self.singles.concat());
        let extensions = listed(1, &self.extensions);
        seq(&[&self.version, &self.responder, &self.produced, &responses, &extensions])
    }

    /// The answer, signed with ECDSA and SHA-256 whatever it says.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let signature: DerSignature = key.sign(&self.data());
        self.sealed(signature.as_bytes())
    }

    pub fn sealed(&self, signature: &[u8]) -> Vec<u8> {
        let certificates = match self.certificates.is_empty() {
            true => vec![],
            false => tlv(0xa0, &tlv(0x30, &self.certificates.concat())),
        };
        let signature = tlv(3, &[&[0], signature].concat());
        wrap(&seq(&[&self.data(), &self.algorithm, &signature, &certificates]))
    }
}

/// A successful OCSPResponse around a BasicOCSPResponse.
pub fn wrap(basic: &[u8]) -> Vec<u8> {
    let bytes = seq(&[&oid("1.3.6.1.5.5.7.48.1.1"), &tlv(4, basic)]);
    seq(&[&tlv(0x0a, &[0]), &tlv(0xa0, &bytes)])
}
