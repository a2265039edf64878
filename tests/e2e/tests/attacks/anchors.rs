//! Anchors: the TPM's word on something else, or at another time than the beacon asked for it.

use assay_ledger::anchor::{Anchor, AnchorPoint, extra_data};
use assay_ledger::session::SESSION_PCRS;
use assay_tests::{Attester, Chip, Lab, Node, Session, accepted, fatal, warned};
use assay_wire::{Digest, Domain, Envelope, Kind, SigningKey};

/// A chip and a session of it, at a slot that asks for an anchor; `None` after a SKIPPED line.
fn scene() -> Option<(Lab, Node<Chip>, Session)> {
    let mut lab = Lab::new();
    let mut node = lab.chip()?;
    let mut session = lab.open(&mut node);
    lab.advance_to_slot(&node.id, true);
    lab.beat(&mut session);
    Some((lab, node, session))
}

/// The verdict on the session with one more anchor, changed twice.
fn with(
    lab: &mut Lab,
    node: &mut Node<Chip>,
    session: &Session,
    before_quote: impl FnOnce(&mut AnchorPoint),
    before_signature: impl FnOnce(&mut Anchor, &mut Chip),
) -> assay_appraisal::Appraisal {
    let mut session = session.clone();
    lab.anchor_with(node, &mut session, before_quote, before_signature);
    lab.appraise(&lab.export(&[&session]))
}

fn over(session: &Session, anchor: &Anchor, domain: Domain) -> Digest {
    extra_data(domain, &session.id, &anchor.point())
}

#[test]
fn an_anchor_over_another_head_beacon_or_session_is_refused() {
    let Some((mut lab, mut node, session)) = scene() else { return };
    accepted(&with(&mut lab, &mut node, &session, |_| {}, |_, _| {}));
    let head = Digest([1; 32]);
    fatal(&with(&mut lab, &mut node, &session, |p| p.head = head, |_, _| {}), "anchor.attested");
    fatal(&with(&mut lab, &mut node, &session, |p| p.seq = 0, |_, _| {}), "anchor.attested");
    fatal(&with(&mut lab, &mut node, &session, |p| p.seq = 9, |_, _| {}), "anchor.attested");
    fatal(&with(&mut lab, &mut node, &session, |p| p.beacon = head, |_, _| {}), "chain.beacon");
    // A beat would find the beacon by this name; an anchor means one hash.
    let alike = |p: &mut AnchorPoint| p.beacon.0[31] ^= 1;
    fatal(&with(&mut lab, &mut node, &session, alike, |_, _| {}), "chain.beacon");
    // Changed after the TPM has spoken.
    let now = lab.beacon();
    let other = lab.beacons.keys().copied().find(|beacon| *beacon != now).unwrap();
    let after: [&dyn Fn(&mut Anchor); 3] =
        [&|a| a.mono_ms += 1, &|a| a.beacon = other, &|a| (a.seq, a.head) = (0, session.id)];
    for change in after {
        let changed = with(&mut lab, &mut node, &session, |_| {}, |a, _| change(a));
        fatal(&changed, "anchor.attested");
    }
}

#[test]
fn an_anchor_of_another_session_is_refused() {
    let Some((mut lab, mut node, mut session)) = scene() else { return };
    let mut other = lab.open(&mut node);
    lab.anchor(&mut node, &mut other);
    session.records.anchors.push(other.records.anchors[0].clone());
    fatal(&lab.appraise(&lab.export(&[&session])), "anchor.attested");
    // The same statements under this session's signature: they are over the other one.
    let stolen: Anchor = Envelope::decode(&other.records.anchors[0]).unwrap().message().unwrap();
    let stolen = Anchor { seq: session.seq, head: session.head, ..stolen };
    session.records.anchors = vec![session.seal(Kind::Anchor, &stolen).into()];
    fatal(&lab.appraise(&lab.export(&[&session])), "anchor.attested");
}

