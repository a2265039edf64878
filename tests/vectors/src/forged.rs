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

const MESSAGE: &[u8] = b"a message that was signed";
/// Order of P-256 (SP 800-186, 3.2.1.3).
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
/// Prime of P-256.
const PRIME: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";

pub(crate) fn judge(_: &Folder, _: &Manifest, sheet: &mut Sheet) {
    ecdsa_numbers(sheet);
    ecdsa_points(sheet);
    rsa_numbers(sheet);
}

fn number(hex: &str) -> BigUint {
    BigUint::parse_bytes(hex.as_bytes(), 16).unwrap_or_default()
}

fn padded(number: &BigUint, len: usize) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    let zeros = len.saturating_sub(bytes.len());
    [vec![0; zeros], bytes].concat()
}

fn check(sheet: &mut Sheet, name: &str, good: bool, kind: &KeyKind, signature: Option<Signature>) {
    let seen = match signature {
        None => "no signature at all".to_owned(),
        Some(signature) => signing_area(kind, signature.scheme())
            .and_then(|key| key.verify(MESSAGE, &signature))
            .map_or_else(|error| error.to_string(), |()| "holds".to_owned()),
    };
    let wanted = if good { "holds" } else { "refused" };
    sheet.holds("signatures", name, (seen == "holds") == good, wanted, seen);
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
fn ecdsa_numbers(sheet: &mut Sheet) {
    let Some((kind, r, s)) = p256() else { return sheet.not_judged("signatures", "ecdsa", "no key") };
    let (n, zero, one) = (number(ORDER), BigUint::default(), BigUint::from(1_u8));
    let other = &n - &s;
    let table = [
        ("ecdsa as made", true, r.clone(), s.clone()),
        ("ecdsa with n - s", true, r.clone(), other),
        ("ecdsa with r = 0", false, zero.clone(), s.clone()),
        ("ecdsa with s = 0", false, r.clone(), zero.clone()),
        ("ecdsa with r = s = 0", false, zero.clone(), zero),
        ("ecdsa with r = n", false, n.clone(), s.clone()),
        ("ecdsa with s = n", false, r.clone(), n.clone()),
        ("ecdsa with r + n", false, &r + &n, s.clone()),
        ("ecdsa with s + n", false, r.clone(), &s + &n),
        ("ecdsa with n - r", false, &n - &r, s.clone()),
        ("ecdsa with r + 1", false, &r + &one, s.clone()),
        ("ecdsa with s = n - 1", false, r.clone(), &n - &one),
        ("ecdsa with r and s exchanged", false, s.clone(), r.clone()),
    ];
    for (name, good, r, s) in table {
        let signature = Signature::ecdsa(HashAlg::Sha256, &padded(&r, 32), &padded(&s, 32)).ok();
        check(sheet, name, good, &kind, signature);
    }
    let long = [vec![0], padded(&r, 32)].concat();
    let widths = [("ecdsa with a zero before r", long), ("ecdsa with no r", Vec::new())];
    for (name, r) in widths {
        check(sheet, name, false, &kind, Signature::ecdsa(HashAlg::Sha256, &r, &padded(&s, 32)).ok());
    }
}

/// Keys that are no points of the curve (SP 800-186, D.1.1.1).
fn ecdsa_points(sheet: &mut Sheet) {
    let Some((KeyKind::Ecc { curve, x, y }, r, s)) = p256() else { return };
    let signature = || Signature::ecdsa(HashAlg::Sha256, &padded(&r, 32), &padded(&s, 32)).ok();
    let (p, one) = (number(PRIME), BigUint::from(1_u8));
    let (x, y) = (BigUint::from_bytes_be(&x), BigUint::from_bytes_be(&y));
    let table = [
        ("ecdsa under the opposite point", x.clone(), &p - &y),
        ("ecdsa under a point off the curve", x.clone(), &y + &one),
        ("ecdsa under the point 0, 0", BigUint::default(), BigUint::default()),
        ("ecdsa under x = p", p.clone(), y.clone()),
        ("ecdsa under y = p", x, p),
    ];
    for (name, x, y) in table {
        let kind = KeyKind::Ecc { curve, x: padded(&x, 32), y: padded(&y, 32) };
        check(sheet, name, false, &kind, signature());
    }
}

/// RFC 8017, 8.2.2: the number is below the modulus and as long; the padded digest is the one encoding.
fn rsa_numbers(sheet: &mut Sheet) {
    let mut random = ChaCha20Rng::from_seed([0x17; 32]);
    let Ok(key) = RsaPrivateKey::new(&mut random, 2048) else {
        return sheet.not_judged("signatures", "rsa", "no key");
    };
    let modulus = key.n().to_bytes_be();
    let kind = KeyKind::Rsa { bits: 2048, exponent: 65_537, modulus: modulus.clone() };
    let hash = HashAlg::Sha256;
    let digest = hash.digest(MESSAGE);
    let made = key.sign(Pkcs1v15Sign::new::<Sha256>(), &digest).unwrap_or_default();
    rsa_encodings(sheet, "rsassa", &kind, &modulus, &made, |bytes| Signature::rsassa(hash, bytes).ok());
    let no_prefix = key.sign(Pkcs1v15Sign::new_unprefixed(), &digest).unwrap_or_default();
    let other_hash =
        key.sign(Pkcs1v15Sign::new::<Sha384>(), &HashAlg::Sha384.digest(MESSAGE)).unwrap_or_default();
    for (name, bytes) in
        [("rsassa without a DigestInfo", no_prefix), ("rsassa over another hash", other_hash)]
    {
        check(sheet, name, false, &kind, Signature::rsassa(hash, &bytes).ok());
    }
    let mut pss = |salt| {
        key.sign_with_rng(&mut random, Pss::new_with_salt::<Sha256>(salt), &digest).unwrap_or_default()
    };
    let (usual, longest) = (pss(32), pss(256 - 32 - 2));
    rsa_encodings(sheet, "rsapss", &kind, &modulus, &usual, |bytes| Signature::rsapss(hash, bytes).ok());
    check(sheet, "rsapss with the longest salt", true, &kind, Signature::rsapss(hash, &longest).ok());
    check(sheet, "rsapss presented as rsassa", false, &kind, Signature::rsassa(hash, &usual).ok());
    check(sheet, "rsassa presented as rsapss", false, &kind, Signature::rsapss(hash, &made).ok());
    let short = KeyKind::Rsa { bits: 1024, exponent: 65_537, modulus: vec![0xff; 128] };
    check(sheet, "rsassa under 1024 bits", false, &short, Signature::rsassa(hash, &[1; 128]).ok());
}

/// One signature as made, and its number written in every way that is not the one.
fn rsa_encodings(
    sheet: &mut Sheet,
    scheme: &str,
    kind: &KeyKind,
    modulus: &[u8],
    made: &[u8],
    signature: impl Fn(&[u8]) -> Option<Signature>,
) {
    let (n, value) = (BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(made));
    let mut flipped = made.to_vec();
    flipped.iter_mut().for_each(|byte| *byte ^= 1);
    let table = [
        ("as made", true, made.to_vec()),
        ("with every byte changed", false, flipped),
        ("with n - s", false, padded(&(&n - &value), 256)),
        ("with s + n", false, padded(&(&value + &n), 256)),
        ("with s = n", false, modulus.to_vec()),
        ("with s = 0", false, vec![0; 256]),
        ("with s = 1", false, padded(&BigUint::from(1_u8), 256)),
        ("with a zero before s", false, [&[0], made].concat()),
        ("cut by a byte", false, made.get(1..).unwrap_or_default().to_vec()),
        ("with no s", false, Vec::new()),
    ];
    for (name, good, bytes) in table {
        check(sheet, &format!("{scheme} {name}"), good, kind, signature(&bytes));
    }
}
