//! What joins report, chain, reference values and responders: one device in a made-up world.

use crate::world::{
    Device, ECDSA_SHA384, NONCE, NOW, ReportDraft, SHA384, device_name, oid, roots, seq, tlv,
};
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

/// Another processor of a chip, which has a certificate and a report form of its own.
#[test]
fn a_report_of_another_processor_is_judged_by_its_certificate() {
    let mut device = Device::new(Architecture::Blackwell, 7);
    let name = device_name("400000000000000007", "GB100 A01 FSP BROM");
    device.certificates[1].subject = name.clone();
    device.certificates[0].issuer = name;
    device.report = ReportDraft::of_another_processor();
    let evidence = device.evidence();
    let judgement = judged(&evidence, &[driver(), vbios()], NOW);
    assert!(judgement.is_accepted(), "{judgement:?}");
    let Judgement { checks, facts, findings, .. } = &judgement;
    assert_eq!((checks.fwid.result, checks.measurements.result), (None, None));
    assert_eq!(findings[..], [Note::FwidAbsent]);
    let said = [&facts.vbios, &facts.driver, &facts.project, &facts.project_sku, &facts.chip_sku];
    assert!(said.iter().all(|fact| fact.is_none()) && facts.chip_id.is_none(), "{facts:?}");
    assert_eq!(facts.device_serial.as_deref(), Some("400000000000000007"));
    assert_eq!(DeviceEvidence::seen(&evidence.report, &evidence.chain), Some(Architecture::Blackwell));
    assert_eq!(DeviceEvidence::seen(&evidence.report, &[]), Some(Architecture::Blackwell));
}

/// Raw bytes equal no reference value, not even those that are the same.
#[test]
fn raw_bytes_match_no_row() {
    let mut device = device();
    let rows = |device: &Device| {
        let judgement = judged(&device.evidence(), &[driver(), vbios()], NOW);
        judgement.comparison.unwrap().mismatched_rows()
    };
    assert_eq!(rows(&device), [0; 0]);
    device.report.blocks[1].0 |= 0x80;
    device.report.blocks[21] = (0x83, vec![21; 4]);
    assert_eq!(rows(&device), [1, 21]);
}

/// What one certificate says does not hang on whether the others can be read.
#[test]
fn a_signature_is_judged_by_the_leaf_alone() {
    let good = device().evidence();
    for at in 0..5 {
        let mut broken = good.clone();
        broken.chain[at] = vec![0x30, 1];
        let judgement = judged(&broken, &[], NOW);
        let Judgement { checks, facts, .. } = &judgement;
        assert!(checks.chain.fails() && !judgement.is_accepted(), "{at}");
        assert_eq!([checks.signature.result, checks.fwid.result], [Some(at != 0); 2], "{at}: {judgement:?}");
        assert_eq!((facts.pdi.is_some(), facts.vbios.is_some()), (at != 1, true));
    }
    let many = [&good.chain[..], &good.chain].concat();
    let judgement = judged(&DeviceEvidence { chain: many, ..good }, &[], NOW);
    assert!(judgement.checks.signature.holds() && judgement.checks.chain.fails());
}

#[test]
fn evidence_shows_what_it_is_of() {
    for architecture in Architecture::ALL {
        let DeviceEvidence { report, chain, .. } = Device::new(architecture, 7).evidence();
        let seen = |chain: &[Vec<u8>]| DeviceEvidence::seen(&report, chain);
        let reversed: Vec<_> = chain.iter().rev().cloned().collect();
        for chain in [&chain[..], &chain[1..], &chain[..1], &reversed, &[&chain[..1], &[vec![]]].concat()] {
            assert_eq!(seen(chain), Some(architecture));
        }
        // The report alone: Blackwell's name their chip.
        let mut device = Device::new(architecture, 7);
        if architecture == Architecture::Blackwell {
            device.report = device.report.with(35, b"GB202\0");
        }
        assert_eq!(DeviceEvidence::seen(&device.evidence().report, &[vec![1]]), Some(architecture));
        // The certificate of the device comes first.
        let other = Device::new(Architecture::Hopper, 8).chain();
        let mixed = [&other[..1], &chain[1..]].concat();
        assert_eq!(seen(&mixed), Some(architecture));
        assert_eq!(DeviceEvidence::seen(&[1], &[vec![1]]), None);
    }
}
