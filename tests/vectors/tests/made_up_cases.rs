//! Cases made here with a key of our own: each check of a case can fail, and only by its own fault.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;

use assay_boot::write::LogWriter;
use assay_boot::{EV_POST_CODE, EventLog, HashAlg as Bank};
use assay_tpm::{
    AK_ATTRIBUTES, Attest, AttestBody, Attributes, ClockInfo, Curve, HashAlg, KeyKind, PcrSelection, PcrSet,
    Public, PublicParts, QuoteInfo, RH_ENDORSEMENT, RH_OWNER, Scheme, Signature, Symmetric, TimeInfo,
    pcr_digest, qualified_name,
};
use assay_vectors::{Outcome, judge};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{SigningKey, VerifyingKey};
use serde_json::{Value, json};

fn key() -> SigningKey {
    SigningKey::from_slice(&[5; 32]).unwrap()
}

fn ak(attributes: Attributes) -> Public {
    let point = VerifyingKey::from(&key()).to_encoded_point(false);
    let (x, y) = (point.x().unwrap().to_vec(), point.y().unwrap().to_vec());
    Public::from_parts(&PublicParts {
        name_alg: HashAlg::Sha256,
        attributes,
        auth_policy: vec![],
        symmetric: Symmetric::Null,
        scheme: Scheme::Ecdsa(HashAlg::Sha256),
        kind: KeyKind::Ecc { curve: Curve::P256, x, y },
    })
    .unwrap()
}

fn log() -> Vec<u8> {
    let mut writer = LogWriter::new();
    for pcr in [0, 4] {
        writer.measure(pcr, EV_POST_CODE, b"code").unwrap();
    }
    writer.finish()
}

fn pcr(index: u8) -> Vec<u8> {
    EventLog::parse(&log()).unwrap().replay(Bank::Sha256)[&index].clone()
}

/// Everything that a case is made of.
struct Case {
    attributes: Attributes,
    hierarchy: u32,
    alg: HashAlg,
    pcrs: Vec<u8>,
    time: Option<u64>,
    clock: ClockInfo,
}

impl Default for Case {
    fn default() -> Self {
        let clock = ClockInfo { clock: 1_000, reset_count: 3, restart_count: 0, safe: true };
        Self {
            attributes: AK_ATTRIBUTES,
            hierarchy: RH_ENDORSEMENT,
            alg: HashAlg::Sha256,
            pcrs: vec![0, 4],
            time: None,
            clock,
        }
    }
}

impl Case {
    fn json(&self, name: &str, expected: Value) -> Value {
        let ak = ak(self.attributes);
        let qualified_signer = qualified_name(self.hierarchy, &ak.name().unwrap()).as_bytes().to_vec();
        let selection = vec![PcrSelection { alg: self.alg, pcrs: PcrSet::from_indices(&self.pcrs).unwrap() }];
        let value =
            |_: HashAlg, index: u8| Some(if index == 0 || index == 4 { pcr(index) } else { vec![0; 32] });
        let pcr_digest = pcr_digest(&selection, &value, HashAlg::Sha256).unwrap_or_else(|| vec![0; 32]);
        let body = match self.time {
            None => AttestBody::Quote(QuoteInfo { selection, pcr_digest }),
            Some(time) => AttestBody::Time(TimeInfo { time, clock_info: self.clock, firmware_version: 7 }),
        };
        let (clock_info, extra_data) = (self.clock, vec![1]);
        let attest = Attest { qualified_signer, extra_data, clock_info, firmware_version: 7, body };
        let bytes = attest.to_bytes().unwrap();
        let signed: p256::ecdsa::Signature = key().sign(&bytes);
        let (r, s) = signed.split_bytes();
        let signature = Signature::ecdsa(HashAlg::Sha256, &r, &s).unwrap();
        json!({
            "name": name, "attest": hex::encode(bytes), "signature": hex::encode(signature.to_bytes()),
            "ak": { "tpmt_public": hex::encode(ak.to_bytes()) },
            "pcrs": { "sha256": { "0": hex::encode(pcr(0)), "4": hex::encode(pcr(4)) } },
            "eventlogs": ["logs/a"], "expected": expected,
        })
    }
}

/// The checks that differ.
fn judged(cases: &[Value]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("logs")).unwrap();
    fs::write(dir.path().join("logs/a"), log()).unwrap();
    fs::write(dir.path().join("cases.json"), json!({ "cases": cases }).to_string()).unwrap();
    let sheet = judge(dir.path(), |family| family == "cases").unwrap();
    assert_eq!(sheet.count(Outcome::NotJudged), 0);
    let bad = sheet.verdicts().iter().filter(|verdict| verdict.outcome == Outcome::Differs);
    bad.map(|verdict| verdict.check.clone()).collect()
}

