//! One TPM that plays two: the owner uses its other EK, and an AK of another template.

use assay_attester::Identity;
use assay_ledger::session::{Attested, PcrValue};
use assay_tpm::{Attributes, HashAlg, KeyKind, Public, PublicParts, Scheme, Symmetric};
use assay_wire::Digest;

use crate::paper::{EK_ATTRIBUTES, EK_POLICY};
use crate::{Attester, Chip, Hierarchy, Raw};

/// Who can also open a credential.
pub trait Activates: Attester {
    /// `TPM2_ActivateCredential` by EK and AK; `None` where the TPM refuses.
    fn activate(&mut self, id_object: &[u8], encrypted_secret: &[u8]) -> Option<Vec<u8>>;
}

impl Activates for Chip {
    fn activate(&mut self, id_object: &[u8], encrypted_secret: &[u8]) -> Option<Vec<u8>> {
        self.tpm().activate_credential(id_object, encrypted_secret).ok()
    }
}

/// The RSA EK of a chip, and an AK of its own.
#[derive(Debug)]
pub struct SecondFace {
    /// The chip; its own identity is the first face.
    pub chip: Chip,
    /// The EK certificates that it shows.
    pub certificates: Vec<Vec<u8>>,
    own_ak: Vec<u8>,
    ek: Vec<u8>,
    ak: Vec<u8>,
}

impl SecondFace {
    /// Has the chip make both keys; no certificate is shown.
    pub fn of(mut chip: Chip) -> Self {
        let own_ak = chip.identity().ak_public;
        let made = |raw: &mut Raw| (raw.endorsement(&rsa_template()), raw.endorsement(&other_ak(&own_ak)));
        let (ek, ak) = chip.raw(made);
        Self { chip, certificates: vec![], own_ak, ek, ak }
    }
}

/// Template L-1 (EK Credential Profile 2.5, B.3), the modulus left to the TPM.
fn rsa_template() -> Vec<u8> {
    let parts = PublicParts {
        name_alg: HashAlg::Sha256,
        attributes: Attributes::from_bits(EK_ATTRIBUTES).unwrap(),
        auth_policy: EK_POLICY.to_vec(),
        symmetric: Symmetric::Aes128Cfb,
        scheme: Scheme::Null,
        kind: KeyKind::Rsa { bits: 2048, exponent: 65_537, modulus: vec![0; 256] },
    };
    Public::from_parts(&parts).unwrap().to_bytes()
}

/// The AK's template with another `unique`, whose fields are the last 68 bytes: another key.
fn other_ak(ak: &[u8]) -> Vec<u8> {
    let mut template = ak.to_vec();
    let at = template.len() - 32;
    template[at] ^= 1;
    template
}

impl Attester for SecondFace {
    fn identity(&mut self) -> Identity {
        let (ek_public, ak_public) = (self.ek.clone(), self.ak.clone());
        Identity { ek_public, ak_public, ek_certificates: self.certificates.clone(), ..self.chip.identity() }
    }

    fn quote(&mut self, extra: &Digest, pcrs: &[u8]) -> (Attested, Vec<PcrValue>) {
        let (_, values) = self.chip.quote(extra, pcrs);
        let quote = self.chip.raw(|raw| {
            let key = raw.primary(Hierarchy::Endorsement, &other_ak(&self.own_ak));
            let quote = raw.quote(&key, extra, pcrs);
            raw.flush(key);
            quote
        });
        (quote, values)
    }

    fn time(&mut self, extra: &Digest, _mono_ms: u64) -> Attested {
        self.chip.raw(|raw| {
            let key = raw.primary(Hierarchy::Endorsement, &other_ak(&self.own_ak));
            let time = raw.time(&key, extra);
            raw.flush(key);
            time
        })
    }

    fn log(&self) -> Vec<u8> {
        self.chip.log()
    }
}

impl Activates for SecondFace {
    fn activate(&mut self, id_object: &[u8], encrypted_secret: &[u8]) -> Option<Vec<u8>> {
        let ak = other_ak(&self.own_ak);
        self.chip.raw(|raw| raw.activate(&rsa_template(), &ak, id_object, encrypted_secret))
    }
}
