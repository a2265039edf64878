//! What an answer says of one certificate at one time.

use std::fmt;

use super::cert_id::{CertIdHash, IssuerNames};
use super::fault::OcspFault;
use super::response::{Basic, CertStatus, OcspResponse, ResponderId, Single};
use crate::certificate::Certificate;
use crate::extension::KeyUsage;
use crate::oids;
use crate::signature::{SignatureFault, verify_spki};
use crate::time::Seconds;

/// `certificateHold` among the reasons of RFC 5280 5.3.1.
const HOLD: u8 = 6;

/// Which certificate an answer is judged for.
#[derive(Debug, Clone, Copy)]
pub struct OcspQuestion<'a> {
    /// The certificate.
    pub certificate: &'a Certificate,
    /// Who signed it, from a chain that has been judged.
    pub issuer: &'a Certificate,
    /// Certificates that may lie in an answer beside the responder's: the chain. They mean nothing there.
    pub known: &'a [Certificate],
    /// The nonce that was asked with.
    pub nonce: Option<&'a [u8]>,
}

/// How fresh an answer must be. All in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OcspTerms {
    /// The time to judge at, since 1970.
    pub at: Seconds,
    /// How far clocks may differ.
    pub skew: Seconds,
    /// The longest time since thisUpdate, whatever nextUpdate says.
    pub max_age: Seconds,
    /// Whether an answer without the nonce that was asked with is refused. Without this it counts as one that was
    /// made beforehand (RFC 9654 2.1), which its times bound.
    pub nonce_required: bool,
}

impl OcspTerms {
    /// Five minutes of skew, seven days of age, nonces not required.
    #[must_use]
    pub const fn at(at: Seconds) -> Self {
        Self { at, skew: 300, max_age: 7 * 86_400, nonce_required: false }
    }
}

/// RevokedInfo (RFC 6960 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// When, in seconds since 1970.
    pub at: Seconds,
    /// CRLReason (RFC 5280 5.3.1), where one is given.
    pub reason: Option<u8>,
}

impl Revoked {
    /// The reason's name in RFC 5280.
    #[must_use]
    pub const fn reason_name(self) -> &'static str {
        match self.reason {
            Some(1) => "keyCompromise",
            Some(2) => "cACompromise",
            Some(3) => "affiliationChanged",
            Some(4) => "superseded",
            Some(5) => "cessationOfOperation",
            Some(HOLD) => "certificateHold",
            Some(8) => "removeFromCRL",
            Some(9) => "privilegeWithdrawn",
            Some(10) => "aACompromise",
            _ => "unspecified",
        }
    }
}

/// What an answer says of one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspStatus {
    /// Not taken back.
    Good,
    /// Taken back for good; also a certificate that was never issued (RFC 6960 2.2, 4.4.8).
    Revoked(Revoked),
    /// Taken back for the time being (`certificateHold`), since then.
    Hold(Seconds),
    /// The responder does not know the certificate.
    Unknown,
    /// Nothing.
    NotUsable(OcspFault),
}

impl fmt::Display for OcspStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("good"),
            Self::Revoked(revoked) => write!(f, "revoked: {}", revoked.reason_name()),
            Self::Hold(_) => f.write_str("on hold"),
            Self::Unknown => f.write_str("unknown to its responder"),
            Self::NotUsable(fault) => write!(f, "no usable answer: {fault}"),
        }
    }
}

/// How the answer's nonce compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceResult {
    /// None was asked with.
    NotAsked,
    /// The answer was made for this request.
    Equal,
    /// The answer has none: it may have been made before the request.
    Absent,
    /// The answer was made for another request.
    Different,
}

/// Who signed an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Responder {
    /// The issuer of the certificate.
    Issuer,
    /// A certificate that the issuer signed for it.
    Delegated {
        /// It carries id-pkix-ocsp-nocheck: its revocation is not to be asked for (RFC 6960 4.2.2.2.1).
        no_check: bool,
    },
}

