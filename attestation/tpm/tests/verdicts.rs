//! One verdict per signature, the same with every back end: in range, out of range, and not canonical.
//!
//! `ASSAY_VERDICTS=FILE` writes the lines, so that builds with different features can be compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fmt::Write as _;

use assay_tpm::{
    Curve, RsaKey, Signature, SignatureHash, TpmError, verify_ecdsa, verify_p256, verify_rsapss,
    verify_rsassa,
};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::elliptic_curve::Curve as _;
use p256::elliptic_curve::bigint::ArrayEncoding as _;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsa::traits::{PrivateKeyParts, PublicKeyParts, SignatureScheme};
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPrivateKey};
use sha2::{Sha256, Sha384, Sha512};

const MESSAGE: &[u8] = b"what was signed";
const HASHES: [SignatureHash; 3] = [SignatureHash::Sha256, SignatureHash::Sha384, SignatureHash::Sha512];

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// The lines, and what each vector must give.
#[derive(Default)]
struct Verdicts(String);

impl Verdicts {
    fn add(&mut self, name: &str, verdict: Result<(), TpmError>, expected: Result<(), TpmError>) {
        let line = verdict.as_ref().map_or_else(ToString::to_string, |()| "holds".to_owned());
        writeln!(self.0, "{name}: {line}").unwrap();
        assert_eq!(verdict, expected, "{name}");
    }
}

const RANGE: Result<(), TpmError> = Err(TpmError::SignatureRange);
const INVALID: Result<(), TpmError> = Err(TpmError::SignatureInvalid);

/// Signs a digest; gives r and s.
type Sign = Box<dyn Fn(&[u8]) -> (Vec<u8>, Vec<u8>)>;

struct EcKey {
    curve: Curve,
    point: Vec<u8>,
    order: Vec<u8>,
    sign: Sign,
}

fn ec_keys() -> [EcKey; 2] {
    let p256 = p256::ecdsa::SigningKey::random(&mut rng(1));
    let p384 = p384::ecdsa::SigningKey::random(&mut rng(2));
    [
        EcKey {
            curve: Curve::P256,
            point: p256.verifying_key().to_encoded_point(false).as_bytes().to_vec(),
            order: p256::NistP256::ORDER.to_be_byte_array().to_vec(),
            sign: Box::new(move |prehash| {
                let signature: p256::ecdsa::Signature = p256.sign_prehash(prehash).unwrap();
                let (r, s) = signature.split_bytes();
                (r.to_vec(), s.to_vec())
            }),
        },
        EcKey {
            curve: Curve::P384,
            point: p384.verifying_key().to_encoded_point(false).as_bytes().to_vec(),
            order: p384::NistP384::ORDER.to_be_byte_array().to_vec(),
            sign: Box::new(move |prehash| {
                let signature: p384::ecdsa::Signature = p384.sign_prehash(prehash).unwrap();
                let (r, s) = signature.split_bytes();
                (r.to_vec(), s.to_vec())
            }),
        },
    ]
}

/// `order - number`, as long as the order.
fn negated(order: &[u8], number: &[u8]) -> Vec<u8> {
    let difference = BigUint::from_bytes_be(order) - BigUint::from_bytes_be(number);
    padded(&difference, order.len())
}

fn padded(number: &BigUint, len: usize) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    [vec![0; len - bytes.len()], bytes].concat()
}

