//! What was taken back stays back, says so at once, and reaches other validators.

use assay_ledger::enrolment::EnrolmentRecord;
use assay_ledger::protocol::{ENROL, RECORDS, REVOCATIONS};
use assay_ledger::revocation::{Revocation, RevocationList, RevokedKind};
use assay_wire::{Digest, Envelope, Kind, SigningKey, cbor};

use crate::node::{Node, request, try_enrol};
use crate::server::{Server, order};

fn revoked() -> (u16, String) {
    (403, "enrolment.revoked".to_owned())
}

fn list(server: &Server) -> RevocationList {
    let bytes = server.client().get(REVOCATIONS).ok();
    let trust = server.trust();
    let envelope = Envelope::decode_as(Kind::Revocations, &bytes).unwrap();
    envelope.verify(&trust.validators[&envelope.kid].key, &trust.network).unwrap();
    envelope.message().unwrap()
}

#[test]
fn a_revoked_nodes_session_is_refused_at_its_next_record() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let other = Node::enrolled(&server, &mut client, 2);
    let (mut session, mut others) = (node.open(&mut client, None), other.open(&mut client, None));
    node.send(&mut client, &mut session, 2);
    assert_eq!(list(&server), RevocationList::default());
    server.order(&["revoke", "node", &node.id().to_string(), "--reason", "sold"]);

    let body = node.next(&mut session);
    assert_eq!(client.post(RECORDS, &body).refused(), revoked());
    assert_eq!(node.try_open(&mut client, None).0.refused(), revoked());
    let enrol = cbor::to_vec(&request(&node.tpm, &node.key));
    assert_eq!(client.post(ENROL, &enrol).refused(), revoked());
    assert_eq!(other.send(&mut client, &mut others, 1), 1);
    let listed = list(&server);
    assert_eq!((listed.number, listed.entries[0].digest), (1, node.id()));
    assert_eq!((listed.entries[0].kind, listed.entries[0].reason.as_str()), (RevokedKind::Node, "sold"));
    // And after a restart, from the store.
    let server = server.restart();
    assert_eq!(server.client().post(ENROL, &enrol).refused(), revoked());
    assert_eq!(list(&server), listed);
}

#[test]
fn an_operator_can_allow_a_revoked_node_once() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let id = node.id().to_string();
    server.order(&["allow", &id]);
    server.order(&["revoke", "node", &id, "--reason", "x"]);
    let enrol = request(&node.tpm, &node.key);
    assert_eq!(
        try_enrol(&mut client, &node.tpm, &enrol).refused(),
        revoked(),
        "an earlier permission is void"
    );
    server.order(&["allow", &id]);
    server.pass(10_000_000);
    let again = Node::enrolled(&server, &mut client, 1);
    again.open(&mut client, None);
    // The list still has its entry, and the old record is still no good.
    assert_eq!(list(&server).number, 1);
    assert_eq!(node.try_open(&mut client, None).0.refused(), revoked());
    // A renewal needs no second permission; a second revocation needs one again.
    server.pass(1);
    Node::enrolled(&server, &mut client, 1);
    server.pass(1_000);
    server.order(&["revoke", "node", &id, "--reason", "again"]);
    assert_eq!(try_enrol(&mut client, &node.tpm, &enrol).refused(), revoked());
    assert_eq!(list(&server).number, 2);
}

#[test]
fn one_record_can_be_revoked_and_the_node_enrol_again() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let mut session = node.open(&mut client, None);
    server.order(&["revoke", "record", &node.record_hash().to_string(), "--reason", "leaked"]);
    let body = node.next(&mut session);
    assert_eq!(client.post(RECORDS, &body).refused(), revoked());
    server.pass(1);
    let again = Node::enrolled(&server, &mut client, 1);
    again.open(&mut client, None);
}

