//! Whether a chain's certificates were taken back, by answers of OCSP responders (RFC 6960) that came with it.
//!
//! A certificate of which no answer speaks is neither good nor bad: [`Check::result`] is then `None`, and the
//! reason says which one. A hold is a hold for the chain that it was given for: [`HoldPolicy`] has a word for
//! each kind of chain, and none for both.

use std::collections::BTreeSet;

use assay_x509::{
    Certificate, Fingerprint, NonceResult, OcspAnswer, OcspFault, OcspQuestion, OcspResponse, OcspStatus,
    OcspTerms, Seconds, judge_ocsp,
};
use serde::{Serialize, Serializer};

use super::judgement::Check;

/// The most notes about answers that can't be read.
const MAX_UNREAD: usize = 64;

/// The most answers that are judged for one certificate: each may cost two signatures.
pub const MAX_JUDGED: usize = 4;

/// What a certificate on hold (RFC 5280 5.3.1) means; by default that it is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HoldPolicy {
    /// A hold in a device's chain passes.
    pub device: bool,
    /// A hold in the chain of a signer of reference values passes.
    pub rim: bool,
}

/// Which chain it is: they begin to be asked about at different places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// A device's. Its leaf is made by the device itself and no responder knows it.
    Device,
    /// That of a signer of reference values.
    Rim,
}

impl ChainKind {
    const fn first(self) -> usize {
        match self {
            Self::Device => 1,
            Self::Rim => 0,
        }
    }

    const fn allows_hold(self, policy: HoldPolicy) -> bool {
        match self {
            Self::Device => policy.device,
            Self::Rim => policy.rim,
        }
    }
}

/// What is known of one certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateStatus {
    /// Its place in the chain, the leaf's being 0.
    pub position: usize,
    /// Its subject, for people.
    pub subject: String,
    /// What the answer that counts says; `None` without one.
    #[serde(serialize_with = "status_text")]
    pub status: Option<OcspStatus>,
    /// Until when, in seconds since 1970.
    pub next_update: Option<Seconds>,
    /// Whether the answer was made for the request that was sent.
    #[serde(serialize_with = "nonce_text")]
    pub nonce: NonceResult,
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn status_text<S: Serializer>(status: &Option<OcspStatus>, serializer: S) -> Result<S::Ok, S::Error> {
    status.map(|status| status.to_string()).serialize(serializer)
}

fn nonce_text<S: Serializer>(nonce: &NonceResult, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match nonce {
        NonceResult::NotAsked => "not asked",
        NonceResult::Equal => "equal",
        NonceResult::Absent => "absent",
        NonceResult::Different => "different",
    })
}

/// How answers are judged.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// How fresh they must be.
    pub terms: OcspTerms,
    /// The nonces that were sent, each with the certificate that was asked about.
    pub nonces: &'a [(Fingerprint, Vec<u8>)],
    /// What a hold means.
    pub hold: HoldPolicy,
}

impl Asking<'_> {
    /// Answers that nobody here asked for, so that no nonce binds them to a request: whoever staples them chooses
    /// among all that responders gave, and one that says good counts for up to seven days after its thisUpdate, though
    /// the certificate was revoked in between. Who needs to know sooner asks for himself, with a nonce.
    #[must_use]
    pub const fn stapled(at: Seconds, hold: HoldPolicy) -> Self {
        Self { terms: OcspTerms::at(at), nonces: &[], hold }
    }

    /// The nonce that was sent when this certificate was asked about.
    #[must_use]
    pub fn nonce(&self, certificate: &Certificate) -> Option<&[u8]> {
        let fingerprint = certificate.fingerprint();
        self.nonces.iter().find(|(of, _)| *of == fingerprint).map(|(_, nonce)| nonce.as_slice())
    }
}

