//! A TPM's certificate from its maker, for firmware TPMs that don't carry their own.
//!
//! What comes back is signed by the maker, and a validator judges it like one out of the TPM. Nothing
//! rests on who served it: whoever answers in the maker's place can keep the certificate back, and no
//! more. So the server's own certificate is not checked, no list of roots is kept, and TLS only hides
//! from the rest of the way which TPM asks. Redirects are not followed.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::frame::Response;
use super::worker::{Fault, HEADER_BYTES};
use super::{Errand, Timing};
use crate::certificate;
use crate::config::check;

/// Answers every request, one after the other, until link ends.
pub(super) async fn run(mut inbox: mpsc::Receiver<Errand>, timing: Timing) {
    while let Some((request, answers)) = inbox.recv().await {
        let id = request.id;
        let response = match timeout(timing.deadline, fetch(&request.path)).await {
            Ok(Ok((status, body))) => Response { id, status, body },
            Ok(Err(fault)) => Response::failed(id, &fault.to_string()),
            Err(_) => {
                let text = format!("no whole answer within {} ms", timing.deadline.as_millis());
                Response::failed(id, &text)
            }
        };
        // Core may be gone.
        let _ = answers.send(response);
    }
}

async fn fetch(url: &str) -> Result<(u16, Vec<u8>), Fault> {
    let (place, path) = check::split(url).ok_or(Fault::Url)?;
    let (host, port) = check::authority(place).ok_or(Fault::Url)?;
    let server = ServerName::try_from(host.to_owned()).map_err(|_| Fault::Url)?;
    let tls = anyone().map_err(|error| Fault::Tls(std::io::Error::other(error)))?;
    let stream = TcpStream::connect((host, port)).await.map_err(Fault::Connect)?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(server, stream).await.map_err(Fault::Tls)?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEADER_BYTES);
    let (mut connection, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(Fault::Http)?;
    tokio::spawn(driver);
    let authority = place.strip_prefix("https://").unwrap_or(place);
    let message = hyper::Request::builder().uri(path).header(HOST, authority).body(Empty::<Bytes>::new());
    let answer = connection.send_request(message.map_err(Fault::Request)?).await.map_err(Fault::Http)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), certificate::MAX_BYTES).collect().await.map_err(|error| {
        match error.is::<LengthLimitError>() {
            true => Fault::TooLong(certificate::MAX_BYTES),
            false => Fault::Body(error),
        }
    })?;
    Ok((status, body.to_bytes().to_vec()))
}

/// Client settings that take any server.
fn anyone() -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Anyone(Arc::clone(&provider)));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(builder.with_no_client_auth())
}

#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
