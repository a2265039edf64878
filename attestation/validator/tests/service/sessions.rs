//! Opening sessions: fresh, once, and never behind the chain that is stored.

use assay_ledger::protocol::SESSION;
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_ledger::session::Head;
use assay_wire::{Digest, Envelope};

use crate::node::{Node, deliver, read_receipts};
use crate::server::Server;

#[test]
fn a_session_opens_and_is_receipted() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let evidence = node.evidence(node.start(node.challenge(&mut client), None));
    let receipt = client.post(SESSION, &evidence).ok();
    let sealed = Envelope::decode(&evidence).unwrap();
    let (session, hash) = (sealed.kid, sealed.hash());
    let expected = BeatReceipt { session, subject: Subject::Session, seq: 0, hash, at_ms: server.now_ms() };
    assert_eq!(read_receipts(&server, &[&receipt]), [expected]);
    assert_eq!(server.store().evidence(&session).unwrap(), Some(evidence));
}

#[test]
fn the_same_evidence_again_gets_the_same_receipt() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let evidence = node.evidence(node.start(node.challenge(&mut client), None));
    let receipt = client.post(SESSION, &evidence).ok();
    server.pass(600_000);
    assert_eq!(client.post(SESSION, &evidence).ok(), receipt);
    let server = server.restart();
    assert_eq!(server.client().post(SESSION, &evidence).ok(), receipt);
    assert_eq!(server.store().overview().unwrap()[0].sessions, 1);
}

#[test]
fn other_evidence_for_an_open_session_is_refused() {
    let server = Server::start();
    let mut client = server.client();
    let mut node = Node::enrolled(&server, &mut client, 1);
    let start = node.start(node.challenge(&mut client), None);
    client.post(SESSION, &node.evidence(start.clone())).ok();
    node.tpm.time_ms += 1;
    let refused = client.post(SESSION, &node.evidence(start)).refused();
    assert_eq!(refused, (409, "session.exists".into()));
}

#[test]
fn a_nonce_opens_one_session_of_its_node_for_two_minutes() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let other = Node::enrolled(&server, &mut client, 2);
    let unknown = (403, "challenge.unknown".to_owned());
    let mut post = |node: &Node, nonce, mono_ms| {
        let mut start = node.start(nonce, None);
        start.mono_ms = mono_ms;
        client.post(SESSION, &node.evidence(start))
    };
    assert_eq!(post(&node, Digest([1; 32]), 1).refused(), unknown);
    let nonce = node.challenge(&mut server.client());
    post(&node, nonce, 1).ok();
    assert_eq!(post(&node, nonce, 2).refused(), unknown);
    let nonce = node.challenge(&mut server.client());
    assert_eq!(post(&other, nonce, 1).refused(), unknown, "a nonce is its node's");
    let nonce = node.challenge(&mut server.client());
    server.pass(120_000);
    assert_eq!(post(&node, nonce, 3).refused(), unknown);
}

#[test]
fn a_node_without_a_record_of_this_world_is_refused() {
    let (server, elsewhere) = (Server::start(), Server::start());
    let node = Node::enrolled(&elsewhere, &mut elsewhere.client(), 1);
    let (response, _) = node.try_open(&mut server.client(), None);
    assert_eq!(response.refused(), (403, "enrolment.validator".into()));
}

#[test]
fn evidence_that_does_not_hold_is_refused_with_its_finding() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let thief =
        Node { tpm: crate::soft_tpm::SoftTpm::new(9), record: node.record.clone(), ..node_like(&node) };
    let mut start = thief.start(node.challenge(&mut client), None);
    start.node = node.id();
    let refused = client.post(SESSION, &thief.evidence(start)).refused();
    assert_eq!(refused, (403, "quote.signature".into()));
}

fn node_like(node: &Node) -> Node {
    Node {
        tpm: crate::soft_tpm::SoftTpm::new(1),
        key: assay_wire::SigningKey::from_seed(&[1; 32]),
        network: node.network.clone(),
        record: node.record.clone(),
    }
}

#[test]
fn an_old_ledger_is_a_rollback_and_the_newest_is_not() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let mut first = node.open(&mut client, None);
    let early = node.beats(&mut first, 2);
    let yesterday = first.as_head();
    let late = node.beats(&mut first, 3);
    deliver(&mut client, &first, &[early, late].concat());

    let rollback = (403, "ledger.rollback".to_owned());
    assert_eq!(node.try_open(&mut client, Some(yesterday)).0.refused(), rollback);
    let fork = Head { head: Digest([1; 32]), ..first.as_head() };
    assert_eq!(node.try_open(&mut client, Some(fork)).0.refused(), rollback);
    let mut second = node.open(&mut client, Some(first.as_head()));
    let beats = node.beats(&mut second, 1);
    deliver(&mut client, &second, &beats);
    assert_eq!(node.try_open(&mut client, Some(first.as_head())).0.refused(), rollback);
    // Beats that never reached the validator are no reason to refuse.
    node.beats(&mut second, 1);
    node.open(&mut client, Some(second.as_head()));
}

#[test]
fn a_session_whose_opening_was_never_answered_does_not_lock_the_node_out() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let mut first = node.open(&mut client, None);
    let beats = node.beats(&mut first, 2);
    deliver(&mut client, &first, &beats);
    let unheard = node.open(&mut client, Some(first.as_head()));
    node.open(&mut client, Some(first.as_head()));
    // Nor does one that was answered and never beat.
    node.open(&mut client, Some(unheard.as_head()));
}

#[test]
fn a_new_session_supersedes_the_old_one_which_may_still_deliver() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let mut first = node.open(&mut client, None);
    let kept_back = node.beats(&mut first, 3);
    let second = node.open(&mut client, Some(first.as_head()));
    let states = |server: &Server| {
        let state = |id: &Digest| server.store().session(id).unwrap().unwrap().state.name();
        (state(&first.id), state(&second.id))
    };
    assert_eq!(states(&server), ("superseded", "open"));
    assert_eq!(deliver(&mut client, &first, &kept_back).count, 3);
    assert_eq!(states(&server), ("superseded", "open"));
}
