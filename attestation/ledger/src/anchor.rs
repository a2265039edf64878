//! Anchors: the TPM's word that it was on, and that the chain's head existed, at a beacon's slot.

use assay_tpm::{Attest, Name, Public, Signature, TpmError};
use assay_wire::{Digest, Domain, hash};
use minicbor::{Decode, Encode};

use crate::session::Attested;

/// The payload of an envelope of kind `anchor`; `kid` is the session's id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Anchor {
    /// Sequence number of the chain's head; 0 before the first beat.
    #[n(0)]
    pub seq: u64,
    /// The head: envelope hash of that beat, or the session's id.
    #[n(1)]
    pub head: Digest,
    /// Envelope hash of the beacon whose slot this is.
    #[n(2)]
    pub beacon: Digest,
    /// Milliseconds since boot when the TPM was asked.
    #[n(3)]
    pub mono_ms: u64,
    /// TPM2_GetTime.
    #[n(4)]
    pub time: Attested,
    /// TPM2_Quote over the session's PCRs.
    #[n(5)]
    pub quote: Attested,
}

/// `extraData` of an anchor's attestation; `domain` is `AnchorTime` or `AnchorQuote`.
pub fn extra_data(domain: Domain, session: &Digest, anchor: &AnchorPoint) -> Digest {
    let (seq, mono) = (anchor.seq.to_be_bytes(), anchor.mono_ms.to_be_bytes());
    hash(domain, &[&session.0, &seq, &anchor.head.0, &anchor.beacon.0, &mono])
}

/// Where in the chain an anchor stands: what its attestations are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorPoint {
    /// As [`Anchor::seq`].
    pub seq: u64,
    /// As [`Anchor::head`].
    pub head: Digest,
    /// As [`Anchor::beacon`].
    pub beacon: Digest,
    /// As [`Anchor::mono_ms`].
    pub mono_ms: u64,
}

/// What the TPM said, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TpmInstant {
    /// Milliseconds since the TPM was powered on (TPMS_TIME_INFO.time).
    pub time_ms: u64,
    /// TPM resets so far.
    pub reset_count: u32,
    /// Restarts and resumes since the last reset.
    pub restart_count: u32,
    /// `firmwareVersion`.
    pub firmware_version: u64,
}

/// Why an attestation by the AK was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttestFault {
    /// TPMS_ATTEST or TPMT_SIGNATURE does not parse, or is of the wrong type.
    #[error("malformed attestation: {0}")]
    Malformed(#[source] TpmError),
    /// `qualifiedSigner` is not this AK in the endorsement hierarchy.
    #[error("signed by another key than the enrolled AK, or in another hierarchy")]
    Signer,
    /// `extraData` is over something else.
    #[error("extraData is over something else")]
    ExtraData,
    /// The signature does not hold under the AK.
    #[error("signature: {0}")]
    Signature(#[source] TpmError),
    /// The quote's PCR digest is not the one the session opened with.
    #[error("PCRs differ from the session's opening quote")]
    Pcrs,
    /// `resetCount` or `restartCount` moved inside a session.
    #[error("the TPM was reset or resumed inside the session")]
    Reset,
}

/// An AK taken from an enrolment record.
#[derive(Debug, Clone)]
pub struct AttestationKey {
    public: Public,
    qualified_name: Name,
}

impl AttestationKey {
    /// The AK with this TPMT_PUBLIC, a primary key of the endorsement hierarchy.
    ///
    /// # Errors
    /// [`TpmError`] when it does not parse or its Name cannot be computed.
    pub fn parse(ak_public: &[u8]) -> Result<Self, TpmError> {
        let public = Public::parse(ak_public)?;
        let name = public.name()?;
        Ok(Self { qualified_name: assay_tpm::qualified_name(assay_tpm::RH_ENDORSEMENT, &name), public })
    }

    /// The public area.
    pub fn public(&self) -> &Public {
        &self.public
    }

    /// Checks type, signer, `extraData` and signature (TPM 2.0 Part 2 10.12.8, Part 1 31).
    ///
    /// # Errors
    /// The first [`AttestFault`] in that order.
    pub fn check(&self, attested: &Attested, extra_data: &Digest) -> Result<Attest, AttestFault> {
        let attest = Attest::parse(&attested.attest).map_err(AttestFault::Malformed)?;
        let signature = Signature::parse(&attested.signature).map_err(AttestFault::Malformed)?;
        if attest.qualified_signer != self.qualified_name.as_bytes() {
            return Err(AttestFault::Signer);
        }
        if attest.extra_data != extra_data.0 {
            return Err(AttestFault::ExtraData);
        }
        self.public.verify(&attested.attest, &signature).map_err(AttestFault::Signature)?;
        Ok(attest)
    }

    /// Checks a GetTime attestation.
    ///
    /// # Errors
    /// As [`AttestationKey::check`]; a quote where a time is due is malformed.
    pub fn check_time(&self, attested: &Attested, extra_data: &Digest) -> Result<TpmInstant, AttestFault> {
        let attest = self.check(attested, extra_data)?;
        let time = attest.time().map_err(AttestFault::Malformed)?;
        Ok(TpmInstant {
            time_ms: time.time,
            reset_count: time.clock_info.reset_count,
            restart_count: time.clock_info.restart_count,
            firmware_version: time.firmware_version,
        })
    }
}

/// What an anchor is checked against: the session it belongs to.
#[derive(Debug, Clone)]
pub struct AnchorContext {
    /// The session.
    pub session: Digest,
    /// PCR digest of its opening quote.
    pub pcr_digest: Vec<u8>,
    /// The TPM's clock when it opened.
    pub opened: TpmInstant,
}

impl Anchor {
    /// Where in the chain it stands.
    pub fn point(&self) -> AnchorPoint {
        AnchorPoint { seq: self.seq, head: self.head, beacon: self.beacon, mono_ms: self.mono_ms }
    }

    /// Checks both attestations against the session.
    ///
    /// That the head is in the chain and the beacon is real is for the caller.
    ///
    /// # Errors
    /// The first [`AttestFault`].
    pub fn check(&self, ak: &AttestationKey, context: &AnchorContext) -> Result<TpmInstant, AttestFault> {
        let over = |domain| extra_data(domain, &context.session, &self.point());
        let instant = ak.check_time(&self.time, &over(Domain::AnchorTime))?;
        let quote = ak.check(&self.quote, &over(Domain::AnchorQuote))?;
        if quote.quote().map_err(AttestFault::Malformed)?.pcr_digest != context.pcr_digest {
            return Err(AttestFault::Pcrs);
        }
        let counts = |i: &TpmInstant| (i.reset_count, i.restart_count);
        let quoted = (quote.clock_info.reset_count, quote.clock_info.restart_count);
        if counts(&instant) != counts(&context.opened) || quoted != counts(&context.opened) {
            return Err(AttestFault::Reset);
        }
        Ok(instant)
    }
}
