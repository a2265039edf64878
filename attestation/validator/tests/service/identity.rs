//! One TPM is one node: keys of another node, EKs out of order, new AKs.

use assay_ledger::enrolment::EnrolRequest;
use assay_ledger::protocol::ENROL;
use assay_wire::{SigningKey, cbor};

use crate::certificate::chip;
use crate::node::{Node, request, try_enrol};
use crate::server::Server;
use crate::soft_tpm::SoftTpm;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn with_certificates(tpm: &SoftTpm, seed: u8, certificates: &[&SoftTpm]) -> EnrolRequest {
    let ek_certificates = certificates.iter().map(|tpm| chip(tpm).into()).collect();
    EnrolRequest { ek_certificates, ..request(tpm, &key(seed)) }
}

fn known(code: &str) -> (u16, String) {
    (403, code.to_owned())
}

#[test]
fn the_rsa_and_the_ecc_ek_of_one_tpm_are_one_node() {
    let server = Server::start();
    let mut client = server.client();
    let (ecc, rsa) = (SoftTpm::new(1), SoftTpm::new(1).with_rsa_ek(2));
    let request_ecc = with_certificates(&ecc, 1, &[&ecc, &rsa]);
    Node::enrol(&server, &mut client, ecc.clone(), key(1), &request_ecc);
    // By itself, or with both certificates: the RSA key came with the first node.
    let alone = try_enrol(&mut client, &rsa, &request(&rsa, &key(2)));
    assert_eq!(alone.refused(), known("enrolment.ek-known"));
    assert_eq!(server.store().enrolled_nodes().unwrap().len(), 1);
}

#[test]
fn a_certificate_of_another_nodes_ek_is_refused_before_any_challenge() {
    let server = Server::start();
    let mut client = server.client();
    let first = SoftTpm::new(1);
    Node::enrol(&server, &mut client, first.clone(), key(1), &with_certificates(&first, 1, &[&first]));
    let other = SoftTpm::new(3);
    let request = with_certificates(&other, 3, &[&other, &first]);
    assert_eq!(client.post(ENROL, &cbor::to_vec(&request)).refused(), known("enrolment.ek-known"));
}

#[test]
fn one_ek_dressed_up_as_another_is_the_same_ek() {
    let server = Server::start();
    let mut client = server.client();
    Node::enrolled(&server, &mut client, 1);
    let dressed = SoftTpm { high: true, ..SoftTpm::new(1).with_ak(9) };
    assert_ne!(dressed.ek_public().as_bytes(), SoftTpm::new(1).ek_public().as_bytes());
    let request = request(&dressed, &key(9));
    assert_eq!(client.post(ENROL, &cbor::to_vec(&request)).refused(), known("enrolment.ek-known"));
}

#[test]
fn an_ak_of_another_node_is_refused() {
    let server = Server::start();
    let mut client = server.client();
    Node::enrolled(&server, &mut client, 1);
    let swapped = SoftTpm::new(2).with_ak(1);
    let request = request(&swapped, &key(2));
    assert_eq!(client.post(ENROL, &cbor::to_vec(&request)).refused(), known("enrolment.ak-known"));
}

#[test]
fn the_canonical_ek_names_the_node() {
    let server = Server::start();
    let mut client = server.client();
    let (ecc, rsa) = (SoftTpm::new(1), SoftTpm::new(1).with_rsa_ek(2));
    let request = with_certificates(&rsa, 2, &[&rsa, &ecc]);
    let refused = client.post(ENROL, &cbor::to_vec(&request)).refused();
    assert_eq!(refused, known("enrolment.ek-canonical"));
    // Without an ECC certificate the RSA EK is the canonical one.
    let request = with_certificates(&rsa, 2, &[&rsa]);
    Node::enrol(&server, &mut client, rsa, key(2), &request);
}

#[test]
fn a_certificate_without_a_tpms_key_is_refused() {
    let server = Server::start();
    let tpm = SoftTpm::new(1);
    let mut request = with_certificates(&tpm, 1, &[&tpm]);
    request.ek_certificates.push(vec![0x30, 1, 9].into());
    let refused = server.client().post(ENROL, &cbor::to_vec(&request)).refused();
    assert_eq!(refused, known("enrolment.certificate"));
}

