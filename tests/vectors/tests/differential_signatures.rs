//! Every signature of the cases, and every one made here, holds for OpenSSL exactly where it does here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use assay_tpm::{Curve, HashAlg, KeyKind, Public, Scheme, Signature, verify_p256};
use assay_vectors::{Folder, MESSAGE, made};
use rsa::pkcs8::EncodePublicKey as _;
use serde_json::Value;

/// SubjectPublicKeyInfo up to the point (RFC 5480, 2).
const P256: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
const P384: &str = "3076301006072a8648ce3d020106052b81040022036200";

fn unhex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// SubjectPublicKeyInfo, DER; `None` for a key that the RSA library won't write.
fn spki(key: &KeyKind) -> Option<Vec<u8>> {
    match key {
        KeyKind::Ecc { curve, x, y } => {
            let prefix = hex::decode(if *curve == Curve::P256 { P256 } else { P384 }).unwrap();
            Some([&prefix[..], &[4], x, y].concat())
        }
        KeyKind::Rsa { exponent, modulus, .. } => {
            let number = rsa::BigUint::from_bytes_be;
            let key = rsa::RsaPublicKey::new(number(modulus), (*exponent).into()).ok()?;
            Some(key.to_public_key_der().unwrap().into_vec())
        }
    }
}

/// DER INTEGER of a number without its sign.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let sign: &[u8] = if bytes.get(start).is_none_or(|byte| *byte >= 0x80) { &[0] } else { &[] };
    let value = [sign, &bytes[start..]].concat();
    [&[2, u8::try_from(value.len()).unwrap()], &value[..]].concat()
}

/// What OpenSSL reads: Ecdsa-Sig-Value, or the RSA number as it is.
fn encoded(signature: &Signature) -> Vec<u8> {
    let bytes = signature.to_bytes();
    let sized = |bytes: &[u8]| {
        let (size, rest) = bytes.split_at(2);
        let (value, rest) = rest.split_at(usize::from(u16::from_be_bytes([size[0], size[1]])));
        (value.to_vec(), rest.to_vec())
    };
    let (first, rest) = sized(&bytes[4..]);
    match signature.scheme() {
        Scheme::Ecdsa(_) => {
            let both = [integer(&first), integer(&sized(&rest).0)].concat();
            let len = u8::try_from(both.len()).unwrap();
            let head = if len < 0x80 { vec![0x30, len] } else { vec![0x30, 0x81, len] };
            [head, both].concat()
        }
        _ => first,
    }
}

/// Whether OpenSSL says that it holds.
fn openssl(dir: &Path, key: &KeyKind, message: &[u8], signature: &Signature) -> bool {
    let Some(spki) = spki(key) else { return false };
    let [key, text, sig] = ["key", "text", "sig"].map(|name| dir.join(name));
    fs::write(&key, spki).unwrap();
    fs::write(&text, message).unwrap();
    fs::write(&sig, encoded(signature)).unwrap();
    let hash = signature.scheme().hash().unwrap().to_string();
    let mut command = Command::new("openssl");
    command.args(["dgst", &format!("-{hash}"), "-keyform", "DER", "-verify"]).arg(&key);
    if let Scheme::RsaPss(_) = signature.scheme() {
        command.args(["-sigopt", "rsa_padding_mode:pss"]);
    }
    let output = command.arg("-signature").arg(&sig).arg(&text).output().unwrap();
    output.status.success()
}

fn keys(ak: &Value) -> Vec<KeyKind> {
    if let Some(area) = ak.get("tpmt_public") {
        return vec![Public::parse(&unhex(area)).unwrap().kind().clone()];
    }
    let points = ak["p256_candidates"].as_array().unwrap().iter();
    points
        .map(|point| KeyKind::Ecc { curve: Curve::P256, x: unhex(&point["x"]), y: unhex(&point["y"]) })
        .collect()
}

fn ours(case: &Value, message: &[u8], signature: &Signature) -> bool {
    if let Some(area) = case["ak"].get("tpmt_public") {
        return Public::parse(&unhex(area)).unwrap().verify(message, signature).is_ok();
    }
    let points = case["ak"]["p256_candidates"].as_array().unwrap();
    points.iter().any(|p| verify_p256(&unhex(&p["x"]), &unhex(&p["y"]), message, signature).is_ok())
}

#[test]
fn signatures_of_the_cases_hold_for_openssl_as_they_do_here() {
    let Some(root) = common::folder() else { return };
    if !common::is_there("openssl", "version") {
        return;
    }
    let cases = Folder::open(&root).unwrap().json("cases.json").unwrap();
    let dir = tempfile::tempdir().unwrap();
    for case in cases["cases"].as_array().unwrap() {
        let Ok(signature) = Signature::parse(&unhex(&case["signature"])) else { continue };
        if signature.scheme().hash() == Some(HashAlg::Sha1) {
            common::assert_explained("sha-1");
            continue;
        }
        let whole = unhex(&case["attest"]);
        let mut changed = whole.clone();
        changed[10] ^= 1;
        for message in [whole, changed] {
            let theirs = keys(&case["ak"]).iter().any(|key| openssl(dir.path(), key, &message, &signature));
            assert_eq!(ours(case, &message, &signature), theirs, "{}", case["name"]);
        }
    }
}

/// Why OpenSSL takes what we refuse.
fn refused_here(key: &KeyKind, signature: &Signature) -> Option<&'static str> {
    let bytes = signature.to_bytes();
    let wide = u16::from_be_bytes([bytes[4], bytes[5]]);
    match key {
        KeyKind::Ecc { curve, .. } if usize::from(wide) > curve.field_len() => Some("one-width"),
        KeyKind::Rsa { bits, .. } if *bits < 2048 => Some("short-keys"),
        _ => None,
    }
}

#[test]
fn signatures_made_here_hold_for_openssl_as_they_do_here() {
    if !common::is_there("openssl", "version") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let made = made();
    assert!(made.len() > 40, "{}", made.len());
    for made in made {
        let Some(signature) = &made.signature else { continue };
        let (here, there) = (made.verdict() == "holds", openssl(dir.path(), &made.key, MESSAGE, signature));
        if here == there {
            continue;
        }
        let rule = refused_here(&made.key, signature).filter(|_| there);
        let rule = rule.unwrap_or_else(|| panic!("{}: {here} here, {there} there", made.name));
        eprintln!("{}: {rule}", made.name);
        common::assert_explained(rule);
    }
}
