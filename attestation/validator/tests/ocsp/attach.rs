//! Answers that are added to a device's evidence: whose come first, and which are kept.

use assay_gpu::device::{Architecture, DeviceEvidence, Expectation, HoldPolicy, Roots, verify};
use assay_gpu::rim::{Rim, RimKind, SignerProof, SignerStatus};
use assay_validator::error::Error;
use assay_validator::ocsp::{Cache, attach, attach_to_rims, keep_brought};
use assay_validator::verify_gpu::{Asked, Entry, judge};
use assay_wire::Digest;
use assay_x509::Certificate;
use p384::ecdsa::DerSignature;
use p384::ecdsa::signature::Signer as _;

use crate::devices::{Device, NONCE, NOW, oid, roots, seq, tlv};
use crate::world::ocsp::{Answer, date, good, id_of, revoked, single};

/// The issuer's answer about the certificate at `at`, made on that day of December 2025.
fn answer(at: usize, status: &[u8], day: u8) -> Vec<u8> {
    let device = device();
    let chain: Vec<_> = device.chain().iter().map(|der| Certificate::parse(der).unwrap()).collect();
    let (id, issuer) = (id_of(&chain[at].serial, &chain[at + 1]), &chain[at + 1]);
    let this = format!("202512{day}120000Z");
    let answer = Answer {
        responder: tlv(0xa1, issuer.subject.as_bytes()),
        produced: date(&this),
        singles: vec![single(&id, status, &this, Some("20260102000000Z"), &[])],
        algorithm: seq(&[&oid("1.2.840.10045.4.3.3")]),
        ..Answer::good()
    };
    let signature: DerSignature = device.keys[at + 1].sign(&answer.data());
    answer.sealed(signature.as_bytes())
}

fn device() -> Device {
    Device::new(Architecture::Hopper, 7)
}

fn all_good() -> Vec<Vec<u8>> {
    (1..4).map(|at| answer(at, &good(), 30)).collect()
}

fn revocation(evidence: &DeviceEvidence) -> Option<bool> {
    let roots = roots();
    let hold = HoldPolicy::default();
    let expect = Expectation { nonce: Some(NONCE), at: NOW, roots: &roots, rims: &[], hold };
    verify(evidence, &expect).checks.revocation.result
}

#[test]
fn answers_at_hand_come_before_those_of_the_evidence() {
    let (own, brought) = (vec![vec![1]], vec![vec![2], vec![3]]);
    let mut evidence = DeviceEvidence { ocsp: brought, ..device().evidence() };
    attach(&mut evidence, &own, None, (&roots(), NOW)).unwrap();
    assert_eq!(evidence.ocsp, [[1], [2], [3]]);
    // So a crowd of useless ones hides none of the verifier's own.
    let crowd = (10..30).map(|day| answer(2, &revoked("20251201000000Z", Some(6)), day)).collect();
    let mut evidence = DeviceEvidence { ocsp: crowd, ..device().evidence() };
    attach(&mut evidence, &all_good(), None, (&roots(), NOW)).unwrap();
    assert_eq!(revocation(&evidence), Some(true));
}

/// `--allow-hold device`, and not `rim`.
#[test]
fn a_device_on_hold_passes_only_where_that_is_allowed() {
    let mut answers = all_good();
    answers[1] = answer(2, &revoked("20251201000000Z", Some(6)), 30);
    let passes = |hold: HoldPolicy| {
        let evidence = DeviceEvidence { ocsp: answers.clone(), ..device().evidence() };
        let entry = Entry { evidence, architecture: None, nonce: None, faults: vec![] };
        let roots = roots();
        judge(vec![entry], &Asked { nonce: Some(NONCE), at: NOW, roots: &roots, rims: &[], hold }).is_good()
    };
    let of = |device, rim| HoldPolicy { device, rim };
    assert_eq!([of(false, false), of(false, true), of(true, false)].map(passes), [false, false, true]);
}

#[test]
fn what_is_good_is_kept_for_the_next_time() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let with = |at_hand: &[Vec<u8>], brought: Vec<Vec<u8>>| {
        let mut evidence = DeviceEvidence { ocsp: brought, ..device().evidence() };
        attach(&mut evidence, at_hand, Some(&cache), (&roots(), NOW)).unwrap();
        revocation(&evidence)
    };
    assert_eq!(with(&[], vec![]), None);
    let mut answers = all_good();
    let last = answers.pop().unwrap();
    assert_eq!(with(&answers, vec![]), None);
    assert_eq!(with(&[], vec![last]), Some(true), "two kept, one brought");
    assert_eq!(with(&[], vec![]), Some(true), "all kept");
    assert_eq!(with(&[], vec![answer(2, &revoked("20251201000000Z", Some(1)), 31)]), Some(false));
    assert_eq!(with(&all_good(), all_good()), Some(false), "a revocation is kept too");
}

#[test]
fn nothing_is_kept_of_a_chain_that_does_not_hold() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let mut evidence = device().evidence();
    attach(&mut evidence, &all_good(), Some(&cache), (&Roots::nvidia(), NOW)).unwrap();
    assert_eq!(evidence.ocsp.len(), 3);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// A revocation that is kept comes before answers at hand that say good, and those before what was brought.