#[test]
fn sending_a_strangers_certificate_does_not_lock_the_stranger_out() {
    let server = Server::start();
    let mut client = server.client();
    let (squatter, victim) = (SoftTpm::new(1), SoftTpm::new(5).with_rsa_ek(5));
    let request_both = with_certificates(&squatter, 1, &[&squatter, &victim]);
    Node::enrol(&server, &mut client, squatter, key(1), &request_both);
    let own = with_certificates(&victim, 5, &[&victim]);
    // Both are I0: nobody can tell who is right, so the operator must.
    assert_eq!(try_enrol(&mut client, &victim, &own).refused(), known("enrolment.ek-known"));
    // A node whose identity reaches further is believed over one whose word is all there is.
    let id = assay_ledger::enrolment::node_id(victim.ek_public().as_bytes());
    server.order(&["pin", &id.to_string()]);
    Node::enrol(&server, &mut client, victim.clone(), key(5), &own);
    // What was proven yields to nobody.
    let request = with_certificates(&SoftTpm::new(6), 6, &[&SoftTpm::new(6), &victim]);
    assert_eq!(try_enrol(&mut client, &SoftTpm::new(6), &request).refused(), known("enrolment.ek-known"));
}

#[test]
fn a_new_ak_supersedes_the_record_and_ends_what_ran_under_it() {
    let server = Server::start();
    let mut client = server.client();
    let old = Node::enrolled(&server, &mut client, 1);
    let mut session = old.open(&mut client, None);
    old.send(&mut client, &mut session, 1);
    let tpm = SoftTpm::new(1).with_ak(8);
    let body = cbor::to_vec(&request(&tpm, &key(8)));
    assert_eq!(client.post(ENROL, &body).refused(), (429, "enrolment.ak-pace".into()), "not twice an hour");
    server.pass(3_600_000);

    let new = Node::enrol(&server, &mut client, tpm.clone(), key(8), &request(&tpm, &key(8)));
    assert_eq!(new.id(), old.id());
    let list = server.store().revocations().unwrap();
    assert_eq!((list.number, list.entries.len()), (1, 1));
    assert_eq!((list.entries[0].digest, list.entries[0].reason.as_str()), (old.record_hash(), "new AK"));
    // The session under the old AK, and a new one under the old record, are refused.
    let records = old.next(&mut session);
    let response = client.post(assay_ledger::protocol::RECORDS, &records);
    assert_eq!(response.refused(), known("enrolment.revoked"));
    assert_eq!(old.try_open(&mut client, None).0.refused(), known("enrolment.revoked"));
    new.open(&mut client, None);
    // The old AK still is this node's, and no other's.
    let thief = SoftTpm::new(2).with_ak(1);
    let body = cbor::to_vec(&request(&thief, &key(2)));
    assert_eq!(client.post(ENROL, &body).refused(), known("enrolment.ak-known"));
}

#[test]
fn a_new_ak_takes_every_earlier_record_back() {
    let server = Server::start();
    let mut client = server.client();
    let first = Node::enrolled(&server, &mut client, 1);
    let mut session = first.open(&mut client, None);
    server.pass(1000);
    let renewed = Node::enrolled(&server, &mut client, 1);
    server.pass(3_600_000);
    let tpm = SoftTpm::new(1).with_ak(8);
    let new = Node::enrol(&server, &mut client, tpm.clone(), key(8), &request(&tpm, &key(8)));
    let taken_back: Vec<_> =
        server.store().revocations().unwrap().entries.iter().map(|entry| entry.digest).collect();
    assert_eq!(taken_back, [first.record_hash(), renewed.record_hash()]);
    let records = first.next(&mut session);
    let response = client.post(assay_ledger::protocol::RECORDS, &records);
    assert_eq!(response.refused(), known("enrolment.revoked"));
    for old in [&first, &renewed] {
        assert_eq!(old.try_open(&mut client, None).0.refused(), known("enrolment.revoked"));
    }
    new.open(&mut client, None);
}

