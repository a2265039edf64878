use std::collections::BTreeMap;

use assay_ledger::beacon::BeaconName;
use assay_ledger::receipt::Subject;
use assay_ledger::session::Head;
use assay_wire::{Digest, Domain, Kind, hash};

use super::testing::{Maker, key, network, validator};
use super::*;

fn fresh() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("ledger.db")).unwrap();
    (dir, ledger)
}

fn envelopes(delivery: Option<Delivery>) -> Vec<Vec<u8>> {
    delivery.map(|d| d.records.into_iter().map(|record| record.bytes).collect()).unwrap_or_default()
}

fn ords(delivery: &Option<Delivery>) -> Vec<i64> {
    delivery.iter().flat_map(|d| d.records.iter().map(|record| record.ord)).collect()
}

#[test]
fn what_was_added_is_there_after_opening_again() {
    let (dir, mut ledger) = fresh();
    let mut session = Maker::new(1);
    session.open_in(&mut ledger, false);
    let beats = session.beats_in(&mut ledger, 3);
    ledger.add_beacon(&Digest([5; 32]), 9, b"beacon").unwrap();
    ledger.set_enrolment(&validator(1), b"record").unwrap();
    drop(ledger);
    let ledger = Ledger::open(&dir.path().join("ledger.db")).unwrap();
    let head = hash(Domain::Envelope, &[&beats[2]]);
    assert_eq!(ledger.head(&session.id).unwrap(), Head { session: session.id, seq: 3, head });
    assert_eq!(ledger.beacon(&Digest([5; 32]).into()).unwrap(), Some((9, b"beacon".to_vec())));
    assert_eq!(ledger.newest_beacon().unwrap(), Some(Digest([5; 32])));
    assert_eq!(ledger.enrolment(&validator(1)).unwrap().as_deref(), Some(&b"record"[..]));
    assert_eq!(ledger.enrolment(&validator(2)).unwrap(), None);
    let row = ledger.session(&session.id).unwrap().unwrap();
    assert_eq!((row.beats, row.anchors, row.jobs, row.receipts), (3, 0, 0, 0));
    assert!(!row.accepted && !row.ended && !row.local);
}

#[test]
fn a_beacon_is_found_by_the_first_half_of_its_hash() {
    let (_dir, mut ledger) = fresh();
    let name = [5; 16];
    let hash = |name: [u8; 16], rest| Digest([name, [rest; 16]].concat().try_into().unwrap());
    let (mut below, mut above) = (name, name);
    (below[15], above[15]) = (4, 6);
    for (round, rest) in [(1, 0), (2, 9), (3, 255)] {
        let (_dir, mut ledger) = fresh();
        ledger.add_beacon(&hash(name, rest), round, b"this").unwrap();
        assert_eq!(ledger.beacon(&BeaconName(name)).unwrap(), Some((round, b"this".to_vec())));
    }
    ledger.add_beacon(&hash(below, 255), 4, b"below").unwrap();
    ledger.add_beacon(&hash(above, 0), 5, b"above").unwrap();
    assert_eq!(ledger.beacon(&BeaconName(name)).unwrap(), None);
}

#[test]
fn evidence_goes_alone_and_records_go_in_order_by_session() {
    let (_dir, mut ledger) = fresh();
    let (mut a, mut b) = (Maker::new(1), Maker::new(2));
    let evidence_a = a.open_in(&mut ledger, false);
    let beats_a = a.beats_in(&mut ledger, 2);
    let evidence_b = b.open_in(&mut ledger, false);
    let beats_b = b.beats_in(&mut ledger, 1);
    let v = validator(7);
    assert_eq!(ledger.unsent(&v).unwrap(), 5);
    for expected in [vec![evidence_a], beats_a, vec![evidence_b], beats_b] {
        let delivery = ledger.outbox(&v).unwrap();
        assert_eq!(delivery, ledger.outbox(&v).unwrap(), "asking changes nothing");
        let last = *ords(&delivery).last().unwrap();
        assert_eq!(envelopes(delivery), expected);
        ledger.acknowledge(&v, true, last, &[]).unwrap();
    }
    assert_eq!(ledger.outbox(&v).unwrap(), None);
    assert_eq!(ledger.unsent(&v).unwrap(), 0);
    // Another validator is at its own place.
    assert_eq!(ledger.unsent(&validator(8)).unwrap(), 5);
}

