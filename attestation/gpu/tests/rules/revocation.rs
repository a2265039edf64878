//! Stapled answers about made-up chains, and about real ones.

use std::path::PathBuf;

use crate::authorities::ocsp::{AT, Answer, by_name, date, delegate, good, listed, revoked, single, unknown};
use crate::authorities::{Draft, basic, key, usage};
use assay_gpu::device::{
    Asking, ChainKind, DeviceChain, HoldPolicy, Revocation, Roots, about, asked, crowded, judge_device,
    judge_revocation, judge_rim, responder_url,
};
use assay_x509::{Certificate, NonceResult, OcspStatus, OcspTerms};

/// Names and keys of a chain: leaf, device, provisioner, family, root.
const NAMES: [&str; 5] = ["leaf", "device", "provisioner", "family", "root"];
const REFUSE: HoldPolicy = HoldPolicy { device: false, rim: false };

fn seed(at: usize) -> u8 {
    u8::try_from(at + 10).unwrap()
}

fn draft(at: usize) -> Draft {
    let above = (at + 1).min(NAMES.len() - 1);
    let serial = vec![seed(at)];
    Draft { serial, ..Draft::authority(NAMES[at], NAMES[above], &key(seed(at))) }
}

/// Leaf first.
fn chain() -> Vec<Certificate> {
    let above = |at: usize| (at + 1).min(NAMES.len() - 1);
    let der = (0..NAMES.len()).map(|at| draft(at).sign(&key(seed(above(at)))));
    der.map(|der| Certificate::parse(&der).unwrap()).collect()
}

/// The issuer's answer about the certificate at `at`, made at that hour of the day.
fn answer(at: usize, status: &[u8], hour: u8) -> Vec<u8> {
    let issuer = draft(at + 1);
    let certificate = Certificate::parse(&issuer.sign(&key(seed(at + 1)))).unwrap();
    let id = crate::authorities::ocsp::id_of(&draft(at).serial, &certificate);
    let (this, next) = (format!("20240601{hour:02}0000Z"), "20240602080000Z");
    let singles = vec![single(&id, status, &this, Some(next), &[])];
    let answer = Answer { responder: by_name(&issuer), produced: date(&this), singles, ..Answer::good() };
    answer.sign(&key(seed(at + 1)))
}

fn on_hold() -> Vec<u8> {
    revoked("20240601000000Z", Some(6))
}

fn device(answers: &[Vec<u8>], hold: HoldPolicy) -> Revocation {
    judge_device(&chain(), answers, AT, hold)
}

fn all_good(first: usize) -> Vec<Vec<u8>> {
    (first..4).map(|at| answer(at, &good(), 8)).collect()
}

/// All good but one.
fn with(first: usize, at: usize, status: &[u8]) -> Vec<Vec<u8>> {
    (first..4).map(|place| answer(place, if place == at { status } else { &[0x80, 0] }, 8)).collect()
}

#[test]
fn a_device_is_asked_about_from_its_own_certificate_to_below_the_root() {
    let seen = device(&all_good(1), REFUSE);
    assert_eq!(seen.check.result, Some(true), "{}", seen.check.reason);
    let places: Vec<_> = seen.certificates.iter().map(|one| one.position).collect();
    assert_eq!(places, [1, 2, 3]);
    assert!(seen.certificates.iter().all(|one| one.status == Some(OcspStatus::Good)));
    assert!(seen.certificates.iter().all(|one| one.next_update == Some(AT + 20 * 3600)));
    // A signer of reference values from its own leaf on.
    assert_eq!(judge_rim(&chain(), &all_good(1), AT, REFUSE).check.result, None);
    let rim = judge_rim(&chain(), &all_good(0), AT, REFUSE);
    assert_eq!((rim.check.result, rim.certificates.len()), (Some(true), 4));
}

