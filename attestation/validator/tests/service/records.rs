//! Deliveries: taken in order, once, and never twice differently.

use assay_ledger::anchor::Anchor;
use assay_ledger::protocol::{RECORDS, RECORDS_BYTES};
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_wire::{Digest, Envelope, Kind};

use crate::client::Client;
use crate::node::{Node, Session, deliver, plain_beat, receipts_of, records, refused};
use crate::server::Server;

fn opened() -> (Server, Client, Node, Session) {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let session = node.open(&mut client, None);
    (server, client, node, session)
}

fn stored(server: &Server, session: &Session) -> (u64, Digest, usize) {
    let row = server.store().session(&session.id).unwrap().unwrap();
    (row.seq, row.head, server.store().beats(row.number).unwrap().len())
}

#[test]
fn a_delivery_of_everything_is_taken_and_receipted() {
    let (server, mut client, node, mut session) = opened();
    let mut all = vec![node.anchor(&session)];
    all.extend(node.beats(&mut session, 3));
    all.push(node.anchor(&session));
    all.push(node.job(&session, 2));
    all.extend(node.beats(&mut session, 2));
    all.push(node.end(&session));
    let accepted = deliver(&mut client, &session, &all);
    assert_eq!((accepted.count, &accepted.refusal), (9, &None));
    let given: Vec<_> = receipts_of(&server, &accepted).iter().map(|r| (r.subject, r.seq, r.hash)).collect();
    let hash = |nth: usize| Envelope::decode(&all[nth]).unwrap().hash();
    assert_eq!(
        given,
        [
            (Subject::Beats, 5, session.head),
            (Subject::Anchor, 0, hash(0)),
            (Subject::Anchor, 3, hash(4)),
            (Subject::Job, 2, hash(5)),
            (Subject::End, 5, hash(8)),
        ]
    );
    assert_eq!(stored(&server, &session), (5, session.head, 5));
    let node = &server.store().overview().unwrap()[0];
    assert_eq!((node.beats, node.anchors, node.jobs, node.offences), (5, 2, 1, 0));
    assert_eq!(node.newest.as_ref().unwrap().state, "ended");
}

#[test]
fn what_is_sent_again_is_taken_again_with_the_receipts_of_then() {
    let (server, mut client, node, mut session) = opened();
    let mut all = node.beats(&mut session, 3);
    all.push(node.anchor(&session));
    let first = deliver(&mut client, &session, &all);
    let then_ms = server.now_ms();
    server.pass(60_000);
    let again = deliver(&mut client, &session, &all);
    assert_eq!(again, first);
    all.extend(node.beats(&mut session, 2));
    let more = receipts_of(&server, &deliver(&mut client, &session, &all));
    let times: Vec<_> = more.iter().map(|r: &BeatReceipt| (r.subject, r.seq, r.at_ms)).collect();
    let now_ms = server.now_ms();
    assert_eq!(
        times,
        [(Subject::Beats, 3, then_ms), (Subject::Beats, 5, now_ms), (Subject::Anchor, 3, then_ms)]
    );
    assert_eq!(stored(&server, &session).2, 5);
}

#[test]
fn a_gap_is_refused_and_what_came_before_it_stays() {
    let (server, mut client, node, mut session) = opened();
    let beats = node.beats(&mut session, 5);
    let dropped = [&beats[..2], &beats[3..]].concat();
    assert_eq!(refused(&mut client, &session, &dropped), (2, "ledger.gap".into()));
    assert_eq!(stored(&server, &session).0, 2);
    assert_eq!(deliver(&mut client, &session, &beats[2..]).count, 3);
}

#[test]
fn reordered_beats_are_refused() {
    let (_server, mut client, node, mut session) = opened();
    let mut beats = node.beats(&mut session, 3);
    beats.swap(1, 2);
    assert_eq!(refused(&mut client, &session, &beats), (1, "ledger.gap".into()));
}

