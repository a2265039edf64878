//! What is kept for others to check: appraisals, firmware, offences.

use assay_ledger::enrolment::EnrolRequest;
use assay_ledger::firmware::FirmwareTable;
use assay_ledger::owner::OwnerTransfer;
use assay_ledger::protocol::SESSION;
use assay_ledger::session::{Evidence, PcrValue};
use assay_ledger::{ByteVec, session};
use assay_wire::{Digest, Domain, Envelope, Kind, SigningKey, cbor, hash};

use crate::certificate::{certificate, chip};
use crate::node::{Node, deliver, refused, request};
use crate::server::Server;
use crate::soft_tpm::SoftTpm;

#[test]
fn a_session_is_appraised_again_to_the_same_bytes() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let mut first = node.open(&mut client, None);
    node.send(&mut client, &mut first, 2);
    let second = node.open(&mut client, Some(first.as_head()));
    // Neither time, nor another trust file, nor what became of the node since then matters.
    server.pass(400 * 86_400_000);
    server.order(&["pin", &node.id().to_string()]);
    server.order(&["revoke", "node", &node.id().to_string(), "--reason", "x"]);
    for session in [first.id, second.id] {
        let (exit, replayed) = server.try_order(&["replay", &session.to_string()]);
        assert_eq!((exit, &replayed["same"]), (0, &true.into()));
        assert_eq!(replayed["kept"]["verdict"], "accept");
        let kept = server.store().appraisal(&session).unwrap().unwrap();
        assert!(kept.at_ms < server.now_ms() && !kept.state.is_empty());
    }
}

#[test]
fn a_replay_that_differs_says_so() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let session = node.open(&mut client, None);
    let path = server.home().store();
    let server = server.restart_after(|| {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute("UPDATE appraisals SET at_ms = at_ms + 100 * 86400000", []).unwrap();
    });
    let (exit, replayed) = server.try_order(&["replay", &session.id.to_string()]);
    assert_eq!((exit, &replayed["same"], &replayed["now"]["verdict"]), (1, &false.into(), &"reject".into()));
}

/// A node of this owner with a chip's certificate; hardware once it is pinned.
fn owned(server: &Server, seed: u8, owner: u8, manufacturer: &str) -> Node {
    let (tpm, key) = (SoftTpm::new(seed), SigningKey::from_seed(&[seed; 32]));
    let ek = if manufacturer.is_empty() { chip(&tpm) } else { certificate(&tpm, manufacturer, "x") };
    let request = EnrolRequest {
        ek_certificates: vec![ek.into()],
        owner: Some(SigningKey::from_seed(&[owner; 32]).verifying_key()),
        ..request(&tpm, &key)
    };
    Node::enrol(server, &mut server.client(), tpm, key, &request)
}

/// Opens a session on a machine whose firmware measured `pcr0`.
fn run(server: &Server, node: &mut Node, pcr0: Digest) {
    let mut client = server.client();
    node.tpm.pcr0 = pcr0;
    let start = node.start(node.challenge(&mut client), None);
    let id = start.id();
    let sealed = node.evidence(start);
    let mut evidence: Evidence = Envelope::decode(&sealed).unwrap().message().unwrap();
    evidence.quote = node.tpm.quote(&session::quote_extra_data(&id).0);
    evidence.pcrs[0] = PcrValue { pcr: 0, value: pcr0 };
    client.post(SESSION, &Envelope::seal(Kind::Evidence, id, &evidence, &node.key, &node.network)).ok();
}

#[test]
fn firmware_counts_once_per_owner_of_hardware() {
    let server = Server::start();
    let pcr0 = Digest([0xaa; 32]);
    let owners = |server: &Server| server.store().firmware(&pcr0).unwrap().map_or(0, |set| set.owners);
    let mut hardware: Vec<Node> =
        [(1, 1), (2, 1), (3, 2)].map(|(seed, owner)| owned(&server, seed, owner, "")).into();
    run(&server, &mut hardware[0], pcr0);
    assert_eq!(owners(&server), 0, "a certificate without a root is I0");
    for (node, expected) in hardware.iter_mut().zip([1, 1, 2]) {
        server.order(&["pin", &node.id().to_string()]);
        run(&server, node, pcr0);
        assert_eq!(owners(&server), expected);
    }
    let mut virtual_one = owned(&server, 5, 3, "id:474F4F47");
    server.order(&["pin", &virtual_one.id().to_string()]);
    run(&server, &mut virtual_one, pcr0);
    let mut nobodys = Node::enrolled(&server, &mut server.client(), 6);
    server.order(&["pin", &nobodys.id().to_string()]);
    run(&server, &mut nobodys, pcr0);
    assert_eq!(owners(&server), 2, "virtual nodes and nodes without an owner never count");

    let out = server.dir.path().join("firmware.cbor");
    let (_, listed) = server.try_order(&["firmware", "--out", out.to_str().unwrap()]);
    assert_eq!(
        (&listed["sets"][0]["owners"], &listed["sets"][0]["pcr0"]),
        (&2.into(), &pcr0.to_string().into())
    );
    let envelope = Envelope::decode_as(Kind::Firmware, &std::fs::read(&out).unwrap()).unwrap();
    let trust = server.trust();
    envelope.verify(&trust.validators[&envelope.kid].key, &trust.network).unwrap();
    let table: FirmwareTable = envelope.message().unwrap();
    assert_eq!((table.sets.len(), table.sets[0].pcr0), (1, pcr0));
    // The largest count stands, whoever counted: importing our own table changes nothing.
    server.order(&["import", out.to_str().unwrap()]);
    assert_eq!(owners(&server), 2);
    assert_eq!(server.try_order(&["import", out.to_str().unwrap()]).1["code"], "import.known");
}

