//! Enrolment: the validator's checks before it signs a record, and everyone's checks of a record.

use assay_ledger::anchor::AttestationKey;
use assay_ledger::enrolment::{
    EnrolAnswer, EnrolChallenge, EnrolRequest, EnrolmentRecord, FIRMWARE_PCRS, TpmClass, node_id,
    proof_input, quote_extra_data, transcript,
};
use assay_ledger::session::{Attested, PcrValue, SESSION_PCRS};
use assay_tpm::{Attest, HashAlg, Name, PcrSelection, PcrSet, Public, check_ak};
use assay_wire::{Digest, Envelope, Kind, limits};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::appraise::Basis;
use crate::ek::{self, Examined, Judged, Presented};
use crate::facts::NodeFacts;
use crate::finding::{Check, Finding, Findings, Severity};
use crate::policy::Policy;
use crate::revoked::{RecordRef, check_revoked};
use crate::session::digest_of;
use crate::state::State;
use crate::trust::Trust;

/// What a validator needs to challenge a node.
#[derive(Debug, Clone)]
pub struct EnrolFacts {
    /// The node's id.
    pub node: Digest,
    /// Its EK.
    pub ek: Public,
    /// Name of the AK to be activated.
    pub ak_name: Name,
    /// Manufacturer and model; empty without a certificate.
    pub model: String,
}

fn refuse(id: &'static str, checked: &str, seen: impl std::fmt::Display) -> Finding {
    Finding::fatal(id, "DESIGN 4.1", checked, seen)
}

/// Checks a request before any challenge is made for it; nothing here costs a signature check.
///
/// # Errors
/// The finding that ends the enrolment.
pub fn check_request(request: &EnrolRequest) -> Result<EnrolFacts, Finding> {
    examined_request(request).map(|(facts, _)| facts)
}

fn examined_request(request: &EnrolRequest) -> Result<(EnrolFacts, Examined), Finding> {
    let long = |bytes: &[u8]| bytes.len() > limits::TPM_STRUCTURE;
    if long(&request.ek_public) || long(&request.ak_public) {
        return Err(refuse("enrolment.size", "public areas are small", "more than 4096 bytes"));
    }
    let ek = Public::parse(&request.ek_public).map_err(|e| refuse("enrolment.ek", "the EK parses", e))?;
    let ak = Public::parse(&request.ak_public).map_err(|e| refuse("enrolment.ak", "the AK parses", e))?;
    check_ak(&ak).map_err(|e| refuse("enrolment.ak", "the AK is a restricted signing key", e))?;
    let mut findings = Findings::default();
    let examined = ek::examine(&Presented::request(request), &ek, &mut findings);
    first_fatal(findings)?;
    let examined = examined.unwrap_or_default();
    let facts = EnrolFacts {
        node: node_id(&request.ek_public),
        ek,
        ak_name: ak.name().map_err(|e| refuse("enrolment.ak", "the AK has a Name", e))?,
        model: examined.model(),
    };
    Ok((facts, examined))
}

/// The finding that ends the matter, if one does.
fn first_fatal(findings: Findings) -> Result<(), Finding> {
    let fatal = findings.into_vec().into_iter().find(|finding| finding.severity == Severity::Fatal);
    fatal.map_or(Ok(()), Err)
}

