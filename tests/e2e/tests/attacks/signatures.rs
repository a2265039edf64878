//! Signatures that are none: other schemes, numbers out of range, other banks.

use assay_attester::{Identity, TpmError};
use assay_boot::{EV_NO_ACTION, EventLog, HashAlg};
use assay_demo::simulated_boot::write_log;
use assay_ledger::session::{Attested, BootLogs, Evidence, PcrValue, SESSION_PCRS, quote_extra_data};
use assay_tests::{Attester, Chip, Hierarchy, Lab, Node, Raw, RawKey, accepted, fatal, refused};
use assay_tpm::{Public, Signature};
use assay_wire::Digest;

/// The order of P-256 (SEC 2, 2.4.2).
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

fn changed(
    lab: &mut Lab,
    node: &mut Node<Chip>,
    change: impl FnOnce(&mut Evidence, &mut Chip),
) -> assay_appraisal::Appraisal {
    let session = lab.open_with(node, |_| {}, change);
    lab.appraise(&session.records.evidence)
}

/// r and s of an ECDSA signature by a P-256 key, a TPMT_SIGNATURE of two sized numbers.
fn numbers(signature: &[u8]) -> ([u8; 32], [u8; 32]) {
    assert_eq!(signature.len(), 4 + 2 + 32 + 2 + 32);
    (signature[6..38].try_into().unwrap(), signature[40..].try_into().unwrap())
}

#[test]
fn ecdsa_numbers_out_of_range_are_refused() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let order = hex::decode(ORDER).unwrap();
    let mut with = |change: &dyn Fn(&mut Vec<u8>, &mut Vec<u8>)| {
        changed(&mut lab, &mut node, |evidence, tpm| {
            // A TPM may leave a leading zero away: rarely, and then it signs again.
            while evidence.quote.signature.len() != 72 {
                evidence.quote = tpm.quote(&quote_extra_data(&evidence.session.id()), &SESSION_PCRS).0;
            }
            let (r, s) = numbers(&evidence.quote.signature);
            let (mut r, mut s) = (r.to_vec(), s.to_vec());
            change(&mut r, &mut s);
            let made = Signature::ecdsa(assay_tpm::HashAlg::Sha256, &r, &s);
            // What a TPM could not even write down ends as early.
            evidence.quote.signature = made.map(|made| made.to_bytes()).unwrap_or_default();
        })
    };
    accepted(&with(&|_, _| {}));
    let zero = vec![0; 32];
    let most = vec![0xff; 32];
    for number in [&zero, &order, &most, &vec![], &vec![0]] {
        fatal(&with(&|r, _| r.clone_from(number)), "quote.signature");
        fatal(&with(&|_, s| s.clone_from(number)), "quote.signature");
        fatal(&with(&|r, s| (*r, *s) = (number.clone(), number.clone())), "quote.signature");
    }
    // The same number and the order: equal modulo the order, and longer than a number may be.
    let beyond = |number: &mut Vec<u8>| {
        let mut carry = 0u16;
        for (digit, more) in number.iter_mut().zip(&order).rev() {
            let sum = u16::from(*digit) + u16::from(*more) + carry;
            (*digit, carry) = ((sum & 0xff) as u8, sum >> 8);
        }
        number.insert(0, u8::try_from(carry).unwrap());
    };
    fatal(&with(&|r, _| beyond(r)), "quote.signature");
    fatal(&with(&|_, s| beyond(s)), "quote.signature");
    fatal(&with(&std::mem::swap), "quote.signature");
}

/// An RSA-2048 restricted signing key as `TPMT_PUBLIC`, to be made by the TPM: this scheme and SHA-256.
fn rsa_template(scheme: u16) -> Vec<u8> {
    let head = [0x0001, 0x000b, 0x0005, 0x0472, 0, 0x0010, scheme, 0x000b, 2048, 0, 0, 0u16];
    head.iter().flat_map(|word| word.to_be_bytes()).collect()
}

const RSASSA: u16 = 0x0014;
const RSAPSS: u16 = 0x0016;

#[test]
fn rsa_keys_and_their_paddings_do_not_stand_in_for_the_enrolled_ak() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    for scheme in [RSASSA, RSAPSS] {
        // As an AK: refused before any challenge.
        let mut request = lab.request(&node);
        request.ak_public = node.attester.raw(|raw| raw.endorsement(&rsa_template(scheme)));
        let finding = refused(lab.challenge(&request), "enrolment.ak");
        assert!(finding.seen.unwrap().contains("not an ECC key"));
        // As the signature of a quote, with the enrolled AK's statement or its own.
        let by_rsa = |evidence: &Evidence, tpm: &mut Chip| {
            let extra = quote_extra_data(&evidence.session.id());
            tpm.raw(|raw| {
                let key = raw.primary(Hierarchy::Endorsement, &rsa_template(scheme));
                let quote = raw.quote(&key, &extra, &SESSION_PCRS);
                raw.flush(key);
                quote
            })
        };
        let whole = changed(&mut lab, &mut node, |e, tpm| e.quote = by_rsa(e, tpm));
        assert!(fatal(&whole, "quote.signature").seen.as_ref().unwrap().contains("another key"));
        let spliced = changed(&mut lab, &mut node, |e, tpm| e.quote.signature = by_rsa(e, tpm).signature);
        fatal(&spliced, "quote.signature");
        // In a record that a validator was made to sign.
        let mut record = lab.record_of(&node);
        record.ak_public = request.ak_public;
        fatal(&lab.appraise(&lab.sign_record(0, &record)), "enrolment.keys");
    }
    accepted(&changed(&mut lab, &mut node, |_, _| {}));
}