/// A judged answer. All but the status is for people and caches, and `None` where the answer is not usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OcspAnswer {
    /// What it says.
    pub status: OcspStatus,
    /// How its nonce compares.
    pub nonce: NonceResult,
    /// Who signed it.
    pub responder: Option<Responder>,
    /// When the responder last knew the status.
    pub this_update: Option<Seconds>,
    /// Until when it answers the same, at the latest.
    pub next_update: Option<Seconds>,
}

/// Judges an answer for one certificate.
///
/// Which statuses are about the certificate is looked up first; nothing of it is believed before the
/// signature holds. At most two signatures are checked. A revocation is final (RFC 5280 5.3.1 knows a way back only from
/// a hold): it does not go stale, and whoever signed it must have been in force when it was made.
#[must_use]
pub fn judge(response: &OcspResponse, question: &OcspQuestion<'_>, terms: &OcspTerms) -> OcspAnswer {
    let nonce = nonce(response, question);
    let unusable = |fault| OcspAnswer {
        status: OcspStatus::NotUsable(fault),
        nonce,
        responder: None,
        this_update: None,
        next_update: None,
    };
    match usable(response, question, terms, nonce) {
        Ok((single, responder)) => OcspAnswer {
            status: status(single.status),
            nonce,
            responder: Some(responder),
            this_update: Some(single.this_update),
            next_update: single.next_update,
        },
        Err(fault) => unusable(fault),
    }
}

fn nonce(response: &OcspResponse, question: &OcspQuestion<'_>) -> NonceResult {
    let seen = response.content.as_ref().ok().and_then(|basic| basic.extensions.nonce.as_deref());
    match (question.nonce, seen) {
        (None, _) => NonceResult::NotAsked,
        (Some(_), None) => NonceResult::Absent,
        (Some(asked), Some(seen)) if asked == seen => NonceResult::Equal,
        _ => NonceResult::Different,
    }
}

fn usable<'a>(
    response: &'a OcspResponse,
    question: &OcspQuestion<'_>,
    terms: &OcspTerms,
    nonce: NonceResult,
) -> Result<(&'a Single, Responder), OcspFault> {
    let basic = response.content.as_ref().map_err(|refusal| OcspFault::Refused(*refusal))?;
    if question.certificate.issuer.as_bytes() != question.issuer.subject.as_bytes() {
        return Err(OcspFault::OtherIssuer);
    }
    let single = only_single(basic, question)?;
    let is_final = matches!(status(single.status), OcspStatus::Revoked(_));
    // Before the signature, since of answers that are kept most are old.
    begun(basic, single, terms)?;
    if !is_final {
        recent(single, terms)?;
    }
    if let Some(oid) = basic.extensions.unknown_critical.or(single.extensions.unknown_critical) {
        return Err(OcspFault::Extension(oid));
    }
    let responder = signed(response, basic, question, if is_final { basic.produced_at } else { terms.at })?;
    match nonce {
        NonceResult::Different => Err(OcspFault::NonceDiffers),
        NonceResult::Absent if terms.nonce_required => Err(OcspFault::NonceAbsent),
        _ => Ok((single, responder)),
    }
}

/// The one status about the certificate.
fn only_single<'a>(basic: &'a Basic, question: &OcspQuestion<'_>) -> Result<&'a Single, OcspFault> {
    let names = IssuerNames::of(question.issuer);
    let serial = &question.certificate.serial;
    let mut about = basic.singles.iter().filter(|single| single.id.names(serial, &names));
    match (about.next(), about.next()) {
        (Some(single), None) => Ok(single),
        (None, _) => Err(OcspFault::OtherCertificate),
        (Some(_), Some(_)) => Err(OcspFault::Repeated),
    }
}