#[test]
fn a_part_of_a_delivery_moves_the_cursor_that_far_and_never_back() {
    let (_dir, mut ledger) = fresh();
    let mut session = Maker::new(1);
    session.open_in(&mut ledger, false);
    let beats = session.beats_in(&mut ledger, 3);
    let v = validator(7);
    let first = ords(&ledger.outbox(&v).unwrap())[0];
    ledger.acknowledge(&v, true, first, &[]).unwrap();
    let second = ords(&ledger.outbox(&v).unwrap())[1];
    ledger.acknowledge(&v, true, second, &[]).unwrap();
    assert_eq!(envelopes(ledger.outbox(&v).unwrap()), beats[2..]);
    ledger.acknowledge(&v, true, first, &[]).unwrap();
    assert_eq!(envelopes(ledger.outbox(&v).unwrap()), beats[2..]);
}

#[test]
fn one_delivery_is_bounded() {
    let (_dir, mut ledger) = fresh();
    let mut session = Maker::new(1);
    session.open_in(&mut ledger, false);
    let v = validator(7);
    let evidence = ords(&ledger.outbox(&v).unwrap())[0];
    ledger.acknowledge(&v, true, evidence, &[]).unwrap();
    let large = vec![0; assay_ledger::protocol::RECORDS_BYTES / 2 + 1];
    for _ in 0..3 {
        ledger.add_record(&session.id, Kind::Anchor, 0, &large).unwrap();
    }
    assert_eq!(ords(&ledger.outbox(&v).unwrap()).len(), 1);
    session.beats_in(&mut ledger, 600);
    let last = *ords(&ledger.outbox(&v).unwrap()).last().unwrap() + 2;
    ledger.acknowledge(&v, true, last, &[]).unwrap();
    assert_eq!(ords(&ledger.outbox(&v).unwrap()).len(), assay_ledger::protocol::RECORDS_COUNT);
}

#[test]
fn what_no_delivery_could_carry_is_not_stored() {
    let (_dir, mut ledger) = fresh();
    let session = Maker::new(1);
    session.open_in(&mut ledger, false);
    let most = vec![0; assay_ledger::protocol::RECORDS_BYTES];
    ledger.add_record(&session.id, Kind::JobReceipt, 0, &most).unwrap();
    let long = [most, vec![0]].concat();
    let refused = ledger.add_record(&session.id, Kind::JobReceipt, 1, &long).unwrap_err();
    assert!(matches!(refused, LedgerError::TooLong { kind: "job-receipt", .. }), "{refused}");
    assert_eq!(ledger.jobs().unwrap().len(), 1);
}

#[test]
fn refused_and_local_sessions_are_not_delivered() {
    let (_dir, mut ledger) = fresh();
    let (mut local, mut refused, mut good) = (Maker::new(1), Maker::new(2), Maker::new(3));
    for (session, is_local) in [(&mut local, true), (&mut refused, false), (&mut good, false)] {
        session.open_in(&mut ledger, is_local);
        session.beats_in(&mut ledger, 1);
    }
    let v = validator(7);
    assert_eq!(ledger.outbox(&v).unwrap().unwrap().session, refused.id);
    ledger.refuse_session(&v, &refused.id, "session.unknown", "no such").unwrap();
    assert_eq!(ledger.outbox(&v).unwrap().unwrap().session, good.id);
    assert_eq!(ledger.unsent(&v).unwrap(), 2);
    assert_eq!(ledger.unsent(&validator(8)).unwrap(), 4);
    let why = ledger.refusal(&v, &refused.id).unwrap().unwrap();
    assert_eq!(why, ("session.unknown".to_owned(), "no such".to_owned()));
    assert_eq!(ledger.refusal(&v, &good.id).unwrap(), None);
}

