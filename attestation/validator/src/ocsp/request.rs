//! Requests to send, and the nonces of those that were sent.

use std::path::Path;

use assay_gpu::device::{asked, responder_url};
use assay_x509::{CertIdHash, Fingerprint, X509Error, ocsp_request, ocsp_request_nonce};

use super::Subject;
use crate::error::{Error, read_up_to};

/// Digits of a certificate's SHA-256 in a file's name.
const DIGITS: usize = 16;

/// The longest request.
const MAX_REQUEST: usize = 4 << 10;

/// What to ask about one certificate.
#[derive(Debug, Clone)]
pub struct Request {
    /// Place of the certificate in its chain.
    pub position: usize,
    /// Its subject: an outside string.
    pub subject: String,
    /// Its SHA-256.
    pub certificate: Fingerprint,
    /// Where to ask, by the word of the chain: an outside string.
    pub url: Option<String>,
    /// The request, DER.
    pub der: Vec<u8>,
}

impl Request {
    /// Name of the file with the request.
    #[must_use]
    pub fn file(&self) -> String {
        name(&self.certificate, "request")
    }

    /// Name of the file for the answer.
    #[must_use]
    pub fn answer_file(&self) -> String {
        name(&self.certificate, "answer")
    }
}

pub(super) fn name(certificate: &Fingerprint, kind: &str) -> String {
    let digits: String = certificate.to_string().chars().take(DIGITS).collect();
    format!("{digits}.{kind}.der")
}

/// A request for each certificate of the chains that is asked about; one that stands in several chains, once.
/// `nonce` is asked for each.
///
/// # Errors
/// What `nonce` gives, or [`Error::Argument`] for a chain whose names do not lead from one to the next.
pub fn requests(
    subjects: &[Subject],
    hash: CertIdHash,
    mut nonce: impl FnMut() -> Result<Option<[u8; 32]>, Error>,
) -> Result<Vec<Request>, Error> {
    let mut requests: Vec<Request> = Vec::new();
    for subject in subjects {
        for (position, certificate, issuer) in asked(subject.kind, &subject.chain) {
            let fingerprint = certificate.fingerprint();
            if requests.iter().any(|known| known.certificate == fingerprint) {
                continue;
            }
            let nonce = nonce()?;
            let der = ocsp_request(hash, certificate, issuer, nonce.as_ref().map(<[u8; 32]>::as_slice))
                .map_err(|error| refused(&subject.name, position, &error))?;
            requests.push(Request {
                position,
                subject: certificate.subject.to_string(),
                certificate: fingerprint,
                url: responder_url(&subject.chain, position).map(str::to_owned),
                der,
            });
        }
    }
    Ok(requests)
}

fn refused(name: &str, position: usize, error: &X509Error) -> Error {
    Error::Argument(format!("{name}: certificate {position}: {error}"))
}

/// The nonces of requests about these chains that lie in a folder.
///
/// # Errors
/// [`Error::ReadFile`]; [`Error::Argument`] for a file that is no request.
pub fn nonces(subjects: &[Subject], dir: &Path) -> Result<Vec<(Fingerprint, Vec<u8>)>, Error> {
    let mut nonces = Vec::new();
    for subject in subjects {
        for (_, certificate, _) in asked(subject.kind, &subject.chain) {
            let path = dir.join(name(&certificate.fingerprint(), "request"));
            if !path.exists() {
                continue;
            }
            let nonce = ocsp_request_nonce(&read_up_to(&path, MAX_REQUEST)?)
                .map_err(|error| Error::Argument(format!("{}: {error}", path.display())))?;
            nonces.extend(nonce.map(|nonce| (certificate.fingerprint(), nonce)));
        }
    }
    Ok(nonces)
}
