//! Opening a session: nonce, evidence, receipt.
//!
//! A node has one open session: a newer one takes its place. Counters of the TPM are
//! information here. A reboot is a higher `resetCount`; after a power cut `safe` is 0 and
//! `clock` lower than before, which is a reboot like any other, for only `time` is counted on.

use assay_appraisal::{Appraisal, OpenSession, Severity, State};
use assay_gpu::device::DeviceEvidence;
use assay_ledger::enrolment::{EnrolmentRecord, TpmClass};
use assay_ledger::protocol::{ChallengeRequest, SessionChallenge};
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_ledger::session::Head;
use assay_wire::{Digest, Envelope, Kind, cbor};
use assay_x509::Seconds;

use super::challenge::Pending;
use super::enrol::{no_randomness, no_room, refused, unknown_nonce};
use super::state::{StateOf, appraise_opening, result_bytes, state_for};
use super::twins::{power, template, twin};
use super::{Answer, Engine, Opening, Refused};
use crate::beacon::random;
use crate::error::chain;
use crate::ocsp::keep_brought;
use crate::store::{NewSession, Power, SessionRow, StoreError, StoredAppraisal};

/// A record in evidence, not yet believed.
struct Carried {
    hash: Digest,
    /// Who issued it and when, by its own word.
    issuer: Digest,
    issued_ms: u64,
    record: Option<EnrolmentRecord>,
}

impl Carried {
    fn read(bytes: &[u8]) -> Self {
        let envelope = Envelope::decode_as(Kind::Enrolment, bytes).ok();
        let hash = envelope.as_ref().map(Envelope::hash).unwrap_or_default();
        let issuer = envelope.as_ref().map(|envelope| envelope.kid).unwrap_or_default();
        let record: Option<EnrolmentRecord> = envelope.and_then(|envelope| envelope.message().ok());
        Self { hash, issuer, issued_ms: record.as_ref().map_or(0, |record| record.issued_ms), record }
    }
}

/// Evidence that was accepted, with what it was accepted by.
struct Accepted<'a> {
    opening: &'a Opening,
    open: OpenSession,
    appraisal: Appraisal,
    state: State,
    record: EnrolmentRecord,
    power: Option<Power>,
    now_ms: u64,
}

impl Engine {
    /// A nonce to open a session with.
    pub(super) fn challenge(&mut self, request: ChallengeRequest) -> Answer {
        let now_ms = self.now_ms();
        if !self.challenges.has_room(now_ms) {
            return Err(no_room());
        }
        let nonce = random().map_err(|_| no_randomness())?;
        self.challenges.insert(now_ms, nonce, Pending::Session(request.node));
        Ok(cbor::to_vec(&SessionChallenge { nonce }))
    }

    /// Appraises evidence and opens its session, or gives the same receipt again.
    pub(super) fn open_session(&mut self, opening: &Opening) -> Result<Answer, StoreError> {
        if let Some(row) = self.parts.store.session(&opening.id)? {
            return Ok(self.already_open(opening, &row));
        }
        let now_ms = self.now_ms();
        match self.challenges.take(now_ms, &opening.challenge) {
            Some(Pending::Session(node)) if node == opening.node => {}
            _ => return Ok(Err(unknown_nonce())),
        }
        if !opening.devices.is_empty() {
            self.parts.rims.refresh(&self.parts.trust);
        }
        let carried = Carried::read(&opening.enrolment);
        let state = self.state_for(opening, &carried, now_ms)?;
        if !state.revocations.is_empty() {
            return Ok(Err(Refused::new(403, "enrolment.revoked", "the node or its record was revoked")));
        }
        if self.is_replaced(&carried)? {
            let message = "the node has another owner than this record says; enrol again";
            return Ok(Err(Refused::new(403, "enrolment.replaced", message)));
        }
        if let Some(fork) = fork(state.known.as_ref(), opening.previous.as_ref()) {
            return Ok(Err(fork));
        }
        let believed = (&self.parts.trust, &self.parts.policy);
        match appraise_opening(&opening.bytes, believed, &state, &opening.challenge, now_ms) {
            Ok((appraisal, Some(open))) => self.accept(opening, (appraisal, open), state, carried, now_ms),
            Ok((appraisal, None)) => Ok(Err(rejected(&appraisal))),
            Err(error) => Ok(Err(malformed(error))),
        }
    }

