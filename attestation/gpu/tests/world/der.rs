//! DER, names and certificates.

use p384::ecdsa::signature::Signer as _;
use p384::ecdsa::{DerSignature, SigningKey};

pub const BASIC: &str = "2.5.29.19";
pub const USAGE: &str = "2.5.29.15";
pub const COMPOSITE_ID: &str = "2.23.133.5.4.1";
pub const TCB_INFO: &str = "2.23.133.5.4.1.1";
pub const SHA384: &str = "2.16.840.1.101.3.4.2.2";
pub const SHA256: &str = "2.16.840.1.101.3.4.2.1";
pub const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";
pub const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
pub const SECP384R1: &str = "1.3.132.0.34";

/// One element.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let header = match len {
        0..=0x7f => vec![tag, u8::try_from(len).unwrap()],
        0x80..=0xff => vec![tag, 0x81, u8::try_from(len).unwrap()],
        _ => [&[tag, 0x82][..], &u16::try_from(len).unwrap().to_be_bytes()].concat(),
    };
    [&header, content].concat()
}

pub fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// A positive INTEGER.
pub fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(bytes.len() - 1);
    let sign: &[u8] = if bytes[zeros] >= 0x80 { &[0] } else { &[] };
    tlv(2, &[sign, &bytes[zeros..]].concat())
}

pub fn oid(dotted: &str) -> Vec<u8> {
    tlv(6, const_oid::ObjectIdentifier::new_unwrap(dotted).as_bytes())
}

pub fn name(attributes: &[(&str, &str)]) -> Vec<u8> {
    let part = |(kind, text): &(&str, &str)| tlv(0x31, &seq(&[&oid(kind), &tlv(0x0c, text.as_bytes())]));
    tlv(0x30, &attributes.iter().map(part).collect::<Vec<_>>().concat())
}

pub fn common(text: &str) -> Vec<u8> {
    name(&[("2.5.4.3", text)])
}

pub fn device_name(serial: &str, model: &str) -> Vec<u8> {
    name(&[("2.5.4.5", serial), ("2.5.4.3", model)])
}

pub fn extension(kind: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(1, &[0xff]) } else { vec![] };
    seq(&[&oid(kind), &critical, &tlv(4, value)])
}

/// keyUsage with one bit, counted as RFC 5280 does.
pub fn usage(bit: u8) -> Vec<u8> {
    extension(USAGE, true, &tlv(3, &[7 - bit, 0x80 >> bit]))
}

pub fn basic(ca: bool, path_len: Option<u8>) -> Vec<u8> {
    let ca = if ca { tlv(1, &[0xff]) } else { vec![] };
    let path_len = path_len.map(|n| tlv(2, &[n])).unwrap_or_default();
    extension(BASIC, true, &seq(&[&ca, &path_len]))
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