fn ecdsa(verdicts: &mut Verdicts, key: &EcKey, hash: SignatureHash) {
    let (curve, order) = (key.curve, &key.order);
    let len = order.len();
    let (r, s) = (key.sign)(&hash.digest(MESSAGE));
    let mut check = |name: &str, r: &[u8], s: &[u8], expected: Result<(), TpmError>| {
        let verdict = verify_ecdsa(curve, &key.point, hash, MESSAGE, r, s);
        verdicts.add(&format!("ecdsa {curve} {hash:?} {name}"), verdict, expected);
    };
    check("as signed", &r, &s, Ok(()));
    check("the other s", &r, &negated(order, &s), Ok(()));
    let (zero, one) = (vec![0; len], [vec![0; len - 1], vec![1]].concat());
    let (last, next) = (negated(order, &[1]), { padded(&(BigUint::from_bytes_be(order) + 1u32), len) });
    for (name, number) in [("0", &zero), ("n", order), ("n+1", &next), ("2^bits-1", &vec![0xff; len])] {
        check(&format!("r={name}"), number, &s, RANGE);
        check(&format!("s={name}"), &r, number, RANGE);
    }
    for (name, number) in [("1", &one), ("n-1", &last)] {
        check(&format!("r={name}"), number, &s, INVALID);
        check(&format!("s={name}"), &r, number, INVALID);
    }
    for (name, number) in [("r", &r), ("s", &s)] {
        let long = [&[0], &number[..]].concat();
        let (long_r, long_s) = if name == "r" { (&long, &s) } else { (&r, &long) };
        check(&format!("{name} with a zero in front"), long_r, long_s, RANGE);
        let short = number[..len - 1].to_vec();
        let (short_r, short_s) = if name == "r" { (&short, &s) } else { (&r, &short) };
        check(&format!("{name} cut at its end"), short_r, short_s, INVALID);
    }
    check("r empty", &[], &s, RANGE);
    check("s empty", &r, &[], RANGE);
    check("r and s swapped", &s, &r, INVALID);
    let other = verify_ecdsa(curve, &key.point, hash, b"another message", &r, &s);
    verdicts.add(&format!("ecdsa {curve} {hash:?} another message"), other, INVALID);
}

/// A signature whose number begins with a zero holds with and without it: TPMs may leave it out.
fn short_numbers(verdicts: &mut Verdicts, key: &EcKey) {
    let hash = SignatureHash::Sha256;
    let found = (0u32..).find_map(|n| {
        let message = n.to_be_bytes();
        let (r, s) = (key.sign)(&hash.digest(&message));
        (r[0] == 0 || s[0] == 0).then_some((message, r, s))
    });
    let (message, r, s) = found.unwrap();
    let stripped = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    for (name, r, s) in [("kept", r.clone(), s.clone()), ("left out", stripped(&r), stripped(&s))] {
        let verdict = verify_ecdsa(key.curve, &key.point, hash, &message, &r, &s);
        verdicts.add(&format!("ecdsa {} leading zeros {name}", key.curve), verdict, Ok(()));
    }
}

fn points(verdicts: &mut Verdicts, key: &EcKey) {
    let (curve, len) = (key.curve, key.order.len());
    let (r, s) = (key.sign)(&SignatureHash::Sha256.digest(MESSAGE));
    let mut off = key.point.clone();
    off[2 * len] ^= 1;
    let compressed = [&[2 + (key.point[2 * len] & 1)], &key.point[1..=len]].concat();
    let hybrid = [&[6 + (key.point[2 * len] & 1)], &key.point[1..]].concat();
    let field = [&[4][..], &vec![0xff; len], &key.point[1 + len..]].concat();
    for (name, point) in [
        ("off the curve", off),
        ("at infinity", vec![0]),
        ("at infinity, padded", vec![0; 1 + 2 * len]),
        ("(0, 0)", [&[4][..], &vec![0; 2 * len]].concat()),
        ("x not below the field's prime", field),
        ("compressed", compressed),
        ("hybrid", hybrid),
        ("with a byte more", [&key.point[..], &[0]].concat()),
        ("with a byte less", key.point[..2 * len].to_vec()),
        ("empty", vec![]),
    ] {
        let verdict = verify_ecdsa(curve, &point, SignatureHash::Sha256, MESSAGE, &r, &s);
        verdicts.add(&format!("point {curve} {name}"), verdict, Err(TpmError::PointNotOnCurve { curve }));
    }
}

fn ssa(key: &RsaPrivateKey, hash: SignatureHash) -> Vec<u8> {
    let scheme = match hash {
        SignatureHash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
        SignatureHash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
        SignatureHash::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
    };
    scheme.sign(Some(&mut rng(7)), key, &hash.digest(MESSAGE)).unwrap()
}

