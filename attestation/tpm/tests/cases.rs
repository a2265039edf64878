//! Attestations of real and software TPMs from the data folder, judged as far as this crate reaches:
//! signature, type, hierarchy, selection and PCR digest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use assay_tpm::{
    Attest, HashAlg, Name, Public, RH_ENDORSEMENT, Signature, TpmError, make_credential, pcr_digest,
    qualified_name, verify_p256,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::Value;

/// Reads a JSON file below the data folder, or says that the test is skipped.
fn data(path: &str) -> Option<Value> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let folder = std::env::var_os("ASSAY_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    match std::fs::read(folder.join(path)) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("data file is JSON")),
        Err(error) => {
            eprintln!("SKIPPED: {path} of the data folder: {error}");
            None
        }
    }
}

fn unhex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("hex string")).expect("hex")
}

struct Case {
    name: String,
    bytes: Vec<u8>,
    attest: Attest,
    signature: Signature,
    json: Value,
}

fn cases() -> Option<Vec<Case>> {
    let file = data("attestation/cases.json")?;
    let cases: Vec<Case> = file["cases"].as_array().unwrap().iter().map(Case::read).collect();
    assert!(!cases.is_empty(), "no cases");
    Some(cases)
}

impl Case {
    fn read(json: &Value) -> Self {
        let name = json["name"].as_str().unwrap().to_owned();
        let bytes = unhex(&json["attest"]);
        let attest = Attest::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(attest.to_bytes().as_ref(), Ok(&bytes), "{name}");
        let raw = unhex(&json["signature"]);
        let signature = Signature::parse(&raw).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(signature.to_bytes(), raw, "{name}");
        Self { name, bytes, attest, signature, json: json.clone() }
    }

    fn public(&self) -> Option<Public> {
        let ak = &self.json["ak"];
        ak.get("tpmt_public").map(|hex| Public::parse(&unhex(hex)).expect("AK public area"))
    }

    fn expected(&self, key: &str) -> Option<&Value> {
        self.json["expected"].get(key)
    }

    fn verify(&self, message: &[u8]) -> Result<(), TpmError> {
        if let Some(public) = self.public() {
            return public.verify(message, &self.signature);
        }
        let candidates = self.json["ak"]["p256_candidates"].as_array().expect("AK of some kind");
        let verify =
            |key: &Value| verify_p256(&unhex(&key["x"]), &unhex(&key["y"]), message, &self.signature);
        if candidates.iter().any(|key| verify(key).is_ok()) { Ok(()) } else { verify(&candidates[0]) }
    }

    /// What this crate can say of any attestation: signature and hierarchy of the key.
    fn is_sound(&self) -> bool {
        let name = self.public().expect("public area").name().expect("name");
        let endorsed = qualified_name(RH_ENDORSEMENT, &name);
        self.verify(&self.bytes).is_ok() && self.attest.qualified_signer == endorsed.as_bytes()
    }

    /// And of one that is presented as a quote: it is one, and covers a PCR.
    fn is_sound_quote(&self) -> bool {
        self.is_sound() && self.attest.quote().is_ok_and(|quote| !quote.covers_nothing())
    }

    fn pcr(&self, alg: HashAlg, index: u8) -> Option<Vec<u8>> {
        let value = &self.json["pcrs"][alg.to_string()][index.to_string()];
        value.as_str().map(|hex| hex::decode(hex).unwrap())
    }

    fn digest_holds(&self, values: &dyn Fn(HashAlg, u8) -> Option<Vec<u8>>) -> bool {
        let quote = self.attest.quote().unwrap();
        let hash = self.signature.scheme().hash().expect("signature scheme has a hash");
        pcr_digest(&quote.selection, values, hash).as_deref() == Some(&quote.pcr_digest[..])
    }
}

#[test]
fn signatures_hold_as_expected_and_for_no_other_bytes() {
    let Some(cases) = cases() else { return };
    for case in cases {
        let expected = case.expected("signature").unwrap().as_bool().unwrap();
        assert_eq!(case.verify(&case.bytes).is_ok(), expected, "{}", case.name);
        for index in (0..case.bytes.len()).step_by(7) {
            let mut bytes = case.bytes.clone();
            bytes[index] ^= 0x10;
            assert_eq!(case.verify(&bytes), Err(TpmError::SignatureInvalid), "{} byte {index}", case.name);
        }
    }
}