/// Checks the answer to a challenge and writes the record to sign.
///
/// # Errors
/// The finding that ends the enrolment.
pub fn check_answer(
    request: &EnrolRequest,
    challenge: &EnrolChallenge,
    secret: &[u8],
    answer: &EnrolAnswer,
    trust: &Trust,
    policy: &Policy,
    now_ms: u64,
) -> Result<EnrolmentRecord, Finding> {
    let (facts, examined) = examined_request(request)?;
    let bound = transcript(request, challenge);
    if answer.nonce != challenge.nonce {
        return Err(refuse("enrolment.nonce", "the answer is to this challenge", answer.nonce));
    }
    check_proof(secret, &bound, &answer.proof)?;
    let attest = check_quote(request, &bound, answer)?;
    let ak = Public::parse(&request.ak_public).map_err(|e| refuse("enrolment.ak", "the AK parses", e))?;
    let mut findings = Findings::default();
    let presented = Presented::request(request);
    let judged = ek::vouch(&presented, &examined, &ak, attest.firmware_version, trust, now_ms, &mut findings);
    first_fatal(findings)?;
    let record = EnrolmentRecord {
        node: facts.node,
        ek_public: request.ek_public.clone(),
        ek_certificates: request.ek_certificates.clone(),
        ak_public: request.ak_public.clone(),
        class: judged.class,
        model: facts.model,
        firmware_version: attest.firmware_version,
        reset_count: attest.clock_info.reset_count,
        issued_ms: now_ms,
        expires_ms: now_ms.saturating_add(policy.record_ms),
        ek_chain: request.ek_chain.clone(),
        platform_certificates: request.platform_certificates.clone(),
        device_certificates: request.device_certificates.clone(),
        owner: request.owner,
        firmware: firmware(&answer.pcrs),
    };
    let identity = identity(&record, &judged, trust);
    if identity < policy.floor.identity {
        let floor = format!("I{identity}, the policy asks for I{}", policy.floor.identity);
        return Err(refuse("enrolment.identity", "the TPM is one that the policy takes", floor));
    }
    Ok(record)
}

/// Only the TPM that holds both EK and AK could unwrap the secret (TPM 2.0 Part 1 24).
fn check_proof(secret: &[u8], transcript: &Digest, proof: &Digest) -> Result<(), Finding> {
    let failed = |seen| refuse("enrolment.activation", "EK and AK live in one TPM", seen);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| failed("no secret"))?;
    mac.update(&proof_input(transcript).0);
    mac.verify_slice(&proof.0).map_err(|_| failed("the proof does not hold"))
}

fn check_quote(request: &EnrolRequest, transcript: &Digest, answer: &EnrolAnswer) -> Result<Attest, Finding> {
    let failed = |seen: String| refuse("enrolment.quote", "the AK quotes over this exchange", seen);
    let ak = AttestationKey::parse(&request.ak_public).map_err(|e| failed(e.to_string()))?;
    let attested = Attested { attest: answer.attest.clone(), signature: answer.signature.clone() };
    let attest = ak.check(&attested, &quote_extra_data(transcript)).map_err(|e| failed(e.to_string()))?;
    let quote = attest.quote().map_err(|e| failed(e.to_string()))?;
    if !is_session_selection(&quote.selection) {
        return Err(failed("another PCR selection".to_owned()));
    }
    let listed = answer.pcrs.iter().map(|p| p.pcr).eq(SESSION_PCRS);
    if !listed || digest_of(&quote.selection, &answer.pcrs).as_ref() != Some(&quote.pcr_digest) {
        return Err(refuse("enrolment.pcrs", "the PCR values are the quoted ones", "others"));
    }
    Ok(attest)
}

/// What a record keeps of the quoted PCRs.
fn firmware(pcrs: &[PcrValue]) -> Vec<PcrValue> {
    pcrs.iter().filter(|p| FIRMWARE_PCRS.contains(&p.pcr)).copied().collect()
}

/// Whether a signed selection is exactly the SHA-256 PCRs that sessions quote.
pub(crate) fn is_session_selection(selection: &[PcrSelection]) -> bool {
    let Some(pcrs) = PcrSet::from_indices(&SESSION_PCRS) else { return false };
    matches!(selection, [one] if one.alg == HashAlg::Sha256 && one.pcrs == pcrs)
}

/// Axis I of a record: what the verifier itself can see. The record's class can only lower it.
fn identity(record: &EnrolmentRecord, judged: &Judged, trust: &Trust) -> u8 {
    let hardware = |class| matches!(class, TpmClass::Discrete | TpmClass::Firmware);
    match lower(judged.class, record.class) {
        TpmClass::Virtual => 0,
        class if judged.hardware && hardware(class) => 2,
        _ if trust.pinned_nodes.contains(&record.node) => 1,
        _ => 0,
    }
}