fn pss(key: &RsaPrivateKey, hash: SignatureHash, salt: usize) -> Vec<u8> {
    let scheme = match hash {
        SignatureHash::Sha256 => Pss::new_with_salt::<Sha256>(salt),
        SignatureHash::Sha384 => Pss::new_with_salt::<Sha384>(salt),
        SignatureHash::Sha512 => Pss::new_with_salt::<Sha512>(salt),
    };
    scheme.sign(Some(&mut rng(8)), key, &hash.digest(MESSAGE)).unwrap()
}

/// The private operation on whatever `encoded` says, well-formed or not.
fn raw_sign(key: &RsaPrivateKey, encoded: &[u8]) -> Vec<u8> {
    padded(&BigUint::from_bytes_be(encoded).modpow(key.d(), key.n()), key.size())
}

/// EMSA-PKCS1-v1_5 around `info`, `0x00 0x01 || filling || 0x00 || info`.
fn encoded(len: usize, filling: u8, info: &[u8]) -> Vec<u8> {
    [&[0, 1][..], &vec![filling; len - 3 - info.len()], &[0], info].concat()
}

/// RFC 8017, 9.2, note 1: `DigestInfo` of a SHA-256 digest.
fn digest_info(digest: &[u8]) -> Vec<u8> {
    let head = hex::decode("3031300d060960864801650304020105000420").unwrap();
    [&head, digest].concat()
}

/// Encodings that are almost right, each signed by the real key.
fn wrong_encodings(len: usize) -> Vec<(&'static str, Vec<u8>)> {
    let digest = SignatureHash::Sha256.digest(MESSAGE);
    let info = digest_info(&digest);
    let without_null = hex::decode("302f300b0609608648016503040201").unwrap();
    let without_null = [&without_null[..], &[4, 32], &digest].concat();
    let mut other_hash = info.clone();
    // The last arc of the algorithm's identifier: SHA-512 instead of SHA-256.
    other_hash[14] = 3;
    let mut sizes = info.clone();
    sizes[1] = 0x30;
    let early = {
        let short = encoded(11 + info.len(), 0xff, &info);
        [short, vec![0xab; len - 11 - info.len()]].concat()
    };
    vec![
        ("the bare digest", encoded(len, 0xff, &digest)),
        ("DigestInfo without parameters", encoded(len, 0xff, &without_null)),
        ("DigestInfo of another hash", encoded(len, 0xff, &other_hash)),
        ("DigestInfo with a wrong length", encoded(len, 0xff, &sizes)),
        ("DigestInfo and more behind it", early),
        ("filled with something else", encoded(len, 0xfe, &info)),
        ("block type 2", [&[0, 2][..], &encoded(len, 0xff, &info)[2..]].concat()),
    ]
}

fn rsassa(verdicts: &mut Verdicts, private: &RsaPrivateKey, exponent: u64) {
    let modulus = private.n().to_bytes_be();
    let key = RsaKey { modulus: &modulus, exponent };
    let bits = private.n().bits();
    for hash in HASHES {
        let sig = ssa(private, hash);
        let name = |what: &str| format!("rsassa {bits} e={exponent} {hash:?} {what}");
        verdicts.add(&name("as signed"), verify_rsassa(&key, hash, MESSAGE, &sig), Ok(()));
        verdicts.add(&name("another message"), verify_rsassa(&key, hash, b"m", &sig), INVALID);
        for other in HASHES.into_iter().filter(|other| *other != hash) {
            let verdict = verify_rsassa(&key, other, MESSAGE, &sig);
            verdicts.add(&name(&format!("under {other:?}")), verdict, INVALID);
        }
        let as_pss = verify_rsapss(&key, hash, hash.digest_len(), MESSAGE, &sig);
        verdicts.add(&name("as PSS"), as_pss, INVALID);
    }
    for (what, encoding) in wrong_encodings(modulus.len()) {
        let sig = raw_sign(private, &encoding);
        let verdict = verify_rsassa(&key, SignatureHash::Sha256, MESSAGE, &sig);
        verdicts.add(&format!("rsassa {bits} e={exponent} {what}"), verdict, INVALID);
    }
    numbers(verdicts, &key, &ssa(private, SignatureHash::Sha256));
}