#[test]
fn the_next_session_continues_the_newest_that_the_first_validator_took() {
    let (_dir, mut ledger) = fresh();
    assert_eq!(ledger.previous().unwrap(), None);
    let (mut a, b) = (Maker::new(1), Maker::new(2));
    let evidence = a.open_in(&mut ledger, false);
    let beats = a.beats_in(&mut ledger, 2);
    assert_eq!(ledger.previous().unwrap(), None);
    let receipt = a.receipt(7, Subject::Session, 0, &evidence);
    ledger.acknowledge(&validator(8), false, 1, std::slice::from_ref(&receipt)).unwrap();
    assert_eq!(ledger.previous().unwrap(), None, "another validator's word opens nothing");
    ledger.acknowledge(&validator(7), true, 1, &[receipt]).unwrap();
    let head = Head { session: a.id, seq: 2, head: hash(Domain::Envelope, &[&beats[1]]) };
    assert_eq!(ledger.previous().unwrap(), Some(head));
    b.open_in(&mut ledger, true);
    assert_eq!(ledger.previous().unwrap(), Some(head));
    assert_eq!(ledger.last_receipt_ms().unwrap(), Some(77));
}

#[test]
fn a_second_beat_in_one_place_is_refused_by_the_ledger_itself() {
    let (_dir, mut ledger) = fresh();
    let mut session = Maker::new(1);
    session.open_in(&mut ledger, false);
    session.beats_in(&mut ledger, 1);
    let twice = ledger.add_record(&session.id, Kind::Beat, 1, b"another");
    assert!(matches!(twice, Err(LedgerError::Write { what: "a record", .. })));
    assert_eq!(ledger.head(&session.id).unwrap().seq, 1);
}

#[test]
fn a_full_disk_is_an_error_that_changes_nothing_and_passes() {
    let (_dir, mut ledger) = fresh();
    let mut session = Maker::new(1);
    session.open_in(&mut ledger, false);
    ledger.limit_pages(0);
    let large = vec![0; 1 << 16];
    let full = ledger.add_record(&session.id, Kind::Anchor, 0, &large);
    assert!(matches!(full, Err(LedgerError::Full)));
    assert_eq!(ledger.session(&session.id).unwrap().unwrap().anchors, 0);
    ledger.limit_pages(1 << 20);
    ledger.add_record(&session.id, Kind::Anchor, 0, &large).unwrap();
    session.beats_in(&mut ledger, 1);
}

#[test]
fn a_reader_sees_what_a_writer_has_committed() {
    let (dir, mut ledger) = fresh();
    let mut session = Maker::new(1);
    session.open_in(&mut ledger, false);
    let mut reader = Ledger::open_read_only(&dir.path().join("ledger.db")).unwrap();
    assert_eq!(reader.sessions().unwrap().len(), 1);
    session.beats_in(&mut ledger, 2);
    assert_eq!(reader.session(&session.id).unwrap().unwrap().beats, 2);
    let written = reader.add_beacon(&Digest([0; 32]), 1, b"x");
    assert!(matches!(written, Err(LedgerError::Write { .. })));
}

#[test]
fn what_is_no_ledger_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    assert!(matches!(Ledger::open_read_only(&path("none")), Err(LedgerError::Open { .. })));
    std::fs::write(path("text"), "certainly no database, and longer than its header of 100 bytes".repeat(4))
        .unwrap();
    assert!(matches!(Ledger::open(&path("text")), Err(LedgerError::Open { .. })));
    Connection::open(path("other")).unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
    assert!(matches!(Ledger::open(&path("other")), Err(LedgerError::Schema { found: 0, .. })));
    drop(Ledger::open(&path("newer")).unwrap());
    let db = Connection::open(path("newer")).unwrap();
    db.execute_batch("UPDATE meta SET value = 99").unwrap();
    assert!(matches!(Ledger::open(&path("newer")), Err(LedgerError::Schema { found: 99, expected: 1, .. })));
    std::os::unix::fs::symlink(path("newer"), path("link")).unwrap();
    assert!(Ledger::open(&path("link")).is_err());
}

