//! What a node that nobody knows yet sends first.

use assay_appraisal::{check_answer, check_request};
use assay_ledger::enrolment::{EnrolRequest, node_id};
use assay_tpm::{Public, check_ak};
use assay_wire::{cbor, limits};

use crate::world;

/// An enrolment request: what passes has a good attestation key and the id of its EK, and the
/// fixture's answer enrols the fixture's request only.
pub fn enrolment(data: &[u8]) {
    let Ok(request) = cbor::from_slice::<EnrolRequest>("request", data, limits::ENVELOPE) else { return };
    let world = world();
    if let Ok(facts) = check_request(&request) {
        assert_eq!(facts.node, node_id(&request.ek_public));
        let ak = Public::parse(&request.ak_public).unwrap();
        assert_eq!(check_ak(&ak), Ok(()));
        assert_eq!(ak.name().as_ref(), Ok(&facts.ak_name));
    }
    let fixture = &world.enrolment;
    let (trust, policy, now) = (&world.trust, &world.policy, world.now_ms);
    let enrolled =
        check_answer(&request, &fixture.challenge, &fixture.secret.0, &fixture.answer, trust, policy, now);
    assert_eq!(enrolled.is_ok(), request == fixture.request, "{:?}", enrolled.err());
}
