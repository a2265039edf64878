//! Enrolment: request, challenge, answer, record.
//!
//! In order: what the request says of itself (`check_request`), whose keys these are
//! ([`super::keys`]), whether the node was revoked, whose it is ([`super::owner`]), how soon
//! after its last AK this one comes; then the credential. All of it is asked again at the
//! answer, for two exchanges may run side by side.
//!
//! A new record takes the place of the last one. With another AK the last one is revoked, and
//! what ran under it is closed.

use assay_appraisal::{Finding, State, appraise, check_answer, check_request};
use assay_ledger::enrolment::{EnrolAnswer, EnrolChallenge, EnrolRequest, EnrolmentRecord, node_id};
use assay_ledger::revocation::{Revocation, RevokedKind};
use assay_tpm::{Credential, make_credential};
use assay_wire::{Digest, Domain, Kind, cbor, hash};
use rand_core::SeedableRng as _;
use zeroize::Zeroizing;

use super::challenge::{Pending, PendingEnrolment};
use super::keys::Keys;
use super::owner::Ownership;
use super::{Answer, Engine, Refused};
use crate::beacon::random;
use crate::store::StoreError;

/// What a request passed with.
struct Admitted {
    node: Digest,
    keys: Keys,
    /// The node's newest record and its hash.
    previous: Option<(Digest, EnrolmentRecord)>,
    /// An administrator's permission, used up by the record.
    allowed: bool,
    /// Time of the owner's transfer, when one was used.
    transfer_ms: Option<u64>,
}

impl Engine {
    /// A challenge that only the TPM with this EK and this AK can answer.
    pub(super) fn enrol(&mut self, request: EnrolRequest) -> Result<Answer, StoreError> {
        let now_ms = self.now_ms();
        if !self.challenges.has_room(now_ms) {
            return Ok(Err(no_room()));
        }
        let facts = match check_request(&request) {
            Ok(facts) => facts,
            Err(finding) => return Ok(Err(refused(&finding))),
        };
        if let Err(refused) = self.admit(&request, None)? {
            return Ok(Err(refused));
        }
        let drawn = random().and_then(|nonce| Ok((nonce, random()?, random()?)));
        let Ok((nonce, secret, seed)) = drawn else { return Ok(Err(no_randomness())) };
        let mut rng = rand_chacha::ChaCha20Rng::from_seed(seed.0);
        let secret = Zeroizing::new(secret.0.to_vec());
        let made = make_credential(&facts.ek, &facts.ak_name, &secret, &mut rng);
        let Credential { id_object, encrypted_secret } = match made {
            Ok(credential) => credential,
            Err(error) => return Ok(Err(Refused::new(403, "enrolment.ek", error.to_string()))),
        };
        let challenge = EnrolChallenge { nonce, id_object, encrypted_secret };
        let body = cbor::to_vec(&challenge);
        let pending = PendingEnrolment { request, challenge, secret };
        self.challenges.insert(now_ms, nonce, Pending::Enrol(Box::new(pending)));
        Ok(Ok(body))
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
        let weight = appraise(&envelope, trust, policy, &State::default(), now_ms)
            .map_or(0, |appraisal| appraisal.axes.identity);
        match self.admit(request, Some(weight))? {
            Ok(admitted) => self.enrolled(&admitted, &record, &envelope, weight)?,
            Err(refused) => return Ok(Err(refused)),
        }
        log::info!("enrolled node {} ({} TPM {:?})", record.node, record.class.name(), record.model);
        Ok(Ok(envelope))
    }

    /// Whether this node may enrol, as far as the store knows; nothing is changed.
    fn admit(
        &self,
        request: &EnrolRequest,
        weight: Option<u8>,
    ) -> Result<Result<Admitted, Refused>, StoreError> {
        let (store, now_ms) = (&self.parts.store, self.now_ms());
        let node = node_id(&request.ek_public);
        let allowed = store.is_allowed(&node)?;
        let keys = match Keys::read(request) {
            Ok(keys) => keys,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Err(refused) = keys.check(store, &node, weight, allowed)? {
            return Ok(Err(refused));
        }
        let previous = store.newest_record(&node)?;
        let record = previous.as_ref().map(|(_, record)| record);
        // A renewal must not undo a revocation of the whole node, only a permission does.
        let issued_ms = record.map_or(0, |record| record.issued_ms);
        let standing = store.standing(&node, &Digest::default(), (&self.validator_id(), issued_ms))?;
        if !allowed && !standing.is_empty() {
            let message = "the node was revoked; its validator's operator can allow it to enrol again";
            return Ok(Err(Refused::new(403, "enrolment.revoked", message)));
        }
        if let Some(refused) = self.too_soon(request, record, allowed) {
            return Ok(Err(refused));
        }
        let (last_ms, network) = (store.last_transfer(&node)?, &self.parts.trust.network);
        let ownership = Ownership { record, last_ms, allowed, network, now_ms };
        let transfer_ms = match ownership.check(request, &node) {
            Ok(transfer_ms) => transfer_ms,
            Err(refused) => return Ok(Err(refused)),
        };
        Ok(Ok(Admitted { node, keys, previous, allowed, transfer_ms }))
    }

    /// Each new AK adds an entry to a list that never shrinks: not oftener than the configuration says.
    fn too_soon(
        &self,
        request: &EnrolRequest,
        last: Option<&EnrolmentRecord>,
        allowed: bool,
    ) -> Option<Refused> {
        let last = last.filter(|last| last.ak_public != request.ak_public && !allowed)?;
        let due_ms = last.issued_ms.saturating_add(self.parts.ak_change_ms);
        let message = "the node's last AK is too new to be replaced; try again later";
        (self.now_ms() < due_ms).then(|| Refused::new(429, "enrolment.ak-pace", message))
    }

    fn enrolled(
        &mut self,
        admitted: &Admitted,
        record: &EnrolmentRecord,
        envelope: &[u8],
        weight: u8,
    ) -> Result<(), StoreError> {
        let (store, node, now_ms) = (&self.parts.store, &admitted.node, record.issued_ms);
        let envelope_hash = hash(Domain::Envelope, &[envelope]);
        store.insert_enrolment(record, &envelope_hash, envelope)?;
        store.saw_record(&self.validator_id(), &envelope_hash, record)?;
        admitted.keys.index(store, node, weight, now_ms)?;
        if let Some(at_ms) = admitted.transfer_ms {
            store.set_transfer(node, at_ms)?;
        }
        if admitted.allowed {
            store.use_permission(node)?;
        }
        match &admitted.previous {
            Some((old, previous)) if previous.ak_public != record.ak_public => self.retire(old, now_ms),
            _ => Ok(()),
        }
    }

    /// Takes a record back because its node has another AK now.
    fn retire(&mut self, record: &Digest, now_ms: u64) -> Result<(), StoreError> {
        let reason = "new AK".to_owned();
        let entry = Revocation { kind: RevokedKind::Record, digest: *record, at_ms: now_ms, reason };
        self.parts.store.insert_revocation(&entry)?;
        self.parts.store.close_sessions(record, "enrolment.revoked")?;
        self.revocations = None;
        Ok(())
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
