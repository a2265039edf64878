//! What stands in certificates of devices, and the certificates.

use p384::ecdsa::signature::Signer as _;
use p384::ecdsa::{DerSignature, SigningKey};

use super::elements::*;

pub const COMPOSITE_ID: &str = "2.23.133.5.4.1";
pub const TCB_INFO: &str = "2.23.133.5.4.1.1";
pub const SHA384: &str = "2.16.840.1.101.3.4.2.2";
pub const SHA256: &str = "2.16.840.1.101.3.4.2.1";
pub const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";
pub const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
pub const SECP384R1: &str = "1.3.132.0.34";

/// A positive INTEGER.
pub fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(bytes.len() - 1);
    let sign: &[u8] = if bytes[zeros] >= 0x80 { &[0] } else { &[] };
    tlv(2, &[sign, &bytes[zeros..]].concat())
}

pub fn device_name(serial: &str, model: &str) -> Vec<u8> {
    name(&[("2.5.4.5", serial), ("2.5.4.3", model)])
}

pub fn spki(key: &SigningKey, curve: &str) -> Vec<u8> {
    let point = key.verifying_key().to_encoded_point(false);
    let algorithm = seq(&[&oid("1.2.840.10045.2.1"), &oid(curve)]);
    seq(&[&algorithm, &tlv(3, &[&[0], point.as_bytes()].concat())])
}

pub fn fwid(algorithm: &str, digest: &[u8]) -> Vec<u8> {
    seq(&[&oid(algorithm), &tlv(4, digest)])
}

/// The extension of Hopper's leafs.
pub fn composite_id(key: &SigningKey, algorithm: &str, digest: &[u8]) -> Vec<u8> {
    let value = seq(&[&tlv(2, &[1]), &spki(key, SECP384R1), &fwid(algorithm, digest)]);
    extension(COMPOSITE_ID, false, &value)
}

/// The extension of Blackwell's leafs.
pub fn tcb_info(fwids: &[(&str, &[u8])]) -> Vec<u8> {
    let list: Vec<_> = fwids.iter().map(|(algorithm, digest)| fwid(algorithm, digest)).collect();
    let list = if list.is_empty() { vec![] } else { tlv(0xa6, &list.concat()) };
    let value = seq(&[
        &tlv(0x80, b"NVIDIA"),
        &tlv(0x81, b"GB100 A01 GSP"),
        &tlv(0x82, b"01"),
        &tlv(0x83, &[1]),
        &tlv(0x84, &[0]),
        &tlv(0x85, &[0]),
        &list,
        &tlv(0x87, &[0, 0x80, 0, 0, 1]),
        &tlv(0x88, &[0xc0]),
        &tlv(0x89, &[0]),
    ]);
    extension(TCB_INFO, false, &value)
}

/// A certificate to be, every part of it open to change.
#[derive(Clone)]
pub struct Draft {
    pub serial: Vec<u8>,
    pub algorithm: Vec<u8>,
    pub issuer: Vec<u8>,
    pub not_before: &'static str,
    pub not_after: &'static str,
    pub subject: Vec<u8>,
    pub spki: Vec<u8>,
    pub extensions: Vec<Vec<u8>>,
}

impl Draft {
    pub fn new(key: &SigningKey) -> Self {
        Self {
            serial: vec![7],
            algorithm: seq(&[&oid(ECDSA_SHA384)]),
            issuer: common("issuer"),
            not_before: "200101000000Z",
            not_after: "491231235959Z",
            subject: common("subject"),
            spki: spki(key, SECP384R1),
            extensions: Vec::new(),
        }
    }

    pub fn tbs(&self) -> Vec<u8> {
        let time = |text: &str| tlv(0x17, text.as_bytes());
        let extensions = match self.extensions.is_empty() {
            true => vec![],
            false => tlv(0xa3, &tlv(0x30, &self.extensions.concat())),
        };
        seq(&[
            &tlv(0xa0, &tlv(2, &[2])),
            &tlv(2, &self.serial),
            &self.algorithm,
            &self.issuer,
            &seq(&[&time(self.not_before), &time(self.not_after)]),
            &self.subject,
            &self.spki,
            &extensions,
        ])
    }

    /// The certificate, signed with ECDSA and SHA-384 whatever it says.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let tbs = self.tbs();
        let signature: DerSignature = key.sign(&tbs);
        seq(&[&tbs, &self.algorithm, &tlv(3, &[&[0], signature.as_bytes()].concat())])
    }
}