#[test]
fn without_answers_nothing_is_said() {
    let none = device(&[], REFUSE).check;
    assert_eq!((none.result, none.reason.as_str()), (None, "no OCSP answers"));
    for missing in 0..3 {
        let mut answers = all_good(1);
        answers.remove(missing);
        let check = device(&answers, REFUSE).check;
        assert_eq!(check.result, None);
        assert!(check.reason.starts_with(&format!(
            "certificate {} (CN={})",
            missing + 1,
            NAMES[missing + 1]
        )));
    }
    // One that says nothing usable is as good as none, and says why.
    let mut answers = all_good(1);
    answers[1] = answer(2, &good(), 23);
    let check = device(&answers, REFUSE).check;
    assert_eq!(check.result, None);
    assert!(check.reason.contains("future"), "{}", check.reason);
    assert_eq!(device(&all_good(1), REFUSE).check.result, Some(true));
    assert_eq!(judge_device(&chain()[4..], &all_good(1), AT, REFUSE).check.result, None);
    assert_eq!(judge_device(&[], &all_good(1), AT, REFUSE).check.result, None);
}

#[test]
fn one_bad_certificate_is_a_bad_chain() {
    for (at, name) in NAMES.iter().enumerate().take(4).skip(1) {
        for status in
            [revoked("20240601000000Z", Some(1)), revoked("20240601000000Z", None), unknown(), on_hold()]
        {
            let seen = device(&with(1, at, &status), REFUSE);
            assert_eq!(seen.check.result, Some(false), "{}", seen.check.reason);
            assert!(seen.check.reason.contains(name), "{}", seen.check.reason);
        }
    }
    // Even where others have no answer.
    let alone = vec![answer(3, &revoked("20240601000000Z", Some(1)), 8)];
    assert_eq!(device(&alone, REFUSE).check.result, Some(false));
}

#[test]
fn a_hold_passes_only_for_the_chain_that_the_policy_names() {
    let [device_only, rim_only] =
        [(true, false), (false, true)].map(|(device, rim)| HoldPolicy { device, rim });
    let both = HoldPolicy { device: true, rim: true };
    let held = |first| with(first, 2, &on_hold());
    for (policy, device_passes, rim_passes) in
        [(REFUSE, false, false), (device_only, true, false), (rim_only, false, true), (both, true, true)]
    {
        assert_eq!(device(&held(1), policy).check.result, Some(device_passes), "{policy:?}");
        let rim = judge_rim(&chain(), &held(0), AT, policy).check;
        assert_eq!(rim.result, Some(rim_passes), "{policy:?}");
        assert!(rim.reason.contains("on hold"));
    }
    assert_eq!(HoldPolicy::default(), REFUSE);
    // What was never issued is told as a hold from the beginning of time, and never passes.
    let never = with(1, 2, &revoked("19700101000000Z", Some(6)));
    assert_eq!(device(&never, both).check.result, Some(false));
    let gone = with(1, 2, &revoked("20240601000000Z", Some(1)));
    assert_eq!(device(&gone, both).check.result, Some(false));
}

#[test]
fn the_newest_answer_counts_and_a_revocation_is_final() {
    let taken = revoked("20240601000000Z", Some(1));
    let seen = |first: &[u8], second: &[u8], hours: [u8; 2]| {
        let mut answers = all_good(1);
        answers[1] = answer(2, first, hours[0]);
        answers.push(answer(2, second, hours[1]));
        let check = device(&answers, REFUSE).check.result;
        answers.reverse();
        assert_eq!(device(&answers, REFUSE).check.result, check, "in any order");
        check
    };
    assert_eq!(seen(&on_hold(), &good(), [8, 9]), Some(true), "a hold that ended");
    assert_eq!(seen(&on_hold(), &good(), [9, 8]), Some(false), "a hold that began");
    assert_eq!(seen(&on_hold(), &good(), [8, 8]), Some(false), "the worse of two");
    assert_eq!(seen(&unknown(), &good(), [8, 8]), Some(false));
    assert_eq!(seen(&taken, &good(), [8, 9]), Some(false));
    assert_eq!(seen(&good(), &good(), [8, 23]), Some(true), "one of them usable");
}

