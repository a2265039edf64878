//! What joins report, chain, reference values and responders: one device in a made-up world.

use crate::world::{Device, ECDSA_SHA384, NONCE, NOW, SHA384, oid, roots, seq, tlv};
use assay_gpu::device::{
    Architecture, DeviceEvidence, Expectation, HoldPolicy, Judgement, Note, Roots, verify,
};
use assay_gpu::rim::{Rim, RimKind, RimRow};
use assay_tpm::SignatureHash;
use assay_wire::Digest;
use p384::ecdsa::DerSignature;
use p384::ecdsa::signature::Signer as _;

fn device() -> Device {
    Device::new(Architecture::Hopper, 7)
}

/// Reference values whose rows are these indices, each with the value that a made-up report has.
fn rim(kind: RimKind, version: &str, rows: &[u8]) -> Rim {
    let row = |index: &u8| RimRow { index: *index, name: "row".into(), values: vec![[*index; 48].into()] };
    Rim {
        kind,
        product: "GH100".into(),
        version: version.into(),
        tag: "tag".into(),
        board: None,
        rows: rows.iter().map(row).collect(),
        source: Digest([1; 32]),
        signer: Digest([2; 32]),
        not_before: NOW - 1,
        not_after: NOW + 1,
        proof: assay_gpu::rim::SignerProof::default(),
    }
}

fn driver() -> Rim {
    rim(RimKind::Driver, "590.12", &[7, 21, 22])
}

fn vbios() -> Rim {
    rim(RimKind::Vbios, "96.00.9F.00.01", &[0, 1, 2])
}

fn judged(evidence: &DeviceEvidence, rims: &[Rim], at: i64) -> Judgement {
    let (roots, hold) = (roots(), HoldPolicy::default());
    verify(evidence, &Expectation { nonce: Some(NONCE), at, roots: &roots, rims, hold })
}

#[test]
fn measurements_are_held_against_the_values_at_hand() {
    let evidence = device().evidence();
    let result = |rims: &[Rim], at| {
        let judgement = judged(&evidence, rims, at);
        let comparison = judgement.comparison.as_ref().unwrap();
        assert_eq!(judgement.checks.measurements.result, comparison.result());
        assert_eq!(judgement.is_accepted(), comparison.result() != Some(false));
        (comparison.result(), comparison.compared(), comparison.mismatched_rows())
    };
    assert_eq!(result(&[], NOW), (None, 0, vec![]));
    assert_eq!(result(&[driver()], NOW), (Some(true), 3, vec![]));
    assert_eq!(result(&[driver(), vbios()], NOW), (Some(true), 6, vec![]));
    let mut other = vbios();
    other.rows[1].values = vec![[9; 48].into()];
    assert_eq!(result(&[driver(), other], NOW), (Some(false), 6, vec![1]));
    // The time of verification is the one that counts.
    assert_eq!(result(&[driver(), vbios()], NOW + 2), (None, 0, vec![]));
}

#[test]
fn a_report_that_cannot_be_read_has_no_measurements() {
    let evidence = DeviceEvidence { report: vec![1], ..device().evidence() };
    let judgement = judged(&evidence, &[driver(), vbios()], NOW);
    assert!(judgement.checks.measurements.fails() && judgement.comparison.is_none());
}

#[test]
fn answers_are_read_for_a_chain_that_holds() {
    let evidence = DeviceEvidence { ocsp: vec![vec![1], vec![]], ..device().evidence() };
    let judgement = judged(&evidence, &[], NOW);
    assert_eq!(judgement.checks.revocation.result, None);
    let places: Vec<_> = judgement.certificates.iter().map(|one| one.position).collect();
    assert_eq!(places, [1, 2, 3]);
    let unread = judgement.findings.iter().filter(|note| matches!(note, Note::OcspUnread { .. }));
    assert_eq!(unread.map(Note::id).collect::<Vec<_>>(), ["ocsp-unread"; 2]);
    let (nvidia, hold) = (Roots::nvidia(), HoldPolicy::default());
    let expect = Expectation { nonce: None, at: NOW, roots: &nvidia, rims: &[], hold };
    let strange = verify(&evidence, &expect);
    assert!(strange.checks.revocation.result.is_none() && strange.certificates.is_empty());
}

/// The issuer's answer about certificate `at`, good from 2025-12-31 to 2026-01-02 (RFC 6960 4.2.1).
fn answer(device: &Device, at: usize, status: &[u8]) -> Vec<u8> {
    let date = |text: &str| tlv(0x18, text.as_bytes());
    let digest = |bytes: &[u8]| tlv(4, &SignatureHash::Sha384.digest(bytes));
    let (issuer, key) = (&device.certificates[at + 1].subject, &device.keys[at + 1]);
    let point = key.verifying_key().to_encoded_point(false);
    let serial = tlv(2, &device.certificates[at].serial);
    let id = seq(&[&seq(&[&oid(SHA384)]), &digest(issuer), &digest(point.as_bytes()), &serial]);
    let next = tlv(0xa0, &date("20260102000000Z"));
    let single = seq(&[&id, status, &date("20251231000000Z"), &next]);
    let data = seq(&[&tlv(0xa1, issuer), &date("20251231000000Z"), &seq(&[&single])]);
    let signature: DerSignature = key.sign(&data);
    let bits = tlv(3, &[&[0], signature.as_bytes()].concat());
    let basic = seq(&[&data, &seq(&[&oid(ECDSA_SHA384)]), &bits]);
    let bytes = seq(&[&oid("1.3.6.1.5.5.7.48.1.1"), &tlv(4, &basic)]);
    seq(&[&tlv(0x0a, &[0]), &tlv(0xa0, &bytes)])
}

fn revoked(reason: u8) -> Vec<u8> {
    tlv(0xa1, &[tlv(0x18, b"20251201000000Z"), tlv(0xa0, &tlv(0x0a, &[reason]))].concat())
}

#[test]
fn a_device_is_as_good_as_the_answers_about_its_chain() {
    let (device, good) = (device(), tlv(0x80, &[]));
    let result = |place: usize, status: &[u8], hold: HoldPolicy, at: i64| {
        let status = |at| if at == place { status } else { &good };
        let ocsp = (1..4).map(|at| answer(&device, at, status(at))).collect();
        let (evidence, roots) = (DeviceEvidence { ocsp, ..device.evidence() }, roots());
        let judgement =
            verify(&evidence, &Expectation { nonce: Some(NONCE), at, roots: &roots, rims: &[], hold });
        let result = judgement.checks.revocation.result;
        assert_eq!(judgement.is_accepted(), result != Some(false));
        result
    };
    let (strict, lenient) = (HoldPolicy::default(), HoldPolicy { device: true, rim: false });
    // keyCompromise and certificateHold.
    let (compromised, held) = (revoked(1), revoked(6));
    assert_eq!(result(1, &good, strict, NOW), Some(true));
    for place in 1..4 {
        assert_eq!(result(place, &compromised, lenient, NOW), Some(false));
        assert_eq!(result(place, &held, strict, NOW), Some(false));
        assert_eq!(result(place, &held, lenient, NOW), Some(true));
    }
    // Answers that are over say nothing.
    assert_eq!(result(1, &good, strict, NOW + 30 * 86_400), None);
}
