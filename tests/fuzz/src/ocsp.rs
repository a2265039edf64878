//! Answers of OCSP responders, about a certificate of a made-up authority.

use std::sync::OnceLock;

use assay_x509::{
    CertIdHash, Certificate, OcspAnswer, OcspQuestion, OcspResponse, OcspStatus, OcspTerms, judge_ocsp,
    ocsp_request, ocsp_request_nonce,
};

use made::key;
use made::ocsp::{AT, Answer, delegate, issuer, nonce, revoked, subject, unknown};

#[path = "../../../attestation/x509/tests/world/mod.rs"]
mod made;

struct Authority {
    certificate: Certificate,
    issuer: Certificate,
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let parse = |der: Vec<u8>| Certificate::parse(&der).unwrap();
        Authority { certificate: parse(subject().sign(&key(1))), issuer: parse(issuer().sign(&key(1))) }
    })
}

/// Every status by both kinds of responder, a refusal, and a request.
pub(crate) fn answers() -> &'static [Vec<u8>] {
    static ANSWERS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    ANSWERS.get_or_init(|| {
        let taken = |reason| revoked("20240601000000Z", Some(reason));
        let statuses = [vec![0x80, 0], taken(1), taken(6), unknown()];
        let own = statuses.iter().map(|status| Answer::of(status).sign(&key(1)));
        let delegated = |status: &Vec<u8>| Answer::of(status).delegated(&delegate(), &key(1)).sign(&key(5));
        let fresh = Answer { extensions: vec![nonce(&[7; 32])], ..Answer::good() }.sign(&key(1));
        let Authority { certificate, issuer } = authority();
        let request = ocsp_request(CertIdHash::Sha384, certificate, issuer, Some(&[7; 32])).unwrap();
        let further = [fresh, vec![0x30, 3, 0x0a, 1, 3], request];
        own.chain(statuses.iter().map(delegated)).chain(further).collect()
    })
}

fn judged(response: &OcspResponse) -> OcspAnswer {
    let Authority { certificate, issuer } = authority();
    let question = OcspQuestion { certificate, issuer, known: &[], nonce: Some(&[7; 32]) };
    judge_ocsp(response, &question, &OcspTerms::at(AT))
}

/// An answer: read and judged alike every time, kept as it came, and of no use unless it says what was signed.
pub fn ocsp(data: &[u8]) {
    assert_eq!(ocsp_request_nonce(data), ocsp_request_nonce(data));
    let first = OcspResponse::parse(data);
    assert_eq!(first, OcspResponse::parse(data));
    let Ok(response) = first else { return };
    assert_eq!(response.der(), data);
    let answer = judged(&response);
    assert_eq!(answer, judged(&response));
    if matches!(answer.status, OcspStatus::NotUsable(_)) {
        return;
    }
    assert!(response.refusal().is_none());
    let signed = answers().iter().filter_map(|known| OcspResponse::parse(known).ok());
    assert!(signed.map(|known| judged(&known)).any(|known| known == answer), "{answer:?}");
}