#[test]
fn selections_are_those_of_the_signed_blob() {
    let Some(cases) = cases() else { return };
    for case in cases {
        let Some(expected) = case.expected("selection") else { continue };
        let quote = case.attest.quote().unwrap();
        let selected = quote.selection.iter().filter(|entry| !entry.pcrs.is_empty());
        let found: BTreeMap<String, Vec<String>> = selected
            .map(|entry| (entry.alg.to_string(), entry.pcrs.iter().map(|pcr| pcr.to_string()).collect()))
            .collect();
        assert_eq!(&serde_json::to_value(found).unwrap(), expected, "{}", case.name);
    }
}

#[test]
fn pcr_digests_follow_from_the_values() {
    let Some(cases) = cases() else { return };
    for case in cases {
        let Some(expected) = case.expected("pcr_digest") else { continue };
        if expected.is_null() {
            assert!(case.attest.quote().unwrap().covers_nothing(), "{}", case.name);
            continue;
        }
        assert_eq!(case.digest_holds(&|alg, pcr| case.pcr(alg, pcr)), expected.as_bool().unwrap());
        for entry in &case.attest.quote().unwrap().selection {
            for pcr in entry.pcrs.iter() {
                let lying = |alg: HashAlg, index: u8| {
                    let lie = (alg, index) == (entry.alg, pcr);
                    case.pcr(alg, index).map(|value| if lie { alg.digest(&value) } else { value })
                };
                assert!(!case.digest_holds(&lying), "{} PCR {pcr}", case.name);
            }
        }
    }
}

#[test]
fn quotes_and_times_are_not_confused() {
    let Some(cases) = cases() else { return };
    for case in cases {
        let is_time = case.json["kind"] == "time";
        assert_eq!(case.attest.time().is_ok(), is_time, "{}", case.name);
        assert_eq!(case.attest.quote().is_ok(), !is_time, "{}", case.name);
        if let Some(expected) = case.expected("as_quote") {
            assert_eq!(case.is_sound_quote(), expected == "accept", "{} as quote", case.name);
        }
        if let Some(expected) = case.expected("as_time") {
            let sound_time = case.is_sound() && is_time;
            assert_eq!(sound_time, expected == "accept", "{} as time", case.name);
        }
    }
}

/// `TPM2B_ID_OBJECT` and `TPM2B_ENCRYPTED_SECRET` of a tpm2-tools credential file, without sizes.
fn split_credential_file(bytes: &[u8]) -> (&[u8], &[u8]) {
    assert_eq!(bytes[..8], [0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1]);
    let sized = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let rest = &bytes[8..];
    let (id_object, rest) = rest[2..].split_at(sized(rest));
    assert_eq!(sized(rest), rest.len() - 2);
    (id_object, &rest[2..])
}

#[test]
fn a_credential_has_the_form_of_one_that_was_activated() {
    let Some(file) = data("attestation/swtpm/credential_activation.json") else { return };
    let bytes = unhex(&file["ek_tpmt_public_hex"]);
    let ek = Public::parse(&bytes).unwrap();
    assert_eq!(Public::from_parts(ek.parts()).unwrap().to_bytes(), bytes, "same bytes from its parts");
    assert_eq!(ek.check_key(), Ok(()));
    let ak = Name::parse(&unhex(&file["ak_name_hex"])).unwrap();
    let file_bytes = unhex(&file["credential_blob_tpm2tools_hex"]);
    let (id_object, encrypted_secret) = split_credential_file(&file_bytes);
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let made = make_credential(&ek, &ak, &unhex(&file["secret_hex"]), &mut rng).unwrap();
    assert_eq!(made.id_object.len(), id_object.len());
    assert_eq!(made.id_object[..2], id_object[..2]);
    assert_eq!(made.encrypted_secret.len(), encrypted_secret.len());
    assert_eq!(made.encrypted_secret[..2], encrypted_secret[..2]);
}
