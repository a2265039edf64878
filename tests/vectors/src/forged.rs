//! Signatures made here, at the edges of what may hold: non-canonical, out of range, off the curve.
//!
//! They need no folder; they are judged with it so that both back ends print the same lines.

use assay_tpm::{Curve, HashAlg, KeyKind, Signature};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{SigningKey, VerifyingKey};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPrivateKey};
use sha2::{Sha256, Sha384};

use crate::attestation::signing_area;
use crate::{Folder, Manifest, Sheet};

/// What was signed.
pub const MESSAGE: &[u8] = b"a message that was signed";
/// Order of P-256 (SP 800-186, 3.2.1.3).
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
/// Prime of P-256.
const PRIME: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";

/// A signature, what it is, and whether it may hold.
pub struct Made {
    /// What was done to it.
    pub name: String,
    /// Whether it holds.
    pub good: bool,
    /// The key.
    pub key: KeyKind,
    /// The signature over [`MESSAGE`]; `None` where it can't even be put together.
    pub signature: Option<Signature>,
}

impl Made {
    fn new(name: &str, good: bool, key: &KeyKind, signature: Option<Signature>) -> Self {
        Self { name: name.to_owned(), good, key: key.clone(), signature }
    }

    /// Whether it holds here, or why not.
    #[must_use]
    pub fn verdict(&self) -> String {
        let Some(signature) = &self.signature else { return "no signature at all".to_owned() };
        let verified =
            signing_area(&self.key, signature.scheme()).and_then(|key| key.verify(MESSAGE, signature));
        verified.map_or_else(|error| error.to_string(), |()| "holds".to_owned())
    }
}

/// All of them, the same in every run.
#[must_use]
pub fn made() -> Vec<Made> {
    let mut made = Vec::new();
    if let Some((key, r, s)) = p256() {
        ecdsa_numbers(&key, &r, &s, &mut made);
        ecdsa_points(&key, &r, &s, &mut made);
    }
    rsa_numbers(&mut made);
    made
}

pub(crate) fn judge(_: &Folder, _: &Manifest, sheet: &mut Sheet) {
    for made in made() {
        let seen = made.verdict();
        let wanted = if made.good { "holds" } else { "refused" };
        sheet.holds("signatures", &made.name, (seen == "holds") == made.good, wanted, seen);
    }
}

fn number(hex: &str) -> BigUint {
    BigUint::parse_bytes(hex.as_bytes(), 16).unwrap_or_default()
}

fn padded(number: &BigUint, len: usize) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    let zeros = len.saturating_sub(bytes.len());
    [vec![0; zeros], bytes].concat()
}

fn p256() -> Option<(KeyKind, BigUint, BigUint)> {
    let key = SigningKey::from_slice(&[0x17; 32]).ok()?;
    let point = VerifyingKey::from(&key).to_encoded_point(false);
    let kind = KeyKind::Ecc { curve: Curve::P256, x: point.x()?.to_vec(), y: point.y()?.to_vec() };
    let signature: p256::ecdsa::Signature = key.sign(MESSAGE);
    let (r, s) = signature.split_bytes();
    Some((kind, BigUint::from_bytes_be(&r), BigUint::from_bytes_be(&s)))
}

/// The table of r and s: FIPS 186-5, 6.4.2, step 1 wants both from 1 to n - 1; both s and n - s hold.
fn ecdsa_numbers(key: &KeyKind, r: &BigUint, s: &BigUint, made: &mut Vec<Made>) {
    let (n, zero, one) = (number(ORDER), BigUint::default(), BigUint::from(1_u8));
    let other = &n - s;
    let table = [
        ("ecdsa as made", true, r.clone(), s.clone()),
        ("ecdsa with n - s", true, r.clone(), other),
        ("ecdsa with r = 0", false, zero.clone(), s.clone()),
        ("ecdsa with s = 0", false, r.clone(), zero.clone()),
        ("ecdsa with r = s = 0", false, zero.clone(), zero),
        ("ecdsa with r = n", false, n.clone(), s.clone()),
        ("ecdsa with s = n", false, r.clone(), n.clone()),
        ("ecdsa with r + n", false, r + &n, s.clone()),
        ("ecdsa with s + n", false, r.clone(), s + &n),
        ("ecdsa with n - r", false, &n - r, s.clone()),
        ("ecdsa with r + 1", false, r + &one, s.clone()),
        ("ecdsa with s = n - 1", false, r.clone(), &n - &one),
        ("ecdsa with r and s exchanged", false, s.clone(), r.clone()),
    ];
    for (name, good, r, s) in table {
        let signature = Signature::ecdsa(HashAlg::Sha256, &padded(&r, 32), &padded(&s, 32)).ok();
        made.push(Made::new(name, good, key, signature));
    }
    let long = [vec![0], padded(r, 32)].concat();
    let widths = [("ecdsa with a zero before r", long), ("ecdsa with no r", Vec::new())];
    for (name, r) in widths {
        let signature = Signature::ecdsa(HashAlg::Sha256, &r, &padded(s, 32)).ok();
        made.push(Made::new(name, false, key, signature));
    }
}

