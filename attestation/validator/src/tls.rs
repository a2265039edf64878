//! The validator's TLS key: made once, pinned by nodes.
//!
//! A node does not ask a public certificate authority who its validator is; its
//! configuration names the SHA-256 of the key (SubjectPublicKeyInfo). The
//! certificate is only the form in which TLS carries that key.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, read_file};

/// A fresh certificate and its key, both as PEM.
#[derive(Debug)]
pub struct Identity {
    /// Self-signed certificate.
    pub certificate: String,
    /// PKCS #8 key.
    pub key: String,
    /// Lower-case hex of the SHA-256 of the SubjectPublicKeyInfo (RFC 7469 2.4).
    pub pin: String,
}

/// Makes a P-256 key and a certificate for `hosts` (names or addresses).
///
/// # Errors
/// [`Error::MakeCertificate`], for a name that no certificate can carry.
pub fn generate(hosts: &[String]) -> Result<Identity, Error> {
    let key = KeyPair::generate().map_err(Error::MakeCertificate)?;
    let params = CertificateParams::new(hosts.to_vec()).map_err(Error::MakeCertificate)?;
    let certificate = params.self_signed(&key).map_err(Error::MakeCertificate)?;
    Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem(), pin: pin_of(&key) })
}

/// The pin of a key file.
///
/// # Errors
/// [`Error::ReadFile`] or [`Error::TlsFile`].
pub fn pin(key: &Path) -> Result<String, Error> {
    let pem = String::from_utf8_lossy(&read_file(key)?).into_owned();
    let pair = KeyPair::from_pem(&pem).map_err(|e| tls_file(key, e.to_string()))?;
    Ok(pin_of(&pair))
}

fn pin_of(key: &KeyPair) -> String {
    hex::encode(Sha256::digest(key.subject_public_key_info()))
}

/// The server's side: TLS 1.3 and nothing else, no client certificates.
///
/// # Errors
/// [`Error::TlsFile`] when a file is not what it should be or the two do not belong together.
pub fn server(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| tls_file(certificate, e.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| tls_file(key, e.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map(Arc::new)
        .map_err(|e| tls_file(certificate, e.to_string()))
}

fn tls_file(path: &Path, detail: String) -> Error {
    Error::TlsFile { path: path.to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_identity_serves_and_has_the_pin_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let made = generate(&["localhost".into(), "127.0.0.1".into()]).unwrap();
        let (crt, key) = (dir.path().join("crt"), dir.path().join("key"));
        std::fs::write(&crt, &made.certificate).unwrap();
        std::fs::write(&key, &made.key).unwrap();
        assert_eq!(pin(&key).unwrap(), made.pin);
        assert_eq!(made.pin.len(), 64);
        server(&crt, &key).unwrap();
        assert!(matches!(server(&key, &crt), Err(Error::TlsFile { .. })));
        std::fs::write(&key, generate(&[]).unwrap().key).unwrap();
        assert!(matches!(server(&crt, &key), Err(Error::TlsFile { .. })));
    }
}
