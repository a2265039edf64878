//! Enrolment: getting a record for keys that do not live in one TPM, and using records one has not.

use assay_ledger::enrolment::EnrolRequest;
use assay_ledger::session::Attested;
use assay_tests::{
    Attester, Chip, Hierarchy, Lab, Node, Paper, Validator, accepted, answer, answer_knowing, changed, fatal,
    refused, warned,
};
use assay_tpm::Attributes;
use assay_wire::{Digest, Network};

const WRONG_SECRET: [u8; 32] = [9; 32];

#[test]
fn an_honest_enrolment_is_recorded() {
    let mut lab = Lab::new();
    let Some(node) = lab.chip() else { return };
    accepted(&lab.appraise(&node.record));
}

#[test]
fn two_tpms_cannot_enrol_as_one() {
    let mut lab = Lab::new();
    let Some(mut a) = Chip::new().map(Node::new) else { return };
    let mut b = Node::new(Chip::new().unwrap());
    let mixed = EnrolRequest { ak_public: b.identity.ak_public.clone(), ..lab.request(&a) };
    let (challenge, secret) = lab.challenge(&mixed).unwrap();
    // Neither TPM opens a credential for the EK of one and the AK of the other.
    assert!(answer(&mut a, &mixed, &challenge).is_err());
    assert!(answer(&mut b, &mixed, &challenge).is_err());
    let guessed = answer_knowing(&WRONG_SECRET, &mut b, &mixed, &challenge);
    refused(lab.check_answer(&mixed, &challenge, &secret, &guessed), "enrolment.activation");
    // An honest activation by A, with the quote of B.
    let request = lab.request(&a);
    let (challenge, secret) = lab.challenge(&request).unwrap();
    let mut answer = answer(&mut a, &request, &challenge).unwrap();
    assert!(lab.check_answer(&request, &challenge, &secret, &answer).is_ok());
    let theirs = answer_knowing(&secret.0, &mut b, &request, &challenge);
    (answer.attest, answer.signature) = (theirs.attest, theirs.signature);
    refused(lab.check_answer(&request, &challenge, &secret, &answer), "enrolment.quote");
}

#[test]
fn a_software_ak_cannot_be_activated() {
    let mut lab = Lab::new();
    let Some(mut node) = Chip::new().map(Node::new) else { return };
    let mut software = Node::new(Paper::new(3));
    let request = EnrolRequest { ak_public: software.identity.ak_public.clone(), ..lab.request(&node) };
    let (challenge, secret) = lab.challenge(&request).unwrap();
    assert!(answer(&mut node, &request, &challenge).is_err());
    let guessed = answer_knowing(&WRONG_SECRET, &mut software, &request, &challenge);
    refused(lab.check_answer(&request, &challenge, &secret, &guessed), "enrolment.activation");
}

#[test]
fn an_answer_to_another_challenge_is_refused() {
    let mut lab = Lab::new();
    let Some(mut node) = Chip::new().map(Node::new) else { return };
    refused(lab.enrol(&mut node, |answer| answer.nonce.0[0] ^= 1), "enrolment.nonce");
    refused(lab.enrol(&mut node, |answer| answer.proof.0[0] ^= 1), "enrolment.activation");
    let request = lab.request(&node);
    let (first, _) = lab.challenge(&request).unwrap();
    let (second, secret) = lab.challenge(&request).unwrap();
    let old = answer(&mut node, &request, &first).unwrap();
    refused(lab.check_answer(&request, &second, &secret, &old), "enrolment.nonce");
    // The same proof under another request: session keys swapped on the way.
    let new = answer(&mut node, &request, &second).unwrap();
    let swapped = EnrolRequest { sealing_key: Digest([1; 32]), ..request.clone() };
    refused(lab.check_answer(&swapped, &second, &secret, &new), "enrolment.activation");
    assert!(lab.check_answer(&request, &second, &secret, &new).is_ok());
}

#[test]
fn a_quote_over_another_exchange_or_other_pcrs_is_refused() {
    let mut lab = Lab::new();
    let Some(mut node) = Chip::new().map(Node::new) else { return };
    let request = lab.request(&node);
    let (challenge, secret) = lab.challenge(&request).unwrap();
    let good = answer(&mut node, &request, &challenge).unwrap();
    let with = |quote: Attested| {
        let mut answer = good.clone();
        (answer.attest, answer.signature) = (quote.attest, quote.signature);
        refused(lab.check_answer(&request, &challenge, &secret, &answer), "enrolment.quote")
    };
    let bound = Digest(assay_tpm::Attest::parse(&good.attest).unwrap().extra_data.try_into().unwrap());
    with(node.attester.quote(&Digest([5; 32]), &[0, 1]).0);
    with(node.attester.quote(&bound, &[0, 1]).0);
    with(node.attester.time(&bound, 0));
    // The values beside the quote, which the record will keep.
    let mut other = good.clone();
    other.pcrs[0].value.0[0] ^= 1;
    refused(lab.check_answer(&request, &challenge, &secret, &other), "enrolment.pcrs");
    other = good.clone();
    other.pcrs.swap(0, 1);
    refused(lab.check_answer(&request, &challenge, &secret, &other), "enrolment.pcrs");
    assert!(lab.check_answer(&request, &challenge, &secret, &good).is_ok());
}

