//! One validator's connection: opened when it is needed, kept while it works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::frame::{MAX_BODY, Method, Request, Response};
use super::{Errand, LinkError, Timing, pin};
use crate::config::Validator;

/// Most bytes of an answer's header.
pub(super) const HEADER_BYTES: usize = 16 << 10;

/// Why an exchange failed. The next one begins with a new connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("waiting {} ms before the next try to connect", .0.as_millis())]
    Pausing(Duration),
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("HTTP: {0}")]
    Http(hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(hyper::http::Error),
    #[error("the answer's body broke off: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("this is no https URL of a certificate")]
    Url,
}

/// Exchanges requests with one validator, one after the other.
pub(super) struct Worker {
    name: String,
    host: String,
    port: u16,
    server: ServerName<'static>,
    tls: TlsConnector,
    timing: Timing,
    connection: Option<SendRequest<Full<Bytes>>>,
    failures: u32,
    retry: Option<Instant>,
}

impl Worker {
    /// Connects to nobody yet.
    pub(super) fn new(validator: &Validator, timing: Timing) -> Result<Self, LinkError> {
        let wrong = || LinkError::Url { name: validator.name.clone(), url: validator.url.clone() };
        let (host, port) = validator.authority().ok_or_else(wrong)?;
        let server = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
        let tls = pin::client(validator.tls_spki).map_err(LinkError::Tls)?;
        Ok(Self {
            name: validator.name.clone(),
            host: host.to_owned(),
            port,
            server,
            tls: TlsConnector::from(Arc::new(tls)),
            timing,
            connection: None,
            failures: 0,
            retry: None,
        })
    }

    /// Answers every request, until link ends.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Errand>) {
        while let Some((request, answers)) = inbox.recv().await {
            let response = self.answer(request).await;
            // Core may be gone; what was sent is sent all the same.
            let _ = answers.send(response);
        }
    }

    async fn answer(&mut self, request: Request) -> Response {
        let id = request.id;
        let deadline = self.timing.deadline;
        let failed = match timeout(deadline, self.exchange(request)).await {
            Ok(Ok((status, body))) => return Response { id, status, body },
            Ok(Err(fault)) => fault.to_string(),
            Err(_) => {
                // Connecting may have been what took so long.
                if self.connection.is_none() {
                    self.pause();
                }
                format!("no whole answer within {} ms", deadline.as_millis())
            }
        };
        // Half an exchange leaves a connection that means nothing.
        self.connection = None;
        log::debug!("validator {}: {failed}", self.name);
        Response::failed(id, &failed)
    }

    async fn exchange(&mut self, request: Request) -> Result<(u16, Vec<u8>), Fault> {
        let message = self.message(request)?;
        let connection = self.connected().await?;
        let answer = connection.send_request(message).await.map_err(Fault::Http)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_BODY).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { Fault::TooLong(MAX_BODY) } else { Fault::Body(error) }
        })?;
        Ok((status, body.to_bytes().to_vec()))
    }

    fn message(&self, request: Request) -> Result<hyper::Request<Full<Bytes>>, Fault> {
        let method = match request.method {
            Method::Get => hyper::Method::GET,
            Method::Post => hyper::Method::POST,
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        hyper::Request::builder()
            .method(method)
            .uri(request.path)
            .header(HOST, format!("{host}:{}", self.port))
            .header(CONTENT_TYPE, "application/cbor")
            .body(Full::from(request.body))
            .map_err(Fault::Request)
    }

    /// The connection, a new one when there is none that works.
    async fn connected(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Fault> {
        let alive = match self.connection.take() {
            Some(mut connection) => connection.ready().await.is_ok().then_some(connection),
            None => None,
        };
        let connection = match alive {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let now = Instant::now();
        if let Some(wait) = self.retry.and_then(|retry| retry.checked_duration_since(now)) {
            return Err(Fault::Pausing(wait));
        }
        let connected = self.handshake().await;
        match &connected {
            Ok(_) => (self.failures, self.retry) = (0, None),
            Err(_) => self.pause(),
        }
        connected
    }

    async fn handshake(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(Fault::Connect)?;
        // Small requests should not wait for acknowledgements of smaller ones.
        let _ = stream.set_nodelay(true);
        let stream = self.tls.connect(self.server.clone(), stream).await.map_err(Fault::Tls)?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEADER_BYTES);
        let (connection, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(Fault::Http)?;
        let name = self.name.clone();
        // Ends with the connection: when `connection` is dropped, or the server hangs up.
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                log::debug!("validator {name}: {error}");
            }
        });
        log::info!("connected to validator {}", self.name);
        Ok(connection)
    }

    /// Sets the time before which nobody is called: doubled by each failure, and spread, so that the
    /// nodes of a validator that comes back do not all come at once.
    fn pause(&mut self) {
        let doubled = self.timing.first_pause.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(self.timing.longest_pause);
        let spread = getrandom::u32().unwrap_or_default() % 500;
        self.retry = Some(Instant::now() + pause * (750 + spread) / 1000);
    }
}
