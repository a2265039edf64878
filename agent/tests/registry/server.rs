//! A registry that does what a test tells it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request's first line without its version, and its header lines in lower case.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub headers: Vec<String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let start = format!("{name}:");
        self.headers.iter().find_map(|line| line.strip_prefix(&start)).map(str::trim)
    }
}

/// What is sent back, byte for byte; then the connection is closed.
pub type Handler = Arc<dyn Fn(&Asked, &mut dyn Write) + Send + Sync>;

pub struct Server {
    pub authority: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Server {
    pub fn start(handler: impl Fn(&Asked, &mut dyn Write) + Send + Sync + 'static) -> Self {
        Self::listen(Arc::new(handler), None)
    }

    /// With TLS under a certificate for 127.0.0.1; also the certificate, PEM.
    pub fn start_tls(handler: impl Fn(&Asked, &mut dyn Write) + Send + Sync + 'static) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config =
            config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        (Self::listen(Arc::new(handler), Some(Arc::new(config))), made.cert.pem())
    }

    fn listen(handler: Handler, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        // Ends with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, log, tls) = (Arc::clone(&handler), Arc::clone(&log), tls.clone());
                std::thread::spawn(move || serve(stream, tls, &handler, &log));
            }
        });
        Self { authority, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Requests whose path holds this.
    pub fn count(&self, part: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path.contains(part)).count()
    }
}

fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, handler: &Handler, log: &Mutex<Vec<Asked>>) {
    let mut stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(config) => Box::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream)),
    };
    let mut lines = Vec::new();
    let mut reader = BufReader::new(&mut stream);
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line.trim().is_empty() => break,
            Ok(_) => lines.push(line.trim().to_owned()),
        }
    }
    let path = lines[0].split(' ').nth(1).unwrap_or_default().to_owned();
    let lower = |line: &String| {
        line.split_once(':')
            .map_or_else(|| line.clone(), |(key, value)| format!("{}:{value}", key.to_lowercase()))
    };
    let asked = Asked { path, headers: lines[1..].iter().map(lower).collect() };
    log.lock().unwrap().push(asked.clone());
    handler(&asked, &mut stream);
    let _ = stream.flush();
}

/// A whole answer with its length.
pub fn reply(to: &mut dyn Write, status: &str, headers: &[(&str, &str)], body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (key, value) in headers {
        head.push_str(&format!("{key}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let _ = to.write_all(head.as_bytes()).and_then(|()| to.write_all(body));
}