#[test]
fn one_machine_that_changes_hands_is_one_owner_of_its_firmware() {
    let server = Server::start();
    let (pcr0, seed) = (Digest([0xaa; 32]), 1);
    let (tpm, key) = (SoftTpm::new(seed), |n: u8| SigningKey::from_seed(&[n; 32]));
    let id = owned(&server, seed, 1, "").id();
    server.order(&["pin", &id.to_string()]);
    for (to, expected) in [(1, 1), (2, 1), (3, 1)] {
        server.pass(1);
        let (from, to) = (key((to - 1).max(1)), key(to).verifying_key());
        let transfer = OwnerTransfer { node: id, from: from.verifying_key(), to, at_ms: server.now_ms() };
        let by = Digest(from.verifying_key().0);
        let transfer = Envelope::seal(Kind::OwnerTransfer, by, &transfer, &from, &server.trust().network);
        let request = EnrolRequest {
            ek_certificates: vec![chip(&tpm).into()],
            owner: Some(to),
            transfer: Some(transfer.into()),
            ..request(&tpm, &key(seed))
        };
        let mut node = Node::enrol(&server, &mut server.client(), tpm.clone(), key(seed), &request);
        run(&server, &mut node, pcr0);
        let seen = server.store().firmware(&pcr0).unwrap().unwrap();
        assert_eq!(seen.owners, expected, "a machine of its own for each owner");
    }
    // A second machine of an owner whom the first one had already counts for its own first owner.
    let mut other = owned(&server, 2, 3, "");
    server.order(&["pin", &other.id().to_string()]);
    run(&server, &mut other, pcr0);
    assert_eq!(server.store().firmware(&pcr0).unwrap().unwrap().owners, 2);
}

#[test]
fn firmware_is_approved_for_one_node() {
    let server = Server::start();
    let (node, other) = (Digest([1; 32]), Digest([2; 32]));
    let pcr0 = Digest([3; 32]);
    server.order(&["approve", "firmware", &node.to_string(), &pcr0.to_string()]);
    assert_eq!(server.store().approved_firmware(&node).unwrap(), [pcr0]);
    assert!(server.store().approved_firmware(&other).unwrap().is_empty());
}

#[test]
fn an_offence_is_exported_with_all_that_proves_it() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let mut session = node.open(&mut client, None);
    let mut fork = crate::node::Session { ..session };
    let (first, second) = (node.beat(&mut session, 0), node.beat(&mut fork, 1));
    deliver(&mut client, &session, std::slice::from_ref(&first));
    assert_eq!(refused(&mut client, &fork, std::slice::from_ref(&second)), (0, "ledger.equivocation".into()));
    let out = server.dir.path().join("offences.cbor");
    let (exit, listed) = server.try_order(&["offences", "--out", out.to_str().unwrap()]);
    assert_eq!((exit, &listed["offences"][0]["seq"]), (0, &1.into()));
    let file = std::fs::read(out).unwrap();
    let proofs: Vec<[ByteVec; 3]> = cbor::from_slice("offences", &file, 1 << 22).unwrap();
    let evidence = Envelope::decode_as(Kind::Evidence, &proofs[0][0]).unwrap();
    let key = evidence.message::<Evidence>().unwrap().session.key;
    for (bytes, beat) in proofs[0][1..].iter().zip([first, second]) {
        assert_eq!(bytes.as_slice(), beat);
        Envelope::decode_as(Kind::Beat, bytes).unwrap().verify(&key, &node.network).unwrap();
        assert_ne!(hash(Domain::Envelope, &[bytes]), session.id);
    }
}