#[test]
fn strangers_answers_change_nothing() {
    // Signed by the chain's own keys, one place too low, and by nobody.
    let mut answers = all_good(1);
    let issuer = draft(3);
    let certificate = Certificate::parse(&issuer.sign(&key(seed(4)))).unwrap();
    let id = crate::authorities::ocsp::id_of(&draft(2).serial, &certificate);
    let taken = revoked("20240601000000Z", Some(1));
    let forged =
        Answer { singles: vec![single(&id, &taken, "20240601080000Z", None, &[])], ..Answer::good() };
    let by_itself = Answer { responder: by_name(&draft(2)), ..forged.clone() }.sign(&key(seed(2)));
    let by_stranger = forged.delegated(&delegate(), &key(1)).sign(&key(5));
    answers.extend([by_itself, by_stranger]);
    assert_eq!(device(&answers, REFUSE).check.result, Some(true));
    let (unreadable, refusal) = (vec![1, 2, 3], vec![0x30, 3, 0x0a, 1, 3]);
    answers.extend([unreadable, refusal]);
    let seen = device(&answers, REFUSE);
    assert_eq!(seen.check.result, Some(true));
    assert_eq!(seen.unread.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [5, 6]);
    assert!(seen.unread[1].1.contains("tryLater"));
}

#[test]
fn a_nonce_belongs_to_one_certificate() {
    let chain = chain();
    let nonces = [(chain[2].fingerprint(), vec![7; 32])];
    let seen = |sent: Option<&[u8]>, nonce_required| {
        let mut answers = all_good(1);
        let issuer = draft(3);
        let id = crate::authorities::ocsp::id_of(&draft(2).serial, &chain[3]);
        let extensions = sent.map(crate::authorities::ocsp::nonce).into_iter().collect();
        let singles = vec![single(&id, &good(), "20240601080000Z", None, &[])];
        let answer = Answer { responder: by_name(&issuer), singles, extensions, ..Answer::good() };
        answers[1] = answer.sign(&key(seed(3)));
        let terms = OcspTerms { nonce_required, ..OcspTerms::at(AT) };
        let asking = Asking { terms, nonces: &nonces, hold: REFUSE };
        let judged = judge_revocation(ChainKind::Device, &chain, &answers, &asking);
        let others = [judged.certificates[0].nonce, judged.certificates[2].nonce];
        assert_eq!(others, [NonceResult::NotAsked; 2]);
        (judged.check.result, judged.certificates[1].nonce)
    };
    assert_eq!(seen(Some(&[7; 32]), true), (Some(true), NonceResult::Equal));
    assert_eq!(seen(None, false), (Some(true), NonceResult::Absent));
    assert_eq!(seen(None, true), (None, NonceResult::Absent));
    assert_eq!(seen(Some(&[8; 32]), false), (None, NonceResult::Different));
}

#[test]
fn work_is_bounded() {
    // Four answers about a certificate are judged; the first ones.
    let mut answers: Vec<_> = (20..24).map(|hour| answer(2, &good(), hour)).collect();
    answers.extend(all_good(1));
    assert_eq!(device(&answers, REFUSE).check.result, None);
    answers.rotate_left(4);
    assert_eq!(device(&answers, REFUSE).check.result, Some(true));
    let crowd: Vec<_> = (0..65).map(|n| vec![n]).collect();
    assert_eq!(device(&crowd, REFUSE).unread.len(), 65);
    assert_eq!(device(&crowd[..64], REFUSE).unread.len(), 64);
    let unread = device(&crowd, REFUSE).unread;
    assert_eq!((unread[64].0, unread[63].0), (64, 63));
    assert!(unread[64].1.contains("more than 64"), "{}", unread[64].1);
}

/// Answers about other certificates, and copies, take no place of those that count.
#[test]
fn only_different_answers_about_a_certificate_count_for_its_limit() {
    let others: Vec<_> = (0..100).map(|n| answer(0, &good(), n % 24)).collect();
    let nonces = |n: u8| {
        let extensions = vec![crate::authorities::ocsp::nonce(&[n + 1])];
        Answer { extensions, ..Answer::good() }.sign(&key(1))
    };
    let strangers: Vec<_> = (0..66).map(nonces).collect();
    let taken = answer(2, &revoked("20240601000000Z", Some(1)), 8);
    for crowd in [others, strangers, vec![answer(2, &good(), 8); 66]] {
        let mut late = crowd;
        late.extend(all_good(1));
        assert_eq!(device(&late, REFUSE).check.result, Some(true));
        assert_eq!(crowded(ChainKind::Device, &chain(), &late), None);
        late.push(taken.clone());
        assert_eq!(device(&late, REFUSE).check.result, Some(false));
    }
}