/// The verifier's own judgement, or the record's where that one is worse.
const fn lower(own: TpmClass, record: TpmClass) -> TpmClass {
    match (own, record) {
        (TpmClass::Virtual, _) | (_, TpmClass::Virtual) => TpmClass::Virtual,
        (_, TpmClass::Unknown) => TpmClass::Unknown,
        (own, _) => own,
    }
}

/// A record that was believed.
pub(crate) struct Enrolled {
    pub(crate) record: EnrolmentRecord,
    pub(crate) hash: Digest,
    pub(crate) identity: u8,
    pub(crate) ak: AttestationKey,
    pub(crate) facts: NodeFacts,
}

const SIGNER: Check = Check {
    id: "enrolment.validator",
    spec: "DESIGN 2",
    checked: "the enrolment record is signed by a validator in the trust file",
};
const NODE: Check =
    Check { id: "enrolment.node-id", spec: "DESIGN 4.1", checked: "the node id is the hash of the EK" };
const KEYS: Check = Check { id: "enrolment.keys", spec: "DESIGN 4.1", checked: "EK and AK are well-formed" };
const VALID: Check =
    Check { id: "enrolment.validity", spec: "DESIGN 4.1", checked: "the enrolment record is in force" };
const IDENTITY: Check = Check { id: "identity.tpm", spec: "DESIGN 2", checked: "what stands behind the EK" };

/// Appraises a record's envelope; findings say why it was not believed.
///
/// `firmware` is the TPM's firmware version where something of a later day than the record tells it: the one that
/// is held against versions known to be broken, for the record's is that of enrolment day.
pub(crate) fn appraise_record(
    bytes: &[u8],
    firmware: Option<u64>,
    basis: Basis<'_>,
    findings: &mut Findings,
) -> Option<Enrolled> {
    let Basis { trust, policy, state, now_ms } = basis;
    let envelope = Envelope::decode_as(Kind::Enrolment, bytes);
    let envelope = findings.result(WELL_FORMED, "one envelope", envelope)?;
    let Some(validator) = trust.validators.get(&envelope.kid) else {
        findings.fail(
            SIGNER,
            Severity::Fatal,
            "a validator in the trust file",
            format!("unknown validator {}", envelope.kid.short()),
        );
        return None;
    };
    findings.result(SIGNER, &validator.name, envelope.verify(&validator.key, &trust.network))?;
    let record: EnrolmentRecord = findings.result(WELL_FORMED, "one record", envelope.message())?;
    if !findings.equal(NODE, node_id(&record.ek_public), record.node) {
        return None;
    }
    let (ak, ek) = findings.result(KEYS, record.class.name(), keys(&record))?;
    let (node, hash, issuer, issued_ms) = (&record.node, &envelope.hash(), &envelope.kid, record.issued_ms);
    let named = RecordRef { node, hash, issuer, issued_ms };
    if !check_revoked(named, trust, state, now_ms, findings) {
        return None;
    }
    validity(&record, now_ms, policy.skew_ms, findings);
    let presented = Presented::record(&record);
    let examined = ek::examine(&presented, &ek, findings)?;
    let version = firmware.unwrap_or(record.firmware_version);
    let mut judged = ek::vouch(&presented, &examined, ak.public(), version, trust, now_ms, findings);
    // What was a virtual TPM's version on one day is no chip's on another.
    if trust.store.is_virtual(&examined.names.model, Some(record.firmware_version)) {
        judged.class = TpmClass::Virtual;
    }
    let class = lower(judged.class, record.class);
    let identity = identity(&record, &judged, trust);
    findings.push(Finding::new(IDENTITY.id, Severity::Info, IDENTITY.spec, IDENTITY.checked).saw(format!(
        "{} TPM {:?}: I{identity}",
        class.name(),
        examined.model()
    )));
    let facts = NodeFacts {
        id: record.node.to_string(),
        tpm_class: class.name(),
        tpm_model: examined.model(),
        ek: ek_kind(&ek),
        authority: judged.authority,
        platforms: judged.machine.platforms,
        devices: judged.machine.devices,
        enrolled_by: validator.name.clone(),
        enrolled_ms: record.issued_ms,
        expires_ms: record.expires_ms,
    };
    Some(Enrolled { hash: envelope.hash(), record, identity, ak, facts })
}

