//! Quotes: by the wrong key, over the wrong PCRs, or no quotes at all.

use assay_ledger::session::{Evidence, SESSION_PCRS, quote_extra_data, time_extra_data};
use assay_tests::{Attester, Chip, Hierarchy, Lab, Node, Paper, accepted, fatal};
use assay_tpm::{Attest, AttestBody, HashAlg, PcrSelection, PcrSet};
use assay_wire::Digest;

/// The verdict on evidence that is changed before its session signs it.
fn changed<T: Attester>(
    lab: &mut Lab,
    node: &mut Node<T>,
    change: impl FnOnce(&mut Evidence, &mut T),
) -> assay_appraisal::Appraisal {
    let session = lab.open_with(node, |_| {}, change);
    lab.appraise(&session.records.evidence)
}

fn over(evidence: &Evidence) -> Digest {
    quote_extra_data(&evidence.session.id())
}

#[test]
fn a_made_up_quote_by_an_unrestricted_key_of_the_same_tpm_is_refused() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let ak = node.identity.ak_public.clone();
    accepted(&changed(&mut lab, &mut node, |_, _| {}));
    let forge = |evidence: &mut Evidence, tpm: &mut Chip| {
        let (attest, extra) = (evidence.quote.attest.clone(), over(evidence));
        tpm.raw(|raw| {
            let key = raw.unrestricted(&ak);
            // It signs what it is given, the AK's name inside included; a restricted key never would.
            let made_up = raw.sign(&key, &attest).unwrap();
            let own = raw.quote(&key, &extra, &SESSION_PCRS);
            raw.flush(key);
            let restricted = raw.primary(Hierarchy::Endorsement, &ak);
            assert_eq!(raw.sign(&restricted, &attest), None);
            raw.flush(restricted);
            (made_up, own)
        })
    };
    let appraisal = changed(&mut lab, &mut node, |e, tpm| e.quote = forge(e, tpm).0);
    fatal(&appraisal, "quote.signature");
    let appraisal = changed(&mut lab, &mut node, |e, tpm| e.quote = forge(e, tpm).1);
    fatal(&appraisal, "quote.signature");
}

#[test]
fn a_quote_in_the_owner_hierarchy_is_refused_even_when_its_key_is_in_the_record() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let template = node.identity.ak_public.clone();
    let quote = |extra: Digest, tpm: &mut Chip| {
        tpm.raw(|raw| {
            let key = raw.primary(Hierarchy::Owner, &template);
            let quote = raw.quote(&key, &extra, &SESSION_PCRS);
            let public = key.public.clone();
            raw.flush(key);
            (quote, public)
        })
    };
    let mut record = lab.record_of(&node);
    record.ak_public = quote(Digest::default(), &mut node.attester).1;
    node.record = lab.sign_record(0, &record);
    let appraisal = changed(&mut lab, &mut node, |e, tpm| e.quote = quote(over(e), tpm).0);
    let seen = fatal(&appraisal, "quote.signature").seen.clone().unwrap();
    assert!(seen.contains("another hierarchy"), "{seen}");
}

#[test]
fn relabelled_pcr_values_are_refused() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let appraisal = changed(&mut lab, &mut node, |e, _| {
        (e.pcrs[4].value, e.pcrs[7].value) = (e.pcrs[7].value, e.pcrs[4].value);
    });
    fatal(&appraisal, "quote.pcr-digest");
    let appraisal = changed(&mut lab, &mut node, |e, _| e.pcrs[0].value.0[31] ^= 1);
    fatal(&appraisal, "quote.pcr-digest");
    // The list in another order, though each value has its own index.
    fatal(&changed(&mut lab, &mut node, |e, _| e.pcrs.swap(4, 7)), "quote.pcr-list");
    fatal(&changed(&mut lab, &mut node, |e, _| e.pcrs[10].pcr = 23), "quote.pcr-list");
    fatal(&changed(&mut lab, &mut node, |e, _| e.pcrs.truncate(14)), "quote.pcr-list");
    accepted(&changed(&mut lab, &mut node, |_, _| {}));
}

