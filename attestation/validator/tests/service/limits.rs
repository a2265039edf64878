//! What strangers try.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use assay_ledger::protocol::{BEACON, CHALLENGE, ENROL, ENROL_ANSWER, RECORDS, SESSION};
use assay_validator::config::Limits;

use crate::client::{Client, config, connect};
use crate::server::Server;

/// Limits so short that a test can wait for them.
fn hasty() -> Limits {
    Limits { handshake_s: 1, header_s: 1, body_s: 1, idle_s: 3, ..Limits::default() }
}

#[test]
fn tls_1_2_is_refused_and_1_3_is_not() {
    let server = Server::start();
    let old = connect(server.address, config(&server.certificate(), &[&rustls::version::TLS12]));
    assert!(old.unwrap_err().to_string().contains("ProtocolVersion"));
    assert_eq!(server.client().get(BEACON).status, 200);
}

#[test]
fn plain_http_gets_no_answer() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"GET /v1/beacon HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[test]
fn garbage_is_refused_and_the_connection_goes_on() {
    let server = Server::start();
    let mut client = server.client();
    let bodies: [&[u8]; 6] = [b"", b"\xff", b"\xa0", b"{\"a\":1}", &[0xd2; 200], &[0x9b; 500]];
    for path in [ENROL, ENROL_ANSWER, CHALLENGE, SESSION, RECORDS] {
        for body in bodies {
            let refused = client.post(path, body).refused();
            assert_eq!(refused, (400, "request.malformed".into()), "{path} {body:?}");
        }
    }
    assert_eq!(client.get(BEACON).status, 200);
}

#[test]
fn unknown_paths_and_methods_are_refused() {
    let server = Server::start();
    assert_eq!(server.client().get("/").refused(), (404, "request.path".into()));
    assert_eq!(server.client().get("/v1/records").refused(), (405, "request.method".into()));
    assert_eq!(server.client().post(BEACON, b"").refused(), (405, "request.method".into()));
    assert_eq!(server.client().request("DELETE", SESSION, b"").refused(), (405, "request.method".into()));
}

#[test]
fn a_large_body_is_refused_before_it_is_read() {
    let server = Server::start();
    for path in [ENROL, ENROL_ANSWER, CHALLENGE, SESSION, RECORDS] {
        let mut client = server.client();
        client
            .send(format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n").as_bytes());
        assert_eq!(client.response().unwrap().refused(), (413, "request.too-large".into()), "{path}");
        assert!(client.ended(), "what is left of the body must not become the next request");
    }
}

#[test]
fn a_large_body_of_unknown_length_is_refused_while_it_is_read() {
    let server = Server::start();
    let mut client = server.client();
    client.send(
        format!("POST {CHALLENGE} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes(),
    );
    let chunk = [&b"1000\r\n"[..], &[0; 4096], b"\r\n"].concat();
    for _ in 0..4 {
        client.send(&chunk);
    }
    assert_eq!(client.response().unwrap().refused(), (413, "request.too-large".into()));
}

#[test]
fn a_header_without_end_is_cut_off() {
    let server = Server::start();
    let mut client = server.client();
    let mut sent = client.tls.write_all(b"GET /v1/beacon HTTP/1.1\r\n");
    for _ in 0..400 {
        sent = sent.and_then(|()| client.tls.write_all(format!("x: {}\r\n", "y".repeat(100)).as_bytes()));
    }
    let refused = sent.is_err() || client.response().is_none_or(|response| response.status == 431);
    assert!(refused);
}

/// Seconds until the server ends a connection on which `act` was done.
fn patience(server: &Server, act: impl FnOnce(&mut Client)) -> (f64, Option<u16>) {
    let mut client = server.client();
    let begun = Instant::now();
    act(&mut client);
    let status = client.response().map(|response| response.status);
    assert!(client.ended());
    (begun.elapsed().as_secs_f64(), status)
}

#[test]
fn slow_clients_are_dropped() {
    let server = Server::with_limits(hasty());
    let (header, answer) = patience(&server, |client| client.send(b"GET /v1/bea"));
    assert!(answer.is_none() && (0.9..2.9).contains(&header), "{header}");
    let (body, answer) = patience(&server, |client| {
        client.send(b"POST /v1/challenge HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc");
    });
    assert!(answer == Some(408) && (0.9..2.9).contains(&body), "{body}");
    let (silence, answer) = patience(&server, |_| {});
    assert!(answer.is_none() && (2.9..6.0).contains(&silence), "{silence}");
}

#[test]
fn a_silent_node_keeps_its_connection_longer_than_a_header_may_take() {
    let server = Server::with_limits(hasty());
    let mut client = server.client();
    assert_eq!(client.get(BEACON).status, 200);
    std::thread::sleep(Duration::from_millis(1800));
    assert_eq!(client.get(BEACON).status, 200);
}

#[test]
fn a_handshake_that_never_comes_is_dropped() {
    let server = Server::with_limits(hasty());
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let begun = Instant::now();
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    assert!((0.9..5.0).contains(&begun.elapsed().as_secs_f64()));
}

#[test]
fn connections_are_capped_and_come_back() {
    let server = Server::with_limits(Limits { connections: 2, ..hasty() });
    let (mut first, second) = (server.client(), server.client());
    assert_eq!(first.get(BEACON).status, 200);
    let third = connect(server.address, config(&server.certificate(), &[&rustls::version::TLS13]));
    assert!(third.is_err_and(|error| error.kind() != ErrorKind::WouldBlock));
    drop(second);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.client().get(BEACON).status, 200);
}

#[test]
fn a_stop_does_not_wait_for_a_request_that_never_ends() {
    let server = Server::start();
    let mut slow = server.client();
    slow.send(b"POST /v1/challenge HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc");
    let _no_handshake = TcpStream::connect(server.address).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    let server = server.restart();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(server.client().get(BEACON).status, 200);
}