#[test]
fn a_signature_of_the_other_padding_does_not_hold_under_an_rsa_key() {
    let Some(mut chip) = Chip::new() else { return };
    let sign = |chip: &mut Chip, scheme| {
        chip.raw(|raw| {
            let key = raw.primary(Hierarchy::Endorsement, &rsa_template(scheme));
            let quote = raw.quote(&key, &Digest([1; 32]), &SESSION_PCRS);
            let public = key.public.clone();
            raw.flush(key);
            (Public::parse(&public).unwrap(), quote)
        })
    };
    let (ssa, pss) = (sign(&mut chip, RSASSA), sign(&mut chip, RSAPSS));
    for ((key, quote), (_, other)) in [(&ssa, &pss), (&pss, &ssa)] {
        let signature = Signature::parse(&quote.signature).unwrap();
        assert!(key.verify(&quote.attest, &signature).is_ok());
        // The same bytes under the other padding's name, and the other key's signature.
        let mut renamed = quote.signature.clone();
        renamed[..2].copy_from_slice(&other.signature[..2]);
        assert!(key.verify(&quote.attest, &Signature::parse(&renamed).unwrap()).is_err());
        assert!(key.verify(&quote.attest, &Signature::parse(&other.signature).unwrap()).is_err());
    }
}

#[test]
fn a_tpm_with_sha_1_only_proves_nothing() {
    let mut lab = Lab::new();
    let Some(chip) = Chip::sha1() else { return };
    let mut node = Node::new(chip);
    // The agent says that the bank is missing; whoever goes on regardless is refused.
    let told = node.attester.tpm().quote(&[], &SESSION_PCRS).unwrap_err();
    assert!(matches!(told, TpmError::PcrMissing { .. }), "{told}");
    let mut node = Node::new(Sha1 { template: node.identity.ak_public, chip: node.attester });
    node.record = lab.sign_record(0, &lab.record_of(&node));
    node.logs = BootLogs::default();
    let session = lab.open(&mut node);
    let seen = fatal(&lab.appraise(&session.records.evidence), "quote.selection").seen.clone().unwrap();
    assert!(seen.starts_with("sha1:"), "{seen}");
}

/// Quotes the bank that it has, by an AK of its own.
struct Sha1 {
    chip: Chip,
    template: Vec<u8>,
}

impl Sha1 {
    fn by_ak<T>(&mut self, action: impl FnOnce(&mut Raw, &RawKey) -> T) -> T {
        self.chip.raw(|raw| {
            let key = raw.primary(Hierarchy::Endorsement, &self.template);
            let outcome = action(raw, &key);
            raw.flush(key);
            outcome
        })
    }
}

impl Attester for Sha1 {
    fn identity(&mut self) -> Identity {
        let ak_public = self.by_ak(|_, key| key.public.clone());
        Identity { ak_public, ..self.chip.identity() }
    }

    fn quote(&mut self, extra: &Digest, pcrs: &[u8]) -> (Attested, Vec<PcrValue>) {
        let quote = self.by_ak(|raw, key| raw.quote_sha1(key, extra, pcrs));
        (quote, pcrs.iter().map(|pcr| PcrValue { pcr: *pcr, value: Digest::default() }).collect())
    }

    fn time(&mut self, extra: &Digest, _mono_ms: u64) -> Attested {
        self.by_ak(|raw, key| raw.time(key, extra))
    }

    fn log(&self) -> Vec<u8> {
        self.chip.log()
    }
}

/// The simulated boot as a log of TCG 1.2: SHA-1 digests and no others.
fn legacy() -> Vec<u8> {
    let log = EventLog::parse(&write_log().unwrap().log).unwrap();
    let event = |event: &assay_boot::Event| {
        let sha1 = HashAlg::Sha1.hash(&[&event.data]).unwrap();
        let len = u32::try_from(event.data.len()).unwrap().to_le_bytes();
        [&event.pcr.to_le_bytes()[..], &event.kind.to_le_bytes(), &sha1, &len, &event.data].concat()
    };
    log.events.iter().filter(|event| event.kind != EV_NO_ACTION).map(event).collect::<Vec<_>>().concat()
}

#[test]
fn a_log_with_sha_1_only_explains_no_sha_256_pcr() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    accepted(&changed(&mut lab, &mut node, |_, _| {}));
    node.logs.firmware = Some(legacy().into());
    let appraisal = changed(&mut lab, &mut node, |_, _| {});
    let seen = fatal(&appraisal, "boot.replay").seen.clone().unwrap();
    assert!(seen.contains("bank-missing"), "{seen}");
    assert_eq!(appraisal.facts.sessions[0].boot.format, Some("sha1-legacy"));
}
