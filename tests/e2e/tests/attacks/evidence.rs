//! Evidence: old, borrowed, or signed by the wrong key; and ledgers that went back in time.

use assay_appraisal::{Appraisal, OpenSession, State, Verdict, open_session};
use assay_ledger::session::{Evidence, Head};
use assay_tests::{Attester, Lab, Node, Session, accepted, fatal, finding, warned};
use assay_wire::{Digest, Envelope, Kind, SigningKey, WireError};

fn open_at(
    lab: &Lab,
    session: &Session,
    challenge: Option<&Digest>,
    known: Option<&Head>,
) -> (Appraisal, Option<OpenSession>) {
    let bytes = &session.records.evidence;
    let state = State { known: known.copied(), ..lab.state.clone() };
    open_session(bytes, &lab.trust, &lab.policy, &state, lab.unix_ms, challenge).unwrap()
}

fn lab() -> (Lab, Node<assay_tests::Paper>) {
    let mut lab = Lab::new();
    let node = lab.paper(3);
    (lab, node)
}

#[test]
fn evidence_answers_one_challenge_only() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let session = lab.open(&mut node);
    let challenge = session.evidence.session.challenge;
    let (appraisal, open) = open_at(&lab, &session, Some(&challenge), None);
    accepted(&appraisal);
    assert_eq!(open.unwrap().id, session.id);
    let (appraisal, open) = open_at(&lab, &session, Some(&Digest([1; 32])), None);
    fatal(&appraisal, "session.fresh");
    assert!(open.is_none());
    // An exported file says that nobody looked.
    let exported = lab.appraise(&session.records.evidence);
    assert!(finding(&exported, "session.fresh").seen.as_ref().unwrap().contains("not checked"));
}

#[test]
fn evidence_of_another_node_is_refused() {
    let (mut lab, mut a) = lab();
    let b = lab.paper(4);
    let own = lab.open(&mut a);
    accepted(&lab.appraise(&own.records.evidence));
    // A's TPM quotes, under B's record and name.
    let both = lab.open_with(
        &mut a,
        |start| start.node = b.id,
        |evidence, _| evidence.enrolment.clone_from(&b.record),
    );
    fatal(&lab.appraise(&both.records.evidence), "session.enrolment");
    let named = assay_wire::hash(assay_wire::Domain::Envelope, &[&b.record]);
    let all = lab.open_with(
        &mut a,
        |start| (start.node, start.enrolment) = (b.id, named),
        |evidence, _| evidence.enrolment.clone_from(&b.record),
    );
    fatal(&lab.appraise(&all.records.evidence), "quote.signature");
    // A's record, and B's name.
    let name = lab.open_with(&mut a, |start| start.node = b.id, |_, _| {});
    fatal(&lab.appraise(&name.records.evidence), "session.node");
}

#[test]
fn evidence_signed_by_another_key_is_refused() {
    let (mut lab, mut node) = lab();
    let session = lab.open(&mut node);
    accepted(&lab.appraise(&session.records.evidence));
    let (thief, network) = (SigningKey::from_seed(&[8; 32]), &lab.trust.network);
    let stolen = Envelope::seal(Kind::Evidence, session.id, &session.evidence, &thief, network);
    fatal(&lab.appraise(&stolen), "evidence.signature");
    // With the thief's key inside, it is another session, which no TPM quoted over.
    let mut evidence = session.evidence.clone();
    evidence.session.key = thief.verifying_key();
    let stolen = Envelope::seal(Kind::Evidence, session.id, &evidence, &thief, network);
    fatal(&lab.appraise(&stolen), "session.id");
    let stolen = Envelope::seal(Kind::Evidence, evidence.session.id(), &evidence, &thief, network);
    fatal(&lab.appraise(&stolen), "quote.signature");
}

#[test]
fn evidence_that_holds_something_else_is_refused() {
    let (mut lab, mut node) = lab();
    let session = lab.open(&mut node);
    let beat = lab.next_beat(&session);
    fatal(&lab.appraise(&session.seal(Kind::Evidence, &beat)), "evidence.form");
    let beat = session.seal(Kind::Beat, &beat);
    let outcome = open_session(&beat, &lab.trust, &lab.policy, &lab.state, lab.unix_ms, None);
    assert!(matches!(outcome, Err(WireError::Kind { .. })));
    assert!(assay_appraisal::appraise(&beat, &lab.trust, &lab.policy, &lab.state, 0).is_err());
}