/// Axis I of the node that a record's envelope is of, by this one record and whatever the threshold is; `None` when
/// the record is not believed.
pub fn record_identity(
    bytes: &[u8],
    trust: &Trust,
    policy: &Policy,
    state: &State,
    now_ms: u64,
) -> Option<u8> {
    let basis = Basis { trust, policy, state, now_ms };
    appraise_record(bytes, None, basis, &mut Findings::default()).map(|enrolled| enrolled.identity)
}

const WELL_FORMED: Check =
    Check { id: "enrolment.form", spec: "DESIGN 4.6", checked: "the enrolment record decodes" };

fn keys(record: &EnrolmentRecord) -> Result<(AttestationKey, Public), String> {
    let ek = Public::parse(&record.ek_public).map_err(|e| e.to_string())?;
    let ak = AttestationKey::parse(&record.ak_public).map_err(|e| e.to_string())?;
    check_ak(ak.public()).map_err(|e| e.to_string())?;
    Ok((ak, ek))
}

/// Clocks of validator and verifier may differ a little.
fn validity(record: &EnrolmentRecord, now_ms: u64, skew_ms: u64, findings: &mut Findings) {
    let (from, to) = (record.issued_ms, record.expires_ms);
    match from <= now_ms.saturating_add(skew_ms) && now_ms < to {
        true => findings.pass(VALID, format!("{} days left", (to - now_ms) / 86_400_000)),
        false => findings.fail(VALID, Severity::Fatal, format!("{from}..{to} ms"), format!("{now_ms} ms")),
    }
}

fn ek_kind(ek: &Public) -> String {
    match ek.kind() {
        assay_tpm::KeyKind::Rsa { modulus, .. } => format!("RSA-{}", modulus.len() * 8),
        assay_tpm::KeyKind::Ecc { curve, .. } => format!("ECC {curve}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity_of(own: TpmClass, hardware: bool, said: TpmClass, pinned: bool) -> u8 {
        let record = EnrolmentRecord {
            node: Digest([1; 32]),
            ek_public: vec![],
            ek_certificates: vec![],
            ak_public: vec![],
            class: said,
            model: String::new(),
            firmware_version: 1,
            reset_count: 0,
            issued_ms: 0,
            expires_ms: 0,
            ek_chain: vec![],
            platform_certificates: vec![],
            device_certificates: vec![],
            owner: None,
            firmware: vec![],
        };
        let mut trust = Trust::of(assay_wire::Network::new("test"));
        trust.pinned_nodes.extend(pinned.then_some(record.node));
        let judged = Judged { class: own, authority: None, hardware, machine: Default::default() };
        identity(&record, &judged, &trust)
    }

    #[test]
    fn only_vouched_hardware_is_i2_and_only_a_pin_is_i1() {
        use TpmClass::{Discrete, Firmware, Unknown, Virtual};
        assert_eq!(identity_of(Discrete, true, Discrete, false), 2);
        assert_eq!(identity_of(Firmware, true, Firmware, false), 2);
        assert_eq!(identity_of(Discrete, false, Discrete, false), 0, "nobody vouches");
        assert_eq!(identity_of(Discrete, false, Discrete, true), 1);
        assert_eq!(identity_of(Unknown, false, Unknown, true), 1);
        assert_eq!(identity_of(Virtual, true, Discrete, true), 0, "virtual is I0, pinned or not");
        assert_eq!(identity_of(Discrete, true, Virtual, true), 0, "so says the record");
        assert_eq!(identity_of(Discrete, true, Unknown, false), 0);
    }

    #[test]
    fn a_record_can_only_lower_a_class() {
        use TpmClass::{Discrete, Firmware, Unknown, Virtual};
        for (own, record, seen) in [
            (Discrete, Discrete, Discrete),
            (Discrete, Virtual, Virtual),
            (Virtual, Discrete, Virtual),
            (Unknown, Virtual, Virtual),
            (Discrete, Unknown, Unknown),
            (Unknown, Discrete, Unknown),
            (Firmware, Discrete, Firmware),
        ] {
            assert_eq!(lower(own, record), seen, "{own:?} {record:?}");
        }
    }
}
