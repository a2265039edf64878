//! Enrolment: request, challenge, answer, record.

use assay_appraisal::{Finding, check_answer, check_request};
use assay_ledger::enrolment::{EnrolAnswer, EnrolChallenge, EnrolRequest};
use assay_tpm::{Credential, make_credential};
use assay_wire::{Digest, Domain, Kind, cbor, hash};
use rand_core::SeedableRng as _;
use zeroize::Zeroizing;

use super::challenge::{Pending, PendingEnrolment};
use super::{Answer, Engine, Refused};
use crate::beacon::random;
use crate::store::StoreError;

impl Engine {
    /// A challenge that only the TPM with this EK and this AK can answer.
    pub(super) fn enrol(&mut self, request: EnrolRequest) -> Answer {
        let now_ms = self.now_ms();
        if !self.challenges.has_room(now_ms) {
            return Err(no_room());
        }
        let facts = check_request(&request).map_err(|finding| refused(&finding))?;
        let drawn = random().and_then(|nonce| Ok((nonce, random()?, random()?)));
        let (nonce, secret, seed) = drawn.map_err(|_| no_randomness())?;
        let mut rng = rand_chacha::ChaCha20Rng::from_seed(seed.0);
        let secret = Zeroizing::new(secret.0.to_vec());
        let Credential { id_object, encrypted_secret } =
            make_credential(&facts.ek, &facts.ak_name, &secret, &mut rng)
                .map_err(|error| Refused::new(403, "enrolment.ek", error.to_string()))?;
        let challenge = EnrolChallenge { nonce, id_object, encrypted_secret };
        let body = cbor::to_vec(&challenge);
        let pending = PendingEnrolment { request, challenge, secret };
        self.challenges.insert(now_ms, nonce, Pending::Enrol(Box::new(pending)));
        Ok(body)
    }

    /// The signed record, when the answer holds.
    pub(super) fn enrol_answer(&mut self, answer: &EnrolAnswer) -> Result<Answer, StoreError> {
        let now_ms = self.now_ms();
        let Some(Pending::Enrol(pending)) = self.challenges.take(now_ms, &answer.nonce) else {
            return Ok(Err(unknown_nonce()));
        };
        let PendingEnrolment { request, challenge, secret } = &*pending;
        let (trust, policy) = (&self.parts.trust, &self.parts.policy);
        let record = match check_answer(request, challenge, secret, answer, trust, policy, now_ms) {
            Ok(record) => record,
            Err(finding) => return Ok(Err(refused(&finding))),
        };
        let envelope = self.seal(Kind::Enrolment, &record);
        let envelope_hash: Digest = hash(Domain::Envelope, &[&envelope]);
        self.parts.store.insert_enrolment(&record, &envelope_hash, &envelope)?;
        log::info!("enrolled node {} ({} TPM {:?})", record.node, record.class.name(), record.model);
        Ok(Ok(envelope))
    }
}

/// What a finding says, as a refusal.
pub(super) fn refused(finding: &Finding) -> Refused {
    let message = match &finding.seen {
        Some(seen) => format!("{}: {seen}", finding.checked),
        None => finding.checked.clone(),
    };
    Refused::new(403, finding.id, message)
}

pub(super) fn unknown_nonce() -> Refused {
    Refused::new(403, "challenge.unknown", "this nonce was never given, has been used, or has ended")
}

pub(super) fn no_room() -> Refused {
    Refused::new(503, "challenge.busy", "too many nonces are outstanding; try again in a minute")
}

pub(super) fn no_randomness() -> Refused {
    Refused::new(503, "challenge.randomness", "no randomness for a nonce; try again")
}
