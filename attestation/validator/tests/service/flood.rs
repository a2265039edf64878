//! One address asks for everything it can.

use std::net::SocketAddr;

use assay_ledger::protocol::{BEACON, CHALLENGE, ENROL, ENROL_ANSWER, RECORDS, SESSION};
use assay_validator::config::Limits;
use assay_wire::{SigningKey, cbor};

use crate::client::Client;
use crate::node::{Node, Session, records, request};
use crate::server::Server;
use crate::soft_tpm::SoftTpm;

/// Two a second and 24 at once; the table of nonces holds more than one address can fill.
fn tight() -> Limits {
    Limits { address_per_minute: 120, challenges: 1000, ..Limits::default() }
}

fn client_from(server: &Server, source: [u8; 4]) -> Client {
    Client::from(SocketAddr::from((source, 0)), server.address, &server.certificate())
}

/// How often a request was let through, and how often it was refused for coming too often.
fn ask(server: &Server, source: [u8; 4], path: &str, body: &[u8], times: usize) -> (usize, usize) {
    let (mut through, mut paced) = (0, 0);
    let mut client = client_from(server, source);
    for _ in 0..times {
        let response = client.post(path, body);
        if response.status == 429 {
            assert_eq!(response.refusal().code, "request.pace");
            paced += 1;
            // Its body was not read, so the connection ended: go on with another, when one is to be had.
            match Client::try_from(SocketAddr::from((source, 0)), server.address, &server.certificate()) {
                Some(next) => client = next,
                None => break,
            }
        } else {
            through += 1;
        }
    }
    (through, paced)
}

#[test]
fn a_flood_of_enrolments_is_refused_before_anything_is_computed() {
    let server = Server::with_limits(tight());
    let (tpm, key) = (SoftTpm::new(1), SigningKey::from_seed(&[1; 32]));
    let body = cbor::to_vec(&request(&tpm, &key));
    let (through, paced) = ask(&server, [127, 0, 0, 2], ENROL, &body, 200);
    assert!((20..=40).contains(&through) && paced > 0, "{through} through, {paced} paced");
    // Every challenge that was made holds a place in the table of nonces: there are no more.
    let mut other = client_from(&server, [127, 0, 0, 3]);
    Node::enrol(&server, &mut other, tpm, key, &request(&SoftTpm::new(1), &SigningKey::from_seed(&[1; 32])));
}

#[test]
fn every_path_that_costs_is_paced_before_its_body_is_looked_at() {
    for path in [ENROL, ENROL_ANSWER, CHALLENGE, SESSION] {
        let server = Server::with_limits(tight());
        // Garbage would be answered with 400: what is paced was not even decoded.
        let (through, paced) = ask(&server, [127, 0, 0, 2], path, b"\xff", 60);
        assert!(through <= 40 && paced > 0, "{path}: {through} through, {paced} paced");
    }
}

#[test]
fn whoever_is_paced_still_gets_beacons_and_delivers() {
    let server = Server::with_limits(tight());
    let mut client = client_from(&server, [127, 0, 0, 2]);
    let node = Node::enrolled(&server, &mut client, 1);
    let mut session = node.open(&mut client, None);
    ask(&server, [127, 0, 0, 2], CHALLENGE, b"\xff", 60);
    assert_eq!(client.get(BEACON).status, 200);
    assert_eq!(node.send(&mut client, &mut session, 3), 3);
}

#[test]
fn forged_records_are_refused_before_they_are_verified() {
    let server = Server::with_limits(tight());
    let mut client = client_from(&server, [127, 0, 0, 3]);
    let node = Node::enrolled(&server, &mut client, 1);
    let mut session = node.open(&mut client, None);
    // Whoever saw a session's id can make records of it that are wrong in their signatures only.
    let forger = Node { key: SigningKey::from_seed(&[9; 32]), ..Node::enrolled(&server, &mut client, 1) };
    let beats = |count| records(&session, &forger.beats(&mut Session { ..session }, count));
    let anchor = records(&session, &[forger.anchor(&session)]);
    for (source, body, most) in [(4, beats(64), 20), (5, beats(1), 50), (6, anchor, 50)] {
        let (through, paced) = ask(&server, [127, 0, 0, source], RECORDS, &body, 60);
        assert!(through <= most && paced > 0, "{source}: {through} through, {paced} paced");
    }
    // The node itself goes on from where it was, as fast as it likes.
    for _ in 0..60 {
        assert_eq!(node.send(&mut client, &mut session, 1), 1);
    }
}

#[test]
fn connections_of_one_address_leave_room_for_others() {
    let server = Server::with_limits(Limits { connections: 8, address_connections: 3, ..Limits::default() });
    let from = |source: [u8; 4]| {
        Client::try_from(SocketAddr::from((source, 0)), server.address, &server.certificate())
    };
    let greedy: Vec<_> = (0..6).map(|_| from([127, 0, 0, 2])).collect();
    assert_eq!(greedy.iter().flatten().count(), 3);
    assert_eq!(from([127, 0, 0, 3]).unwrap().get(BEACON).status, 200);
}