    /// What the validator knows of the node whose evidence this is.
    ///
    /// The record is not verified yet, and need not be: what it says can't bring it back, for its own
    /// hash and its node's id are looked up, and a false issuer or time costs it its signature.
    fn state_for(&self, opening: &Opening, carried: &Carried, now_ms: u64) -> Result<State, StoreError> {
        let of = StateOf {
            node: &opening.node,
            record: &carried.hash,
            issued: (&carried.issuer, carried.issued_ms),
            pcr0: opening.pcr0.as_ref(),
            previous: opening.previous.as_ref(),
            devices: (&opening.devices, self.parts.rims.rims()),
            ocsp: (&self.parts.ocsp, now_ms),
        };
        state_for(&self.parts.store, of)
    }

    /// Whether a record that this validator is said to have issued is of another owner or AK than its newest of that
    /// node: of before a transfer. A renewal that changed neither leaves the last record good until its end.
    fn is_replaced(&self, carried: &Carried) -> Result<bool, StoreError> {
        let own = carried.record.as_ref().filter(|_| carried.issuer == self.validator_id());
        let Some(record) = own else { return Ok(false) };
        let Some((hash, newest)) = self.parts.store.newest_record(&record.node)? else { return Ok(false) };
        let same = (&record.ak_public, record.owner) == (&newest.ak_public, newest.owner);
        Ok(hash != carried.hash && !same)
    }

    /// The answer to a node that didn't get the first one.
    fn already_open(&self, opening: &Opening, row: &SessionRow) -> Answer {
        if row.evidence_hash != opening.hash {
            return Err(Refused::new(409, "session.exists", "this session was opened with other evidence"));
        }
        if let Some(code) = &row.closed {
            return Err(closed(code));
        }
        Ok(self.session_receipt(opening, row.opened_ms))
    }

    fn accept(
        &self,
        opening: &Opening,
        (appraisal, open): (Appraisal, OpenSession),
        state: State,
        carried: Carried,
        now_ms: u64,
    ) -> Result<Answer, StoreError> {
        // Appraisal has decoded it; this is for the types.
        let Some(record) = carried.record else { return Ok(Err(malformed("enrolment record"))) };
        let last = self.parts.store.newest_power(&open.node)?;
        let power = power(&opening.time, now_ms, last.as_ref()).map(|power| Power {
            template: template(&record),
            identity: appraisal.axes.identity,
            ..power
        });
        if let Some(power) = &power {
            self.note_counters(&open.node, last.as_ref(), power, now_ms)?;
            if self.find_twins(&open.node, power, now_ms)?.is_some_and(|found| found.this) {
                return Ok(Err(twin()));
            }
        }
        self.store_session(&Accepted { opening, open, appraisal, state, record, power, now_ms })?;
        self.keep_answers(&opening.devices, now_ms);
        Ok(Ok(self.session_receipt(opening, now_ms)))
    }

    /// Keeps what responders said of devices whose chains hold. A full disk costs the answers, not the session.
    pub(super) fn keep_answers(&self, devices: &[DeviceEvidence], now_ms: u64) {
        let at = Seconds::try_from(now_ms / 1000).unwrap_or(Seconds::MAX);
        let roots = &self.parts.trust.device_roots;
        if let Err(error) = keep_brought(devices, &self.parts.ocsp, (roots, at)) {
            log::warn!("answers are not kept: {}", chain(&error));
        }
    }

    fn store_session(&self, accepted: &Accepted<'_>) -> Result<(), StoreError> {
        let Accepted { opening, open, now_ms, .. } = accepted;
        let store = &self.parts.store;
        let number = store.insert_session(&NewSession {
            id: open.id,
            node: open.node,
            key: open.start.key,
            ak_public: open.ak.public().as_bytes(),
            context: &open.context,
            evidence_hash: opening.hash,
            enrolment: open.start.enrolment,
            evidence: &opening.bytes,
            mono_ms: opening.mono_ms,
            opened_ms: *now_ms,
        })?;
        self.keep_appraisal(number, accepted)?;
        if let Some(power) = &accepted.power {
            store.set_power(number, power)?;
        }
        self.place_gpus(number, &open.node, &open.start.gpus, *now_ms)?;
        let session = accepted.appraisal.facts.sessions.last();
        let devices = session.map(|session| session.devices.as_slice()).unwrap_or_default();
        self.place_devices(number, &open.node, devices, *now_ms)?;
        self.note_firmware(accepted)?;
        self.note_records(accepted)?;
        log::info!("node {} opened session {}", open.node.short(), open.id);
        Ok(())
    }

