//! A made-up responder: everything holds, then one thing at a time does not.

use crate::world::ocsp::{
    AT, Answer, by_key, by_name, cert_id, date, delegate, good, id_of, issuer, nonce, revoked, single,
    subject, unknown, wrap,
};
use crate::world::{Draft, basic, extension, key, oid, purpose, rsa_spki, seq, spki, tlv, usage};
use assay_x509::{
    CertIdHash, Certificate, NonceResult, OcspAnswer, OcspFault, OcspQuestion, OcspResponse, OcspStatus,
    OcspTerms, Refusal, Responder, Revoked, SignatureFault, X509Error, judge_ocsp, ocsp_request,
    ocsp_request_nonce,
};
use proptest::prelude::*;
use rsa::pkcs1v15::SigningKey as RsaSigner;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;
use sha2::Sha256;

fn parse(der: &[u8]) -> Certificate {
    Certificate::parse(der).unwrap()
}

/// Judged under these terms, asked with this nonce.
fn judged(answer: &[u8], nonce: Option<&[u8]>, terms: &OcspTerms) -> Result<OcspAnswer, X509Error> {
    let (certificate, issuer) = (parse(&subject().sign(&key(1))), parse(&issuer().sign(&key(1))));
    let response = OcspResponse::parse(answer)?;
    assert_eq!(response.der(), answer);
    let known = std::slice::from_ref(&certificate);
    let question = OcspQuestion { certificate: &certificate, issuer: &issuer, known, nonce };
    Ok(judge_ocsp(&response, &question, terms))
}

fn status(answer: &[u8]) -> OcspStatus {
    judged(answer, None, &OcspTerms::at(AT)).unwrap().status
}

