//! Connections to hosts that the policy allows, by the address that is connected to.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::fault::Fault;
use super::policy::Policy;
use super::url::Url;

/// Where Debian and its kin keep the public authorities' certificates.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Longest time to find a host, and to connect to one address with TLS.
const CONNECT: Duration = Duration::from_secs(15);
/// Most addresses that are tried.
const ADDRESSES_MAX: usize = 4;
/// Most bytes of an answer's header, and of its body at a time.
const BUFFER: usize = 128 << 10;
/// Most header lines.
const HEADERS_MAX: usize = 64;

/// One connection for one request.
pub(super) type Connection = SendRequest<Empty<Bytes>>;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Client settings that believe the authorities of this file, or the system's.
pub(super) fn tls(roots: Option<&Path>) -> Result<Arc<ClientConfig>, Fault> {
    let path = roots.unwrap_or_else(|| Path::new(SYSTEM_ROOTS));
    let unusable = |error: &dyn std::fmt::Display| Fault::TlsSetup(format!("{}: {error}", path.display()));
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unusable(&e))? {
        // An authority that rustls cannot use is one less to believe.
        store.add_parsable_certificates([certificate.map_err(|e| unusable(&e))?]);
    }
    if store.is_empty() {
        return Err(unusable(&"no certificate of an authority"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| unusable(&e))?.with_root_certificates(store);
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// Connects to a URL's host.
pub(super) async fn open(
    url: &Url,
    policy: &Policy,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Connection, Fault> {
    let host = url.authority();
    if !url.tls && !policy.may_be_plain(url) {
        return Err(Fault::Plain { host });
    }
    let stream = tcp(url, policy).await?;
    let stream: Box<dyn Stream> = match tls.filter(|_| url.tls) {
        None if url.tls => return Err(Fault::TlsSetup("no authorities".to_owned())),
        None => Box::new(stream),
        Some(tls) => {
            let failed = |source| Fault::Tls { host: host.clone(), source };
            let name = ServerName::try_from(url.host.clone()).map_err(|_| Fault::Url)?;
            let handshake = timeout(CONNECT, TlsConnector::from(tls).connect(name, stream)).await;
            Box::new(handshake.map_err(|_| Fault::Slow { host: host.clone() })?.map_err(failed)?)
        }
    };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER).max_headers(HEADERS_MAX);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (connection, driver) = handshake.map_err(|source| Fault::Http { host, source })?;
    // Ends with the connection. What goes wrong is seen by whoever reads the answer.
    tokio::spawn(async move { drop(driver.await) });
    Ok(connection)
}

async fn tcp(url: &Url, policy: &Policy) -> Result<TcpStream, Fault> {
    let host = url.authority();
    let found = timeout(CONNECT, lookup_host((url.host.as_str(), url.port))).await;
    let found = found.map_err(|_| Fault::Slow { host: host.clone() })?;
    let found: Vec<SocketAddr> =
        found.map_err(|source| Fault::Resolve { host: host.clone(), source })?.take(64).collect();
    if found.is_empty() {
        return Err(Fault::NoAddress { host });
    }
    // What is connected to is what was judged: names are not looked up again.
    let allowed = found.into_iter().filter(|address| policy.may_be_at(url, address.ip()));
    let mut last = Fault::Private { host: host.clone() };
    for address in allowed.take(ADDRESSES_MAX) {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(source)) => last = Fault::Connect { host: host.clone(), source },
            Err(_) => last = Fault::Slow { host: host.clone() },
        }
    }
    Err(last)
}