#[test]
fn resettable_pcrs_do_not_stand_in_for_others() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let target = node.attester.quote(&Digest::default(), &[11]).1[0].value;
    let extends = assay_demo::simulated_boot::write_log().unwrap().extends;
    // PCRs 16 and 23 can be set back and extended to whatever PCR 11 should hold.
    for pcr in [16, 23] {
        node.attester.raw(|raw| raw.reset(pcr));
        let pcr = u8::try_from(pcr).unwrap();
        for (_, digest) in extends.iter().filter(|(of, _)| *of == 11) {
            node.attester.tpm().pcr_extend(pcr, *digest).unwrap();
        }
        let selection: Vec<u8> = SESSION_PCRS.iter().map(|p| if *p == 11 { pcr } else { *p }).collect();
        let relabelled = |e: &mut Evidence, tpm: &mut Chip| {
            let (quote, values) = tpm.quote(&over(e), &selection);
            assert!(values.iter().any(|v| v.pcr == pcr && v.value == target));
            e.quote = quote;
        };
        fatal(&changed(&mut lab, &mut node, relabelled), "quote.selection");
    }
}

#[test]
fn only_the_very_selection_is_taken() {
    let mut lab = Lab::new();
    let mut node = lab.paper(3);
    let entry = |alg, pcrs: &[u8]| PcrSelection { alg, pcrs: PcrSet::from_indices(pcrs).unwrap() };
    let all = entry(HashAlg::Sha256, &SESSION_PCRS);
    let mut with = |selection: Vec<PcrSelection>| {
        changed(&mut lab, &mut node, |e, tpm: &mut Paper| {
            let mut body = tpm.quote_body(&SESSION_PCRS);
            if let AttestBody::Quote(quote) = &mut body {
                quote.selection = selection;
            }
            e.quote = tpm.sign(&tpm.statement(&over(e), body));
        })
    };
    accepted(&with(vec![all]));
    for selection in [
        vec![],
        vec![entry(HashAlg::Sha256, &[])],
        vec![entry(HashAlg::Sha1, &SESSION_PCRS)],
        vec![all, entry(HashAlg::Sha384, &[0])],
        vec![entry(HashAlg::Sha256, &SESSION_PCRS[..14])],
        vec![entry(HashAlg::Sha256, &(0..=15).collect::<Vec<_>>())],
    ] {
        fatal(&with(selection), "quote.selection");
    }
}

#[test]
fn a_time_is_no_quote_and_a_quote_is_no_time() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let appraisal = changed(&mut lab, &mut node, |e, tpm| e.quote = tpm.time(&over(e), 0));
    fatal(&appraisal, "quote.selection");
    let appraisal = changed(&mut lab, &mut node, |e, tpm| {
        e.time = tpm.quote(&time_extra_data(&e.session.id()), &SESSION_PCRS).0;
    });
    fatal(&appraisal, "session.time");
    // Each where the other belongs: not over the right thing either.
    let appraisal = changed(&mut lab, &mut node, |e, _| std::mem::swap(&mut e.quote, &mut e.time));
    fatal(&appraisal, "quote.signature");
}

#[test]
fn quote_and_time_of_another_session_are_refused() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let old = lab.open(&mut node).evidence;
    fatal(&changed(&mut lab, &mut node, |e, _| e.quote = old.quote.clone()), "quote.signature");
    fatal(&changed(&mut lab, &mut node, |e, _| e.time = old.time.clone()), "session.time");
}

#[test]
fn quote_and_time_of_two_power_cycles_are_refused() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let appraisal = changed(&mut lab, &mut node, |e, tpm| {
        tpm.restart();
        e.time = tpm.time(&time_extra_data(&e.session.id()), 0);
    });
    fatal(&appraisal, "session.reset-count");
}

#[test]
fn a_statement_that_no_tpm_makes_is_refused() {
    let mut lab = Lab::new();
    let mut node = lab.paper(3);
    let mut with = |change: &dyn Fn(&mut Vec<u8>)| {
        changed(&mut lab, &mut node, |e, tpm: &mut Paper| {
            let mut bytes = e.quote.attest.clone();
            change(&mut bytes);
            e.quote = tpm.sign_bytes(bytes);
        })
    };
    accepted(&with(&|_| {}));
    // Without TPM_GENERATED_VALUE it is data that someone signed.
    fatal(&with(&|bytes| bytes[0] ^= 1), "quote.signature");
    fatal(&with(&|bytes| bytes.push(0)), "quote.signature");
    fatal(&with(&|bytes| bytes.truncate(bytes.len() - 1)), "quote.signature");
}

#[test]
fn a_change_after_signing_breaks_the_signature() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let appraisal = changed(&mut lab, &mut node, |e, _| {
        let mut attest = Attest::parse(&e.quote.attest).unwrap();
        attest.clock_info.reset_count += 1;
        e.quote.attest = attest.to_bytes().unwrap();
    });
    fatal(&appraisal, "quote.signature");
}
