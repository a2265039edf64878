//! A key in memory that plays a TPM: for virtual time, and for statements that no TPM would sign.

use std::collections::BTreeMap;

use assay_attester::{Identity, Properties};
use assay_boot::EventLog;
use assay_demo::simulated_boot::write_log;
use assay_ledger::session::{Attested, PcrValue};
use assay_tpm::{
    AK_ATTRIBUTES, Attest, AttestBody, Attributes, ClockInfo, Curve, HashAlg, KeyKind, PcrSelection, PcrSet,
    Public, PublicParts, QuoteInfo, RH_ENDORSEMENT, Scheme, Signature, Symmetric, TimeInfo, pcr_digest,
    qualified_name,
};
use assay_wire::Digest;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::Attester;

/// PolicyA of the TCG's EK profile: TPM2_PolicySecret of the endorsement hierarchy.
pub(crate) const EK_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd,
    0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// Attributes of the TCG's EK templates (EK Credential Profile 2.5, B.3).
pub(crate) const EK_ATTRIBUTES: u32 = 0x0003_00b2;

/// Signs whatever the test makes it say. Its time is the lab's.
#[derive(Debug, Clone)]
pub struct Paper {
    ek: SigningKey,
    ak: SigningKey,
    /// Added to the lab's clock for the TPM's own time, in ms.
    pub ahead_ms: i64,
    /// `resetCount`.
    pub reset_count: u32,
    /// `restartCount`.
    pub restart_count: u32,
    /// PCRs of the SHA-256 bank; one that is absent is zero.
    pub pcrs: BTreeMap<u8, [u8; 32]>,
    log: Vec<u8>,
}

impl Paper {
    /// A TPM whose keys come from `seed`, booted by the simulated firmware.
    pub fn new(seed: u8) -> Self {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let boot = write_log().unwrap();
        let replayed = EventLog::parse(&boot.log).unwrap().replay(assay_boot::HashAlg::Sha256);
        let pcrs = replayed.into_iter().map(|(pcr, value)| (pcr, value.try_into().unwrap()));
        Self {
            ek: SigningKey::random(&mut rng),
            ak: SigningKey::random(&mut rng),
            ahead_ms: 77,
            reset_count: 7,
            restart_count: 0,
            pcrs: pcrs.collect(),
            log: boot.log,
        }
    }

    /// The attestation key's public area, as a TPM would give it.
    pub fn ak_parts(&self) -> PublicParts {
        PublicParts {
            name_alg: HashAlg::Sha256,
            attributes: AK_ATTRIBUTES,
            auth_policy: vec![],
            symmetric: Symmetric::Null,
            scheme: Scheme::Ecdsa(HashAlg::Sha256),
            kind: point(&self.ak),
        }
    }

    fn ek_public(&self) -> Vec<u8> {
        let parts = PublicParts {
            attributes: Attributes::from_bits(EK_ATTRIBUTES).unwrap(),
            auth_policy: EK_POLICY.to_vec(),
            symmetric: Symmetric::Aes128Cfb,
            scheme: Scheme::Null,
            kind: point(&self.ek),
            ..self.ak_parts()
        };
        Public::from_parts(&parts).unwrap().to_bytes()
    }

    /// A statement over `body` as the attestation key's TPM would make it; change it, then
    /// [`Paper::sign`] it.
    pub fn statement(&self, extra: &Digest, body: AttestBody) -> Attest {
        let ak = Public::from_parts(&self.ak_parts()).unwrap().name().unwrap();
        Attest {
            qualified_signer: qualified_name(RH_ENDORSEMENT, &ak).as_bytes().to_vec(),
            extra_data: extra.0.to_vec(),
            clock_info: self.clock_info(),
            firmware_version: 1,
            body,
        }
    }

    /// The body of a quote over these PCRs.
    pub fn quote_body(&self, pcrs: &[u8]) -> AttestBody {
        let selection =
            vec![PcrSelection { alg: HashAlg::Sha256, pcrs: PcrSet::from_indices(pcrs).unwrap() }];
        let value = |_, pcr| Some(self.value(pcr).to_vec());
        let pcr_digest = pcr_digest(&selection, &value, HashAlg::Sha256).unwrap();
        AttestBody::Quote(QuoteInfo { selection, pcr_digest })
    }

    /// Signs a statement, whatever it says.
    pub fn sign(&self, attest: &Attest) -> Attested {
        self.sign_bytes(attest.to_bytes().unwrap())
    }

    /// Signs bytes as if they were a `TPMS_ATTEST`.
    pub fn sign_bytes(&self, attest: Vec<u8>) -> Attested {
        let signature: p256::ecdsa::Signature = self.ak.sign(&attest);
        let (r, s) = signature.split_bytes();
        let signature = Signature::ecdsa(HashAlg::Sha256, &r, &s).unwrap().to_bytes();
        Attested { attest, signature }
    }

    fn value(&self, pcr: u8) -> [u8; 32] {
        self.pcrs.get(&pcr).copied().unwrap_or_default()
    }

    fn clock_info(&self) -> ClockInfo {
        let (reset_count, restart_count) = (self.reset_count, self.restart_count);
        ClockInfo { clock: 1, reset_count, restart_count, safe: true }
    }
}

fn point(key: &SigningKey) -> KeyKind {
    let point = key.verifying_key().to_encoded_point(false);
    KeyKind::Ecc { curve: Curve::P256, x: point.x().unwrap().to_vec(), y: point.y().unwrap().to_vec() }
}

impl Attester for Paper {
    fn identity(&mut self) -> Identity {
        let properties = Properties {
            manufacturer: "TEST".into(),
            vendor_string: "paper".into(),
            firmware_version: 1,
            spec_revision: 138,
            spec_year: 2019,
        };
        Identity {
            ek_public: self.ek_public(),
            ek_certificates: vec![],
            ek_chain: vec![],
            platform_certificates: vec![],
            device_certificates: vec![],
            skipped: vec![],
            ak_public: Public::from_parts(&self.ak_parts()).unwrap().to_bytes(),
            properties,
        }
    }

    fn quote(&mut self, extra: &Digest, pcrs: &[u8]) -> (Attested, Vec<PcrValue>) {
        let attested = self.sign(&self.statement(extra, self.quote_body(pcrs)));
        let values = pcrs.iter().map(|pcr| PcrValue { pcr: *pcr, value: Digest(self.value(*pcr)) });
        (attested, values.collect())
    }

    fn time(&mut self, extra: &Digest, mono_ms: u64) -> Attested {
        let time = mono_ms.saturating_add_signed(self.ahead_ms);
        let info = TimeInfo { time, clock_info: self.clock_info(), firmware_version: 1 };
        self.sign(&self.statement(extra, AttestBody::Time(info)))
    }

    fn log(&self) -> Vec<u8> {
        self.log.clone()
    }
}
