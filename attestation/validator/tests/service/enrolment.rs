//! Enrolment: who gets a record, and how often.

use assay_appraisal::{Policy, State, appraise};
use assay_ledger::enrolment::{EnrolAnswer, EnrolChallenge};
use assay_ledger::protocol::{ENROL, ENROL_ANSWER};
use assay_validator::config::Limits;
use assay_wire::{Digest, SigningKey, cbor};

use crate::client::Client;
use crate::node::{Node, answer, request};
use crate::server::Server;
use crate::soft_tpm::SoftTpm;

fn exchange(client: &mut Client) -> (SoftTpm, EnrolAnswer) {
    let (tpm, key) = (SoftTpm::new(1), SigningKey::from_seed(&[1; 32]));
    let request = request(&tpm, &key);
    let body = client.post(ENROL, &cbor::to_vec(&request)).ok();
    let challenge: EnrolChallenge = cbor::from_slice("challenge", &body, 4096).unwrap();
    let answer = answer(&tpm, &request, &challenge);
    (tpm, answer)
}

fn send(client: &mut Client, answer: &EnrolAnswer) -> (u16, String) {
    client.post(ENROL_ANSWER, &cbor::to_vec(answer)).refused()
}

#[test]
fn a_node_enrols_and_its_record_verifies_offline() {
    let server = Server::start();
    let node = Node::enrolled(&server, &mut server.client(), 1);
    let policy = Policy::builtin("development").unwrap();
    let appraisal =
        appraise(&node.record, &server.trust(), &policy, &State::default(), server.now_ms()).unwrap();
    assert!(appraisal.accepted(), "{:?}", appraisal.findings);
    let known = server.store().enrolled_nodes().unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].node, known[0].issued_ms), (node.id(), server.now_ms()));
}

#[test]
fn an_answer_is_good_once() {
    let server = Server::start();
    let mut client = server.client();
    let (_, answer) = exchange(&mut client);
    client.post(ENROL_ANSWER, &cbor::to_vec(&answer)).ok();
    assert_eq!(send(&mut client, &answer), (403, "challenge.unknown".into()));
}

#[test]
fn a_wrong_answer_uses_the_nonce_up() {
    let server = Server::start();
    let mut client = server.client();
    let (_, good) = exchange(&mut client);
    let wrong = EnrolAnswer { proof: Digest([0; 32]), ..good.clone() };
    assert_eq!(send(&mut client, &wrong), (403, "enrolment.activation".into()));
    assert_eq!(send(&mut client, &good), (403, "challenge.unknown".into()));
    assert!(server.store().enrolled_nodes().unwrap().is_empty());
}

#[test]
fn a_nonce_ends_after_two_minutes() {
    let server = Server::start();
    let mut client = server.client();
    let (_, answer) = exchange(&mut client);
    server.pass(120_000);
    assert_eq!(send(&mut client, &answer), (403, "challenge.unknown".into()));
    let (_, answer) = exchange(&mut client);
    server.pass(119_999);
    client.post(ENROL_ANSWER, &cbor::to_vec(&answer)).ok();
}

#[test]
fn a_session_nonce_is_no_enrolment_nonce_and_a_restart_voids_all() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let (_, answer) = exchange(&mut client);
    let crossed = EnrolAnswer { nonce: node.challenge(&mut client), ..answer.clone() };
    assert_eq!(send(&mut client, &crossed), (403, "challenge.unknown".into()));
    let server = server.restart();
    assert_eq!(send(&mut server.client(), &answer), (403, "challenge.unknown".into()));
}

#[test]
fn nonces_are_unique_and_bounded() {
    let server = Server::with_limits(Limits { challenges: 3, ..Limits::default() });
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    assert_ne!(node.challenge(&mut client), node.challenge(&mut client));
    let body = cbor::to_vec(&request(&node.tpm, &node.key));
    assert_eq!(client.post(ENROL, &body).refused(), (503, "challenge.busy".into()));
    server.pass(120_000);
    client.post(ENROL, &body).ok();
}

#[test]
fn a_request_that_no_tpm_would_make_gets_no_challenge() {
    let server = Server::start();
    let mut client = server.client();
    let (tpm, key) = (SoftTpm::new(1), SigningKey::from_seed(&[1; 32]));
    // The AK in the EK's place cannot take a credential, and the EK is no signing key.
    let mut swapped = request(&tpm, &key);
    std::mem::swap(&mut swapped.ek_public, &mut swapped.ak_public);
    assert_eq!(client.post(ENROL, &cbor::to_vec(&swapped)).refused(), (403, "enrolment.ak".into()));
    let mut no_storage_key = request(&tpm, &key);
    no_storage_key.ek_public = no_storage_key.ak_public.clone();
    assert_eq!(
        client.post(ENROL, &cbor::to_vec(&no_storage_key)).refused(),
        (403, "enrolment.ek-template".into())
    );
}