#[test]
fn two_beats_of_one_place_are_an_offence_with_its_proof() {
    let (server, mut client, node, mut session) = opened();
    let before = Session { ..session };
    let first = node.beat(&mut session, 0);
    let mut fork = Session { ..before };
    let second = node.beat(&mut fork, 1);
    deliver(&mut client, &session, std::slice::from_ref(&first));
    assert_eq!(
        refused(&mut client, &session, std::slice::from_ref(&second)),
        (0, "ledger.equivocation".into())
    );
    let offences = server.store().offences().unwrap();
    assert_eq!(offences.len(), 1);
    assert_eq!((&offences[0].first, &offences[0].second), (&first, &second));
    assert_eq!((offences[0].seq, offences[0].node), (1, node.id()));
    assert_eq!(stored(&server, &session), (1, session.head, 1));
    // The proof outlives the process, and one pair of a place is enough.
    let server = server.restart();
    refused(&mut server.client(), &session, &[second]);
    assert_eq!(server.store().offences().unwrap().len(), 1);
    assert_eq!(server.store().overview().unwrap()[0].offences, 1);
}

#[test]
fn an_offence_inside_one_delivery_is_found_too() {
    let (server, mut client, node, mut session) = opened();
    let mut fork = Session { ..session };
    let beats = vec![node.beat(&mut session, 0), node.beat(&mut fork, 1)];
    assert_eq!(refused(&mut client, &session, &beats), (1, "ledger.equivocation".into()));
    assert_eq!(server.store().offences().unwrap().len(), 1);
}

#[test]
fn nobody_can_accuse_a_node_without_its_key() {
    let (server, mut client, node, mut session) = opened();
    let fork = Session { seq: 1, ..session };
    let beats = node.beats(&mut session, 1);
    deliver(&mut client, &session, &beats);
    let other_key = assay_wire::SigningKey::from_seed(&[77; 32]);
    let forged = Envelope::seal(Kind::Beat, session.id, &plain_beat(&fork, 1), &other_key, &node.network);
    assert_eq!(refused(&mut client, &session, &[forged]), (0, "ledger.signature".into()));
    assert!(server.store().offences().unwrap().is_empty());
}

#[test]
fn a_beat_with_a_bad_signature_link_time_or_session_ends_the_delivery() {
    let (server, mut client, node, mut session) = opened();
    let other = node.open(&mut client, None);
    let good = node.beats(&mut session, 2);
    let next = Session { seq: 3, mono_ms: session.mono_ms + 1, ..session };
    let seal = |session: &Session| node.seal(Kind::Beat, session, &plain_beat(session, 0));
    let mut flipped = seal(&next);
    *flipped.last_mut().unwrap() ^= 1;
    let cases = [
        (flipped, "ledger.signature"),
        (seal(&Session { head: Digest([1; 32]), ..next }), "ledger.link"),
        (seal(&Session { mono_ms: 1, ..next }), "ledger.time"),
        (seal(&Session { id: other.id, ..next }), "ledger.session"),
        (b"junk".to_vec(), "ledger.malformed"),
        (node.record.clone(), "ledger.session"),
        (node.seal(Kind::Claim, &next, &0u8), "ledger.malformed"),
        (node.seal(Kind::Beat, &next, &0u8), "ledger.malformed"),
    ];
    for (bad, code) in cases {
        let delivery = [good.clone(), vec![bad]].concat();
        assert_eq!(refused(&mut client, &session, &delivery), (2, code.into()));
    }
    assert_eq!(stored(&server, &session), (2, session.head, 2));
}

#[test]
fn an_unknown_session_is_refused_so_that_the_node_opens_one() {
    let (_server, mut client, node, mut session) = opened();
    let beats = node.beats(&mut session, 1);
    let unknown = Session { id: Digest([1; 32]), ..session };
    let refused = client.post(RECORDS, &records(&unknown, &beats)).refused();
    assert_eq!(refused, (404, "session.unknown".into()));
}