/// The number itself: below the modulus, and as long.
fn numbers(verdicts: &mut Verdicts, key: &RsaKey<'_>, good: &[u8]) {
    let len = key.modulus.len();
    let modulus = BigUint::from_bytes_be(key.modulus);
    let above = BigUint::from_bytes_be(good) + &modulus;
    let mut cases = vec![
        ("0", vec![0; len], INVALID),
        ("1", padded(&BigUint::from(1u32), len), INVALID),
        ("the modulus - 1", padded(&(&modulus - 1u32), len), INVALID),
        ("the modulus", key.modulus.to_vec(), RANGE),
        ("all ones", vec![0xff; len], RANGE),
        ("with a zero in front", [&[0], good].concat(), RANGE),
        ("with a zero behind", [good, &[0]].concat(), RANGE),
        ("a byte short", good[1..].to_vec(), RANGE),
        ("empty", vec![], RANGE),
    ];
    if above.to_bytes_be().len() == len {
        cases.push(("the good one + the modulus", above.to_bytes_be(), RANGE));
    }
    for (what, sig, expected) in cases {
        let name = |scheme: &str| format!("{scheme} {} e={} number {what}", modulus.bits(), key.exponent);
        let verdict = verify_rsassa(key, SignatureHash::Sha256, MESSAGE, &sig);
        verdicts.add(&name("rsassa"), verdict, expected.clone());
        let verdict = verify_rsapss(key, SignatureHash::Sha256, 32, MESSAGE, &sig);
        verdicts.add(&name("rsapss"), verdict, expected);
    }
}

fn rsapss(verdicts: &mut Verdicts, private: &RsaPrivateKey, exponent: u64) {
    let modulus = private.n().to_bytes_be();
    let key = RsaKey { modulus: &modulus, exponent };
    let bits = private.n().bits();
    for hash in HASHES {
        // RFC 8017, 9.1.1: the encoded message is a bit shorter than the modulus.
        let longest = (bits - 1).div_ceil(8) - hash.digest_len() - 2;
        let salts = [0, 1, hash.digest_len(), longest];
        for salt in salts {
            let sig = pss(private, hash, salt);
            for claimed in salts.into_iter().chain([longest + 1, usize::MAX]) {
                let expected = if claimed == salt { Ok(()) } else { INVALID };
                let verdict = verify_rsapss(&key, hash, claimed, MESSAGE, &sig);
                let name = format!("rsapss {bits} e={exponent} {hash:?} salt {salt} as {claimed}");
                verdicts.add(&name, verdict, expected);
            }
            let verdict = verify_rsassa(&key, hash, MESSAGE, &sig);
            verdicts.add(
                &format!("rsapss {bits} e={exponent} {hash:?} salt {salt} as PKCS 1"),
                verdict,
                INVALID,
            );
            let verdict = verify_rsapss(&key, hash, salt, b"m", &sig);
            verdicts.add(
                &format!("rsapss {bits} e={exponent} {hash:?} salt {salt} another message"),
                verdict,
                INVALID,
            );
        }
    }
}