#[test]
fn more_answers_about_a_certificate_than_are_judged_are_told() {
    let mut answers: Vec<_> = (1..=4).map(|hour| answer(2, &good(), hour)).collect();
    answers.extend(all_good(3));
    assert_eq!(crowded(ChainKind::Device, &chain(), &answers), None);
    answers.push(answer(2, &revoked("20240601000000Z", Some(1)), 8));
    assert_eq!(crowded(ChainKind::Device, &chain(), &answers), Some(2));
    assert_eq!(crowded(ChainKind::Device, &chain()[4..], &answers), None);
}

/// Of a device's leaf nobody is asked, of a signer's leaf the responder is.
#[test]
fn answers_are_about_a_chain_or_not() {
    let all = [all_good(0), all_good(2), vec![b"no answer".to_vec()]].concat();
    let of = |kind| about(kind, &chain(), &all).into_iter().cloned().collect::<Vec<_>>();
    assert_eq!((of(ChainKind::Rim), of(ChainKind::Device)), (all_good(0), all_good(1)));
    assert!(about(ChainKind::Rim, &chain()[3..], &all_good(0)[..3]).is_empty());
}

/// nextUpdate is long past, and there is no newer answer, or one that says good.
#[test]
fn a_revocation_does_not_end() {
    let taken = vec![answer(2, &revoked("20240601000000Z", Some(1)), 8)];
    let later = |answers: &[Vec<u8>]| judge_device(&chain(), answers, AT + 100 * 86_400, REFUSE).check.result;
    assert_eq!(later(&taken), Some(false));
    assert_eq!(later(&[all_good(1), taken].concat()), Some(false));
    assert_eq!(later(&all_good(1)), None);
    assert_eq!(later(&with(1, 2, &on_hold())), None, "a hold may have ended");
}

#[test]
fn a_place_to_ask_comes_from_the_chain() {
    let access = crate::authorities::seq(&[
        &crate::authorities::oid("1.3.6.1.5.5.7.48.1"),
        &crate::authorities::tlv(0x86, b"http://ocsp.example"),
    ]);
    let information =
        crate::authorities::extension("1.3.6.1.5.5.7.1.1", false, &crate::authorities::seq(&[&access]));
    let named = Draft { extensions: vec![basic(true, None), usage(5), information], ..draft(2) };
    let mut chain = chain();
    chain[2] = Certificate::parse(&named.sign(&key(seed(3)))).unwrap();
    for (at, expected) in [(1, Some("http://ocsp.example")), (2, Some("http://ocsp.example")), (3, None)] {
        assert_eq!(responder_url(&chain, at), expected);
    }
    assert!(listed(1, &[]).is_empty());
}

/// Real chains: every certificate that is asked about has a responder, and none of them is judged without it.
#[test]
fn real_chains_say_where_to_ask() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let data = std::env::var_os("ASSAY_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let Ok(folder) = std::fs::read_dir(data.join("gpu/evidence")) else {
        println!("SKIPPED: no test data (set ASSAY_DATA)");
        return;
    };
    let mut seen = 0;
    for file in folder {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "pem") {
            continue;
        }
        // Chains that do not hold, or hold nothing, are the folder's as well.
        let Ok(chain) = DeviceChain::from_pem(&std::fs::read_to_string(&path).unwrap()) else { continue };
        if chain.judge(&Roots::nvidia(), AT).is_err() {
            continue;
        }
        let chain = chain.certificates();
        for (position, _, _) in asked(ChainKind::Device, chain) {
            let url = responder_url(chain, position);
            assert!(url.is_some_and(|url| url.starts_with("http")), "{}: {position}", path.display());
        }
        assert_eq!(judge_device(chain, &[], AT, REFUSE).check.result, None);
        assert_eq!(judge_device(chain, &all_good(1), AT, REFUSE).check.result, None);
        seen += 1;
    }
    if seen == 0 {
        println!("SKIPPED: no chain in the data");
    }
}
