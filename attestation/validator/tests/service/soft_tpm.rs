//! Software in the place of a TPM: what the protocol asks of one, with keys that tests hold.
//!
//! Proves nothing about hardware, as any software TPM; for the service it is one more node at I0.

use std::collections::BTreeMap;
use std::sync::Mutex;

use aes::Aes128;
use assay_ledger::session::{Attested, SESSION_PCRS};
use assay_tpm::{
    AK_ATTRIBUTES, Attest, AttestBody, Attributes, ClockInfo, Curve, HashAlg, KeyKind, Name, PcrSelection,
    PcrSet, Public, PublicParts, QuoteInfo, RH_ENDORSEMENT, Scheme, Signature, Symmetric, TimeInfo,
    pcr_digest, qualified_name,
};
use cfb_mode::Decryptor;
use cfb_mode::cipher::{AsyncStreamCipher as _, KeyIvInit as _};
use hmac::{Hmac, Mac as _};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature as Ecdsa, SigningKey};
use p256::{EncodedPoint, PublicKey};
use sha2::{Digest as _, Sha256};

/// PolicyA and PolicyB of the TCG's EK profile, in SHA-256.
fn ek_policy(high: bool) -> Vec<u8> {
    let policy = match high {
        false => "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa",
        true => "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0",
    };
    hex::decode(policy).unwrap()
}

#[derive(Clone)]
pub(crate) enum Ek {
    Ecc(p256::SecretKey),
    Rsa(Box<rsa::RsaPrivateKey>),
}

#[derive(Clone)]
pub(crate) struct SoftTpm {
    pub(crate) ek: Ek,
    pub(crate) ak: SigningKey,
    /// Whether the EK is dressed in a high-range template: another public area of the same key.
    pub(crate) high: bool,
    pub(crate) reset_count: u32,
    pub(crate) restart_count: u32,
    pub(crate) time_ms: u64,
    pub(crate) clock_ms: u64,
    pub(crate) safe: bool,
    /// The only PCR that may not be zero.
    pub(crate) pcr0: assay_wire::Digest,
}

impl SoftTpm {
    /// TPMs of different seeds were switched on a minute apart.
    pub(crate) fn new(seed: u8) -> Self {
        let ek = Ek::Ecc(p256::SecretKey::from_slice(&[seed; 32]).unwrap());
        let ak = SigningKey::from_slice(&[seed ^ 0x40; 32]).unwrap();
        let time_ms = 5_000 + 60_000 * u64::from(seed);
        let clock_ms = time_ms + 1_000 * u64::from(seed);
        Self {
            ek,
            ak,
            high: false,
            reset_count: 4,
            restart_count: 0,
            time_ms,
            clock_ms,
            safe: true,
            pcr0: Default::default(),
        }
    }

    /// The same TPM's RSA EK; the AK is another, for it belongs to another enrolment.
    pub(crate) fn with_rsa_ek(self, seed: u8) -> Self {
        let ek = Ek::Rsa(Box::new(rsa_key(seed)));
        Self { ek, ..self.with_ak(seed) }
    }

    pub(crate) fn with_ak(self, seed: u8) -> Self {
        Self { ak: SigningKey::from_slice(&[seed ^ 0x40; 32]).unwrap(), ..self }
    }

    /// Switched off and on: `time` begins again.
    pub(crate) fn reboot(&mut self) {
        (self.reset_count, self.restart_count, self.time_ms) = (self.reset_count + 1, 0, 4_000);
    }

    pub(crate) fn ek_kind(&self) -> KeyKind {
        match &self.ek {
            Ek::Ecc(key) => kind(&key.public_key()),
            Ek::Rsa(key) => {
                use rsa::traits::PublicKeyParts as _;
                KeyKind::Rsa { bits: 2048, exponent: 65_537, modulus: key.n().to_bytes_be() }
            }
        }
    }

    pub(crate) fn ek_public(&self) -> Public {
        let parts = PublicParts {
            name_alg: HashAlg::Sha256,
            attributes: Attributes::from_bits(if self.high { 0x0003_00f2 } else { 0x0003_00b2 }).unwrap(),
            auth_policy: ek_policy(self.high),
            symmetric: Symmetric::Aes128Cfb,
            scheme: Scheme::Null,
            kind: self.ek_kind(),
        };
        Public::from_parts(&parts).unwrap()
    }

    pub(crate) fn ak_public(&self) -> Public {
        let parts = PublicParts {
            name_alg: HashAlg::Sha256,
            attributes: AK_ATTRIBUTES,
            auth_policy: vec![],
            symmetric: Symmetric::Null,
            scheme: Scheme::Ecdsa(HashAlg::Sha256),
            kind: kind(&PublicKey::from(self.ak.verifying_key())),
        };
        Public::from_parts(&parts).unwrap()
    }

    fn ak_name(&self) -> Name {
        self.ak_public().name().unwrap()
    }