    fn keep_appraisal(&self, number: i64, accepted: &Accepted<'_>) -> Result<(), StoreError> {
        self.parts.store.insert_appraisal(
            number,
            &StoredAppraisal {
                at_ms: accepted.now_ms,
                trust: self.parts.trust.to_toml().into_bytes(),
                policy: self.parts.policy_text.clone().into_bytes(),
                challenge: accepted.opening.challenge,
                state: cbor::to_vec(&accepted.state),
                result: result_bytes(&accepted.appraisal),
            },
        )
    }

    /// Firmware counts where hardware ran it, for an owner: a virtual TPM's PCR 0 is anybody's choice.
    ///
    /// The owner is the one of the record that this validator issued last, where it issued one: another
    /// validator's may be of before a transfer.
    fn note_firmware(&self, accepted: &Accepted<'_>) -> Result<(), StoreError> {
        let Accepted { opening, appraisal, record, .. } = accepted;
        let hardware = matches!(record.class, TpmClass::Discrete | TpmClass::Firmware);
        let own = self.parts.store.newest_record(&accepted.open.node)?;
        let owner = own.map_or(record.owner, |(_, own)| own.owner);
        let (Some(owner), Some(pcr0)) = (owner, opening.pcr0) else { return Ok(()) };
        if !hardware || appraisal.axes.identity == 0 || pcr0 == Digest::default() {
            return Ok(());
        }
        let boot = appraisal.facts.sessions.last().map(|session| &session.boot);
        let name: String = boot.and_then(|boot| boot.firmware.as_deref()).unwrap_or_default().into();
        let name: String = crate::text::plain(&name).chars().take(128).collect();
        self.parts.store.saw_firmware(&pcr0, (&accepted.open.node, &owner), &name, accepted.now_ms)
    }

    /// Records of this EK and AK by trusted validators: k of n is for a verifier's policy to ask.
    fn note_records(&self, accepted: &Accepted<'_>) -> Result<(), StoreError> {
        let own = std::iter::once(accepted.opening.enrolment.as_slice());
        for bytes in own.chain(accepted.opening.further.iter().map(|bytes| bytes.as_slice())) {
            let Ok(envelope) = Envelope::decode_as(Kind::Enrolment, bytes) else { continue };
            let Some(validator) = self.parts.trust.validators.get(&envelope.kid) else { continue };
            if envelope.verify(&validator.key, &self.parts.trust.network).is_err() {
                continue;
            }
            let Ok(record) = envelope.message::<EnrolmentRecord>() else { continue };
            let keys = |record: &EnrolmentRecord| (record.ek_public.clone(), record.ak_public.clone());
            let storable = i64::try_from(record.issued_ms.max(record.expires_ms)).is_ok();
            if storable && record.node == accepted.open.node && keys(&record) == keys(&accepted.record) {
                self.parts.store.saw_record(&envelope.kid, &envelope.hash(), &record)?;
            }
        }
        Ok(())
    }

    fn session_receipt(&self, opening: &Opening, at_ms: u64) -> Vec<u8> {
        let (session, hash) = (opening.id, opening.hash);
        self.receipt(&BeatReceipt { session, subject: Subject::Session, seq: 0, hash, at_ms })
    }
}

fn malformed(error: impl ToString) -> Refused {
    Refused::new(400, "request.malformed", error.to_string())
}

/// The answer to whoever goes on with a session that the validator closed.
pub(super) fn closed(code: &str) -> Refused {
    Refused::new(403, code, "the validator has closed this session")
}

/// A ledger that stands where ours does, with another beat there.
fn fork(known: Option<&Head>, previous: Option<&Head>) -> Option<Refused> {
    let (known, previous) = (known?, previous?);
    let same_place = (known.session, known.seq) == (previous.session, previous.seq);
    (same_place && known.head != previous.head).then(|| {
        let message = format!("beat {} of session {} is another one here", known.seq, known.session.short());
        Refused::new(403, "ledger.rollback", message)
    })
}

/// The first finding that decided against the session.
fn rejected(appraisal: &Appraisal) -> Refused {
    let fatal = appraisal.findings.iter().find(|finding| finding.severity == Severity::Fatal);
    let Some(finding) = fatal else {
        return Refused::new(403, "session.incomplete", "not every check could be made");
    };
    let mut refused = refused(finding);
    // Nodes act on this code; the finding keeps its own id in reports.
    if finding.id == "session.previous" {
        refused.refusal.code = "ledger.rollback".to_owned();
    }
    refused
}
