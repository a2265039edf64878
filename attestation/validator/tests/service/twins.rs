//! One TPM behind two nodes, one GPU in two sessions, and reboots that are only reboots.

use assay_gpu::GpuIdentity;
use assay_ledger::protocol::{RECORDS, SESSION};
use assay_wire::SigningKey;

use crate::client::Client;
use crate::node::{Node, deliver, request};
use crate::server::Server;
use crate::soft_tpm::SoftTpm;

fn twin() -> (u16, String) {
    (403, "session.twin".to_owned())
}

/// A node on another EK of the same TPM: no certificate tells.
fn twin_of(server: &Server, client: &mut Client, node: &Node, seed: u8) -> Node {
    let tpm = node.tpm.clone().with_rsa_ek(seed);
    let key = SigningKey::from_seed(&[seed; 32]);
    let request = request(&tpm, &key);
    Node::enrol(server, client, tpm, key, &request)
}

/// A machine of the same make that was switched on together with this one.
fn neighbour_of(server: &Server, client: &mut Client, node: &Node, seed: u8, lead_ms: u64) -> Node {
    let other = SoftTpm::new(seed);
    let (time_ms, clock_ms) = (node.tpm.time_ms, node.tpm.clock_ms + lead_ms);
    let tpm = SoftTpm { time_ms, clock_ms, ..other };
    let key = SigningKey::from_seed(&[seed; 32]);
    let request = request(&tpm, &key);
    Node::enrol(server, client, tpm, key, &request)
}

fn findings(server: &Server, node: &Node) -> Vec<(String, String)> {
    let found = server.store().findings_of(&node.id()).unwrap();
    found.into_iter().map(|one| (one.code, one.severity)).collect()
}

fn flagged(code: &str, severity: &str) -> Vec<(String, String)> {
    vec![(code.to_owned(), severity.to_owned())]
}

#[test]
fn two_ids_on_one_tpm_are_both_rejected() {
    let server = Server::start();
    let mut client = server.client();
    let first = Node::enrolled(&server, &mut client, 1);
    let mut session = first.open(&mut client, None);
    let second = twin_of(&server, &mut client, &first, 2);
    assert_eq!(second.try_open(&mut client, None).0.refused(), twin());
    let body = first.next(&mut session);
    assert_eq!(client.post(RECORDS, &body).refused(), twin());
    for node in [&first, &second] {
        assert_eq!(findings(&server, node), flagged("session.twin", "fatal"));
    }
    assert_eq!(server.store().session(&session.id).unwrap().unwrap().state.name(), "closed");
}

#[test]
fn a_copy_of_a_tpm_is_told_by_its_clock() {
    let server = Server::start();
    let mut client = server.client();
    let first = Node::enrolled(&server, &mut client, 1);
    first.open(&mut client, None);
    let copy = neighbour_of(&server, &mut client, &first, 2, 5);
    assert_eq!(copy.try_open(&mut client, None).0.refused(), twin());
}

#[test]
fn a_rack_switched_on_together_is_flagged_and_runs() {
    let server = Server::start();
    let mut client = server.client();
    let first = Node::enrolled(&server, &mut client, 1);
    let mut session = first.open(&mut client, None);
    let second = neighbour_of(&server, &mut client, &first, 2, 6);
    second.open(&mut client, None);
    assert_eq!(first.send(&mut client, &mut session, 1), 1);
    for node in [&first, &second] {
        assert_eq!(findings(&server, node), flagged("session.twin", "warning"));
    }
}

#[test]
fn the_tolerance_is_a_second_and_the_network_can_only_add() {
    for (apart, is_twin) in [(1000, true), (1001, false)] {
        let server = Server::start();
        let mut client = server.client();
        let first = Node::enrolled(&server, &mut client, 1);
        first.open(&mut client, None);
        let mut second = twin_of(&server, &mut client, &first, 2);
        second.tpm.time_ms -= apart;
        second.tpm.clock_ms -= apart;
        assert_eq!(second.try_open(&mut client, None).0.status == 403, is_twin, "{apart}");
    }
}

#[test]
fn other_counters_or_a_session_that_fell_silent_are_no_twins() {
    let server = Server::start();
    let mut client = server.client();
    let first = Node::enrolled(&server, &mut client, 1);
    first.open(&mut client, None);
    let mut second = twin_of(&server, &mut client, &first, 2);
    second.tpm.reset_count += 1;
    second.open(&mut client, None);
    // One TPM may be one node after it was another: the first has not been heard of for a while.
    let third = twin_of(&server, &mut client, &first, 3);
    let wait = 600_001;
    server.pass(wait);
    let tpm = SoftTpm { time_ms: third.tpm.time_ms + wait, clock_ms: third.tpm.clock_ms + wait, ..third.tpm };
    Node { tpm, ..third }.open(&mut client, None);
}

