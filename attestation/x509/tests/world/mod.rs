//! A made-up world of authorities and TPMs: certificates written byte by byte, so that each test can
//! change one thing and nothing else.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod der;
pub mod ocsp;

use assay_tpm::{Attributes, Curve, HashAlg, KeyKind, Public, PublicParts, Scheme, Symmetric};
use assay_x509::Certificate;
pub use der::*;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};

pub fn time(text: &str) -> Vec<u8> {
    tlv(0x17, text.as_bytes())
}

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

pub fn spki(key: &SigningKey) -> Vec<u8> {
    let point = key.verifying_key().to_encoded_point(false);
    let algorithm = seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]);
    seq(&[&algorithm, &tlv(3, &[&[0], point.as_bytes()].concat())])
}

/// An RSA key with this modulus.
pub fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let sign: &[u8] = if bytes[0] >= 0x80 { &[0] } else { &[] };
        tlv(2, &[sign, bytes].concat())
    };
    let key = seq(&[&number(modulus), &number(exponent)]);
    seq(&[&seq(&[&oid("1.2.840.113549.1.1.1"), &tlv(5, &[])]), &tlv(3, &[&[0], &key[..]].concat())])
}

/// A certificate to be, every part of it open to change.
#[derive(Clone)]
pub struct Draft {
    pub version: u8,
    pub serial: Vec<u8>,
    pub algorithm: Vec<u8>,
    pub issuer: Vec<u8>,
    pub not_before: &'static str,
    pub not_after: &'static str,
    pub subject: Vec<u8>,
    pub spki: Vec<u8>,
    pub extensions: Vec<Vec<u8>>,
}

pub const PURPOSE: &str = "2.5.29.37";
pub const ALT_NAME: &str = "2.5.29.17";
pub const EK_PURPOSE: &str = "2.23.133.8.1";

pub fn purpose(kind: &str) -> Vec<u8> {
    extension(PURPOSE, false, &seq(&[&oid(kind)]))
}

pub fn tpm_name(manufacturer: &str, model: &str) -> Vec<u8> {
    let version = "id:00010002";
    name(&[("2.23.133.2.1", manufacturer), ("2.23.133.2.2", model), ("2.23.133.2.3", version)])
}

pub fn alt_name(critical: bool, directory: &[u8]) -> Vec<u8> {
    extension(ALT_NAME, critical, &seq(&[&tlv(0xa4, directory)]))
}

impl Draft {
    /// An authority.
    pub fn authority(subject: &str, issuer: &str, key: &SigningKey) -> Self {
        Self {
            version: 3,
            serial: vec![7],
            algorithm: seq(&[&oid("1.2.840.10045.4.3.2")]),
            issuer: common(issuer),
            not_before: "200101000000Z",
            not_after: "491231235959Z",
            subject: common(subject),
            spki: spki(key),
            extensions: vec![basic(true, None), usage(5)],
        }
    }

    /// An EK certificate after the profile.
    pub fn ek(issuer: &str, key: &SigningKey) -> Self {
        Self {
            serial: vec![9],
            not_before: "220101000000Z",
            not_after: "320101000000Z",
            subject: seq(&[]),
            extensions: vec![
                basic(false, None),
                usage(4),
                purpose(EK_PURPOSE),
                alt_name(true, &tpm_name("id:49465800", "SLB9672")),
            ],
            ..Self::authority("", issuer, key)
        }
    }

    /// The same with extension `at` replaced.
    pub fn with(mut self, at: usize, extension: Vec<u8>) -> Self {
        self.extensions[at] = extension;
        self
    }

    pub fn tbs(&self) -> Vec<u8> {
        let version = match self.version {
            1 => vec![],
            n => tlv(0xa0, &tlv(2, &[n - 1])),
        };
        let extensions = match self.extensions.is_empty() {
            true => vec![],
            false => tlv(0xa3, &tlv(0x30, &self.extensions.concat())),
        };
        seq(&[
            &version,
            &tlv(2, &self.serial),
            &self.algorithm,
            &self.issuer,
            &seq(&[&time(self.not_before), &time(self.not_after)]),
            &self.subject,
            &self.spki,
            &extensions,
        ])
    }

    /// The certificate, signed with ECDSA and SHA-256 whatever it says.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let tbs = self.tbs();
        let signature: DerSignature = key.sign(&tbs);
        self.sealed(&tbs, signature.as_bytes())
    }

    pub fn sealed(&self, tbs: &[u8], signature: &[u8]) -> Vec<u8> {
        seq(&[tbs, &self.algorithm, &tlv(3, &[&[0], signature].concat())])
    }
}

/// Template L-2 with this key.
pub fn ek_public(key: &SigningKey) -> Public {
    let point = key.verifying_key().to_encoded_point(false);
    let kind =
        KeyKind::Ecc { curve: Curve::P256, x: point.x().unwrap().to_vec(), y: point.y().unwrap().to_vec() };
    public(kind)
}

pub fn public(kind: KeyKind) -> Public {
    let policy = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
    Public::from_parts(&PublicParts {
        name_alg: HashAlg::Sha256,
        attributes: Attributes::from_bits(0x0003_00b2).unwrap(),
        auth_policy: hex::decode(policy).unwrap(),
        symmetric: Symmetric::Aes128Cfb,
        scheme: Scheme::Null,
        kind,
    })
    .unwrap()
}

/// RFC 5755 and the platform profile: an attribute certificate about `ek`, by `maker`.
pub fn platform(ek: &Certificate, signer: u8) -> Vec<u8> {
    platform_with(ek, signer, ["20220101000000Z", "20320101000000Z"], &[])
}

/// The same with these dates and more extensions.
pub fn platform_with(ek: &Certificate, signer: u8, dates: [&str; 2], more: &[u8]) -> Vec<u8> {
    let algorithm = seq(&[&oid("1.2.840.10045.4.3.2")]);
    let general = |name: &[u8]| seq(&[&tlv(0xa4, name)]);
    let holder = seq(&[&tlv(0xa0, &[general(ek.issuer.as_bytes()), tlv(2, &ek.serial)].concat())]);
    let date = |text: &str| tlv(0x18, text.as_bytes());
    let machine = name(&[
        ("2.23.133.5.1.1", "Maker"),
        ("2.23.133.5.1.4", "Model"),
        ("2.23.133.5.1.5", "1"),
        ("2.23.133.5.1.6", "S-1"),
    ]);
    let info = seq(&[
        &tlv(2, &[1]),
        &holder,
        &tlv(0xa0, &general(&common("maker"))),
        &algorithm,
        &tlv(2, &[5]),
        &seq(&dates.map(date).each_ref().map(Vec::as_slice)),
        &seq(&[]),
        &seq(&[&alt_name(false, &machine), more]),
    ]);
    let signature: DerSignature = key(signer).sign(&info);
    seq(&[&info, &algorithm, &tlv(3, &[&[0], signature.as_bytes()].concat())])
}
