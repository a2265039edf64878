//! HPKE (RFC 9180) in the one suite and mode that secrets need: base mode, single message,
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305.
//!
//! Names are the RFC's. The ephemeral key comes in as an argument, because this crate draws no
//! random numbers.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit as _, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

/// `"KEM" || I2OSP(kem_id, 2)`, section 4.1; DHKEM(X25519, HKDF-SHA256) is 0x0020, section 7.1.
const KEM_SUITE: &[u8] = b"KEM\x00\x20";
/// `"HPKE" || kem_id || kdf_id || aead_id`, section 5.1: 0x0020, HKDF-SHA256 0x0001, ChaCha20Poly1305 0x0003.
const HPKE_SUITE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x03";
/// `mode_base`, section 5.
const MODE_BASE: u8 = 0;

type Bytes32 = Zeroizing<[u8; 32]>;

/// `LabeledExtract`, section 4.
fn labeled_extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> Hkdf<Sha256> {
    let labeled = Zeroizing::new([b"HPKE-v1", suite, label, ikm].concat());
    Hkdf::new(Some(salt), &labeled)
}

/// `LabeledExpand`, section 4, into all of `out`.
fn labeled_expand(prk: &Hkdf<Sha256>, suite: &[u8], label: &[u8], info: &[u8], out: &mut [u8]) -> Option<()> {
    let length = u16::try_from(out.len()).ok()?.to_be_bytes();
    prk.expand_multi_info(&[&length, b"HPKE-v1", suite, label, info], out).ok()
}

/// `ExtractAndExpand` of the KEM, section 4.1; `None` for a shared secret of zeros, section 7.1.4.
fn shared_secret(dh: &SharedSecret, enc: &[u8; 32], recipient: &[u8; 32]) -> Option<Bytes32> {
    if !dh.was_contributory() {
        return None;
    }
    let eae_prk = labeled_extract(KEM_SUITE, b"", b"eae_prk", dh.as_bytes());
    let kem_context = [*enc, *recipient].concat();
    let mut secret = Bytes32::default();
    labeled_expand(&eae_prk, KEM_SUITE, b"shared_secret", &kem_context, secret.as_mut())?;
    Some(secret)
}

/// `KeySchedule` in base mode, section 5.1, and the first nonce, section 5.2.
fn key_schedule(secret: &Bytes32, info: &[u8]) -> Option<(ChaCha20Poly1305, Nonce)> {
    let hash = |label: &[u8], ikm: &[u8]| {
        let labeled = [b"HPKE-v1", HPKE_SUITE, label, ikm].concat();
        Hkdf::<Sha256>::extract(Some(b""), &labeled).0
    };
    let (psk_id_hash, info_hash) = (hash(b"psk_id_hash", b""), hash(b"info_hash", info));
    let context = [&[MODE_BASE], psk_id_hash.as_slice(), info_hash.as_slice()].concat();
    let prk = labeled_extract(HPKE_SUITE, secret.as_slice(), b"secret", b"");
    let (mut key, mut nonce) = (Bytes32::default(), [0; 12]);
    labeled_expand(&prk, HPKE_SUITE, b"key", &context, key.as_mut())?;
    labeled_expand(&prk, HPKE_SUITE, b"base_nonce", &context, &mut nonce)?;
    Some((ChaCha20Poly1305::new(Key::from_slice(key.as_slice())), *Nonce::from_slice(&nonce)))
}

/// `SealBase`, section 6.1: `enc || ct`. `None` for a recipient's key of small order.
pub(crate) fn seal(
    recipient: &[u8; 32],
    ephemeral: &StaticSecret,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Option<Vec<u8>> {
    let enc = PublicKey::from(ephemeral).to_bytes();
    let dh = ephemeral.diffie_hellman(&PublicKey::from(*recipient));
    let (aead, nonce) = key_schedule(&shared_secret(&dh, &enc, recipient)?, info)?;
    let ct = aead.encrypt(&nonce, Payload { msg: plaintext, aad }).ok()?;
    Some([enc.as_slice(), &ct].concat())
}

/// `OpenBase`, section 6.1. `None` where anything does not fit.
pub(crate) fn open(
    recipient: &StaticSecret,
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (enc, ct) = sealed.split_first_chunk::<32>()?;
    let dh = recipient.diffie_hellman(&PublicKey::from(*enc));
    let own = PublicKey::from(recipient).to_bytes();
    let (aead, nonce) = key_schedule(&shared_secret(&dh, enc, &own)?, info)?;
    aead.decrypt(&nonce, Payload { msg: ct, aad }).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    fn secret(hex: &str) -> StaticSecret {
        StaticSecret::from(bytes::<32>(hex))
    }

    // RFC 9180, A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode.
    const INFO: &str = "4f6465206f6e2061204772656369616e2055726e";
    const PK_RM: &str = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a";
    const SK_RM: &str = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb";
    const SK_EM: &str = "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600";
    const PK_EM: &str = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
    const SHARED: &str = "0bbe78490412b4bbea4812666f7916932b828bba79942424abb65244930d69a7";
    const PT: &str = "4265617574792069732074727574682c20747275746820626561757479";
    const AAD: &str = "436f756e742d30";
    const CT: &str =
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28";

    #[test]
    fn the_rfcs_first_message() {
        let [info, pt, aad] = [INFO, PT, AAD].map(|text| hex::decode(text).unwrap());
        let sealed = seal(&bytes(PK_RM), &secret(SK_EM), &info, &aad, &pt).unwrap();
        assert_eq!(hex::encode(&sealed), format!("{PK_EM}{CT}"));
        assert_eq!(*open(&secret(SK_RM), &info, &aad, &sealed).unwrap(), pt);
    }

    #[test]
    fn the_rfcs_shared_secret() {
        let dh = secret(SK_RM).diffie_hellman(&PublicKey::from(bytes::<32>(PK_EM)));
        let shared = shared_secret(&dh, &bytes(PK_EM), &bytes(PK_RM)).unwrap();
        assert_eq!(hex::encode(shared.as_slice()), SHARED);
    }

    #[test]
    fn everything_is_bound() {
        let (key, info, aad) = (secret(SK_RM), b"info", b"aad");
        let sealed = seal(&bytes(PK_RM), &secret(SK_EM), info, aad, b"text").unwrap();
        assert_eq!(open(&key, info, aad, &sealed).as_deref(), Some(&b"text".to_vec()));
        assert_eq!(open(&key, b"other", aad, &sealed), None);
        assert_eq!(open(&key, info, b"other", &sealed), None);
        assert_eq!(open(&secret(SK_EM), info, aad, &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&key, info, aad, &changed), None, "{at}");
            assert_eq!(open(&key, info, aad, &sealed[..at]), None, "{at}");
        }
    }

    /// RFC 9180 section 7.1.4: a public key of small order gives a shared secret that everyone knows.
    #[test]
    fn small_orders_are_refused() {
        let mut one = [0; 32];
        one[0] = 1;
        for point in [[0; 32], one] {
            assert_eq!(seal(&point, &secret(SK_EM), b"", b"", b"x"), None);
            assert_eq!(open(&secret(SK_RM), b"", b"", &[point.as_slice(), &[0; 20]].concat()), None);
        }
    }
}
