//! A raw client: TLS by rustls, HTTP/1.1 by hand, so that tests can send what no library would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use assay_ledger::protocol::Refusal;
use assay_wire::cbor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Believes one server certificate.
pub(crate) fn config(
    certificate: &Path,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A TLS connection whose handshake is complete.
pub(crate) fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<Tls> {
    handshake(TcpStream::connect(address)?, config)
}

/// A TCP connection from an address of this machine's choice: all of 127.0.0.0/8 is its own.
fn connect_from(source: SocketAddr, address: SocketAddr) -> std::io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(source)?;
        socket.connect(address).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn handshake(stream: TcpStream, config: Arc<ClientConfig>) -> std::io::Result<Tls> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut tls = StreamOwned::new(connection, stream);
    tls.conn.complete_io(&mut tls.sock)?;
    Ok(tls)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn ok(self) -> Vec<u8> {
        assert_eq!(self.status, 200, "{:?}", self.refusal());
        self.body
    }

    pub(crate) fn refusal(&self) -> Refusal {
        cbor::from_slice("refusal", &self.body, 1 << 16).unwrap()
    }

    /// Status and code of a refusal.
    pub(crate) fn refused(&self) -> (u16, String) {
        (self.status, self.refusal().code)
    }
}

/// One kept-alive connection.
pub(crate) struct Client {
    pub(crate) tls: Tls,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, certificate: &Path) -> Self {
        Self { tls: connect(address, config(certificate, &[&rustls::version::TLS13])).unwrap() }
    }

    /// From another address of this machine; `None` when the server closed it at once.
    pub(crate) fn try_from(source: SocketAddr, address: SocketAddr, certificate: &Path) -> Option<Self> {
        let stream = connect_from(source, address).unwrap();
        let tls = handshake(stream, config(certificate, &[&rustls::version::TLS13])).ok()?;
        Some(Self { tls })
    }

    pub(crate) fn from(source: SocketAddr, address: SocketAddr, certificate: &Path) -> Self {
        Self::try_from(source, address, certificate).unwrap()
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[])
    }

    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Response {
        self.request("POST", path, body)
    }

    pub(crate) fn request(&mut self, method: &str, path: &str, body: &[u8]) -> Response {
        let length = match method {
            "GET" => String::new(),
            _ => format!("content-length: {}\r\n", body.len()),
        };
        self.send(format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{length}\r\n").as_bytes());
        self.send(body);
        self.response().unwrap()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.tls.write_all(bytes).unwrap();
        self.tls.flush().unwrap();
    }

    /// The next response; `None` when the connection ended instead.
    pub(crate) fn response(&mut self) -> Option<Response> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.tls.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return None,
            }
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let mut body = vec![0; length.parse().unwrap()];
        self.tls.read_exact(&mut body).unwrap();
        Some(Response { status, body })
    }

    /// Whether the server has ended the connection, within the read timeout.
    pub(crate) fn ended(&mut self) -> bool {
        let mut byte = [0];
        match self.tls.read(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}
