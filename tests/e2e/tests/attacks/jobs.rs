//! Job receipts: borrowed, doubled, doctored.

use assay_ledger::job::ReceiptBundle;
use assay_tests::{Lab, Node, Paper, Session, accepted, fatal, warned};
use assay_wire::{Envelope, Kind, SigningKey};

/// Two sessions of one node, each with a job.
fn scene() -> (Lab, Node<Paper>, Session, Session) {
    let mut lab = Lab::new();
    let mut node = lab.paper(3);
    let mut run = |lab: &mut Lab| {
        let mut session = lab.open(&mut node);
        lab.run(&mut node, &mut session, 5, 1_000);
        lab.job(&mut session);
        lab.end(&mut node, &mut session);
        session
    };
    let (first, second) = (run(&mut lab), run(&mut lab));
    (lab, node, first, second)
}

/// The verdict on the session's bundle after a change.
fn with(lab: &Lab, session: &Session, change: impl FnOnce(&mut ReceiptBundle)) -> assay_appraisal::Appraisal {
    let mut bundle = lab.bundle_of(session);
    change(&mut bundle);
    lab.appraise(&session.seal(Kind::Receipt, &bundle))
}

#[test]
fn a_receipt_of_another_session_is_refused() {
    let (mut lab, _, first, second) = scene();
    accepted(&with(&lab, &first, |_| {}));
    let theirs = second.records.jobs[0].to_vec();
    fatal(&with(&lab, &first, |b| b.receipt = theirs), "receipt.signature");
    let mut claimed = first.clone();
    claimed.records.jobs.push(second.records.jobs[0].clone());
    fatal(&lab.appraise(&lab.export(&[&claimed])), "receipt.signature");
    // With both sessions' evidence, the later one may export what the earlier one ran.
    let (evidence, seen) = (second.records.evidence.clone(), first.records.receipts.clone());
    let mut bundle = lab.bundle_of(&first);
    bundle.evidence.push(evidence.into());
    bundle.seen = seen;
    accepted(&lab.appraise(&second.seal(Kind::Receipt, &bundle)));
    // Another node may not.
    let mut stranger = lab.paper(4);
    let theirs = lab.open(&mut stranger);
    bundle.evidence[1] = theirs.records.evidence.clone().into();
    fatal(&lab.appraise(&theirs.seal(Kind::Receipt, &bundle)), "receipt.bundle");
}

#[test]
fn a_doctored_receipt_is_refused() {
    let (mut lab, _, first, _) = scene();
    let thief = SigningKey::from_seed(&[8; 32]);
    let payload = Envelope::decode(&first.records.jobs[0]).unwrap().payload;
    let stolen = Envelope::sign(Kind::JobReceipt, first.id, &payload, &thief, &lab.trust.network);
    fatal(&with(&lab, &first, |b| b.receipt = stolen), "receipt.signature");
    let beat = first.records.beats[0].to_vec();
    fatal(&with(&lab, &first, |b| b.receipt = beat), "receipt.form");
    // Another account of the same job by the session itself: nobody has seen that one.
    let mut again = first.clone();
    lab.online = false;
    lab.job_with(&mut again, |receipt| receipt.cpu_us *= 100);
    let second = again.records.jobs[1].to_vec();
    warned(&with(&lab, &first, |b| b.receipt = second), "receipt.seen");
}

#[test]
fn a_bundle_signed_by_another_key_is_refused() {
    let (lab, _, first, second) = scene();
    let bundle = lab.bundle_of(&first);
    accepted(&lab.appraise(&first.seal(Kind::Receipt, &bundle)));
    fatal(&lab.appraise(&second.seal(Kind::Receipt, &bundle)), "receipt.bundle");
    let thief = SigningKey::from_seed(&[8; 32]);
    let stolen = Envelope::seal(Kind::Receipt, first.id, &bundle, &thief, &lab.trust.network);
    fatal(&lab.appraise(&stolen), "receipt.bundle");
    fatal(&lab.appraise(&first.seal(Kind::Receipt, &first.evidence)), "receipt.form");
    fatal(&with(&lab, &first, |b| b.evidence.clear()), "receipt.bundle");
    fatal(&with(&lab, &first, |b| b.evidence = vec![b.evidence[0].clone(); 3]), "receipt.bundle");
}

#[test]
fn receipts_of_strangers_do_not_make_a_job_seen() {
    let (lab, _, first, second) = scene();
    warned(&with(&lab, &first, |b| b.seen.clear()), "receipt.seen");
    let strangers = Lab::with_validators(&[66], 1);
    let theirs = Envelope::decode(&first.records.receipts[0]).unwrap().message().unwrap();
    let theirs = strangers.sign_receipt(0, &theirs);
    fatal(&with(&lab, &first, |b| b.seen.push(theirs.into())), "receipt.seen");
    let others = second.records.receipts.clone();
    fatal(&with(&lab, &first, |b| b.seen = others), "receipt.seen");
}

#[test]
fn a_job_told_twice_in_a_claim_is_refused() {
    let (lab, _, mut first, _) = scene();
    let appraisal = lab.appraise(&lab.export(&[&first]));
    accepted(&appraisal);
    assert_eq!(appraisal.facts.jobs.len(), 1);
    first.records.jobs.push(first.records.jobs[0].clone());
    fatal(&lab.appraise(&lab.export(&[&first])), "claim.jobs");
}

#[test]
fn limits_that_no_cgroup_held_are_a_warning() {
    let (mut lab, mut node, ..) = scene();
    let mut session = lab.open(&mut node);
    lab.job_with(&mut session, |receipt| receipt.limits = "rlimit".into());
    warned(&lab.appraise(&lab.bundle(&session)), "receipt.limits");
    warned(&lab.appraise(&lab.export(&[&session])), "receipt.limits");
}
