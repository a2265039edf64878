use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use assay_wire::{Digest, SigningKey};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::frame::Method;
use super::*;
use crate::config;

/// How a server of the test behaves after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Answers 200 with the request's first line as the body; keeps the connection.
    Honest,
    /// Sends bytes that are no HTTP.
    Garbage,
    /// Takes the request and says nothing.
    Silent,
    /// Sends one byte of an endless header now and then.
    Slow,
    /// Promises a body longer than any envelope.
    Endless,
    /// Hangs up in the middle of a body.
    Broken,
}

struct Server {
    url: String,
    spki: Digest,
    connections: Arc<AtomicUsize>,
}

fn acceptor(versions: &[&'static rustls::SupportedProtocolVersion]) -> (TlsAcceptor, Digest) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["anything".into()]).unwrap().self_signed(&key).unwrap();
    let spki = Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key));
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private);
    (TlsAcceptor::from(Arc::new(config.unwrap())), Digest(spki.into()))
}

async fn server(manner: Manner) -> Server {
    let (tls, spki) = acceptor(&[&rustls::version::TLS13]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let tls = tls.clone();
            tokio::spawn(async move {
                if let Ok(stream) = tls.accept(stream).await {
                    behave(stream, manner).await;
                }
            });
        }
    });
    Server { url, spki, connections }
}

async fn behave<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(mut stream: S, manner: Manner) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let request = String::from_utf8_lossy(&buffer[..count]).into_owned();
        let line = request.lines().next().unwrap_or_default().to_owned();
        let answer = match manner {
            Manner::Honest => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len()),
            Manner::Garbage => "\u{1}\u{2}\u{3} certainly not HTTP\r\n\r\n".to_owned(),
            Manner::Silent => String::new(),
            Manner::Slow => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
                while stream.write_all(b"y").await.is_ok() && stream.flush().await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                return;
            }
            Manner::Endless => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n").await;
                while stream.write_all(&buffer).await.is_ok() {}
                return;
            }
            Manner::Broken => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned(),
        };
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.flush().await;
        if matches!(manner, Manner::Broken | Manner::Garbage) {
            return;
        }
    }
}

/// Link between a socket that the test holds and these servers.
struct Rig {
    _dir: tempfile::TempDir,
    listener: UnixListener,
    core: UnixStream,
}

const TIMING: Timing = Timing {
    deadline: Duration::from_millis(400),
    first_pause: Duration::from_millis(50),
    longest_pause: Duration::from_millis(100),
    core_pause: Duration::from_millis(10),
};

async fn rig(servers: &[(&str, Digest)]) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.node.runtime_dir = dir.path().to_owned();
    config.validator = servers
        .iter()
        .map(|(url, spki)| config::Validator {
            name: "v".into(),
            url: (*url).to_owned(),
            key: SigningKey::from_seed(&[1; 32]).verifying_key(),
            tls_spki: *spki,
        })
        .collect();
    let listener = UnixListener::bind(dir.path().join(LINK_SOCKET)).unwrap();
    tokio::spawn(async move { serve(&config, TIMING).await });
    let (core, _) = listener.accept().await.unwrap();
    Rig { _dir: dir, listener, core }
}

impl Rig {
    async fn ask(&mut self, id: u64, validator: u32) -> Response {
        let request = Request {
            id,
            validator: Some(validator),
            method: Method::Post,
            path: "/v1/records".into(),
            body: vec![1],
        };
        frame::write(&mut self.core, &request).await.unwrap();
        let response: Response = frame::read(&mut self.core).await.unwrap().unwrap();
        assert_eq!(response.id, id);
        response
    }

    async fn failure(&mut self, validator: u32) -> String {
        let response = self.ask(7, validator).await;
        assert_eq!(response.status, 0, "{response:?}");
        String::from_utf8(response.body).unwrap()
    }
}

#[tokio::test]
async fn an_honest_server_is_asked_over_one_connection() {
    let server = server(Manner::Honest).await;
    let mut rig = rig(&[(&server.url, server.spki)]).await;
    for id in 0..5 {
        let response = rig.ask(id, 0).await;
        assert_eq!((response.status, response.body), (200, b"POST /v1/records HTTP/1.1".to_vec()));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn another_key_is_another_server() {
    let server = server(Manner::Honest).await;
    let mut rig = rig(&[(&server.url, Digest([0; 32]))]).await;
    assert!(rig.failure(0).await.starts_with("TLS:"));
}

#[tokio::test]
async fn tls_below_1_3_is_refused() {
    let (tls, spki) = acceptor(&[&rustls::version::TLS12]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(tls.accept(stream).await);
        }
    });
    let mut rig = rig(&[(&url, spki)]).await;
    assert!(rig.failure(0).await.starts_with("TLS:"));
}