#[test]
fn an_ak_in_the_owner_hierarchy_is_refused() {
    let mut lab = Lab::new();
    let Some(mut node) = Chip::new().map(Node::new) else { return };
    let template = node.identity.ak_public.clone();
    let mut request = lab.request(&node);
    request.ak_public = node.attester.raw(|tpm| {
        let key = tpm.primary(Hierarchy::Owner, &template);
        let public = key.public.clone();
        tpm.flush(key);
        public
    });
    let (challenge, secret) = lab.challenge(&request).unwrap();
    let mut answer = answer_knowing(&secret.0, &mut node, &request, &challenge);
    let bound = Digest(assay_tpm::Attest::parse(&answer.attest).unwrap().extra_data.try_into().unwrap());
    let quote = node.attester.raw(|tpm| {
        let key = tpm.primary(Hierarchy::Owner, &template);
        let quote = tpm.quote(&key, &bound, &assay_ledger::session::SESSION_PCRS);
        tpm.flush(key);
        quote
    });
    (answer.attest, answer.signature) = (quote.attest, quote.signature);
    let finding = refused(lab.check_answer(&request, &challenge, &secret, &answer), "enrolment.quote");
    assert!(finding.seen.unwrap().contains("another hierarchy"));
}

#[test]
fn keys_that_are_no_ek_and_no_ak_are_refused_before_any_challenge() {
    let mut lab = Lab::new();
    let Some(node) = Chip::new().map(Node::new) else { return };
    let good = lab.request(&node);
    let mut with = |id: &str, change: &dyn Fn(&mut EnrolRequest)| {
        let mut request = good.clone();
        change(&mut request);
        refused(lab.challenge(&request), id);
    };
    with("enrolment.ek", &|r| r.ek_public.truncate(9));
    with("enrolment.ak", &|r| r.ak_public.truncate(9));
    with("enrolment.size", &|r| r.ak_public = vec![0; 5_000]);
    with("enrolment.size", &|r| r.ek_public = vec![0; 5_000]);
    let unrestricted = |parts: &mut assay_tpm::PublicParts| {
        parts.attributes = parts.attributes.without(Attributes::RESTRICTED);
    };
    with("enrolment.ak", &|r| r.ak_public = changed(&r.ak_public, unrestricted));
    with("enrolment.ak", &|r| r.ak_public = r.ek_public.clone());
    with("enrolment.certificates", &|r| r.ek_certificates = vec![vec![0x30, 0].into(); 9]);
    with("enrolment.certificate-form", &|r| r.ek_certificates[0] = vec![0; 9_000].into());
    with("enrolment.certificate-form", &|r| r.ek_certificates[0].truncate(40));
    assert!(lab.challenge(&good).is_ok());
}

#[test]
fn an_ak_that_may_leave_its_tpm_is_refused() {
    let mut lab = Lab::new();
    let Some(mut node) = Chip::new().map(Node::new) else { return };
    let good = lab.request(&node);
    // Without these two a TPM hands the key on to another, or to software (TPM 2.0 Part 1, 23).
    let fixed = Attributes::FIXED_TPM.union(Attributes::FIXED_PARENT);
    let template = changed(&good.ak_public, |parts| parts.attributes = parts.attributes.without(fixed));
    let ak_public = node.attester.raw(|raw| raw.endorsement(&template));
    let finding = refused(lab.challenge(&EnrolRequest { ak_public, ..good.clone() }), "enrolment.ak");
    assert!(finding.seen.unwrap().contains("not fixed to its TPM"));
    assert!(lab.challenge(&good).is_ok());
}

#[test]
fn a_certificate_of_another_ek_is_refused() {
    let mut lab = Lab::new();
    let Some(node) = Chip::new().map(Node::new) else { return };
    let other = Node::new(Chip::new().unwrap());
    let mut request = lab.request(&node);
    request.ek_certificates = lab.request(&other).ek_certificates;
    refused(lab.challenge(&request), "enrolment.certificate-key");
    // Nor does it help in a record that a validator was made to sign.
    let mut record = lab.record_of(&node);
    record.ek_certificates = request.ek_certificates;
    fatal(&lab.appraise(&lab.sign_record(0, &record)), "enrolment.certificate-key");
}

#[test]
fn machine_and_device_certificates_that_nobody_signed_are_warnings() {
    let lab = Lab::new();
    let Some(node) = Chip::new().map(Node::new) else { return };
    let mut record = lab.record_of(&node);
    record.platform_certificates = vec![vec![0x30, 0].into()];
    record.device_certificates = record.ek_certificates.clone();
    let appraisal = lab.appraise(&lab.sign_record(0, &record));
    warned(&appraisal, "identity.platform-certificate");
    warned(&appraisal, "identity.device-certificate");
}