/// What the answers say of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// True: all good. False: one is revoked, on hold, or not known to its responder. `None`: one has no answer.
    pub check: Check,
    /// One for each certificate that is asked about.
    pub certificates: Vec<CertificateStatus>,
    /// Answers that could not be read or that refuse: place in the list, and why.
    pub unread: Vec<(usize, String)>,
}

/// The certificates of a chain that are asked about, each with its place and its issuer: up to below the root.
pub fn asked(
    kind: ChainKind,
    chain: &[Certificate],
) -> impl Iterator<Item = (usize, &Certificate, &Certificate)> {
    let pairs = chain.iter().zip(chain.iter().skip(1)).enumerate().skip(kind.first());
    pairs.map(|(position, (certificate, issuer))| (position, certificate, issuer))
}

/// Where to ask about the certificate at `position`: its own word, or that of the next one above that has one.
#[must_use]
pub fn responder_url(chain: &[Certificate], position: usize) -> Option<&str> {
    let above = chain.iter().skip(position);
    above.flat_map(|certificate| &certificate.extensions.ocsp_urls).map(String::as_str).next()
}

/// Judges the answers for a device's chain, the leaf's certificate first, which has been judged itself.
#[must_use]
pub fn judge_device(chain: &[Certificate], answers: &[Vec<u8>], at: Seconds, hold: HoldPolicy) -> Revocation {
    judge(ChainKind::Device, chain, answers, &Asking::stapled(at, hold))
}

/// Judges the answers for the chain of a signer of reference values, the signer's certificate first, which has
/// been judged itself.
#[must_use]
pub fn judge_rim(chain: &[Certificate], answers: &[Vec<u8>], at: Seconds, hold: HoldPolicy) -> Revocation {
    judge(ChainKind::Rim, chain, answers, &Asking::stapled(at, hold))
}

/// The place of the first certificate of which more than [`MAX_JUDGED`] different ones of these answers speak, so that
/// [`judge`] would not judge them all. Whoever trusts answers more than others must not have some of them left out.
#[must_use]
pub fn crowded(kind: ChainKind, chain: &[Certificate], answers: &[Vec<u8>]) -> Option<usize> {
    let (read, _) = read(answers);
    let about = |certificate, issuer| read.iter().filter(|one| one.is_about(certificate, issuer)).count();
    asked(kind, chain)
        .find(|(_, certificate, issuer)| about(certificate, issuer) > MAX_JUDGED)
        .map(|(at, ..)| at)
}

/// Those of the answers that speak of a certificate of the chain that is asked about, each once.
#[must_use]
pub fn about<'a>(kind: ChainKind, chain: &[Certificate], answers: &'a [Vec<u8>]) -> Vec<&'a Vec<u8>> {
    let mut seen = BTreeSet::new();
    let speaks = |answer: &&Vec<u8>| {
        let response = OcspResponse::parse(answer);
        response.is_ok_and(|response| {
            asked(kind, chain).any(|(_, certificate, issuer)| response.is_about(certificate, issuer))
        })
    };
    answers.iter().filter(|answer| seen.insert(answer.as_slice())).filter(speaks).collect()
}

/// Judges answers for a chain of either kind. Answers about other certificates are passed over. Of those about one
/// certificate the first [`MAX_JUDGED`] different ones are judged: the caller's own belong before those of strangers.
#[must_use]
pub fn judge(kind: ChainKind, chain: &[Certificate], answers: &[Vec<u8>], asking: &Asking<'_>) -> Revocation {
    let (read, unread) = read(answers);
    let status =
        |(position, certificate, issuer)| status(position, certificate, issuer, chain, &read, asking);
    let certificates: Vec<_> = asked(kind, chain).map(status).collect();
    let check = match answers {
        [] => Check::none("no OCSP answers"),
        _ if certificates.is_empty() => Check::none("no certificate to ask about"),
        _ => overall(&certificates, kind.allows_hold(asking.hold)),
    };
    Revocation { check, certificates, unread }
}

