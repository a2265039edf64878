//! The same road with a real software TPM at its start.

use assay_attester::{Backend, Tpm};
use assay_demo::swtpm::Swtpm;
use assay_ledger::enrolment::{
    EnrolAnswer, EnrolChallenge, EnrolRequest, proof_input, quote_extra_data, transcript,
};
use assay_ledger::protocol::{ENROL, ENROL_ANSWER};
use assay_ledger::session::{PcrValue, SESSION_PCRS};
use assay_wire::{Digest, Envelope, Kind, SigningKey, cbor};

use crate::server::Server;
use crate::soft_tpm::hmac;

#[test]
fn a_real_tpm_activates_the_credential_and_gets_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let swtpm = match Swtpm::start(dir.path()) {
        Ok(swtpm) => swtpm,
        Err(error @ assay_demo::DemoError::MissingProgram { .. }) => return eprintln!("SKIPPED: {error}"),
        Err(error) => panic!("{error:?}"),
    };
    let mut tpm = Tpm::open(&Backend::parse(&swtpm.tcti()).unwrap()).unwrap();
    let identity = tpm.identity().unwrap();
    let session_key = SigningKey::from_seed(&[1; 32]).verifying_key();
    let request = EnrolRequest {
        ek_certificates: identity.ek_certificates.into_iter().map(Into::into).collect(),
        ..EnrolRequest::new(identity.ek_public, identity.ak_public, session_key, Digest([2; 32]))
    };
    let server = Server::start();
    let mut client = server.client();
    let body = client.post(ENROL, &cbor::to_vec(&request)).ok();
    let challenge: EnrolChallenge = cbor::from_slice("challenge", &body, 8192).unwrap();
    let secret = tpm.activate_credential(&challenge.id_object, &challenge.encrypted_secret).unwrap();
    let bound = transcript(&request, &challenge);
    let quote = tpm.quote(&quote_extra_data(&bound).0, &SESSION_PCRS).unwrap();
    let answer = EnrolAnswer {
        nonce: challenge.nonce,
        proof: Digest(hmac(&secret, &proof_input(&bound).0)),
        attest: quote.attest,
        signature: quote.signature,
        pcrs: pcrs(&quote.pcr_values),
    };
    let record = client.post(ENROL_ANSWER, &cbor::to_vec(&answer)).ok();
    assert_eq!(Envelope::decode(&record).unwrap().kind, Kind::Enrolment);
    assert_eq!(server.store().enrolled_nodes().unwrap()[0].class, "virtual");
}

fn pcrs(values: &[(u8, [u8; 32])]) -> Vec<PcrValue> {
    values.iter().map(|(pcr, value)| PcrValue { pcr: *pcr, value: Digest(*value) }).collect()
}
