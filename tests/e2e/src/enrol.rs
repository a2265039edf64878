//! Enrolment, step by step: request, challenge, answer, record.

use assay_appraisal::{Finding, check_answer, check_request};
use assay_attester::TpmError;
use assay_ledger::enrolment::{
    EnrolAnswer, EnrolChallenge, EnrolRequest, EnrolmentRecord, TpmClass, node_id, proof_input,
    quote_extra_data, transcript,
};
use assay_ledger::session::SESSION_PCRS;
use assay_tpm::{Public, make_credential};
use assay_wire::{Digest, Envelope, Kind, SigningKey};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::{Attester, Chip, Lab, Node, Paper, Validator};

impl Lab {
    /// A node with a new software TPM, enrolled; `None` after a SKIPPED line.
    pub fn chip(&mut self) -> Option<Node<Chip>> {
        let mut node = Node::new(Chip::new()?);
        let record = self.enrol(&mut node, |_| {}).unwrap();
        node.record = self.sign_record(0, &record);
        Some(node)
    }

    /// A node with a TPM of paper, and the record that a deceived validator would sign for it.
    pub fn paper(&mut self, seed: u8) -> Node<Paper> {
        let mut node = Node::new(Paper::new(seed));
        node.record = self.sign_record(0, &self.record_of(&node));
        node
    }

    /// What a node asks to be enrolled as.
    pub fn request<T: Attester>(&mut self, node: &Node<T>) -> EnrolRequest {
        let identity = &node.identity;
        let session_key = SigningKey::from_seed(&self.random().0).verifying_key();
        let (ek, ak) = (identity.ek_public.clone(), identity.ak_public.clone());
        EnrolRequest {
            ek_certificates: identity.ek_certificates.iter().map(|der| der.clone().into()).collect(),
            ..EnrolRequest::new(ek, ak, session_key, self.random())
        }
    }

    /// The validator's challenge and the secret in it.
    ///
    /// # Errors
    /// What the request was refused for.
    pub fn challenge(&mut self, request: &EnrolRequest) -> Result<(EnrolChallenge, Digest), Finding> {
        let facts = check_request(request)?;
        let (nonce, secret) = (self.random(), self.random());
        let made = make_credential(&facts.ek, &facts.ak_name, &secret.0, self.rng()).unwrap();
        let (id_object, encrypted_secret) = (made.id_object, made.encrypted_secret);
        Ok((EnrolChallenge { nonce, id_object, encrypted_secret }, secret))
    }

    /// The whole of an enrolment, the answer changed before it is sent.
    ///
    /// # Errors
    /// What it was refused for.
    pub fn enrol(
        &mut self,
        node: &mut Node<Chip>,
        change: impl FnOnce(&mut EnrolAnswer),
    ) -> Result<EnrolmentRecord, Finding> {
        let request = self.request(node);
        let (challenge, secret) = self.challenge(&request)?;
        let mut answer = answer(node, &request, &challenge).unwrap();
        change(&mut answer);
        self.check_answer(&request, &challenge, &secret, &answer)
    }

    /// The validator's decision.
    ///
    /// # Errors
    /// What it was refused for.
    pub fn check_answer(
        &self,
        request: &EnrolRequest,
        challenge: &EnrolChallenge,
        secret: &Digest,
        answer: &EnrolAnswer,
    ) -> Result<EnrolmentRecord, Finding> {
        check_answer(request, challenge, &secret.0, answer, &self.trust, &self.policy, self.unix_ms)
    }

    /// A record for this node, without any proof asked for.
    pub fn record_of<T: Attester>(&self, node: &Node<T>) -> EnrolmentRecord {
        let identity = &node.identity;
        EnrolmentRecord {
            node: node_id(&identity.ek_public),
            ek_public: identity.ek_public.clone(),
            ek_certificates: identity.ek_certificates.iter().map(|der| der.clone().into()).collect(),
            ak_public: identity.ak_public.clone(),
            class: TpmClass::Unknown,
            model: String::new(),
            firmware_version: identity.properties.firmware_version,
            reset_count: 0,
            issued_ms: self.unix_ms,
            expires_ms: self.unix_ms + self.policy.record_ms,
            ek_chain: vec![],
            platform_certificates: vec![],
            device_certificates: vec![],
            owner: None,
            firmware: vec![],
        }
    }

    /// A record as a validator of this lab signs it.
    pub fn sign_record(&self, validator: usize, record: &EnrolmentRecord) -> Vec<u8> {
        self.sign_record_as(&self.validators[validator], record)
    }

    /// A record as any validator signs it.
    pub fn sign_record_as(&self, validator: &Validator, record: &EnrolmentRecord) -> Vec<u8> {
        Envelope::seal(Kind::Enrolment, validator.id, record, &validator.key, &self.trust.network)
    }
}

/// What the node's TPM answers to a challenge.
///
/// # Errors
/// The TPM refuses a credential that is not for its EK and its AK.
pub fn answer(
    node: &mut Node<Chip>,
    request: &EnrolRequest,
    challenge: &EnrolChallenge,
) -> Result<EnrolAnswer, TpmError> {
    let tpm = node.attester.tpm();
    let secret = tpm.activate_credential(&challenge.id_object, &challenge.encrypted_secret)?;
    Ok(answer_knowing(&secret, node, request, challenge))
}

/// What someone answers who knows, or guesses, the secret.
pub fn answer_knowing<T: Attester>(
    secret: &[u8],
    node: &mut Node<T>,
    request: &EnrolRequest,
    challenge: &EnrolChallenge,
) -> EnrolAnswer {
    let bound = transcript(request, challenge);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(&proof_input(&bound).0);
    let proof = Digest(mac.finalize().into_bytes().into());
    let (quote, pcrs) = node.attester.quote(&quote_extra_data(&bound), &SESSION_PCRS);
    EnrolAnswer { nonce: challenge.nonce, proof, attest: quote.attest, signature: quote.signature, pcrs }
}

/// A public area with its parts changed.
pub fn changed(public: &[u8], change: impl FnOnce(&mut assay_tpm::PublicParts)) -> Vec<u8> {
    let mut parts = Public::parse(public).unwrap().parts().clone();
    change(&mut parts);
    Public::from_parts(&parts).unwrap().to_bytes()
}
