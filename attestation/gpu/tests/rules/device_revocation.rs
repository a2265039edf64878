//! Answers that are stapled to a device's evidence, judged with the rest of it.

use crate::authorities::ocsp::{Answer, date, good, id_of, nonce, revoked, single};
use crate::world::{Device, NONCE, NOW, roots};
use assay_gpu::device::{Architecture, DeviceEvidence, Expectation, HoldPolicy, Judgement, Roots, verify};
use assay_x509::Certificate;
use p384::ecdsa::DerSignature;
use p384::ecdsa::signature::Signer as _;

/// The issuer's answer about the certificate at `at`.
fn answer(device: &Device, at: usize, status: &[u8]) -> Vec<u8> {
    let chain = device.chain();
    let (certificate, issuer) =
        (Certificate::parse(&chain[at]).unwrap(), Certificate::parse(&chain[at + 1]).unwrap());
    let id = id_of(&certificate.serial, &issuer);
    let answer = Answer {
        responder: crate::world::tlv(0xa1, issuer.subject.as_bytes()),
        produced: date("20251231120000Z"),
        singles: vec![single(&id, status, "20251231120000Z", Some("20260102000000Z"), &[])],
        extensions: vec![nonce(&[1; 32])],
        algorithm: crate::world::seq(&[&crate::world::oid("1.2.840.10045.4.3.3")]),
        ..Answer::good()
    };
    let signature: DerSignature = device.keys[at + 1].sign(&answer.data());
    answer.sealed(signature.as_bytes())
}

/// Evidence with answers that are good but for one certificate.
fn stapled(at: usize, status: &[u8]) -> DeviceEvidence {
    let device = Device::new(Architecture::Hopper, 7);
    let status = |place| if place == at { status.to_vec() } else { good() };
    let ocsp = (1..4).map(|place| answer(&device, place, &status(place))).collect();
    DeviceEvidence { ocsp, ..device.evidence() }
}

fn judged(evidence: &DeviceEvidence, roots: &Roots, hold: HoldPolicy) -> Judgement {
    verify(evidence, &Expectation { nonce: Some(NONCE), at: NOW, roots, rims: &[], hold })
}

const REFUSE: HoldPolicy = HoldPolicy { device: false, rim: false };

#[test]
fn a_device_is_accepted_without_answers_and_says_so() {
    let evidence = Device::new(Architecture::Hopper, 7).evidence();
    let judgement = judged(&evidence, &roots(), REFUSE);
    let revocation = &judgement.checks.revocation;
    assert_eq!((revocation.result, revocation.reason.as_str()), (None, "no OCSP answers"));
    assert!(judgement.is_accepted());
    let judgement = judged(&stapled(0, &[]), &roots(), REFUSE);
    assert_eq!(judgement.checks.revocation.result, Some(true), "{judgement:?}");
    assert_eq!(judgement.certificates.len(), 3);
    assert!(judgement.is_accepted());
}

#[test]
fn a_revoked_device_is_not_accepted() {
    for at in 1..4 {
        let evidence = stapled(at, &revoked("20251201000000Z", Some(1)));
        let judgement = judged(&evidence, &roots(), HoldPolicy { device: true, rim: true });
        assert_eq!(judgement.checks.revocation.result, Some(false));
        assert!(!judgement.is_accepted());
        assert!(judgement.checks.chain.holds(), "the chain is one thing, its revocation another");
    }
}

#[test]
fn a_devices_hold_passes_only_where_the_policy_says_device() {
    for at in 1..4 {
        let evidence = stapled(at, &revoked("20251201000000Z", Some(6)));
        for (hold, passes) in [
            (REFUSE, false),
            (HoldPolicy { device: false, rim: true }, false),
            (HoldPolicy { device: true, rim: false }, true),
        ] {
            let judgement = judged(&evidence, &roots(), hold);
            assert_eq!(judgement.checks.revocation.result, Some(passes), "{hold:?}");
            assert_eq!(judgement.is_accepted(), passes);
            assert!(judgement.checks.revocation.reason.contains("on hold"));
        }
    }
}

#[test]
fn answers_mean_nothing_below_a_root_that_is_not_pinned() {
    let judgement = judged(&stapled(0, &[]), &Roots::nvidia(), REFUSE);
    assert_eq!(judgement.checks.revocation.result, None);
    assert_eq!(judgement.checks.revocation.reason, "the chain does not hold");
    assert!(judgement.certificates.is_empty());
}

#[test]
fn what_can_not_be_read_is_noted() {
    let mut evidence = stapled(0, &[]);
    evidence.ocsp.insert(1, vec![1, 2, 3]);
    let judgement = judged(&evidence, &roots(), REFUSE);
    assert_eq!(judgement.checks.revocation.result, Some(true));
    let notes: Vec<_> = judgement.findings.iter().filter(|note| note.id() == "ocsp-unread").collect();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].to_string().starts_with("OCSP answer 1: "), "{}", notes[0]);
}