#[test]
fn an_anchor_must_be_the_tpms_over_a_head_that_is_stored() {
    let (_server, mut client, node, mut session) = opened();
    let beats = node.beats(&mut session, 2);
    let ahead = node.anchor(&session);
    assert_eq!(refused(&mut client, &session, std::slice::from_ref(&ahead)), (0, "ledger.anchor".into()));
    deliver(&mut client, &session, &beats);
    let elsewhere = node.anchor(&Session { seq: 1, ..session });
    assert_eq!(refused(&mut client, &session, &[elsewhere]), (0, "ledger.anchor".into()));
    // Attested over another time than it names.
    let mut anchor: Anchor = Envelope::decode(&ahead).unwrap().message().unwrap();
    anchor.mono_ms += 1;
    let moved = node.seal(Kind::Anchor, &session, &anchor);
    assert_eq!(refused(&mut client, &session, &[moved]), (0, "ledger.anchor".into()));
    assert_eq!(deliver(&mut client, &session, &[ahead]).count, 1);
    // Of a beat that is no longer the head.
    let behind = node.anchor(&session);
    let more = node.beats(&mut session, 1);
    assert_eq!(deliver(&mut client, &session, &[more[0].clone(), behind]).count, 2);
}

#[test]
fn an_anchor_after_a_tpm_reset_is_refused() {
    let (_server, mut client, mut node, session) = opened();
    node.tpm.reset_count += 1;
    assert_eq!(refused(&mut client, &session, &[node.anchor(&session)]), (0, "ledger.anchor".into()));
}

#[test]
fn a_record_with_a_bad_signature_is_refused() {
    let (_server, mut client, node, session) = opened();
    for mut record in [node.anchor(&session), node.job(&session, 0), node.end(&session)] {
        *record.last_mut().unwrap() ^= 1;
        assert_eq!(refused(&mut client, &session, &[record]), (0, "ledger.signature".into()));
    }
}

#[test]
fn a_job_or_an_end_beyond_the_chain_is_refused() {
    let (_server, mut client, node, mut session) = opened();
    let now = Session { ..session };
    let beats = node.beats(&mut session, 2);
    assert_eq!(refused(&mut client, &session, &[node.job(&session, 1)]), (0, "ledger.gap".into()));
    assert_eq!(refused(&mut client, &session, &[node.end(&session)]), (0, "ledger.gap".into()));
    deliver(&mut client, &session, &beats);
    assert_eq!(refused(&mut client, &session, &[node.end(&now)]), (0, "ledger.gap".into()));
}

#[test]
fn nothing_new_comes_after_the_end() {
    let (_server, mut client, node, mut session) = opened();
    let mut all = node.beats(&mut session, 2);
    all.push(node.end(&session));
    deliver(&mut client, &session, &all);
    assert_eq!(deliver(&mut client, &session, &all).count, 3);
    let late = node.anchor(&session);
    assert_eq!(refused(&mut client, &session, &[late]), (0, "session.ended".into()));
    let beats = node.beats(&mut session, 1);
    assert_eq!(refused(&mut client, &session, &beats), (0, "session.ended".into()));
}

#[test]
fn a_time_that_no_clock_reaches_does_not_reach_the_store() {
    let (server, mut client, node, mut session) = opened();
    let far = Session { seq: 1, mono_ms: u64::MAX, ..session };
    let beat = node.seal(Kind::Beat, &far, &plain_beat(&far, 0));
    assert_eq!(refused(&mut client, &session, &[beat]), (0, "ledger.malformed".into()));
    let beats = node.beats(&mut session, 1);
    assert_eq!(deliver(&mut client, &session, &beats).count, 1);
    assert_eq!(stored(&server, &session).0, 1);
}

#[test]
fn too_many_bytes_in_one_delivery_are_refused() {
    let (_server, mut client, _node, session) = opened();
    let body = records(&session, &[vec![0; RECORDS_BYTES + 1]]);
    assert_eq!(client.post(RECORDS, &body).refused(), (413, "request.too-large".into()));
}
