//! The operator's door is not the nodes' door.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use assay_wire::Digest;

use crate::node::Node;
use crate::server::{Server, order};

#[test]
fn the_node_api_has_no_admin_path() {
    let server = Server::start();
    let node = Node::enrolled(&server, &mut server.client(), 1);
    let before = server.store().overview().unwrap();
    let names =
        ["revoke", "allow", "approve", "pin", "unpin", "import", "nodes", "admin", "offences", "replay"];
    for name in names {
        for path in
            [format!("/v1/{name}"), format!("/v1/admin/{name}"), format!("/admin/{name}"), format!("/{name}")]
        {
            let mut client = server.client();
            assert_eq!(client.get(&path).refused(), (404, "request.path".into()), "{path}");
            let mut client = server.client();
            let refused = client.post(&path, &node.id().0).refused();
            assert_eq!(refused, (404, "request.path".into()), "{path}");
        }
    }
    let mut client = server.client();
    assert_eq!(client.post("/v1/revocations", b"").refused(), (405, "request.method".into()));
    assert_eq!(server.store().overview().unwrap(), before);
    assert_eq!(server.store().newest_revocation().unwrap(), 0);
}

#[test]
fn the_socket_is_its_owners_alone_and_total() {
    let server = Server::start();
    let path = server.home().admin();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for junk in [&b""[..], b"\xff", b"{}", &[0x82, 9, 0x80], &[0x9b; 300]] {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(junk).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.windows(15).any(|w| w == b"admin.malformed"), "{junk:?}");
    }
    server.order(&["pin", &Digest([1; 32]).to_string()]);
}

#[test]
fn a_pin_counts_at_once_and_ends_at_once() {
    let server = Server::start();
    let home = server.home();
    let open = std::fs::read_to_string(home.policies().join("open.toml")).unwrap();
    std::fs::write(home.policies().join("development.toml"), open).unwrap();
    let server = server.restart();
    let mut client = server.client();
    let tpm = crate::soft_tpm::SoftTpm::new(1);
    let key = assay_wire::SigningKey::from_seed(&[1; 32]);
    let request = crate::node::request(&tpm, &key);
    let enrol = |client: &mut _| crate::node::try_enrol(client, &tpm, &request);
    let floor = (403, "enrolment.identity".to_owned());
    assert_eq!(enrol(&mut client).refused(), floor);
    let id = assay_ledger::enrolment::node_id(tpm.ek_public().as_bytes()).to_string();
    server.order(&["pin", &id, "--note", "seen in rack 4"]);
    enrol(&mut client).ok();
    assert_eq!(order(home.dir(), &["nodes"]).1["nodes"][0]["pinned"], true);
    let server = server.restart();
    let mut client = server.client();
    enrol(&mut client).ok();
    server.order(&["unpin", &id]);
    assert_eq!(enrol(&mut client).refused(), floor);
    assert_eq!(server.try_order(&["unpin", &id]).0, 1);
}

#[test]
fn exit_codes_of_orders() {
    let server = Server::start();
    assert_eq!(server.try_order(&["allow", "xyz"]).0, 2);
    assert_eq!(server.try_order(&["revoke", "everything", "00", "--reason", "r"]).0, 2);
    assert_eq!(server.try_order(&["import", "/nowhere"]).0, 3);
    assert_eq!(server.try_order(&["replay", &Digest([1; 32]).to_string()]).0, 2);
    let nowhere = std::path::Path::new("/nowhere");
    assert_eq!(order(nowhere, &["allow", &Digest([1; 32]).to_string()]).0, 3);
    assert_eq!(order(nowhere, &["firmware"]).0, 3);
}