/// Who signed it, if he may (RFC 6960 4.2.2.2), and might at that time.
fn signed(
    response: &OcspResponse,
    basic: &Basic,
    question: &OcspQuestion<'_>,
    at: Seconds,
) -> Result<Responder, OcspFault> {
    let (signer, responder) = match is_responder(&basic.responder, question.issuer) {
        true => (question.issuer, Responder::Issuer),
        false => {
            let named = basic.certificates.iter().find(|one| is_responder(&basic.responder, one));
            let delegated = named.ok_or(OcspFault::UnknownResponder)?;
            delegable(delegated, question.issuer, at)?;
            let no_check = delegated.extensions.has(oids::OCSP_NO_CHECK);
            (delegated, Responder::Delegated { no_check })
        }
    };
    let expected = |one: &Certificate| {
        [signer, question.issuer].into_iter().chain(question.known).any(|known| known.der() == one.der())
    };
    if !basic.certificates.iter().all(expected) {
        return Err(OcspFault::SpareCertificate);
    }
    verify_spki(&signer.key, basic.algorithm, response.signed(basic), &basic.signature)
        .map_err(OcspFault::Signature)?;
    Ok(responder)
}

fn is_responder(id: &ResponderId, certificate: &Certificate) -> bool {
    match id {
        ResponderId::Name(name) => name == certificate.subject.as_bytes(),
        ResponderId::Key(hash) => *hash == CertIdHash::Sha1.digest(certificate.key_bits()),
    }
}

/// Whether `issuer` has named this certificate's holder to answer for it at that time.
fn delegable(delegated: &Certificate, issuer: &Certificate, at: Seconds) -> Result<(), OcspFault> {
    let extensions = &delegated.extensions;
    let purposes = extensions.purposes.as_deref().unwrap_or_default();
    let signs = extensions.key_usage.is_none_or(|usage| usage.contains(KeyUsage::DIGITAL_SIGNATURE));
    if !purposes.contains(&oids::OCSP_SIGNING) || !signs {
        return Err(OcspFault::ResponderPurpose);
    }
    if let Some(oid) = extensions.unknown_critical() {
        return Err(OcspFault::ResponderExtension(oid));
    }
    if !delegated.is_valid_at(at) {
        return Err(OcspFault::ResponderDates);
    }
    if delegated.issuer.as_bytes() != issuer.subject.as_bytes() {
        return Err(OcspFault::ResponderIssuer(SignatureFault::Invalid));
    }
    delegated.verify(&issuer.key).map_err(OcspFault::ResponderIssuer)
}

/// Whether its times are in order and not in the future (RFC 6960 4.2.2.1).
fn begun(basic: &Basic, single: &Single, terms: &OcspTerms) -> Result<(), OcspFault> {
    let latest = terms.at.saturating_add(terms.skew);
    if basic.produced_at > latest {
        return Err(OcspFault::Future("producedAt"));
    }
    if single.this_update > latest {
        return Err(OcspFault::Future("thisUpdate"));
    }
    match single.next_update.is_some_and(|next| next <= single.this_update) {
        true => Err(OcspFault::Reversed),
        false => Ok(()),
    }
}

/// Whether it is not over (RFC 6960 4.2.2.1, RFC 5019 4).
fn recent(single: &Single, terms: &OcspTerms) -> Result<(), OcspFault> {
    let earliest = terms.at.saturating_sub(terms.skew);
    if single.next_update.is_some_and(|next| next < earliest) {
        return Err(OcspFault::Stale);
    }
    match single.this_update < earliest.saturating_sub(terms.max_age) {
        true => Err(OcspFault::TooOld),
        false => Ok(()),
    }
}

/// A hold from the beginning of time is how responders say that a certificate was never issued (RFC 6960 2.2).
const fn status(status: CertStatus) -> OcspStatus {
    match status {
        CertStatus::Good => OcspStatus::Good,
        CertStatus::Unknown => OcspStatus::Unknown,
        CertStatus::Revoked(Revoked { at, reason: Some(HOLD) }) if at != 0 => OcspStatus::Hold(at),
        CertStatus::Revoked(revoked) => OcspStatus::Revoked(revoked),
    }
}