#[test]
fn what_is_kept_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let taken = answer(2, &revoked("20251201000000Z", Some(1)), 20);
    let with = |at_hand: &[Vec<u8>], brought: Vec<Vec<u8>>| {
        let mut evidence = DeviceEvidence { ocsp: brought, ..device().evidence() };
        attach(&mut evidence, at_hand, Some(&cache), (&roots(), NOW)).unwrap();
        evidence
    };
    with(std::slice::from_ref(&taken), vec![]);
    let goods = |days: std::ops::Range<u8>| days.map(|day| answer(2, &good(), day)).collect::<Vec<_>>();
    let evidence = with(&goods(27..30), goods(10..15));
    assert_eq!(evidence.ocsp, [vec![taken], goods(27..30), goods(10..15)].concat());
    assert_eq!(revocation(&evidence), Some(false));
}

/// A revocation among the verifier's own answers counts at any place, or the command says that it can't judge them all.
#[test]
fn none_of_the_verifiers_own_answers_is_left_out() {
    let taken = answer(2, &revoked("20251201000000Z", Some(1)), 20);
    let with = |at_hand: &[Vec<u8>]| {
        let mut evidence = device().evidence();
        attach(&mut evidence, at_hand, None, (&roots(), NOW)).map(|()| revocation(&evidence))
    };
    let copies = vec![answer(2, &good(), 30); 66];
    assert_eq!(with(&[copies, vec![taken.clone()]].concat()).unwrap(), Some(false));
    let goods = |count: u8| (0..count).map(|n| answer(2, &good(), 21 + n)).collect::<Vec<_>>();
    assert_eq!(with(&[goods(3), vec![taken.clone()]].concat()).unwrap(), Some(false));
    let refused = with(&[goods(4), vec![taken]].concat());
    assert!(matches!(refused, Err(Error::TooManyAnswers { position: 2, limit: 4 })), "{refused:?}");
    // A node's own crowd is no error of the verifier.
    let mut evidence = DeviceEvidence { ocsp: goods(8), ..device().evidence() };
    attach(&mut evidence, &all_good(), None, (&roots(), NOW)).unwrap();
    assert_eq!(revocation(&evidence), Some(true));
}

#[test]
fn of_what_a_machine_brings_at_most_64_answers_are_looked_at() {
    let junk = |count: u8| (0..count).map(|n| vec![n]).collect::<Vec<_>>();
    let kept = |devices: &[Vec<Vec<u8>>]| {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let device = |ocsp: &Vec<Vec<u8>>| DeviceEvidence { ocsp: ocsp.clone(), ..device().evidence() };
        let devices: Vec<_> = devices.iter().map(device).collect();
        keep_brought(&devices, &cache, (&roots(), NOW)).unwrap()
    };
    assert_eq!(kept(&[[junk(61), all_good()].concat()]), 3);
    assert_eq!(kept(&[[junk(62), all_good()].concat()]), 2);
    assert_eq!(kept(&[junk(61), all_good()]), 3);
    assert_eq!(kept(&[junk(64), all_good()]), 0, "of all devices together");
    assert_eq!(kept(&[[vec![vec![1]; 100], all_good()].concat()]), 3, "copies count once");
    // Nothing is looked at below a chain that does not hold, and it takes no place.
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let stranger = DeviceEvidence { ocsp: junk(64), chain: vec![], ..device().evidence() };
    let own = DeviceEvidence { ocsp: all_good(), ..device().evidence() };
    assert_eq!(keep_brought(&[stranger, own], &cache, (&roots(), NOW)).unwrap(), 3);
}

/// What is known of a RIM's signer counts as well, whatever answers the RIM carries.
#[test]
fn a_kept_revocation_reaches_the_signer_of_a_rim() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let chain: Vec<_> = device().chain().iter().map(|der| Certificate::parse(der).unwrap()).collect();
    let rim = || Rim {
        kind: RimKind::Driver,
        product: "GH100".into(),
        version: "550.1".into(),
        tag: "t".into(),
        board: None,
        rows: vec![],
        source: Digest([1; 32]),
        signer: Digest(chain[0].fingerprint().0),
        not_before: 0,
        not_after: i64::MAX,
        proof: SignerProof {
            certificates: chain.iter().map(|one| one.der().to_vec().into()).collect(),
            ocsp: (10..30).map(|day| answer(1, &good(), day).into()).collect(),
        },
    };
    let status = |at_hand: &[Vec<u8>], cache: Option<&Cache>| {
        let mut rim = rim();
        let cache = cache.map(|cache| (cache, NOW));
        attach_to_rims(std::slice::from_mut(&mut rim), at_hand, cache).unwrap();
        SignerStatus::of(&rim, NOW, HoldPolicy::default())
    };
    assert_eq!(status(&[], Some(&cache)), SignerStatus::Unchecked);
    let taken_back = answer(1, &revoked("20251201000000Z", Some(1)), 31);
    assert_eq!(status(std::slice::from_ref(&taken_back), None), SignerStatus::Revoked);
    assert_eq!(status(&[], Some(&cache)), SignerStatus::Unchecked);
    assert_eq!(status(&[taken_back], Some(&cache)), SignerStatus::Revoked);
    assert_eq!(status(&[], Some(&cache)), SignerStatus::Revoked, "it was kept");
    let goods: Vec<_> = (20..25).map(|day| answer(1, &good(), day)).collect();
    let refused = attach_to_rims(&mut [rim()], &goods, None);
    assert!(matches!(refused, Err(Error::TooManyAnswers { position: 1, limit: 4 })), "{refused:?}");
}