#[test]
fn the_list_only_grows_and_its_bytes_are_the_same_until_it_does() {
    let server = Server::start();
    let get = || server.client().get(REVOCATIONS).ok();
    let mut last = (get(), 0);
    for nth in 1..4u8 {
        server.order(&["revoke", "record", &Digest([nth; 32]).to_string(), "--reason", "r"]);
        server.pass(1);
        let (bytes, listed) = (get(), list(&server));
        assert_eq!((listed.number, listed.entries.len()), (last.1 + 1, usize::from(nth)));
        assert_ne!(bytes, last.0);
        assert_eq!(bytes, get());
        last = (bytes, listed.number);
    }
    let out = server.dir.path().join("list.cbor");
    server.order(&["revocations", "--out", out.to_str().unwrap()]);
    assert_eq!(std::fs::read(out).unwrap(), last.0, "the same file from the command");
}

#[test]
fn reasons_are_one_plain_line() {
    let server = Server::start();
    let digest = Digest([1; 32]).to_string();
    for reason in ["", "two\nlines", "\u{202e}", &"x".repeat(257)] {
        let (exit, done) = server.try_order(&["revoke", "node", &digest, "--reason", reason]);
        assert_eq!((exit, &done["code"]), (1, &"admin.text".into()), "{reason:?}");
    }
    assert_eq!(list(&server).number, 0);
}

/// A second validator that the first one's trust file names.
struct Neighbour {
    key: SigningKey,
}

impl Neighbour {
    fn trusted_by(server: Server) -> (Server, Self) {
        let key = SigningKey::from_seed(&[0x55; 32]);
        let path = server.home().trust();
        let public = hex::encode(key.verifying_key().0);
        let server = server.restart_after(|| {
            let text = std::fs::read_to_string(&path).unwrap();
            let section = format!("\n[[validator]]\nname = \"n\"\noperator = \"o\"\nkey = \"{public}\"\n");
            std::fs::write(&path, text + &section).unwrap();
        });
        (server, Self { key })
    }

    fn list(&self, server: &Server, entries: &[Revocation], number: u64) -> Vec<u8> {
        let list = RevocationList { number, issued_ms: 5, entries: entries.to_vec() };
        let (id, network) = (self.key.verifying_key().validator_id(), server.trust().network);
        Envelope::seal(Kind::Revocations, id, &list, &self.key, &network)
    }
}

fn entry(kind: RevokedKind, digest: Digest, at_ms: u64) -> Revocation {
    Revocation { kind, digest, at_ms, reason: "theirs".into() }
}

