//! EAR tokens, read by libraries that know nothing of Assay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_appraisal::{
    Appraisal, Axes, BootFacts, DeviceFacts, Ear, EventRef, Facts, Finding, PolicyRef, SessionFacts,
    Severity, Validity, Verdict,
};
use assay_wire::{Digest, Kind, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coset::cbor::value::Value as Cbor;
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
    let passed = ["boot.secure-boot", "session.fresh"].map(|id| finding(id, Severity::Pass));
    appraisal(Verdict::Accept, passed.into())
}

fn rejected() -> Appraisal {
    let mut rejected = appraisal(
        Verdict::Reject,
        vec![finding("quote.signature", Severity::Fatal), finding("boot.secure-boot", Severity::Warning)],
    );
    rejected.valid = None;
    rejected
}

/// A session with an attested GPU, one that runs unpublished firmware, and a switch of which little is known.
fn with_devices() -> Appraisal {
    let yes = Some(true);
    let gpu = DeviceFacts {
        gpu: Some(0),
        architecture: "HOPPER",
        model: Some("GH100 A01 GSP BROM".into()),
        pdi: Some("00000000000000aa".into()),
        board: Some("G520-0200-885".into()),
        driver: Some("590.12".into()),
        vbios: Some("96.00.A5.00.01".into()),
        signature: yes,
        chain: yes,
        fwid: yes,
        nonce: yes,
        measurements: yes,
        revocation: None,
        simulated: false,
        attested: true,
    };
    let other = DeviceFacts { gpu: Some(10), measurements: Some(false), attested: false, ..gpu.clone() };
    let switch = DeviceFacts { architecture: "LS10", signature: yes, ..DeviceFacts::default() };
    let session = SessionFacts {
        id: String::new(),
        agent: String::new(),
        cpu: String::new(),
        cpus: 1,
        memory_mib: 1,
        kernel: String::new(),
        virtualization: None,
        gpus: vec![],
        devices: vec![gpu, other, switch],
        simulated: vec![],
        reset_count: 1,
        firmware_version: String::new(),
        boot: BootFacts::default(),
        beats: 0,
        anchors: 0,
        ended: false,
    };
    Appraisal { facts: Facts { sessions: vec![session], ..Facts::default() }, ..accepted() }
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
                    "assay_fatal": [], "assay_fresh": true,
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
    for result in [accepted(), rejected(), with_devices()] {
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
fn each_device_has_a_submodule_of_its_own() {
    let token = Ear::new(&with_devices()).to_jwt(&key());
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let submods = claims["submods"].as_object().unwrap();
    let mut names: Vec<_> = submods.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["gpu-0", "gpu-10", "node", "switch-0"]);
    assert_eq!(
        submods["gpu-0"],
        json!({
            "ear_status": "affirming",
            "ear_trustworthiness_vector": {"instance-identity": 2, "executables": 3, "hardware": 2},
            "ear_appraisal_policy_ids": [format!("assay:policy/open#{}", "ab".repeat(32))],
            "ear_verifier_claims": {
                "x-nvidia-device-type": "gpu",
                "x-nvidia-gpu-attestation-report-signature-verified": true,
                "x-nvidia-gpu-attestation-report-nonce-match": true,
                "x-nvidia-gpu-attestation-report-cert-chain-fwid-match": true,
                "x-nvidia-gpu-driver-version": "590.12",
                "x-nvidia-gpu-vbios-version": "96.00.A5.00.01",
                "hwmodel": "GH100 A01 GSP BROM",
                "measres": "success",
                "assay_chain": true,
                "assay_pdi": "00000000000000aa",
                "assay_board": "G520-0200-885",
                "assay_simulated": false,
                "assay_attested": true,
            },
        })
    );
    assert_eq!(submods["gpu-10"]["ear_status"], "warning");
    assert_eq!(submods["gpu-10"]["ear_verifier_claims"]["measres"], "fail");
    assert_eq!(submods["switch-0"]["ear_status"], "none");
    assert_eq!(submods["switch-0"].get("ear_trustworthiness_vector"), None);
    let mut rejected = with_devices();
    rejected.verdict = Verdict::Reject;
    let json = serde_json::to_value(Ear::new(&rejected)).unwrap();
    assert_eq!(json["submods"]["gpu-0"]["ear_status"], "contraindicated");
}

/// By a decoder of CBOR that Assay does not use.
#[test]
fn a_cwts_devices_are_read_by_another_decoder() {
    let payload = open(&Ear::new(&with_devices()).to_cwt(&key()));
    let claims: Cbor = coset::cbor::de::from_reader(payload.as_slice()).unwrap();
    let get = |map: &Cbor, key: Cbor| {
        let entry = map.as_map().unwrap().iter().find(|(known, _)| *known == key);
        entry.map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("{key:?}"))
    };
    let gpu = get(&get(&claims, 266.into()), "gpu-10".into());
    assert_eq!(get(&gpu, 1000.into()), 32.into());
    assert_eq!(get(&get(&gpu, 1001.into()), 2.into()), 33.into());
    let own = get(&gpu, 1006.into());
    assert_eq!(get(&own, "x-nvidia-gpu-attestation-report-nonce-match".into()), true.into());
    assert_eq!(get(&own, "measres".into()), "fail".into());
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
