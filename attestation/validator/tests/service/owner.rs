//! Whose a node is, and who may say so.

use assay_ledger::enrolment::{EnrolRequest, EnrolmentRecord};
use assay_ledger::owner::OwnerTransfer;
use assay_wire::{Digest, Envelope, Kind, Network, SigningKey, VerifyingKey};

use crate::client::{Client, Response};
use crate::node::{Node, network, request, try_enrol};
use crate::server::Server;
use crate::soft_tpm::SoftTpm;

fn owner(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed ^ 0x80; 32])
}

fn owned(seed: u8) -> VerifyingKey {
    owner(seed).verifying_key()
}

fn seal(transfer: &OwnerTransfer, signer: &SigningKey, network: &Network) -> Vec<u8> {
    Envelope::seal(Kind::OwnerTransfer, Digest(transfer.from.0), transfer, signer, network)
}

struct Case {
    server: Server,
    client: Client,
    node: Digest,
}

impl Case {
    /// A node of owner 1.
    fn new() -> Self {
        let server = Server::start();
        let client = server.client();
        let node = assay_ledger::enrolment::node_id(SoftTpm::new(1).ek_public().as_bytes());
        let mut case = Self { server, client, node };
        case.enrol(Some(1), None).ok();
        case
    }

    fn enrol(&mut self, owner: Option<u8>, transfer: Option<Vec<u8>>) -> Response {
        let (tpm, key) = (SoftTpm::new(1), SigningKey::from_seed(&[1; 32]));
        let request = EnrolRequest {
            owner: owner.map(owned),
            transfer: transfer.map(Into::into),
            ..request(&tpm, &key)
        };
        try_enrol(&mut self.client, &tpm, &request)
    }

    fn refused(&mut self, owner: Option<u8>, transfer: Option<Vec<u8>>) {
        assert_eq!(self.enrol(owner, transfer).refused(), (403, "enrolment.owner".into()));
    }

    fn transfer(&self, from: u8, to: u8, at_ms: u64) -> OwnerTransfer {
        OwnerTransfer { node: self.node, from: owned(from), to: owned(to), at_ms }
    }

    /// Signed by the owner until then.
    fn signed(&self, from: u8, to: u8, at_ms: u64) -> Option<Vec<u8>> {
        Some(seal(&self.transfer(from, to, at_ms), &owner(from), &network(&self.server)))
    }
}

#[test]
fn the_record_names_the_owner_and_keeps_it() {
    let mut case = Case::new();
    let record = case.enrol(Some(1), None).ok();
    let record: EnrolmentRecord = Envelope::decode(&record).unwrap().message().unwrap();
    assert_eq!(record.owner, Some(owned(1)));
    case.refused(Some(2), None);
    case.refused(None, None);
    let listed = case.server.store().overview().unwrap();
    assert_eq!(listed[0].owner, Some(hex::encode(owned(1).0)));
}

#[test]
fn an_owners_signed_word_moves_a_node_once() {
    let mut case = Case::new();
    let now = case.server.now_ms();
    let there = case.signed(1, 2, now);
    case.enrol(Some(2), there.clone()).ok();
    let back = case.signed(2, 1, now + 1);
    case.enrol(Some(1), back).ok();
    // The first transfer is spent: its node is owner 1's again, and it would fit.
    case.refused(Some(2), there);
    let same_moment = case.signed(1, 2, now + 1);
    case.refused(Some(2), same_moment);
    let later = case.signed(1, 2, now + 2);
    case.enrol(Some(2), later).ok();
}

#[test]
fn a_record_of_before_a_transfer_opens_no_session() {
    let mut case = Case::new();
    let node = |case: &Case, record: Vec<u8>| Node {
        tpm: SoftTpm::new(1),
        key: SigningKey::from_seed(&[1; 32]),
        network: network(&case.server),
        record,
    };
    let before = case.enrol(Some(1), None).ok();
    let before = node(&case, before);
    let mut running = before.open(&mut case.client, None);
    let there = case.signed(1, 2, case.server.now_ms());
    case.server.pass(1);
    let after = case.enrol(Some(2), there).ok();
    // What runs was opened before; what is opened is the new owner's.
    assert_eq!(before.send(&mut case.client, &mut running, 2), 2);
    let head = Some(running.as_head());
    let refused = before.try_open(&mut case.client, head).0.refused();
    assert_eq!(refused, (403, "enrolment.replaced".into()));
    node(&case, after).open(&mut case.client, head);
    assert_eq!(case.server.store().revocations().unwrap().number, 0, "what was proven before stays proven");
}

#[test]
fn a_transfer_by_about_or_to_someone_else_moves_nothing() {
    let mut case = Case::new();
    let (now, here) = (case.server.now_ms(), network(&case.server));
    let good = case.transfer(1, 2, now);
    let other_node = OwnerTransfer { node: Digest([9; 32]), ..good };
    for wrong in [
        seal(&good, &owner(2), &here),
        seal(&good, &owner(1), &Network::new("elsewhere")),
        seal(&other_node, &owner(1), &here),
        Envelope::seal(Kind::OwnerTransfer, Digest(owned(2).0), &good, &owner(1), &here),
        Envelope::seal(Kind::Receipt, Digest(owned(1).0), &good, &owner(1), &here),
        b"junk".to_vec(),
    ] {
        case.refused(Some(2), Some(wrong));
    }
    let to_another = case.signed(1, 3, now);
    case.refused(Some(2), to_another);
    let of_another = case.signed(4, 2, now);
    case.refused(Some(2), of_another);
    let far = case.signed(1, 2, now + 300_001);
    case.refused(Some(2), far);
    let good = case.signed(1, 2, now);
    case.enrol(Some(2), good).ok();
}

#[test]
fn an_operator_can_let_the_owner_change_once() {
    let mut case = Case::new();
    let node = case.node.to_string();
    case.server.order(&["allow", &node]);
    case.enrol(Some(2), None).ok();
    case.refused(Some(3), None);
}