fn status(
    position: usize,
    certificate: &Certificate,
    issuer: &Certificate,
    chain: &[Certificate],
    answers: &[OcspResponse],
    asking: &Asking<'_>,
) -> CertificateStatus {
    let question = OcspQuestion { certificate, issuer, known: chain, nonce: asking.nonce(certificate) };
    let counts = counting(answers, &question, &asking.terms);
    CertificateStatus {
        position,
        subject: certificate.subject.to_string(),
        status: counts.map(|answer| answer.status),
        next_update: counts.and_then(|answer| answer.next_update),
        nonce: counts.map_or(NonceResult::NotAsked, |answer| answer.nonce),
    }
}

/// Answers that can be read, each once, and why the others can't.
fn read(answers: &[Vec<u8>]) -> (Vec<OcspResponse>, Vec<(usize, String)>) {
    let (mut read, mut unread, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (place, bytes) in answers.iter().enumerate().filter(|(_, bytes)| seen.insert(bytes.as_slice())) {
        match OcspResponse::parse(bytes) {
            Ok(response) => match response.refusal() {
                Some(refusal) => unread.push((place, OcspFault::Refused(refusal).to_string())),
                None => read.push(response),
            },
            Err(error) => unread.push((place, error.to_string())),
        }
    }
    if let Some((place, _)) = unread.get(MAX_UNREAD).cloned() {
        unread.truncate(MAX_UNREAD);
        unread.push((place, format!("more than {MAX_UNREAD} answers that can't be read")));
    }
    (read, unread)
}

/// Of the answers about a certificate the one that counts: a revocation, which is final, or else the newest that
/// can be used. Of two that are equally new the worse one counts.
fn counting(answers: &[OcspResponse], question: &OcspQuestion<'_>, terms: &OcspTerms) -> Option<OcspAnswer> {
    let elsewhere = |answer: &OcspAnswer| {
        matches!(answer.status, OcspStatus::NotUsable(OcspFault::OtherCertificate | OcspFault::OtherIssuer))
    };
    let about = answers.iter().map(|response| judge_ocsp(response, question, terms));
    about.filter(|answer| !elsewhere(answer)).take(MAX_JUDGED).max_by_key(|answer| {
        let (usable, weight) = match answer.status {
            OcspStatus::NotUsable(_) => (0, 0),
            OcspStatus::Good => (1, 0),
            OcspStatus::Hold(_) => (1, 1),
            OcspStatus::Unknown => (1, 2),
            OcspStatus::Revoked(_) => (2, 0),
        };
        (usable, answer.this_update, weight)
    })
}

/// The worst that is known decides; what is not known comes after it.
fn overall(certificates: &[CertificateStatus], allows_hold: bool) -> Check {
    let name = |one: &CertificateStatus| format!("certificate {} ({})", one.position, one.subject);
    let bad = certificates.iter().find(|one| match one.status {
        Some(OcspStatus::Revoked(_) | OcspStatus::Unknown) => true,
        Some(OcspStatus::Hold(_)) => !allows_hold,
        _ => false,
    });
    if let (Some(one), Some(status)) = (bad, bad.and_then(|one| one.status)) {
        return Check::no(format!("{}: {status}", name(one)));
    }
    let open = certificates.iter().find(|one| matches!(one.status, None | Some(OcspStatus::NotUsable(_))));
    if let Some(one) = open {
        let why = one.status.map_or_else(|| "no OCSP answer".to_owned(), |status| status.to_string());
        return Check::none(format!("{}: {why}", name(one)));
    }
    let held = certificates.iter().filter(|one| matches!(one.status, Some(OcspStatus::Hold(_)))).map(name);
    let held: Vec<_> = held.collect();
    match held.is_empty() {
        true => Check::yes(format!("{} certificates, none of them revoked", certificates.len())),
        false => Check::yes(format!("on hold, which the policy lets pass: {}", held.join(", "))),
    }
}