#[tokio::test]
async fn garbage_slowness_silence_and_excess_are_failures_in_time() {
    let expectations = [
        (Manner::Garbage, "HTTP:"),
        (Manner::Silent, "no whole answer within 400 ms"),
        (Manner::Slow, "no whole answer within 400 ms"),
        (Manner::Endless, "longer than"),
        (Manner::Broken, "broke off"),
    ];
    for (manner, said) in expectations {
        let server = server(manner).await;
        let mut rig = rig(&[(&server.url, server.spki)]).await;
        let start = std::time::Instant::now();
        let failure = rig.failure(0).await;
        assert!(failure.contains(said), "{manner:?}: {failure}");
        assert!(start.elapsed() < Duration::from_secs(5), "{manner:?}");
        // A connection that misbehaved is not used again.
        rig.failure(0).await;
        assert_eq!(server.connections.load(Ordering::SeqCst), 2, "{manner:?}");
    }
}

#[tokio::test]
async fn a_server_that_never_shakes_hands_does_not_hold_up_the_others() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", mute.local_addr().unwrap());
    let honest = server(Manner::Honest).await;
    let mut rig = rig(&[(&url, Digest([0; 32])), (&honest.url, honest.spki)]).await;
    let request = Request { id: 1, validator: Some(0), method: Method::Get, path: "/".into(), body: vec![] };
    frame::write(&mut rig.core, &request).await.unwrap();
    assert_eq!(rig.ask(2, 1).await.status, 200);
    let late: Response = frame::read(&mut rig.core).await.unwrap().unwrap();
    assert_eq!((late.id, late.status), (1, 0));
}

#[tokio::test]
async fn a_server_that_is_away_is_called_at_growing_intervals_and_found_again() {
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let (tls, spki) = acceptor(&[&rustls::version::TLS13]);
    let mut rig = rig(&[(&format!("https://{address}"), spki)]).await;
    assert!(rig.failure(0).await.starts_with("cannot connect"));
    assert!(rig.failure(0).await.starts_with("waiting"));
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = tls.accept(stream).await {
                behave(stream, Manner::Honest).await;
            }
        }
    });
    for _ in 0..50 {
        if rig.ask(9, 0).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never found again");
}

#[tokio::test]
async fn core_may_restart_and_say_nonsense() {
    let server = server(Manner::Honest).await;
    let mut rig = rig(&[(&server.url, server.spki)]).await;
    assert_eq!(rig.ask(1, 0).await.status, 200);
    rig.core.write_all(&[0, 0, 0, 1, 0xff]).await.unwrap();
    (rig.core, _) = rig.listener.accept().await.unwrap();
    assert_eq!(rig.ask(2, 0).await.status, 200);
    // The connection to the validator has outlived core's.
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    assert!(rig.failure(5).await.contains("no such validator"));
}

#[test]
fn a_url_without_a_host_is_refused_at_the_start() {
    let validator = config::Validator {
        name: "v".into(),
        url: "nonsense".into(),
        key: SigningKey::from_seed(&[1; 32]).verifying_key(),
        tls_spki: Digest([0; 32]),
    };
    assert!(matches!(Worker::new(&validator, TIMING), Err(LinkError::Url { .. })));
}

/// Asks for a whole URL.
async fn vendor(rig: &mut Rig, url: &str) -> Response {
    let request = Request { id: 3, validator: None, method: Method::Get, path: url.to_owned(), body: vec![] };
    frame::write(&mut rig.core, &request).await.unwrap();
    frame::read(&mut rig.core).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_makers_certificate_is_fetched_from_whoever_serves_it() {
    let server = server(Manner::Honest).await;
    let mut rig = rig(&[]).await;
    let response = vendor(&mut rig, &format!("{}/pki/aia/00ff", server.url)).await;
    assert_eq!((response.status, response.body), (200, b"GET /pki/aia/00ff HTTP/1.1".to_vec()));
}

#[tokio::test]
async fn a_maker_that_misbehaves_is_a_failure_in_time() {
    let mut rig = rig(&[]).await;
    for (manner, said) in [
        (Manner::Garbage, "HTTP:"),
        (Manner::Silent, "no whole answer within 400 ms"),
        (Manner::Slow, "no whole answer within 400 ms"),
        (Manner::Endless, "longer than 65536 bytes"),
        (Manner::Broken, "broke off"),
    ] {
        let server = server(manner).await;
        let response = vendor(&mut rig, &format!("{}/x", server.url)).await;
        let text = String::from_utf8(response.body).unwrap();
        assert!(response.status == 0 && text.contains(said), "{manner:?}: {text}");
    }
    for url in ["http://127.0.0.1/x", "https://127.0.0.1", "nonsense", "https://a/b c"] {
        assert_eq!(vendor(&mut rig, url).await.status, 0, "{url}");
    }
}