    /// TPM2_ActivateCredential (TPM 2.0 Part 1, 24), for this AK; the HMAC is left to real TPMs.
    pub(crate) fn activate(&self, id_object: &[u8], encrypted_secret: &[u8]) -> Vec<u8> {
        let seed = match &self.ek {
            Ek::Ecc(key) => ecdh_seed(key, encrypted_secret),
            Ek::Rsa(key) => {
                let oaep = rsa::Oaep::new_with_label::<Sha256, _>("IDENTITY\0");
                key.decrypt(oaep, encrypted_secret).unwrap()
            }
        };
        let name = self.ak_name();
        let context = [&[0, 0, 0, 1], &b"STORAGE\0"[..], name.as_bytes(), &128u32.to_be_bytes()].concat();
        let key = hmac(&seed, &context);
        let (_, encrypted) = sized(id_object);
        let mut identity = encrypted.to_vec();
        Decryptor::<Aes128>::new(key[..16].into(), &[0; 16].into()).decrypt(&mut identity);
        // A real TPM refuses when the credential is for another key; here it is garbage.
        match usize::from(u16::from_be_bytes([identity[0], identity[1]])) {
            32 => identity[2..34].to_vec(),
            _ => vec![],
        }
    }

    pub(crate) fn quote(&self, extra_data: &[u8]) -> Attested {
        let pcrs = PcrSet::from_indices(&SESSION_PCRS).unwrap();
        let selection = vec![PcrSelection { alg: HashAlg::Sha256, pcrs }];
        let value = |_, pcr| Some(if pcr == 0 { self.pcr0.0.to_vec() } else { vec![0; 32] });
        let pcr_digest = pcr_digest(&selection, &value, HashAlg::Sha256).unwrap();
        self.attest(extra_data, AttestBody::Quote(QuoteInfo { selection, pcr_digest }))
    }

    pub(crate) fn time(&self, extra_data: &[u8]) -> Attested {
        let (clock_info, firmware_version) = (self.clock_info(), 6);
        let time = TimeInfo { time: self.time_ms, clock_info, firmware_version };
        self.attest(extra_data, AttestBody::Time(time))
    }

    fn clock_info(&self) -> ClockInfo {
        let Self { clock_ms: clock, reset_count, restart_count, safe, .. } = *self;
        ClockInfo { clock, reset_count, restart_count, safe }
    }

    fn attest(&self, extra_data: &[u8], body: AttestBody) -> Attested {
        let qualified = qualified_name(RH_ENDORSEMENT, &self.ak_name());
        let attest = Attest {
            qualified_signer: qualified.as_bytes().to_vec(),
            extra_data: extra_data.to_vec(),
            clock_info: self.clock_info(),
            firmware_version: 6,
            body,
        };
        let attest = attest.to_bytes().unwrap();
        let signature: Ecdsa = self.ak.sign(&attest);
        let (r, s) = signature.split_bytes();
        let signature = Signature::ecdsa(HashAlg::Sha256, &r, &s).unwrap().to_bytes();
        Attested { attest, signature }
    }
}

/// Keys are slow to make: each seed's is made once.
fn rsa_key(seed: u8) -> rsa::RsaPrivateKey {
    static KEYS: Mutex<BTreeMap<u8, rsa::RsaPrivateKey>> = Mutex::new(BTreeMap::new());
    let make = || {
        let mut rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::from_seed([seed; 32]);
        rsa::RsaPrivateKey::new(&mut rng, 2048).unwrap()
    };
    KEYS.lock().unwrap().entry(seed).or_insert_with(make).clone()
}

/// KDFe over the shared point (TPM 2.0 Part 1, C.6.1).
fn ecdh_seed(key: &p256::SecretKey, encrypted_secret: &[u8]) -> Vec<u8> {
    let (x, rest) = sized(encrypted_secret);
    let (y, _) = sized(rest);
    let point = EncodedPoint::from_affine_coordinates(x.into(), y.into(), false);
    let ephemeral = PublicKey::from_sec1_bytes(point.as_bytes()).unwrap();
    let z = p256::ecdh::diffie_hellman(key.to_nonzero_scalar(), ephemeral.as_affine());
    let KeyKind::Ecc { x: own_x, .. } = kind(&key.public_key()) else { unreachable!() };
    let z: &[u8] = z.raw_secret_bytes();
    Sha256::digest([&[0, 0, 0, 1], z, b"IDENTITY\0", x, own_x.as_slice()].concat()).to_vec()
}

pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn kind(key: &PublicKey) -> KeyKind {
    use p256::elliptic_curve::sec1::ToEncodedPoint as _;
    let point = key.to_encoded_point(false);
    KeyKind::Ecc { curve: Curve::P256, x: point.x().unwrap().to_vec(), y: point.y().unwrap().to_vec() }
}

fn sized(bytes: &[u8]) -> (&[u8], &[u8]) {
    let len = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    bytes[2..].split_at(len)
}