fn good() -> Value {
    json!({
        "signature": true, "selection": { "sha256": ["0", "4"] }, "pcr_digest": true, "as_quote": "accept",
        "as_time": "reject", "boot_log": "accept", "current_log": "logs/a",
        "replay": { "logs/a": { "sha256": { "matched": ["0", "4"], "mismatched": [] } } },
    })
}

#[test]
fn a_right_case_is_ok_and_each_wrong_expectation_differs() {
    assert_eq!(judged(&[Case::default().json("a", good())]), [""; 0]);
    for (key, wrong) in [
        ("signature", json!(false)),
        ("selection", json!({ "sha256": ["0"] })),
        ("pcr_digest", json!(false)),
        ("pcr_digest", json!(null)),
        ("as_quote", json!("reject")),
        ("as_time", json!("accept")),
        ("boot_log", json!("reject")),
        ("current_log", json!(null)),
    ] {
        let mut expected = good();
        expected[key] = wrong;
        assert_eq!(judged(&[Case::default().json("a", expected)]), [key]);
    }
    let mut expected = good();
    expected["replay"]["logs/a"]["sha256"]["matched"] = json!(["0"]);
    assert_eq!(judged(&[Case::default().json("a", expected)]), ["replay logs/a"]);
}

#[test]
fn a_case_whose_bytes_were_changed_is_refused() {
    let mut case = Case::default().json("a", json!({ "signature": true, "as_quote": "accept" }));
    let attest = case["attest"].as_str().unwrap().to_owned();
    case["attest"] = json!(format!("{}ff", &attest[..attest.len() - 2]));
    assert_eq!(judged(std::slice::from_ref(&case)), ["as_quote", "signature"]);
    case["attest"] = json!(format!("{attest}00"));
    assert_eq!(judged(&[case]), ["as_quote", "signature"], "a trailing byte");
}

#[test]
fn a_log_of_another_boot_is_rejected() {
    let mut expected = good();
    expected["boot_log"] = json!("reject");
    expected["current_log"] = json!(null);
    expected["pcr_digest"] = json!(false);
    expected["replay"]["logs/a"]["sha256"] = json!({ "matched": ["0"], "mismatched": ["4"] });
    let mut case = Case::default().json("a", expected);
    case["pcrs"]["sha256"]["4"] = json!("00".repeat(32));
    assert_eq!(judged(&[case]), [""; 0]);
}

/// What must not stand where a quote is due.
#[test]
fn quotes_that_prove_nothing_are_rejected() {
    let base = Case::default;
    let unrestricted = AK_ATTRIBUTES.without(Attributes::RESTRICTED);
    let portable = AK_ATTRIBUTES.without(Attributes::FIXED_TPM);
    for (what, case) in [
        ("unrestricted", Case { attributes: unrestricted, ..base() }),
        ("not fixed to its TPM", Case { attributes: portable, ..base() }),
        ("owner hierarchy", Case { hierarchy: RH_OWNER, ..base() }),
        ("empty selection", Case { pcrs: vec![], ..base() }),
        ("resettable PCR", Case { pcrs: vec![0, 4, 16], ..base() }),
        ("resettable PCR", Case { pcrs: vec![0, 4, 23], ..base() }),
        ("SHA-1 bank", Case { alg: HashAlg::Sha1, ..base() }),
        ("time", Case { time: Some(5), ..base() }),
    ] {
        let verdict = |word| case.json("a", json!({ "signature": true, "as_quote": word }));
        assert_eq!(judged(&[verdict("reject")]), [""; 0], "{what}");
        assert_eq!(judged(&[verdict("accept")]), ["as_quote"], "{what}");
    }
    let no_da = Case { attributes: AK_ATTRIBUTES.without(Attributes::NO_DA), ..base() };
    assert_eq!(
        judged(&[no_da.json("a", json!({ "as_quote": "accept" }))]),
        [""; 0],
        "lockouts are another matter"
    );
}

#[test]
fn a_case_is_judged_after_the_one_it_names() {
    let at = |reset_count, clock, time| Case {
        time: Some(time),
        clock: ClockInfo { clock, reset_count, restart_count: 0, safe: true },
        ..Case::default()
    };
    let pair = |later: Case, word| {
        let expected = json!({ "after": "first", "in_sequence": word, "as_time": "accept" });
        judged(&[at(3, 1_000, 500).json("first", json!({})), later.json("later", expected)])
    };
    assert_eq!(pair(at(3, 9_000, 8_500), "accept"), [""; 0]);
    assert_eq!(pair(at(3, 9_000, 8_500), "reject"), ["in_sequence"]);
    assert_eq!(pair(at(2, 9_000, 8_500), "reject"), [""; 0]);
    assert_eq!(pair(at(3, 864_001_000, 548), "accept"), ["in_sequence"]);
}