fn rsa_keys(verdicts: &mut Verdicts, private: &RsaPrivateKey) {
    let modulus = private.n().to_bytes_be();
    let sig = ssa(private, SignatureHash::Sha256);
    let mut check = |name: &str, modulus: &[u8], exponent, sig: &[u8], expected: TpmError| {
        let key = RsaKey { modulus, exponent };
        let verdict = verify_rsassa(&key, SignatureHash::Sha256, MESSAGE, sig);
        verdicts.add(&format!("rsa key {name} PKCS 1"), verdict, Err(expected.clone()));
        let verdict = verify_rsapss(&key, SignatureHash::Sha256, 32, MESSAGE, sig);
        verdicts.add(&format!("rsa key {name} PSS"), verdict, Err(expected));
    };
    for exponent in [0, 1, 2, 65_536, (1 << 33) + 1, u64::MAX] {
        let name = format!("exponent {exponent}");
        check(&name, &modulus, exponent, &sig, TpmError::RsaExponent { exponent });
    }
    let mut even = modulus.clone();
    even[255] &= 0xfe;
    check("even modulus", &even, 65_537, &sig, TpmError::RsaModulus);
    let long = [&[0], &modulus[..]].concat();
    check("zero in front of the modulus", &long, 65_537, &sig, TpmError::RsaModulus);
    let mut short = modulus.clone();
    short[0] = 0x7f;
    check("2047 bits", &short, 65_537, &sig, TpmError::RsaKeySize { bits: 2047 });
    check("1024 bits", &modulus[..128], 65_537, &sig[..128], TpmError::RsaKeySize { bits: 1024 });
    let huge = [&[1][..], &vec![0xff; 512]].concat();
    check("4097 bits", &huge, 65_537, &vec![0; 513], TpmError::RsaKeySize { bits: 4097 });
    check("empty", &[], 65_537, &[], TpmError::RsaKeySize { bits: 0 });
    check("wrong exponent", &modulus, 3, &sig, TpmError::SignatureInvalid);
    check("largest exponent", &modulus, (1 << 33) - 1, &sig, TpmError::SignatureInvalid);
}

/// Signatures of real TPMs, from the data folder.
fn from_data(verdicts: &mut Verdicts) {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let folder = std::env::var_os("ASSAY_DATA").map_or_else(|| default.into(), std::path::PathBuf::from);
    let Ok(bytes) = std::fs::read(folder.join("attestation/cases.json")) else {
        eprintln!("SKIPPED: attestation/cases.json of the data folder");
        return;
    };
    let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let unhex = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
    for case in file["cases"].as_array().unwrap() {
        let (attest, sig) = (unhex(&case["attest"]), Signature::parse(&unhex(&case["signature"])).unwrap());
        let verdict = |message: &[u8]| match case["ak"].get("tpmt_public") {
            Some(public) => assay_tpm::Public::parse(&unhex(public)).unwrap().verify(message, &sig),
            None => case["ak"]["p256_candidates"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| verify_p256(&unhex(&key["x"]), &unhex(&key["y"]), message, &sig))
                .find_or_last(Result::is_ok),
        };
        let good = case["expected"]["signature"].as_bool().unwrap();
        let name = case["name"].as_str().unwrap();
        verdicts.add(&format!("data {name}"), verdict(&attest), if good { Ok(()) } else { INVALID });
        verdicts.add(&format!("data {name}, another message"), verdict(b"m"), INVALID);
    }
}

trait FindOrLast: Iterator<Item = Result<(), TpmError>> + Sized {
    /// The first that `wanted` takes, else the last.
    fn find_or_last(self, wanted: impl Fn(&Self::Item) -> bool) -> Self::Item {
        let all: Vec<_> = self.collect();
        all.iter().find(|item| wanted(item)).or_else(|| all.last()).cloned().unwrap()
    }
}

impl<I: Iterator<Item = Result<(), TpmError>>> FindOrLast for I {}

#[test]
fn every_vector_has_its_verdict() {
    let mut verdicts = Verdicts::default();
    for key in ec_keys() {
        HASHES.into_iter().for_each(|hash| ecdsa(&mut verdicts, &key, hash));
        short_numbers(&mut verdicts, &key);
        points(&mut verdicts, &key);
    }
    // 2049 bits: the encoded message of PSS is a byte shorter than the modulus.
    for (bits, exponent) in [(2048, 65_537), (2048, 3), (2049, 65_537), (3072, 65_537)] {
        let private = RsaPrivateKey::new_with_exp(&mut rng(3), bits, &exponent.into()).unwrap();
        rsassa(&mut verdicts, &private, exponent);
        rsapss(&mut verdicts, &private, exponent);
        if (bits, exponent) == (2048, 65_537) {
            rsa_keys(&mut verdicts, &private);
        }
    }
    from_data(&mut verdicts);
    let mut lines: Vec<&str> = verdicts.0.lines().collect();
    println!("{} verdicts", lines.len());
    if let Some(file) = std::env::var_os("ASSAY_VERDICTS") {
        std::fs::write(file, &verdicts.0).expect("write the verdicts");
    }
    let count = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), count, "one line per vector");
}