fn import(server: &Server, bytes: &[u8]) -> (i32, String) {
    let file = server.dir.path().join("import.cbor");
    std::fs::write(&file, bytes).unwrap();
    let (exit, done) = server.try_order(&["import", file.to_str().unwrap()]);
    (exit, done["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn another_validators_list_is_kept_by_number_and_counts() {
    let (server, neighbour) = Neighbour::trusted_by(Server::start());
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let mut session = node.open(&mut client, None);
    let at_ms = server.now_ms();
    let (one, two) =
        (entry(RevokedKind::Node, Digest([9; 32]), 1), entry(RevokedKind::Node, node.id(), at_ms));
    let good = |code: &str| (0, code.to_owned());
    let bad = |code: &str| (1, code.to_owned());

    assert_eq!(
        import(&server, &neighbour.list(&server, std::slice::from_ref(&one), 1)),
        good("import.revocations")
    );
    assert_eq!(
        import(&server, &neighbour.list(&server, std::slice::from_ref(&one), 1)),
        good("import.known")
    );
    let other = entry(RevokedKind::Node, Digest([8; 32]), 1);
    assert_eq!(import(&server, &neighbour.list(&server, std::slice::from_ref(&other), 1)), bad("import.old"));
    let rewritten = neighbour.list(&server, &[other.clone(), two.clone()], 2);
    assert_eq!(import(&server, &rewritten), bad("import.rewritten"));
    assert_eq!(import(&server, &neighbour.list(&server, &[], 0)), bad("import.old"));
    let endless = entry(RevokedKind::Node, Digest([8; 32]), u64::MAX);
    assert_eq!(import(&server, &neighbour.list(&server, &[one.clone(), endless], 2)), bad("import.form"));
    assert_eq!(node.send(&mut client, &mut session, 1), 1);

    assert_eq!(import(&server, &neighbour.list(&server, &[one, two], 2)), good("import.revocations"));
    let body = node.next(&mut session);
    assert_eq!(client.post(RECORDS, &body).refused(), revoked());
    assert_eq!(node.try_open(&mut client, None).0.refused(), revoked());
    assert_eq!(list(&server).number, 0, "our own list is ours");
}

/// The node with a record that the neighbour issued at this time.
fn re_issued(neighbour: &Neighbour, node: &Node, issued_ms: u64) -> Node {
    let record: EnrolmentRecord = Envelope::decode(&node.record).unwrap().message().unwrap();
    let record = EnrolmentRecord { issued_ms, ..record };
    let id = neighbour.key.verifying_key().validator_id();
    let record = Envelope::seal(Kind::Enrolment, id, &record, &neighbour.key, &node.network);
    let key = SigningKey::from_seed(&[1; 32]);
    Node { tpm: node.tpm.clone(), key, network: node.network.clone(), record }
}

#[test]
fn only_whoever_revoked_a_node_can_allow_it_again() {
    let (server, neighbour) = Neighbour::trusted_by(Server::start());
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let at_ms = server.now_ms();
    let (before, after) = (re_issued(&neighbour, &node, at_ms), re_issued(&neighbour, &node, at_ms + 1));
    let mut session = after.open(&mut client, None);
    let entry = entry(RevokedKind::Node, node.id(), at_ms);
    assert_eq!(import(&server, &neighbour.list(&server, &[entry], 1)).0, 0);
    assert_eq!(after.send(&mut client, &mut session, 1), 1, "its record is later than its entry");
    assert_eq!(before.try_open(&mut client, None).0.refused(), revoked());
    assert_eq!(node.try_open(&mut client, None).0.refused(), revoked());
    after.open(&mut client, Some(session.as_head()));
    // Our own new record changes nothing about the neighbour's entry.
    server.pass(10);
    let enrol = request(&node.tpm, &node.key);
    assert_eq!(try_enrol(&mut client, &node.tpm, &enrol).refused(), revoked());
    let (_, listed) = server.try_order(&["nodes"]);
    assert_eq!(
        listed["nodes"][0]["records"].as_array().unwrap().len(),
        2,
        "k of n: one record per validator"
    );
}

#[test]
fn only_a_trusted_validators_signature_imports_anything() {
    let (server, neighbour) = Neighbour::trusted_by(Server::start());
    let stranger = Neighbour { key: SigningKey::from_seed(&[0x56; 32]) };
    let entries = [entry(RevokedKind::Node, Digest([9; 32]), 1)];
    assert_eq!(import(&server, &stranger.list(&server, &entries, 1)), (1, "import.validator".into()));
    let mut broken = neighbour.list(&server, &entries, 1);
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(import(&server, &broken), (1, "import.signature".into()));
    assert_eq!(import(&server, b"junk"), (1, "import.form".into()));
    let node = Node::enrolled(&server, &mut server.client(), 1);
    assert_eq!(import(&server, &node.record), (1, "import.kind".into()));
}

#[test]
fn orders_work_on_the_directory_when_nothing_serves_it() {
    let server = Server::start();
    let node = Node::enrolled(&server, &mut server.client(), 1);
    let dir = server.home().dir().to_owned();
    let id = node.id().to_string();
    let server = server.restart_after(|| {
        assert!(!dir.join("admin.sock").exists());
        assert_eq!(order(&dir, &["revoke", "node", &id, "--reason", "alone"]).0, 0);
        assert_eq!(order(&dir, &["nodes"]).1["nodes"][0]["revoked"], true);
    });
    assert_eq!(node.try_open(&mut server.client(), None).0.refused(), revoked());
    assert_eq!(list(&server).number, 1);
}