#[test]
fn an_anchor_finds_the_twin_that_slipped_in_late() {
    let server = Server::start();
    let mut client = server.client();
    let mut first = Node::enrolled(&server, &mut client, 1);
    let mut session = first.open(&mut client, None);
    // Its evidence took three seconds to arrive, so its power-on seemed another one.
    let mut second = twin_of(&server, &mut client, &first, 2);
    second.tpm.time_ms -= 3000;
    let mut late = second.open(&mut client, None);
    let beats = second.beats(&mut late, 1);
    second.tpm.time_ms += 3000;
    second.tpm.clock_ms += 3000;
    let delivered = deliver(&mut client, &late, &[beats, vec![second.anchor(&late)]].concat());
    assert_eq!(delivered.count, 2);
    for (node, session) in [(&mut second, &mut late), (&mut first, &mut session)] {
        let body = node.next(session);
        assert_eq!(client.post(RECORDS, &body).refused(), twin());
    }
}

#[test]
fn a_software_tpm_that_copies_a_hardware_tpms_counters_loses_alone() {
    let server = Server::start();
    let mut client = server.client();
    let first = Node::enrolled(&server, &mut client, 1);
    server.order(&["pin", &first.id().to_string()]);
    let mut session = first.open(&mut client, None);
    let imitator = twin_of(&server, &mut client, &first, 2);
    assert_eq!(imitator.try_open(&mut client, None).0.refused(), twin());
    assert_eq!(first.send(&mut client, &mut session, 1), 1);
    // Nor does coming first help it.
    let server = server.restart();
    let mut client = server.client();
    let other = Node::enrolled(&server, &mut client, 5);
    let early = twin_of(&server, &mut client, &other, 6);
    let mut held = early.open(&mut client, None);
    server.order(&["pin", &other.id().to_string()]);
    other.open(&mut client, None);
    let body = early.next(&mut held);
    assert_eq!(client.post(RECORDS, &body).refused(), twin());
}

#[test]
fn a_nodes_own_sessions_are_not_each_others_twins() {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let first = node.open(&mut client, None);
    let second = node.open(&mut client, Some(first.as_head()));
    let state = |id| server.store().session(id).unwrap().unwrap().state.name();
    assert_eq!((state(&first.id), state(&second.id)), ("superseded", "open"));
    assert!(findings(&server, &node).is_empty());
}

#[test]
fn a_power_cut_is_a_reboot() {
    let server = Server::start();
    let mut client = server.client();
    let mut node = Node::enrolled(&server, &mut client, 1);
    let mut session = node.open(&mut client, None);
    node.send(&mut client, &mut session, 3);
    // Unclean: the clock falls back to when it was last saved, and `safe` is clear.
    node.tpm.reboot();
    (node.tpm.safe, node.tpm.clock_ms) = (false, node.tpm.clock_ms - 4000);
    server.pass(60_000);
    node.open(&mut client, Some(session.as_head()));
    assert!(findings(&server, &node).is_empty());
}

#[test]
fn a_resume_and_counters_that_fell_are_information() {
    let server = Server::start();
    let mut client = server.client();
    let mut node = Node::enrolled(&server, &mut client, 1);
    node.tpm.restart_count = 3;
    let first = node.open(&mut client, None);
    node.tpm.restart_count = 4;
    let second = node.open(&mut client, Some(first.as_head()));
    assert!(findings(&server, &node).is_empty());
    node.tpm.restart_count = 2;
    let third = node.open(&mut client, Some(second.as_head()));
    node.tpm.reset_count -= 1;
    node.open(&mut client, Some(third.as_head()));
    assert_eq!(findings(&server, &node), flagged("session.counters", "info"));
}

fn gpu(simulated: bool) -> GpuIdentity {
    GpuIdentity {
        index: 0,
        uuid: "GPU-11111111-2222-3333-4444-555555555555".into(),
        name: "g".into(),
        memory_mib: 1,
        pci_bus_id: "00000000:01:00.0".into(),
        driver: "1".into(),
        simulated,
        vbios: None,
        serial: None,
        pdi: None,
        power_limit_mw: None,
        board_part_number: None,
        inforom: None,
    }
}

#[test]
fn a_gpu_in_two_live_sessions_is_flagged_on_both() {
    for (simulated, expected) in [(true, vec![]), (false, flagged("session.gpu-twin", "warning"))] {
        let server = Server::start();
        let mut client = server.client();
        let nodes = [1, 2].map(|seed| Node::enrolled(&server, &mut client, seed));
        for node in &nodes {
            let mut start = node.start(node.challenge(&mut client), None);
            start.gpus = vec![gpu(simulated)];
            client.post(SESSION, &node.evidence(start)).ok();
        }
        for node in &nodes {
            assert_eq!(findings(&server, node), expected, "simulated: {simulated}");
        }
    }
}

#[test]
fn what_was_found_shows_in_nodes() {
    let server = Server::start();
    let mut client = server.client();
    let first = Node::enrolled(&server, &mut client, 1);
    first.open(&mut client, None);
    twin_of(&server, &mut client, &first, 2).try_open(&mut client, None).0.refused();
    let (_, listed) = server.try_order(&["nodes"]);
    for node in listed["nodes"].as_array().unwrap() {
        assert_eq!(
            (&node["findings"][0]["code"], &node["findings"][0]["severity"]),
            (&"session.twin".into(), &"fatal".into())
        );
        assert_eq!(node["records"].as_array().unwrap().len(), 1);
    }
}