#[test]
fn renewals_without_end_are_paced() {
    let server = Server::start();
    let mut client = server.client();
    let tpm = SoftTpm::new(1);
    let mut enrol = |server: &Server| {
        server.pass(1);
        try_enrol(&mut client, &tpm, &request(&tpm, &key(1)))
    };
    for _ in 0..16 {
        enrol(&server).ok();
    }
    assert_eq!(enrol(&server).refused(), (429, "enrolment.pace".into()));
    server.pass(3_600_000);
    enrol(&server).ok();
    assert_eq!(enrol(&server).refused(), (429, "enrolment.pace".into()));
}

#[test]
fn a_renewal_is_a_new_record_of_the_same_ak_and_revokes_nothing() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let mut session = node.open(&mut client, None);
    server.pass(1000);
    let renewed = Node::enrolled(&server, &mut client, 1);
    assert_ne!(renewed.record_hash(), node.record_hash());
    assert_eq!(server.store().revocations().unwrap().number, 0);
    assert_eq!(node.send(&mut client, &mut session, 2), 2);
    renewed.open(&mut client, Some(session.as_head()));
}

#[test]
fn two_exchanges_side_by_side_do_not_get_one_ak_into_two_records() {
    let server = Server::start();
    let mut client = server.client();
    let (a, b) = (SoftTpm::new(1), SoftTpm::new(2).with_ak(1));
    let (request_a, request_b) = (request(&a, &key(1)), request(&b, &key(2)));
    let mut challenge = |request: &EnrolRequest| {
        let body = client.post(ENROL, &cbor::to_vec(request)).ok();
        cbor::from_slice("challenge", &body, 4096).unwrap()
    };
    let (for_a, for_b) = (challenge(&request_a), challenge(&request_b));
    let answers = [(&a, &request_a, &for_a), (&b, &request_b, &for_b)];
    let [first, second] = answers.map(|(tpm, request, challenge)| {
        let answer = crate::node::answer(tpm, request, challenge);
        client.post(assay_ledger::protocol::ENROL_ANSWER, &cbor::to_vec(&answer))
    });
    first.ok();
    assert_eq!(second.refused(), known("enrolment.ak-known"));
}

#[test]
fn a_store_without_an_index_gets_one_when_it_is_served() {
    let server = Server::start();
    Node::enrolled(&server, &mut server.client(), 1);
    let path = server.home().store();
    let server = server.restart_after(|| {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute("DELETE FROM tpm_keys", []).unwrap();
    });
    let swapped = SoftTpm::new(2).with_ak(1);
    let body = cbor::to_vec(&request(&swapped, &key(2)));
    assert_eq!(server.client().post(ENROL, &body).refused(), known("enrolment.ak-known"));
}

#[test]
fn no_other_ek_takes_a_nodes_id() {
    let server = Server::start();
    let node = Node::enrolled(&server, &mut server.client(), 1);
    // An id is the hash of its EK: only a store that says otherwise can bring this about.
    let path = server.home().store();
    let server = server.restart_after(|| {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute("UPDATE nodes SET ek_public = x'00' WHERE node = ?1", [node.id().0]).unwrap();
    });
    let body = cbor::to_vec(&request(&node.tpm, &node.key));
    assert_eq!(server.client().post(ENROL, &body).refused(), known("enrolment.node-ek"));
}

#[test]
fn a_swapped_ak_cannot_be_activated() {
    let server = Server::start();
    let mut client = server.client();
    // Activated on one TPM, quoted by another: the credential names the AK that was sent.
    let (genuine, other) = (SoftTpm::new(1), SoftTpm::new(2));
    let request_swapped =
        EnrolRequest { ak_public: other.ak_public().to_bytes(), ..request(&genuine, &key(1)) };
    let refused = try_enrol(&mut client, &genuine, &request_swapped).refused();
    assert_eq!(refused, known("enrolment.activation"));
}
