//! EAR tokens, read by libraries that know nothing of Assay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_appraisal::{
    Appraisal, Axes, Ear, EventRef, Facts, Finding, PolicyRef, Severity, Validity, Verdict,
};
use assay_wire::{Digest, Kind, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coset::{CoseSign1, RegisteredLabelWithPrivate, TaggedCborSerializable as _};
use serde_json::{Value, json};

const RULES: &str = include_str!("../appraisal.cddl");
const LEDGER: &str = include_str!("../../ledger/ledger.cddl");
const GPU: &str = include_str!("../../gpu/gpu.cddl");

fn finding(id: &'static str, severity: Severity) -> Finding {
    Finding { id, severity, checked: "x \"y\"\n".into(), expected: None, seen: None, spec: "", event: None }
}

fn appraisal(verdict: Verdict, findings: Vec<Finding>) -> Appraisal {
    Appraisal {
        kind: Kind::Evidence,
        verdict,
        axes: Axes { identity: 2, platform: 1, gpu: 0 },
        findings,
        facts: Facts::default(),
        policy: PolicyRef { name: "open".into(), hash: Digest([0xab; 32]) },
        at_ms: 1_700_000_000_999,
        valid: Some(Validity { from_ms: 1, until_ms: 1_700_000_900_999 }),
    }
}

fn accepted() -> Appraisal {
    appraisal(Verdict::Accept, vec![finding("boot.secure-boot", Severity::Pass)])
}

fn rejected() -> Appraisal {
    let mut rejected = appraisal(
        Verdict::Reject,
        vec![finding("quote.signature", Severity::Fatal), finding("boot.secure-boot", Severity::Warning)],
    );
    rejected.valid = None;
    rejected
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

#[test]
fn a_jwt_is_a_signed_jws_with_the_drafts_claims() {
    let token = Ear::new(&accepted()).to_jwt(&key());
    let parts: Vec<&str> = token.split('.').collect();
    let part = |at: usize| URL_SAFE_NO_PAD.decode(parts[at]).unwrap();
    assert_eq!(parts.len(), 3);
    let signed = format!("{}.{}", parts[0], parts[1]);
    let signature: [u8; 64] = part(2).try_into().unwrap();
    key().verifying_key().verify(signed.as_bytes(), &signature).unwrap();
    let header: Value = serde_json::from_slice(&part(0)).unwrap();
    let kid = key().verifying_key().validator_id().to_string();
    assert_eq!(header, json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"}));
    let claims: Value = serde_json::from_slice(&part(1)).unwrap();
    assert_eq!(
        claims,
        json!({
            "eat_profile": "tag:ietf.org,2026:rats/ear#04",
            "iat": 1_700_000_000,
            "exp": 1_700_000_900,
            "ear_verifier_id": {"developer": "Assay", "build": concat!("assay ", env!("CARGO_PKG_VERSION"))},
            "submods": {"node": {
                "ear_status": "affirming",
                "ear_trustworthiness_vector": {"instance-identity": 2, "configuration": 2, "executables": 3},
                "ear_appraisal_policy_ids": [format!("assay:policy/open#{}", "ab".repeat(32))],
                "ear_verifier_claims": {
                    "assay_kind": "evidence", "assay_identity": 2, "assay_platform": 1, "assay_gpu": 0,
                    "assay_fatal": [],
                },
            }},
        })
    );
}

/// The payload of a CWT whose signature held.
fn open(token: &[u8]) -> Vec<u8> {
    let sign1 = CoseSign1::from_tagged_slice(token).unwrap();
    let algorithm = RegisteredLabelWithPrivate::Assigned(coset::iana::Algorithm::EdDSA);
    assert_eq!(sign1.protected.header.alg, Some(algorithm));
    assert_eq!(sign1.protected.header.key_id, key().verifying_key().validator_id().0);
    assert!(sign1.unprotected.is_empty());
    let verify =
        |signature: &[u8], data: &[u8]| key().verifying_key().verify(data, signature.try_into().unwrap());
    sign1.verify_signature(b"", verify).unwrap();
    sign1.payload.unwrap()
}

#[test]
fn a_cwt_is_a_cose_sign1_with_the_drafts_keys() {
    for result in [accepted(), rejected()] {
        let payload = open(&Ear::new(&result).to_cwt(&key()));
        let rules = format!("start = ear\n{RULES}\n{LEDGER}\n{GPU}");
        cddl::validate_cbor_from_slice(&rules, &payload, None).unwrap();
        assay_wire::cbor::check(&payload).unwrap();
    }
    let payload = open(&Ear::new(&rejected()).to_cwt(&key()));
    let mut d = minicbor::Decoder::new(&payload);
    assert_eq!((d.map().unwrap(), d.u8().unwrap(), d.u64().unwrap()), (Some(4), 6, 1_700_000_000));
    assert_eq!((d.u16().unwrap(), d.str().unwrap()), (265, "tag:ietf.org,2026:rats/ear#04"));
    assert_eq!((d.u16().unwrap(), d.map().unwrap(), d.str().unwrap()), (266, Some(1), "node"));
    assert_eq!((d.map().unwrap(), d.u16().unwrap(), d.u8().unwrap()), (Some(4), 1000, 96));
    let vector = (d.u16().unwrap(), d.map().unwrap());
    assert_eq!(vector, (1001, Some(3)));
    let claims: Vec<(u8, u8)> = (0..3).map(|_| (d.u8().unwrap(), d.u8().unwrap())).collect();
    assert_eq!(claims, [(0, 99), (1, 32), (2, 3)]);
}

#[test]
fn the_same_result_gives_the_same_bytes_and_another_one_others() {
    let (ear, other) = (Ear::new(&accepted()), Ear::new(&rejected()));
    assert_eq!(ear.to_jwt(&key()), Ear::new(&accepted()).to_jwt(&key()));
    assert_eq!(ear.to_cwt(&key()), Ear::new(&accepted()).to_cwt(&key()));
    assert_ne!(ear.to_jwt(&key()), other.to_jwt(&key()));
    assert_ne!(ear.to_cwt(&key()), ear.to_cwt(&SigningKey::from_seed(&[8; 32])));
}

#[test]
fn a_finding_shows_the_event_that_differs() {
    let event = EventRef { log: "firmware", index: 7, pcr: 4, expected: "aa".into(), seen: "bb".into() };
    let with = finding("boot.replay", Severity::Fatal).at_event(event);
    let shown = serde_json::to_value(&with).unwrap();
    let event = json!({"log": "firmware", "index": 7, "pcr": 4, "expected": "aa", "seen": "bb"});
    assert_eq!(shown["event"], event);
    let without = serde_json::to_value(finding("boot.replay", Severity::Fatal)).unwrap();
    assert_eq!(without.get("event"), None);
}