/// Keys that are no points of the curve (SP 800-186, D.1.1.1).
fn ecdsa_points(key: &KeyKind, r: &BigUint, s: &BigUint, made: &mut Vec<Made>) {
    let KeyKind::Ecc { curve, x, y } = key else { return };
    let signature = || Signature::ecdsa(HashAlg::Sha256, &padded(r, 32), &padded(s, 32)).ok();
    let (p, one) = (number(PRIME), BigUint::from(1_u8));
    let (x, y) = (BigUint::from_bytes_be(x), BigUint::from_bytes_be(y));
    let table = [
        ("ecdsa under the opposite point", x.clone(), &p - &y),
        ("ecdsa under a point off the curve", x.clone(), &y + &one),
        ("ecdsa under the point 0, 0", BigUint::default(), BigUint::default()),
        ("ecdsa under x = p", p.clone(), y.clone()),
        ("ecdsa under y = p", x, p),
    ];
    for (name, x, y) in table {
        let kind = KeyKind::Ecc { curve: *curve, x: padded(&x, 32), y: padded(&y, 32) };
        made.push(Made::new(name, false, &kind, signature()));
    }
}

/// RFC 8017, 8.2.2: the number is below the modulus and as long; the padded digest is the one encoding.
fn rsa_numbers(made: &mut Vec<Made>) {
    let mut random = ChaCha20Rng::from_seed([0x17; 32]);
    let Ok(private) = RsaPrivateKey::new(&mut random, 2048) else { return };
    let modulus = private.n().to_bytes_be();
    let key = KeyKind::Rsa { bits: 2048, exponent: 65_537, modulus: modulus.clone() };
    let hash = HashAlg::Sha256;
    let digest = hash.digest(MESSAGE);
    let sign = |scheme, digest: &[u8]| private.sign::<Pkcs1v15Sign>(scheme, digest).unwrap_or_default();
    let [rsassa, rsapss] =
        [Signature::rsassa, Signature::rsapss].map(|make| move |bytes: &[u8]| make(hash, bytes).ok());
    let usual = sign(Pkcs1v15Sign::new::<Sha256>(), &digest);
    rsa_encodings("rsassa", &key, &usual, rsassa, made);
    let bare = sign(Pkcs1v15Sign::new_unprefixed(), &digest);
    let other = sign(Pkcs1v15Sign::new::<Sha384>(), &HashAlg::Sha384.digest(MESSAGE));
    let mut pss = |salt| {
        private.sign_with_rng(&mut random, Pss::new_with_salt::<Sha256>(salt), &digest).unwrap_or_default()
    };
    let (salted, longest) = (pss(32), pss(256 - 32 - 2));
    rsa_encodings("rsapss", &key, &salted, rsapss, made);
    let short = KeyKind::Rsa { bits: 1024, exponent: 65_537, modulus: vec![0xff; 128] };
    made.extend([
        Made::new("rsassa without a DigestInfo", false, &key, rsassa(&bare)),
        Made::new("rsassa over another hash", false, &key, rsassa(&other)),
        Made::new("rsapss with the longest salt", true, &key, rsapss(&longest)),
        Made::new("rsapss presented as rsassa", false, &key, rsassa(&salted)),
        Made::new("rsassa presented as rsapss", false, &key, rsapss(&usual)),
        Made::new("rsassa under 1024 bits", false, &short, rsassa(&[1; 128])),
    ]);
}

/// One signature as made, and its number written in every way that is not the one.
fn rsa_encodings(
    scheme: &str,
    key: &KeyKind,
    usual: &[u8],
    signature: impl Fn(&[u8]) -> Option<Signature>,
    made: &mut Vec<Made>,
) {
    let KeyKind::Rsa { modulus, .. } = key else { return };
    let (n, value) = (BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(usual));
    let mut flipped = usual.to_vec();
    flipped.iter_mut().for_each(|byte| *byte ^= 1);
    let table = [
        ("as made", true, usual.to_vec()),
        ("with every byte changed", false, flipped),
        ("with n - s", false, padded(&(&n - &value), 256)),
        ("with s + n", false, padded(&(&value + &n), 256)),
        ("with s = n", false, modulus.clone()),
        ("with s = 0", false, vec![0; 256]),
        ("with s = 1", false, padded(&BigUint::from(1_u8), 256)),
        ("with a zero before s", false, [&[0], usual].concat()),
        ("cut by a byte", false, usual.get(1..).unwrap_or_default().to_vec()),
        ("with no s", false, Vec::new()),
    ];
    for (name, good, bytes) in table {
        made.push(Made::new(&format!("{scheme} {name}"), good, key, signature(&bytes)));
    }
}
