//! Beat receipts: made up, borrowed, or too few.

use assay_appraisal::TrustedValidator;
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_tests::{Lab, Session, Validator, accepted, fatal};
use assay_wire::{Envelope, Kind};

fn run(lab: &mut Lab) -> Session {
    let mut node = lab.paper(3);
    let mut session = lab.open(&mut node);
    lab.run(&mut node, &mut session, 10, 1_000);
    session
}

fn reachable_s(lab: &Lab, session: &Session) -> u64 {
    let appraisal = lab.appraise(&lab.export(&[session]));
    accepted(&appraisal);
    appraisal.facts.uptime.unwrap().reachable_s
}

fn of(session: &Session, at_ms: u64) -> BeatReceipt {
    BeatReceipt { session: session.id, subject: Subject::Beats, seq: session.seq, hash: session.head, at_ms }
}

#[test]
fn receipts_by_unknown_validators_are_refused() {
    let mut lab = Lab::new();
    let mut session = run(&mut lab);
    assert_eq!(reachable_s(&lab, &session), 9);
    let (stranger, receipt) = (Validator::new(66), of(&session, lab.unix_ms));
    let sign = |id, key| Envelope::seal(Kind::BeatReceipt, id, &receipt, key, &lab.trust.network);
    session.records.receipts.push(sign(stranger.id, &stranger.key).into());
    let appraisal = lab.appraise(&lab.export(&[&session]));
    assert!(fatal(&appraisal, "receipts.signature").seen.as_ref().unwrap().contains("unknown validator"));
    // Under a known name, the signature does not hold.
    *session.records.receipts.last_mut().unwrap() = sign(lab.validators[0].id, &stranger.key).into();
    fatal(&lab.appraise(&lab.export(&[&session])), "receipts.signature");
}

#[test]
fn receipts_of_another_session_are_refused() {
    let mut lab = Lab::new();
    let mut session = run(&mut lab);
    let other = run(&mut lab);
    accepted(&lab.appraise(&lab.export(&[&session])));
    session.records.receipts.push(other.records.receipts[3].clone());
    fatal(&lab.appraise(&lab.export(&[&session])), "receipts.signature");
    *session.records.receipts.last_mut().unwrap() = session.records.beats[0].clone();
    fatal(&lab.appraise(&lab.export(&[&session])), "receipts.signature");
}

#[test]
fn fewer_than_t_operators_make_nothing_reachable() {
    let mut lab = Lab::with_validators(&[1, 2, 3], 2);
    let mut session = run(&mut lab);
    assert_eq!(reachable_s(&lab, &session), 9);
    let all = session.records.receipts.clone();
    let by = |keep: &[usize]| {
        let ids: Vec<_> = keep.iter().map(|at| lab.validators[*at].id).collect();
        let kept = all.iter().filter(|bytes| ids.contains(&Envelope::decode(bytes).unwrap().kid));
        kept.cloned().collect::<Vec<_>>()
    };
    session.records.receipts = by(&[0, 2]);
    assert_eq!(reachable_s(&lab, &session), 9);
    session.records.receipts = by(&[1]);
    assert_eq!(reachable_s(&lab, &session), 0);
    // The same one over and over is still one.
    session.records.receipts = [by(&[1]), by(&[1])].concat();
    assert_eq!(reachable_s(&lab, &session), 0);
    session.records.receipts.clear();
    assert_eq!(reachable_s(&lab, &session), 0);
}

#[test]
fn two_validators_of_one_operator_count_once() {
    let mut lab = Lab::with_validators(&[1, 2, 3], 2);
    let session = run(&mut lab);
    assert_eq!(reachable_s(&lab, &session), 9);
    for validator in lab.trust.validators.values_mut() {
        validator.operator = "one".into();
    }
    assert_eq!(reachable_s(&lab, &session), 0);
}

#[test]
fn beacons_by_unknown_validators_are_refused() {
    let mut lab = Lab::with_validators(&[1, 2], 1);
    let session = run(&mut lab);
    accepted(&lab.appraise(&lab.export(&[&session])));
    let Validator { id, key } = &lab.validators[1];
    let mut claim = lab.claim(&[&session]);
    let beacon = Envelope::decode(&claim.beacons[0]).unwrap();
    let theirs = Envelope::sign(Kind::Beacon, *id, &beacon.payload, key, &lab.trust.network);
    claim.beacons.push(theirs.into());
    let file = session.seal(Kind::Claim, &claim);
    accepted(&lab.appraise(&file));
    let removed: Option<TrustedValidator> = lab.trust.validators.remove(id);
    assert!(removed.is_some());
    claim.sessions[0].receipts.retain(|bytes| Envelope::decode(bytes).unwrap().kid != *id);
    let file = session.seal(Kind::Claim, &claim);
    let appraisal = lab.appraise(&file);
    assert!(fatal(&appraisal, "claim.beacons").seen.as_ref().unwrap().contains("unknown validator"));
}

/// A chain made afterwards, and a validator that says it was there all the while.
#[test]
fn a_colluding_validator_below_t_makes_nothing_reachable() {
    let mut lab = Lab::with_validators(&[1, 2, 3], 2);
    let Some(mut node) = lab.chip() else { return };
    let mut session = lab.open(&mut node);
    lab.run(&mut node, &mut session, 10, 1_000);
    assert_eq!(reachable_s(&lab, &session), 9, "seen by all");
    lab.online = false;
    let unseen = session.records.receipts.len();
    let since = session.records.beats.len();
    lab.run(&mut node, &mut session, 10, 1_000);
    let later = lab.unix_ms + 3_600_000;
    // An hour on, the honest two see what there is; the third dates it back.
    let lie = |lab: &Lab, session: &mut Session, validator: usize, at_ms: u64| {
        for (place, beat) in session.records.beats.clone().iter().enumerate().skip(since) {
            let (seq, hash) = (place as u64 + 1, Envelope::decode(beat).unwrap().hash());
            let receipt = BeatReceipt { seq, hash, ..of(session, at_ms) };
            session.records.receipts.push(lab.sign_receipt(validator, &receipt).into());
        }
    };
    let mut colluding = session.clone();
    let now = lab.unix_ms;
    lie(&lab, &mut colluding, 2, now);
    lab.advance(3_600_000);
    assert_eq!(reachable_s(&lab, &colluding), 9, "one of three, where two are asked for");
    lie(&lab, &mut colluding, 0, later);
    lie(&lab, &mut colluding, 1, later);
    assert_eq!(reachable_s(&lab, &colluding), 9, "the second one's time counts, and it is honest");
    // t of them have it their way: the claim prints how many that takes.
    lie(&lab, &mut colluding, 1, now);
    assert_eq!(reachable_s(&lab, &colluding), 19);
    assert!(session.records.receipts.len() == unseen);
    let up = lab.appraise(&lab.export(&[&colluding])).facts.uptime.unwrap();
    assert_eq!((up.receipts_t, up.receipts_n), (2, 3));
}