#[test]
fn every_part_of_the_body_is_under_the_quote() {
    let (mut lab, mut node) = lab();
    let mut session = lab.open(&mut node);
    accepted(&lab.appraise(&session.records.evidence));
    let parts: [fn(&mut Evidence); 6] = [
        |e| e.session.sealing_key.0[0] ^= 1,
        |e| e.session.agent.push('x'),
        |e| e.session.machine.cpus += 1,
        |e| e.session.simulated.clear(),
        |e| e.session.mono_ms += 1,
        |e| e.session.challenge.0[0] ^= 1,
    ];
    let good = session.evidence.clone();
    for change in parts {
        session.evidence = good.clone();
        change(&mut session.evidence);
        session.id = session.evidence.session.id();
        session.reseal();
        fatal(&lab.appraise(&session.records.evidence), "quote.signature");
    }
}

#[test]
fn an_upgraded_agent_needs_a_session_of_its_own() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let mut before = lab.open(&mut node);
    lab.run(&mut node, &mut before, 3, 1_000);
    // The running session says that it is another agent, or has another configuration, now.
    let parts: [fn(&mut Evidence); 2] =
        [|e| e.session.agent = "lab 2".into(), |e| e.session.config = Digest([2; 32])];
    for change in parts {
        let mut upgraded = before.clone();
        change(&mut upgraded.evidence);
        upgraded.reseal();
        fatal(&lab.appraise(&upgraded.records.evidence), "session.id");
        upgraded.id = upgraded.evidence.session.id();
        upgraded.reseal();
        fatal(&lab.appraise(&upgraded.records.evidence), "quote.signature");
    }
    // In the same boot, a session that goes on where the old agent's ended.
    node.previous = Some(before.head());
    lab.advance(20_000);
    let mut after = lab.open_with(&mut node, |start| start.agent = "lab 2".into(), |_, _| {});
    lab.run(&mut node, &mut after, 3, 1_000);
    accepted(&lab.appraise(&lab.export(&[&before, &after])));
    accepted(&open_at(&lab, &after, None, Some(&before.head())).0);
}

#[test]
fn yesterdays_ledger_is_recognised_by_the_head_that_a_validator_holds() {
    let (mut lab, mut node) = lab();
    let mut first = lab.open(&mut node);
    lab.run(&mut node, &mut first, 3, 1_000);
    let yesterday = first.head();
    lab.run(&mut node, &mut first, 3, 1_000);
    let known = first.head();
    let with = |lab: &mut Lab, node: &mut Node<_>, previous| {
        node.previous = previous;
        let session = lab.open(node);
        open_at(lab, &session, None, Some(&known)).0
    };
    accepted(&with(&mut lab, &mut node, Some(known)));
    let further = Head { seq: known.seq + 1, ..known };
    accepted(&with(&mut lab, &mut node, Some(further)));
    fatal(&with(&mut lab, &mut node, Some(yesterday)), "session.previous");
    // The same place with another history in it, and another session altogether.
    let fork = Head { head: Digest([1; 32]), ..known };
    fatal(&with(&mut lab, &mut node, Some(fork)), "session.previous");
    let elsewhere = Head { session: Digest([1; 32]), ..known };
    fatal(&with(&mut lab, &mut node, Some(elsewhere)), "session.previous");
    // A new disk is honest about it, and still worth a look.
    warned(&with(&mut lab, &mut node, None), "session.previous");
}

#[test]
fn a_verdict_is_reject_unless_every_check_was_made() {
    let (mut lab, mut node) = lab();
    let session = lab.open_with(
        &mut node,
        |_| {},
        |evidence, tpm| {
            evidence.quote = tpm.quote(&Digest([1; 32]), &[0]).0;
        },
    );
    let (appraisal, open) = open_at(&lab, &session, None, None);
    assert_eq!((appraisal.verdict, open.is_none()), (Verdict::Reject, true));
    assert_eq!(appraisal.axes, assay_appraisal::Axes::default());
}