/// A ledger with one good session, ended, and receipts of validator 7.
fn complete() -> (tempfile::TempDir, Ledger, Maker) {
    let (dir, mut ledger) = fresh();
    let mut session = Maker::new(1);
    let evidence = session.open_in(&mut ledger, false);
    let beats = session.beats_in(&mut ledger, 5);
    session.end_in(&mut ledger);
    let receipts = [
        session.receipt(7, Subject::Session, 0, &evidence),
        session.receipt(7, Subject::Beats, 5, &beats[4]),
    ];
    ledger.acknowledge(&validator(7), true, 6, &receipts).unwrap();
    (dir, ledger, session)
}

fn judged(ledger: &Ledger) -> VerifyReport {
    let keys = BTreeMap::from([(validator(7), key(7).verifying_key())]);
    ledger.verify(&network(), &keys).unwrap()
}

#[test]
fn a_good_ledger_verifies() {
    let (_dir, ledger, _) = complete();
    let report = judged(&ledger);
    assert_eq!(report.faults, []);
    assert!(report.holds());
    assert_eq!((report.sessions, report.beats, report.receipts), (1, 5, 2));
    let strangers = ledger.verify(&network(), &BTreeMap::new()).unwrap();
    assert_eq!((strangers.receipts, strangers.unknown_receipts), (0, 2));
}

#[test]
fn every_way_to_change_a_ledger_is_found() {
    let changes = [
        ("DELETE FROM records WHERE kind = 'beat' AND seq = 3", "beat 4 where 3 was due"),
        ("DELETE FROM records WHERE kind = 'beat' AND seq = 5", "names another head"),
        ("DELETE FROM records WHERE kind = 'evidence'", "0 evidence records"),
        ("UPDATE records SET bytes = x'd2' WHERE kind = 'beat' AND seq = 2", "does not have its hash"),
        ("UPDATE records SET ord = 100 - ord", "beat 5 where 1 was due"),
        ("UPDATE records SET kind = 'anchor' WHERE seq = 2", "of another kind"),
        ("UPDATE receipts SET bytes = x'd2'", "receipt"),
        (
            "UPDATE receipts SET bytes = (SELECT bytes FROM records WHERE kind = 'beat')",
            "expected beat-receipt",
        ),
    ];
    for (change, found) in changes {
        let (_dir, ledger, _) = complete();
        ledger.db.execute_batch(change).unwrap();
        let report = judged(&ledger);
        assert!(report.faults.iter().any(|fault| fault.text.contains(found)), "{change}: {report:?}");
    }
}

#[test]
fn receipts_for_what_is_not_here_are_found() {
    let (_dir, mut ledger, session) = complete();
    let other = session.receipt(7, Subject::Beats, 6, b"a beat of another history");
    ledger.acknowledge(&validator(7), true, 6, &[other]).unwrap();
    assert!(judged(&ledger).faults[0].text.contains("not here"));
    assert!(!judged(&ledger).holds());
}

#[test]
fn beats_of_a_long_session_come_up_to_a_budget() {
    let (_dir, ledger, session) = complete();
    let all = ledger.beats(&session.id, usize::MAX).unwrap();
    assert_eq!(all.len(), 5);
    let two = all[0].bytes.len() + all[1].bytes.len();
    assert_eq!(ledger.beats(&session.id, two).unwrap(), all[..2]);
    assert_eq!(ledger.beats(&session.id, two - 1).unwrap(), all[..1]);
    assert_eq!(ledger.receipts(&session.id, 4, None).unwrap().len(), 1);
    assert_eq!(ledger.receipts(&session.id, 5, Some(&all[4].hash)).unwrap().len(), 1);
}