#[test]
fn an_anchor_signed_by_another_key_is_refused() {
    let Some((mut lab, mut node, mut session)) = scene() else { return };
    lab.anchor(&mut node, &mut session);
    accepted(&lab.appraise(&lab.export(&[&session])));
    let payload = Envelope::decode(&session.records.anchors[0]).unwrap().payload;
    let thief = SigningKey::from_seed(&[8; 32]);
    let stolen = Envelope::sign(Kind::Anchor, session.id, &payload, &thief, &lab.trust.network);
    session.records.anchors[0] = stolen.into();
    fatal(&lab.appraise(&lab.export(&[&session])), "anchor.attested");
    session.records.anchors[0] = session.records.beats[0].clone();
    fatal(&lab.appraise(&lab.export(&[&session])), "anchor.attested");
}

#[test]
fn a_quote_where_a_time_is_due_is_refused() {
    let Some((mut lab, mut node, session)) = scene() else { return };
    let swapped = with(
        &mut lab,
        &mut node,
        &session,
        |_| {},
        |a, tpm| {
            a.time = tpm.quote(&over(&session, a, Domain::AnchorTime), &SESSION_PCRS).0;
        },
    );
    fatal(&swapped, "anchor.attested");
    let swapped = with(
        &mut lab,
        &mut node,
        &session,
        |_| {},
        |a, tpm| {
            a.quote = tpm.time(&over(&session, a, Domain::AnchorQuote), 0);
        },
    );
    fatal(&swapped, "anchor.attested");
}

#[test]
fn an_anchor_in_a_slot_that_the_beacon_did_not_pick_is_refused() {
    let Some((mut lab, mut node, mut session)) = scene() else { return };
    lab.anchor(&mut node, &mut session);
    accepted(&lab.appraise(&lab.export(&[&session])));
    lab.advance_to_slot(&node.id, false);
    lab.anchor(&mut node, &mut session);
    fatal(&lab.appraise(&lab.export(&[&session])), "anchor.slot");
}

#[test]
fn an_anchor_after_a_reset_of_the_tpm_is_refused() {
    let Some((mut lab, mut node, mut session)) = scene() else { return };
    lab.anchor(&mut node, &mut session);
    accepted(&lab.appraise(&lab.export(&[&session])));
    node.attester.restart();
    lab.advance_to_slot(&node.id, true);
    lab.anchor(&mut node, &mut session);
    let appraisal = lab.appraise(&lab.export(&[&session]));
    assert!(fatal(&appraisal, "anchor.attested").seen.as_ref().unwrap().contains("reset"));
}

#[test]
fn an_anchor_with_other_pcrs_than_the_opening_is_refused() {
    let Some((mut lab, mut node, mut session)) = scene() else { return };
    lab.anchor(&mut node, &mut session);
    node.attester.tpm().pcr_extend(12, [1; 32]).unwrap();
    lab.advance_to_slot(&node.id, true);
    lab.anchor(&mut node, &mut session);
    let appraisal = lab.appraise(&lab.export(&[&session]));
    assert!(fatal(&appraisal, "anchor.attested").seen.as_ref().unwrap().contains("PCRs"));
}

#[test]
fn a_slot_that_got_no_anchor_is_a_warning() {
    let Some((mut lab, mut node, mut session)) = scene() else { return };
    warned(&lab.appraise(&lab.export(&[&session])), "anchor.missed");
    let mut late = session.clone();
    lab.anchor(&mut node, &mut session);
    let appraisal = lab.appraise(&lab.export(&[&session]));
    accepted(&appraisal);
    let up = appraisal.facts.uptime.unwrap();
    assert_eq!((up.anchors, up.anchors_missed), (1, 0));
    // A minute later it is not the answer that the slot asked for.
    let slot = lab.beacon();
    lab.advance(60_000);
    lab.anchor_with(&mut node, &mut late, |point| point.beacon = slot, |_, _| {});
    let appraisal = lab.appraise(&lab.export(&[&late]));
    warned(&appraisal, "anchor.missed");
    assert_eq!(appraisal.facts.uptime.unwrap().anchors_missed, 1);
}
