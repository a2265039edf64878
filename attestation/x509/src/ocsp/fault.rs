//! Why an answer says nothing about a certificate.

use const_oid::ObjectIdentifier;

use crate::signature::SignatureFault;

/// OCSPResponseStatus other than successful (RFC 6960 4.2.1). Unsigned: anyone can write one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `malformedRequest`.
    #[error("malformedRequest")]
    MalformedRequest,
    /// `internalError`.
    #[error("internalError")]
    InternalError,
    /// `tryLater`.
    #[error("tryLater")]
    TryLater,
    /// `sigRequired`.
    #[error("sigRequired")]
    SignatureRequired,
    /// `unauthorized`: often, that the responder doesn't know the issuer (RFC 5019 2.2.3).
    #[error("unauthorized")]
    Unauthorized,
}

/// Why an answer can't be used for one certificate. None of it says that the certificate is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OcspFault {
    /// The responder gave no answer.
    #[error("the responder refused: {0}")]
    Refused(Refusal),
    /// The certificate names another issuer than the one that it is judged under.
    #[error("the certificate is of another issuer")]
    OtherIssuer,
    /// No status in the answer is about this certificate of this issuer.
    #[error("the answer is about other certificates")]
    OtherCertificate,
    /// Two statuses are about this certificate: which one counts can't be told.
    #[error("the answer speaks twice of this certificate")]
    Repeated,
    /// The responder is neither the issuer nor a certificate in the answer.
    #[error("the responder is neither the issuer nor named by it")]
    UnknownResponder,
    /// The responder's certificate is not signed by the issuer itself (RFC 6960 4.2.2.2).
    #[error("the responder's certificate is not the issuer's: {0}")]
    ResponderIssuer(SignatureFault),
    /// The responder's certificate is not for this: no id-kp-OCSPSigning, or keys that may not sign.
    #[error("the responder's certificate is not for signing answers")]
    ResponderPurpose,
    /// The responder's certificate is not in force.
    #[error("the responder's certificate is not in force")]
    ResponderDates,
    /// The responder's certificate has a critical extension that nobody here knows.
    #[error("the responder's certificate has the unknown critical extension {0}")]
    ResponderExtension(ObjectIdentifier),
    /// A certificate lies in the answer that is neither the responder's nor one of the chain's.
    #[error("a certificate in the answer has nothing to do with it")]
    SpareCertificate,
    /// The answer's signature does not count.
    #[error("{0}")]
    Signature(SignatureFault),
    /// A critical extension that nobody here knows.
    #[error("unknown critical extension {0}")]
    Extension(ObjectIdentifier),
    /// A time of it lies in the future.
    #[error("{0} lies in the future")]
    Future(&'static str),
    /// nextUpdate is past.
    #[error("it is stale: nextUpdate has passed")]
    Stale,
    /// nextUpdate does not follow thisUpdate.
    #[error("nextUpdate does not follow thisUpdate")]
    Reversed,
    /// thisUpdate is longer ago than is accepted.
    #[error("it is too old")]
    TooOld,
    /// It carries another nonce than the one that was asked with.
    #[error("it answers a request with another nonce")]
    NonceDiffers,
    /// It carries no nonce, and one was demanded.
    #[error("it has no nonce")]
    NonceAbsent,
}
