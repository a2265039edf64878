//! EK certificates of a test authority: X.509 by hand, for keys that can't sign a request.

use assay_tpm::KeyKind;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};

use crate::soft_tpm::SoftTpm;

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = match content.len() {
        short @ ..=127 => vec![u8::try_from(short).unwrap()],
        medium @ ..=255 => vec![0x81, u8::try_from(medium).unwrap()],
        long => [&[0x82][..], &u16::try_from(long).unwrap().to_be_bytes()].concat(),
    };
    [&[tag][..], &length, &content].concat()
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

/// A positive INTEGER without leading zeros.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if bytes[0] >= 0x80 { &[0] } else { &[] };
    tlv(2, &[sign, bytes])
}

/// An OBJECT IDENTIFIER by its content.
fn oid(content: &[u8]) -> Vec<u8> {
    tlv(6, &[content])
}

const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// 2.23.133.
const TCG: [u8; 3] = [0x67, 0x81, 0x05];

fn public_key_info(key: &KeyKind) -> Vec<u8> {
    let bits = |content: &[u8]| tlv(3, &[&[0], content]);
    match key {
        KeyKind::Ecc { x, y, .. } => {
            let algorithm =
                [oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7])];
            sequence(&[&sequence(&[&algorithm.concat()]), &bits(&[&[4], &x[..], &y[..]].concat())])
        }
        KeyKind::Rsa { modulus, .. } => {
            let algorithm = [oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), vec![5, 0]];
            let key = sequence(&[&integer(modulus), &tlv(2, &[&[1, 0, 1]])]);
            sequence(&[&sequence(&[&algorithm.concat()]), &bits(&key)])
        }
    }
}

fn name(text: &str) -> Vec<u8> {
    let attribute = sequence(&[&oid(COMMON_NAME), &tlv(12, &[text.as_bytes()])]);
    sequence(&[&tlv(0x31, &[&attribute])])
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    sequence(&[&oid(id), flag, &tlv(4, &[value])])
}

/// TPM manufacturer, model and version (TCG EK Credential Profile 2.5, 3.1.2).
fn tpm_names(manufacturer: &str, model: &str) -> Vec<u8> {
    let values = [manufacturer, model, "id:00070002"];
    let attributes: Vec<u8> = (1u8..)
        .zip(values)
        .flat_map(|(nth, value)| {
            let id = oid(&[&TCG[..], &[2, nth]].concat());
            tlv(0x31, &[&sequence(&[&id, &tlv(12, &[value.as_bytes()])])])
        })
        .collect();
    sequence(&[&tlv(0xa4, &[&sequence(&[&attributes])])])
}

/// A certificate for a TPM's EK, by an authority that nobody pins.
pub(crate) fn certificate(tpm: &SoftTpm, manufacturer: &str, model: &str) -> Vec<u8> {
    let key = tpm.ek_kind();
    let algorithm = sequence(&[&oid(ECDSA_SHA256)]);
    let time = |text: &str| tlv(0x17, &[text.as_bytes()]);
    // keyAgreement for ECC, keyEncipherment for RSA.
    let usage = if matches!(key, KeyKind::Rsa { .. }) { [3, 2, 5, 0x20] } else { [3, 2, 3, 0x08] };
    let extensions = [
        extension(&[0x55, 0x1d, 0x11], true, &tpm_names(manufacturer, model)),
        extension(&[0x55, 0x1d, 0x13], true, &sequence(&[])),
        extension(&[0x55, 0x1d, 0x25], false, &sequence(&[&oid(&[&TCG[..], &[8, 1]].concat())])),
        extension(&[0x55, 0x1d, 0x0f], true, &usage),
    ];
    let body = sequence(&[
        &tlv(0xa0, &[&[2, 1, 2]]),
        &integer(&[1]),
        &algorithm,
        &name("Test authority"),
        &sequence(&[&time("200101000000Z"), &time("491231235959Z")]),
        &sequence(&[]),
        &public_key_info(&key),
        &tlv(0xa3, &[&sequence(&[&extensions.concat()])]),
    ]);
    let authority = SigningKey::from_slice(&[0x33; 32]).unwrap();
    let signature: DerSignature = authority.sign(&body);
    sequence(&[&body, &algorithm, &tlv(3, &[&[0], signature.as_bytes()])])
}

/// A certificate of a chip vendor's, as far as its names go.
pub(crate) fn chip(tpm: &SoftTpm) -> Vec<u8> {
    certificate(tpm, "id:49465800", "SLB9672")
}
