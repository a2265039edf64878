//! Enrolment: request, challenge, answer, record.
//!
//! In order: what the request says of itself (`check_request`), whose keys these are
//! ([`super::keys`]), whether the node was revoked, whose it is ([`super::owner`]), how soon
//! after its last AK this one comes; then the credential. All of it is asked again at the
//! answer, for two exchanges may run side by side.
//!
//! A new record takes the place of the last one. With another AK every earlier one is revoked, and
//! what ran under them is closed. With another owner the earlier ones open no further session
//! ([`super::session`]); what runs goes on, for its evidence was made before.

use assay_appraisal::{Finding, State, check_answer, check_request, record_identity};
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

/// Records of one AK that a node may get in a row: it loses its disk now and then.
const RENEWALS: usize = 16;

/// What a request passed with.
struct Admitted {
    node: Digest,
    keys: Keys,
    /// The node's newest record and its hash, before this one.
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
        let weight = record_identity(&envelope, trust, policy, &State::default(), now_ms).unwrap_or_default();
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
        if let Some(refused) = self.too_soon(request, record, allowed)? {
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

    /// Each record becomes an entry of a list that never shrinks when a new AK comes. So neither new AKs nor
    /// more than [`RENEWALS`] records of one AK come oftener than the configuration says.
    fn too_soon(
        &self,
        request: &EnrolRequest,
        last: Option<&EnrolmentRecord>,
        allowed: bool,
    ) -> Result<Option<Refused>, StoreError> {
        let Some(last) = last.filter(|_| !allowed) else { return Ok(None) };
        if self.now_ms() >= last.issued_ms.saturating_add(self.parts.ak_change_ms) {
            return Ok(None);
        }
        if last.ak_public != request.ak_public {
            let message = "the node's last AK is too new to be replaced; try again later";
            return Ok(Some(Refused::new(429, "enrolment.ak-pace", message)));
        }
        let full = self.parts.store.standing_records(&last.node)?.len() >= RENEWALS;
        let message = "the node has enrolled often, and its last record is new; try again later";
        Ok(full.then(|| Refused::new(429, "enrolment.pace", message)))
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
            Some((_, previous)) if previous.ak_public != record.ak_public => {
                self.retire(node, &envelope_hash, now_ms)
            }
            _ => Ok(()),
        }
    }

    /// Takes all records of a node but this one back, because it has another AK than they.
    fn retire(&mut self, node: &Digest, newest: &Digest, now_ms: u64) -> Result<(), StoreError> {
        let store = &self.parts.store;
        for record in store.standing_records(node)?.into_iter().filter(|record| record != newest) {
            let (kind, reason) = (RevokedKind::Record, "new AK".to_owned());
            store.insert_revocation(&Revocation { kind, digest: record, at_ms: now_ms, reason })?;
            store.close_sessions(&record, "enrolment.revoked")?;
        }
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