fn fault(answer: &[u8]) -> OcspFault {
    match status(answer) {
        OcspStatus::NotUsable(fault) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_issuer_answers_for_itself() {
    let answer = judged(&Answer::good().sign(&key(1)), None, &OcspTerms::at(AT)).unwrap();
    assert_eq!((answer.status, answer.nonce), (OcspStatus::Good, NonceResult::NotAsked));
    assert_eq!(answer.responder, Some(Responder::Issuer));
    assert_eq!((answer.this_update, answer.next_update), (Some(AT - 4 * 3600), Some(AT + 20 * 3600)));
    let by_key = Answer { responder: by_key(&issuer(), &key(1)), ..Answer::good() };
    assert_eq!(status(&by_key.sign(&key(1))), OcspStatus::Good);
    assert_eq!(fault(&by_key.sign(&key(2))), OcspFault::Signature(SignatureFault::Invalid));
}

#[test]
fn a_responder_that_the_issuer_named_answers_for_it() {
    let answer = Answer::good().delegated(&delegate(), &key(1));
    let seen = judged(&answer.sign(&key(5)), None, &OcspTerms::at(AT)).unwrap();
    assert_eq!(seen.status, OcspStatus::Good);
    assert_eq!(seen.responder, Some(Responder::Delegated { no_check: true }));
    let by_key = Answer { responder: by_key(&delegate(), &key(1)), ..answer.clone() };
    assert_eq!(status(&by_key.sign(&key(5))), OcspStatus::Good);
    let mut plain = delegate();
    plain.extensions.truncate(3);
    let plain = Answer::good().delegated(&plain, &key(1)).sign(&key(5));
    let seen = judged(&plain, None, &OcspTerms::at(AT)).unwrap();
    assert_eq!(seen.responder, Some(Responder::Delegated { no_check: false }));
    assert_eq!(fault(&answer.sign(&key(1))), OcspFault::Signature(SignatureFault::Invalid));
}

#[test]
fn one_thing_wrong_with_the_responder_is_one_fault() {
    let with = |draft: Draft| Answer::good().delegated(&draft, &key(1)).sign(&key(5));
    assert_eq!(fault(&with(delegate().with(2, purpose("1.3.6.1.5.5.7.3.1")))), OcspFault::ResponderPurpose);
    assert_eq!(fault(&with(delegate().with(2, purpose("2.5.29.37.0")))), OcspFault::ResponderPurpose);
    assert_eq!(fault(&with(delegate().with(1, usage(5)))), OcspFault::ResponderPurpose);
    let mut none = delegate();
    none.extensions.remove(2);
    assert_eq!(fault(&with(none)), OcspFault::ResponderPurpose);
    let strange = oid("1.2.3.4");
    let critical = extension("1.2.3.4", true, &seq(&[]));
    let expected =
        OcspFault::ResponderExtension(const_oid::ObjectIdentifier::from_bytes(&strange[2..]).unwrap());
    assert_eq!(fault(&with(delegate().with(3, critical))), expected);
    let over = Draft { not_after: "240601115959Z", ..delegate() };
    assert_eq!(fault(&with(over)), OcspFault::ResponderDates);
    let early = Draft { not_before: "240601120001Z", ..delegate() };
    assert_eq!(fault(&with(early)), OcspFault::ResponderDates);
    let edges = Draft { not_before: "240601120000Z", not_after: "240601120000Z", ..delegate() };
    assert_eq!(status(&with(edges)), OcspStatus::Good);
    // Another authority's responder, whatever it says of itself.
    let other = Answer::good().delegated(&delegate(), &key(2)).sign(&key(5));
    assert_eq!(fault(&other), OcspFault::ResponderIssuer(SignatureFault::Invalid));
    let renamed = Draft { issuer: crate::world::common("other"), ..delegate() };
    assert_eq!(fault(&with(renamed)), OcspFault::ResponderIssuer(SignatureFault::Invalid));
    let weak = Draft { algorithm: seq(&[&oid("1.2.840.10045.4.1")]), ..delegate() };
    assert_eq!(fault(&with(weak)), OcspFault::ResponderIssuer(SignatureFault::WeakHash));
    // Nobody's certificate at all.
    let absent = Answer { certificates: vec![], ..Answer::good().delegated(&delegate(), &key(1)) };
    assert_eq!(fault(&absent.sign(&key(5))), OcspFault::UnknownResponder);
    let stranger = Answer { responder: by_name(&subject()), ..Answer::good() };
    assert_eq!(fault(&stranger.sign(&key(3))), OcspFault::UnknownResponder);
}

#[test]
fn a_responder_one_step_further_down_is_not_the_issuers() {
    // The delegate signs a delegate of its own.
    let below = Draft { subject: crate::world::common("below"), spki: spki(&key(6)), ..delegate() };
    let below = Draft { issuer: delegate().subject, ..below };
    let answer = Answer::good().delegated(&below, &key(5));
    let with_both = Answer { certificates: vec![below.sign(&key(5)), delegate().sign(&key(1))], ..answer };
    assert!(matches!(fault(&with_both.sign(&key(6))), OcspFault::ResponderIssuer(_)));
}

#[test]
fn only_the_chain_may_lie_beside_the_responder() {
    let issuer = issuer().sign(&key(1));
    let along = Answer { certificates: vec![issuer.clone()], ..Answer::good() };
    assert_eq!(status(&along.sign(&key(1))), OcspStatus::Good);
    let both = Answer { certificates: vec![delegate().sign(&key(1)), issuer], ..Answer::good() };
    let both = Answer { responder: by_name(&delegate()), ..both };
    assert_eq!(status(&both.sign(&key(5))), OcspStatus::Good);
    let spare = Answer { certificates: vec![delegate().sign(&key(1))], ..Answer::good() };
    assert_eq!(fault(&spare.sign(&key(1))), OcspFault::SpareCertificate);
}

#[test]
fn every_status_is_told() {
    let of = |status: &[u8]| self::status(&Answer::of(status).sign(&key(1)));
    assert_eq!(of(&good()), OcspStatus::Good);
    assert_eq!(of(&unknown()), OcspStatus::Unknown);
    let at = AT - 43_200;
    for reason in [None, Some(0), Some(1), Some(5), Some(8), Some(10)] {
        assert_eq!(of(&revoked("20240601000000Z", reason)), OcspStatus::Revoked(Revoked { at, reason }));
    }
    assert_eq!(of(&revoked("20240601000000Z", Some(6))), OcspStatus::Hold(at));
    // A revocation from tomorrow on is one.
    assert!(matches!(of(&revoked("20990601000000Z", None)), OcspStatus::Revoked(_)));
    // RFC 6960 2.2: how a certificate that was never issued is told.
    let never = Revoked { at: 0, reason: Some(6) };
    assert_eq!(of(&revoked("19700101000000Z", Some(6))), OcspStatus::Revoked(never));
    assert_eq!(never.reason_name(), "certificateHold");
    for text in [OcspStatus::Good, OcspStatus::Unknown, OcspStatus::Hold(1), OcspStatus::Revoked(never)] {
        assert!(!text.to_string().is_empty());
    }
}

#[test]
fn reasons_have_the_names_of_rfc_5280_and_terms_their_defaults() {
    let names = [
        "unspecified",
        "keyCompromise",
        "cACompromise",
        "affiliationChanged",
        "superseded",
        "cessationOfOperation",
        "certificateHold",
        "unspecified",
        "removeFromCRL",
        "privilegeWithdrawn",
        "aACompromise",
    ];
    for (reason, name) in (0..).zip(names) {
        assert_eq!(Revoked { at: 1, reason: Some(reason) }.reason_name(), name);
    }
    assert_eq!(Revoked { at: 1, reason: None }.reason_name(), "unspecified");
    let week = OcspTerms { at: AT, skew: 300, max_age: 604_800, nonce_required: false };
    assert_eq!(OcspTerms::at(AT), week);
}

#[test]
fn malformed_statuses_are_refused() {
    for status in [
        tlv(0x80, &[0]),
        tlv(0x82, &[0]),
        tlv(0x81, &[]),
        tlv(0xa0, &[]),
        tlv(0xa1, &[]),
        tlv(0x83, &[]),
        tlv(5, &[]),
        tlv(0x81, &revoked("20240601000000Z", None)[2..]),
        tlv(0xa2, &revoked("20240601000000Z", None)[2..]),
        revoked("20240601000000Z", Some(7)),
        revoked("20240601000000Z", Some(11)),
        tlv(0xa1, &[&revoked("20240601000000Z", None)[2..], &tlv(5, &[])].concat()),
        tlv(0xa1, &crate::world::time("240601000000Z")),
    ] {
        assert!(OcspResponse::parse(&Answer::of(&status).sign(&key(1))).is_err(), "{status:x?}");
    }
}

#[test]
fn an_answer_is_for_one_certificate_of_one_issuer() {
    let about = |id: Vec<u8>| {
        let one = single(&id, &good(), "20240601080000Z", Some("20240602080000Z"), &[]);
        Answer { singles: vec![one], ..Answer::good() }
    };
    let (serial, own) = (subject().serial, issuer());
    let mut ids = vec![cert_id(&[9], &own), cert_id(&[0x2a, 7, 0], &own)];
    ids.push(cert_id(&serial, &Draft { subject: crate::world::common("other"), ..issuer() }));
    ids.push(cert_id(&serial, &Draft { spki: spki(&key(2)), ..issuer() }));
    // The right hashes under another algorithm's name, and an algorithm that nobody here knows.
    for hash in ["2.16.840.1.101.3.4.2.1", "1.2.3.4"] {
        let id = cert_id(&serial, &own);
        let parts = &id[2 + 11..];
        ids.push(seq(&[&seq(&[&oid(hash), &tlv(5, &[])]), parts]));
    }
    for id in ids {
        assert_eq!(fault(&about(id.clone()).sign(&key(1))), OcspFault::OtherCertificate, "{id:x?}");
    }
    // Judged under an issuer that is not the certificate's.
    let (certificate, wrong) = (parse(&subject().sign(&key(1))), parse(&delegate().sign(&key(1))));
    let response = OcspResponse::parse(&Answer::good().sign(&key(1))).unwrap();
    let question = OcspQuestion { certificate: &certificate, issuer: &wrong, known: &[], nonce: None };
    let seen = judge_ocsp(&response, &question, &OcspTerms::at(AT)).status;
    assert_eq!(seen, OcspStatus::NotUsable(OcspFault::OtherIssuer));
}

#[test]
fn two_statuses_of_one_certificate_are_none() {
    let id = cert_id(&subject().serial, &issuer());
    let one = |status: &[u8]| single(&id, status, "20240601080000Z", Some("20240602080000Z"), &[]);
    let taken = revoked("20240601000000Z", None);
    for (first, second) in [(good(), good()), (good(), taken.clone()), (taken, good())] {
        let answer = Answer { singles: vec![one(&first), one(&second)], ..Answer::good() };
        assert_eq!(fault(&answer.sign(&key(1))), OcspFault::Repeated);
    }
    let other =
        single(&cert_id(&[9], &issuer()), &revoked("20240601000000Z", None), "20240601080000Z", None, &[]);
    let answer = Answer { singles: vec![other, one(&good())], ..Answer::good() };
    assert_eq!(status(&answer.sign(&key(1))), OcspStatus::Good);
    let none = Answer { singles: vec![], ..Answer::good() };
    assert_eq!(fault(&none.sign(&key(1))), OcspFault::OtherCertificate);
}

#[test]
fn times_hold_to_the_second() {
    let terms = OcspTerms { at: AT, skew: 60, max_age: 3600, nonce_required: false };
    let seen = |answer: &Answer| match judged(&answer.sign(&key(1)), None, &terms).unwrap().status {
        OcspStatus::Good => None,
        OcspStatus::NotUsable(fault) => Some(fault),
        other => panic!("{other:?}"),
    };
    let fresh = || Answer::good().at("20240601115900Z", Some("20240601130000Z"));
    assert_eq!(seen(&fresh()), None);
    let produced = |text: &str| Answer { produced: date(text), ..fresh() };
    assert_eq!(seen(&produced("20240601120100Z")), None);
    assert_eq!(seen(&produced("20240601120101Z")), Some(OcspFault::Future("producedAt")));
    let at = |this, next| seen(&Answer::good().at(this, next));
    assert_eq!(at("20240601120100Z", None), None);
    assert_eq!(at("20240601120101Z", None), Some(OcspFault::Future("thisUpdate")));
    assert_eq!(at("20240601110000Z", Some("20240601115900Z")), None);
    assert_eq!(at("20240601110000Z", Some("20240601115859Z")), Some(OcspFault::Stale));
    assert_eq!(at("20240601115900Z", Some("20240601115900Z")), Some(OcspFault::Reversed));
    assert_eq!(at("20240601105900Z", None), None);
    assert_eq!(at("20240601105859Z", None), Some(OcspFault::TooOld));
    assert_eq!(at("20240601105859Z", Some("20240701000000Z")), Some(OcspFault::TooOld));
    let extreme = |at| OcspTerms { at, skew: i64::MAX, max_age: i64::MAX, nonce_required: false };
    for at in [i64::MIN, 0, i64::MAX] {
        judged(&fresh().sign(&key(1)), None, &extreme(at)).unwrap();
    }
}

/// What ends and what does not: with nextUpdate past, long ago, and without one.
#[test]
fn a_revocation_never_goes_stale_and_everything_else_does() {
    let id = cert_id(&subject().serial, &issuer());
    let old = |status: &[u8], next| Answer {
        singles: vec![single(&id, status, "20240101080000Z", next, &[])],
        produced: date("20240101080000Z"),
        ..Answer::good()
    };
    let (day, hold) = (Some("20240102080000Z"), revoked("20231201000000Z", Some(6)));
    for taken in [revoked("20231201000000Z", Some(1)), revoked("19700101000000Z", Some(6))] {
        for next in [day, None] {
            assert!(matches!(status(&old(&taken, next).sign(&key(1))), OcspStatus::Revoked(_)), "{next:?}");
        }
        let foreign = old(&taken, day).sign(&key(2));
        assert_eq!(fault(&foreign), OcspFault::Signature(SignatureFault::Invalid));
    }
    for other in [good(), unknown(), hold] {
        assert_eq!(fault(&old(&other, day).sign(&key(1))), OcspFault::Stale);
        assert_eq!(fault(&old(&other, None).sign(&key(1))), OcspFault::TooOld);
    }
    let taken = revoked("20231201000000Z", None);
    let early = single(&id, &taken, "20240601130000Z", None, &[]);
    let early = Answer { singles: vec![early], ..Answer::good() };
    assert_eq!(fault(&early.sign(&key(1))), OcspFault::Future("thisUpdate"));
    let early = Answer { produced: date("20240601130000Z"), ..old(&taken, None) };
    assert_eq!(fault(&early.sign(&key(1))), OcspFault::Future("producedAt"));
    let reversed = single(&id, &taken, "20240102080000Z", Some("20240101080000Z"), &[]);
    let reversed = Answer { singles: vec![reversed], ..Answer::good() };
    assert_eq!(fault(&reversed.sign(&key(1))), OcspFault::Reversed);
}

#[test]
fn whoever_signed_a_revocation_was_in_force_when_it_was_made() {
    let id = cert_id(&subject().serial, &issuer());
    let by = |draft: Draft, status: &[u8], produced: &str| {
        let singles = vec![single(&id, status, "20240601080000Z", Some("20240602080000Z"), &[])];
        let answer = Answer { singles, produced: date(produced), ..Answer::good() };
        answer.delegated(&draft, &key(1)).sign(&key(5))
    };
    let over = || Draft { not_after: "240601090000Z", ..delegate() };
    let taken = revoked("20240601000000Z", Some(1));
    assert!(matches!(status(&by(over(), &taken, "20240601080000Z")), OcspStatus::Revoked(_)));
    assert_eq!(fault(&by(over(), &taken, "20240601090001Z")), OcspFault::ResponderDates);
    assert_eq!(fault(&by(over(), &good(), "20240601080000Z")), OcspFault::ResponderDates);
    let young = Draft { not_before: "240601090000Z", ..delegate() };
    assert_eq!(fault(&by(young, &taken, "20240601080000Z")), OcspFault::ResponderDates);
}

#[test]
fn an_answer_says_whom_it_is_about() {
    let (certificate, issuer) = (parse(&subject().sign(&key(1))), parse(&issuer().sign(&key(1))));
    let about = |answer: &[u8]| OcspResponse::parse(answer).unwrap().is_about(&certificate, &issuer);
    assert!(about(&Answer::good().sign(&key(2))), "whoever signed it");
    let other = single(&id_of(&[9], &issuer), &good(), "20240601080000Z", None, &[]);
    assert!(!about(&Answer { singles: vec![other], ..Answer::good() }.sign(&key(1))));
    assert!(!about(&seq(&[&tlv(0x0a, &[6])])), "a refusal");
    let response = OcspResponse::parse(&Answer::good().sign(&key(1))).unwrap();
    assert!(!response.is_about(&certificate, &certificate));
}

#[test]
fn a_nonce_is_equal_absent_or_different() {
    let with = |bytes: &[u8]| Answer { extensions: vec![nonce(bytes)], ..Answer::good() }.sign(&key(1));
    let terms = OcspTerms::at(AT);
    let strict = OcspTerms { nonce_required: true, ..terms };
    let seen = |answer: &[u8], asked: Option<&[u8]>, terms| {
        let judged = judged(answer, asked, terms).unwrap();
        (judged.nonce, judged.status)
    };
    let (asked, good) = ([7; 32], OcspStatus::Good);
    let not = OcspStatus::NotUsable;
    assert_eq!(seen(&with(&asked), Some(&asked), &strict), (NonceResult::Equal, good));
    assert_eq!(seen(&with(&asked), None, &strict), (NonceResult::NotAsked, good));
    let other = (NonceResult::Different, not(OcspFault::NonceDiffers));
    assert_eq!(seen(&with(&[8; 32]), Some(&asked), &terms), other);
    assert_eq!(seen(&with(&asked[..31]), Some(&asked), &terms), other);
    let plain = Answer::good().sign(&key(1));
    assert_eq!(seen(&plain, Some(&asked), &terms), (NonceResult::Absent, good));
    let absent = (NonceResult::Absent, not(OcspFault::NonceAbsent));
    assert_eq!(seen(&plain, Some(&asked), &strict), absent);
    for len in [1, 128] {
        assert!(OcspResponse::parse(&with(&vec![1; len])).is_ok());
    }
    for len in [0, 129] {
        assert!(OcspResponse::parse(&with(&vec![1; len])).is_err());
    }
    // Raw octets instead of an OCTET STRING, as before RFC 8954.
    let raw = extension(crate::world::ocsp::NONCE, false, &[1, 2, 3]);
    assert!(OcspResponse::parse(&Answer { extensions: vec![raw], ..Answer::good() }.sign(&key(1))).is_err());
}

#[test]
fn critical_extensions_are_known_or_the_answer_is_not_used() {
    let strange = |critical| extension("1.2.3.4", critical, &seq(&[]));
    let whole = |critical| Answer { extensions: vec![strange(critical)], ..Answer::good() };
    let id = cert_id(&subject().serial, &issuer());
    let one = |critical| {
        let single = single(&id, &good(), "20240601080000Z", None, &[strange(critical)]);
        Answer { singles: vec![single], ..Answer::good() }
    };
    let expected = OcspFault::Extension(const_oid::ObjectIdentifier::new_unwrap("1.2.3.4"));
    for (mild, hard) in [(whole(false), whole(true)), (one(false), one(true))] {
        assert_eq!(status(&mild.sign(&key(1))), OcspStatus::Good);
        assert_eq!(fault(&hard.sign(&key(1))), expected);
    }
    let critical = extension(crate::world::ocsp::NONCE, true, &tlv(4, &[1]));
    let answer = Answer { extensions: vec![critical], ..Answer::good() };
    assert_eq!(status(&answer.sign(&key(1))), OcspStatus::Good);
    let many =
        |count: u8| (0..count).map(|n| extension(&format!("1.2.3.{n}"), false, &[])).collect::<Vec<_>>();
    let parsed = |extensions| OcspResponse::parse(&Answer { extensions, ..Answer::good() }.sign(&key(1)));
    assert!(parsed(many(16)).is_ok());
    assert!(matches!(parsed(many(17)), Err(X509Error::TooMany { .. })));
    assert!(parsed(vec![strange(false), strange(false)]).is_err(), "twice");
    let loose = seq(&[&oid("1.2.3.4"), &tlv(1, &[1]), &tlv(4, &[])]);
    assert!(parsed(vec![loose]).is_err());
    let empty = wrap(&seq(&[&seq(&[]), &seq(&[]), &tlv(3, &[0])]));
    assert!(OcspResponse::parse(&empty).is_err());
}

#[test]
fn refusals_are_told_and_hold_nothing_else() {
    let refused = |code: u8| seq(&[&tlv(0x0a, &[code])]);
    let known = [
        (1, Refusal::MalformedRequest),
        (2, Refusal::InternalError),
        (3, Refusal::TryLater),
        (5, Refusal::SignatureRequired),
        (6, Refusal::Unauthorized),
    ];
    for (code, refusal) in known {
        assert_eq!(OcspResponse::parse(&refused(code)).unwrap().refusal(), Some(refusal));
        assert_eq!(fault(&refused(code)), OcspFault::Refused(refusal));
        // Everything of a good answer behind another status.
        let mut whole = Answer::good().sign(&key(1));
        let at = whole.windows(3).position(|bytes| bytes == [0x0a, 1, 0]).unwrap() + 2;
        whole[at] = code;
        assert!(matches!(OcspResponse::parse(&whole), Err(X509Error::Trailing { .. })));
    }
    for code in [0, 4, 7, 127] {
        assert!(OcspResponse::parse(&refused(code)).is_err(), "{code}");
    }
    assert!(OcspResponse::parse(&Answer::good().sign(&key(1))).unwrap().refusal().is_none());
}

#[test]
fn a_weak_or_wrong_signature_is_none() {
    let sha1 = |kind: &str| Answer { algorithm: seq(&[&oid(kind)]), ..Answer::good() }.sign(&key(1));
    assert_eq!(fault(&sha1("1.2.840.10045.4.1")), OcspFault::Signature(SignatureFault::WeakHash));
    let rsa = seq(&[&oid("1.2.840.113549.1.1.5"), &tlv(5, &[])]);
    let rsa = Answer { algorithm: rsa, ..Answer::good() }.sign(&key(1));
    assert_eq!(fault(&rsa), OcspFault::Signature(SignatureFault::WeakHash));
    let strange = sha1("1.2.3.4");
    assert!(matches!(fault(&strange), OcspFault::Signature(SignatureFault::UnknownAlgorithm(_))));
    assert_eq!(fault(&Answer::good().sealed(&[1, 2, 3])), OcspFault::Signature(SignatureFault::Malformed));
    assert_eq!(fault(&Answer::good().sign(&key(2))), OcspFault::Signature(SignatureFault::Invalid));
    // Signed for another answer.
    let other = Answer { produced: date("20240601080001Z"), ..Answer::good() };
    let signature: p256::ecdsa::DerSignature = key(1).sign(&other.data());
    let swapped = Answer::good().sealed(signature.as_bytes());
    assert_eq!(fault(&swapped), OcspFault::Signature(SignatureFault::Invalid));
}

#[test]
fn a_responder_may_have_an_rsa_key() {
    use rand_chacha::rand_core::SeedableRng as _;
    let mut random = rand_chacha::ChaCha20Rng::seed_from_u64(7);
    let private = rsa::RsaPrivateKey::new(&mut random, 2048).unwrap();
    let (modulus, exponent) = (private.n().to_bytes_be(), private.e().to_bytes_be());
    let draft = Draft { spki: rsa_spki(&modulus, &exponent), ..delegate() };
    let algorithm = seq(&[&oid("1.2.840.113549.1.1.11"), &tlv(5, &[])]);
    let answer = Answer { algorithm, ..Answer::good().delegated(&draft, &key(1)) };
    let signature = RsaSigner::<Sha256>::new(private).sign(&answer.data());
    assert_eq!(status(&answer.sealed(&signature.to_vec())), OcspStatus::Good);
}

/// Every byte of an answer of either kind, and every length: nothing but the answer itself is good.
#[test]
fn a_changed_answer_is_never_good() {
    let along = Answer { certificates: vec![issuer().sign(&key(1))], ..Answer::good() };
    let with_nonce = Answer { extensions: vec![nonce(&[7; 32])], ..Answer::good() };
    let answers = [
        with_nonce.sign(&key(1)),
        along.sign(&key(1)),
        Answer::good().delegated(&delegate(), &key(1)).sign(&key(5)),
    ];
    for answer in answers {
        assert_eq!(status(&answer), OcspStatus::Good);
        for at in 0..answer.len() {
            for mask in [0x01, 0x20, 0xff] {
                let mut changed = answer.clone();
                changed[at] ^= mask;
                let seen = judged(&changed, None, &OcspTerms::at(AT));
                assert!(
                    !seen.is_ok_and(|seen| seen.status == OcspStatus::Good),
                    "byte {at} mask {mask:#04x}"
                );
            }
            assert!(OcspResponse::parse(&answer[..at]).is_err());
        }
        assert!(OcspResponse::parse(&[&answer[..], &[0]].concat()).is_err());
    }
}

#[test]
fn an_answer_has_one_form_and_a_size() {
    let explicit = Answer { version: tlv(0xa0, &tlv(2, &[0])), ..Answer::good() };
    assert!(OcspResponse::parse(&explicit.sign(&key(1))).is_err());
    let second = Answer { version: tlv(0xa0, &tlv(2, &[1])), ..Answer::good() };
    assert!(OcspResponse::parse(&second.sign(&key(1))).is_err());
    for responder in [tlv(0xa3, &[]), issuer().subject, tlv(0xa1, &[&issuer().subject[..], &[5, 0]].concat())]
    {
        let answer = Answer { responder, ..Answer::good() };
        assert!(OcspResponse::parse(&answer.sign(&key(1))).is_err());
    }
    for time in ["20240601080000.5Z", "20240601080000+0000", "240601080000Z", "20240601080000"] {
        let answer = Answer { produced: date(time), ..Answer::good() };
        assert!(OcspResponse::parse(&answer.sign(&key(1))).is_err(), "{time}");
    }
    let utc = Answer { produced: crate::world::time("240601080000Z"), ..Answer::good() };
    assert!(OcspResponse::parse(&utc.sign(&key(1))).is_err());
    let crowd = |count: usize| {
        let id = cert_id(&[9], &issuer());
        let one = single(&id, &good(), "20240601080000Z", None, &[]);
        OcspResponse::parse(&Answer { singles: vec![one; count], ..Answer::good() }.sign(&key(1)))
    };
    assert!(crowd(32).is_ok());
    assert!(matches!(crowd(33), Err(X509Error::TooMany { .. })));
    let chain = |count: usize| {
        let certificates = vec![issuer().sign(&key(1)); count];
        OcspResponse::parse(&Answer { certificates, ..Answer::good() }.sign(&key(1)))
    };
    assert!(chain(8).is_ok());
    assert!(matches!(chain(9), Err(X509Error::TooMany { .. })));
    let long = OcspResponse::parse(&vec![0x30; OcspResponse::MAX + 1]);
    assert!(matches!(long, Err(X509Error::Oversized { .. })));
    let longest = OcspResponse::parse(&vec![0x30; OcspResponse::MAX]);
    assert!(!matches!(longest, Err(X509Error::Oversized { .. })));
    let other = seq(&[&tlv(0x0a, &[0]), &tlv(0xa0, &seq(&[&oid("1.2.3"), &tlv(4, &seq(&[]))]))]);
    assert!(matches!(OcspResponse::parse(&other), Err(X509Error::Value { field: "responseType", .. })));
}

#[test]
fn requests_are_about_a_certificate_and_its_issuer() {
    let (certificate, issuer) = (parse(&subject().sign(&key(1))), parse(&issuer().sign(&key(1))));
    for hash in [CertIdHash::Sha1, CertIdHash::Sha256, CertIdHash::Sha384] {
        let der = ocsp_request(hash, &certificate, &issuer, Some(&[7; 32])).unwrap();
        assert_eq!(ocsp_request_nonce(&der).unwrap().as_deref(), Some(&[7; 32][..]));
        let plain = ocsp_request(hash, &certificate, &issuer, None).unwrap();
        assert_eq!(ocsp_request_nonce(&plain), Ok(None));
        for at in 0..der.len() {
            assert!(ocsp_request_nonce(&der[..at]).is_err());
        }
    }
    let plain = ocsp_request(CertIdHash::Sha1, &certificate, &issuer, None).unwrap();
    assert_eq!(plain, seq(&[&seq(&[&seq(&[&seq(&[&cert_id(&subject().serial, &self::issuer())])])])]));
    let with = |nonce: &[u8]| ocsp_request(CertIdHash::Sha1, &certificate, &issuer, Some(nonce));
    assert!(with(&[1]).is_ok() && with(&[1; 128]).is_ok());
    assert!(with(&[]).is_err() && with(&[1; 129]).is_err());
    assert!(ocsp_request(CertIdHash::Sha1, &certificate, &certificate, None).is_err());
    assert!(ocsp_request_nonce(&vec![0x30; 5000]).is_err());
}

#[test]
fn a_certificate_says_where_to_ask() {
    let access = |kind: &str, url: &str| seq(&[&oid(kind), &tlv(0x86, url.as_bytes())]);
    let both = seq(&[
        &access("1.3.6.1.5.5.7.48.1", "http://ocsp.example"),
        &access("1.3.6.1.5.5.7.48.2", "http://ca.example/ca.der"),
    ]);
    let information = extension("1.3.6.1.5.5.7.1.1", false, &both);
    let draft = Draft { extensions: vec![basic(false, None), information], ..subject() };
    let extensions = parse(&draft.sign(&key(1))).extensions;
    assert_eq!(extensions.ocsp_urls, ["http://ocsp.example"]);
    assert_eq!(extensions.issuer_urls, ["http://ca.example/ca.der"]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = OcspResponse::parse(&bytes);
        let _ = OcspResponse::parse(&wrap(&bytes));
        let _ = ocsp_request_nonce(&bytes);
    }
}