#[test]
fn a_virtual_tpm_is_not_enrolled_where_the_policy_asks_for_hardware() {
    let mut lab = Lab::new();
    let Some(mut node) = Chip::new().map(Node::new) else { return };
    assert!(lab.enrol(&mut node, |_| {}).is_ok());
    lab.policy = assay_appraisal::Policy::builtin("open").unwrap();
    refused(lab.enrol(&mut node, |_| {}), "enrolment.identity");
    // A virtual TPM that leaves its certificates at home is known by its firmware.
    node.identity.ek_certificates.clear();
    lab.trust.pinned_nodes.insert(node.id);
    refused(lab.enrol(&mut node, |_| {}), "enrolment.identity");
}

#[test]
fn a_record_by_a_stranger_or_for_another_network_is_refused() {
    let lab = Lab::new();
    let node = Node::new(Paper::new(3));
    let record = lab.record_of(&node);
    accepted(&lab.appraise(&lab.sign_record(0, &record)));
    let finding = lab.appraise(&lab.sign_record_as(&Validator::new(66), &record));
    assert!(fatal(&finding, "enrolment.validator").seen.as_ref().unwrap().contains("unknown validator"));
    // A stranger who writes the name of a known validator into the header.
    let impostor = Validator { id: lab.validators[0].id, key: Validator::new(66).key };
    fatal(&lab.appraise(&lab.sign_record_as(&impostor, &record)), "enrolment.validator");
    let mut elsewhere = Lab::new();
    elsewhere.trust.network = Network::new("elsewhere");
    fatal(&lab.appraise(&elsewhere.sign_record(0, &record)), "enrolment.validator");
}

#[test]
fn a_record_is_worth_nothing_before_and_after_its_time() {
    let mut lab = Lab::new();
    let mut node = lab.paper(3);
    let session = lab.open(&mut node);
    let now = lab.unix_ms;
    for (at, good) in [
        (now - 300_001, false),
        (now - 299_000, true),
        (now + 29 * 86_400_000, true),
        (now + lab.policy.record_ms, false),
    ] {
        lab.unix_ms = at;
        for file in [&node.record, &session.records.evidence, &lab.export(&[&session])] {
            match good {
                true => accepted(&lab.appraise(file)),
                false => drop(fatal(&lab.appraise(file), "enrolment.validity")),
            }
        }
    }
}

#[test]
fn a_record_whose_parts_do_not_belong_together_is_refused() {
    let lab = Lab::new();
    let (node, other) = (Node::new(Paper::new(3)), Node::new(Paper::new(4)));
    let good = lab.record_of(&node);
    let with = |id: &str, change: &dyn Fn(&mut assay_ledger::enrolment::EnrolmentRecord)| {
        let mut record = good.clone();
        change(&mut record);
        fatal(&lab.appraise(&lab.sign_record(0, &record)), id);
    };
    with("enrolment.node-id", &|r| r.node = other.id);
    with("enrolment.node-id", &|r| r.ek_public.clone_from(&other.identity.ek_public));
    with("enrolment.keys", &|r| r.ak_public.truncate(20));
    with("enrolment.keys", &|r| {
        r.ek_public.truncate(20);
        r.node = assay_ledger::enrolment::node_id(&r.ek_public);
    });
    let unrestricted = |parts: &mut assay_tpm::PublicParts| {
        parts.attributes = parts.attributes.without(Attributes::RESTRICTED);
    };
    with("enrolment.keys", &|r| r.ak_public = changed(&r.ak_public, unrestricted));
    accepted(&lab.appraise(&lab.sign_record(0, &good)));
}

#[test]
fn a_record_that_decodes_to_something_else_is_refused() {
    let mut lab = Lab::new();
    let mut node = lab.paper(3);
    let validator = &lab.validators[0];
    let beacon_as_record = assay_wire::Envelope::sign(
        assay_wire::Kind::Enrolment,
        validator.id,
        &[0xa0],
        &validator.key,
        &lab.trust.network,
    );
    fatal(&lab.appraise(&beacon_as_record), "enrolment.form");
    node.record = vec![0xd2, 0x84];
    let session = lab.open(&mut node);
    fatal(&lab.appraise(&session.records.evidence), "enrolment.form");
}

#[test]
fn an_ak_swapped_in_the_record_does_not_quote_for_the_node() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let session = lab.open(&mut node);
    accepted(&lab.appraise(&session.records.evidence));
    let mut record = lab.record_of(&node);
    record.ak_public = Node::new(Paper::new(5)).identity.ak_public;
    node.record = lab.sign_record(0, &record);
    let session = lab.open(&mut node);
    fatal(&lab.appraise(&session.records.evidence), "quote.signature");
}
