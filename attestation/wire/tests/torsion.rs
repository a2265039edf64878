//! ZIP 215 on every kind of point that an Ed25519 library may judge otherwise: small order, mixed
//! order, and encodings that are not canonical. One signature and a batch must agree on all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_wire::{Batch, SigningKey, VerifyingKey, WireError};
use curve25519_dalek::constants::{ED25519_BASEPOINT_TABLE, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;
use sha2::{Digest as _, Sha512};

/// RFC 8032, 5.1: the group's order, little-endian.
const ORDER: [u8; 32] = *b"\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14\
\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10";

const MESSAGE: &[u8] = b"a beat";

/// A secret scalar of this test; nothing depends on which.
fn scalar(seed: u8) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&[seed; 64])
}

/// H(R || A || M) mod the order, over the bytes as they are sent (ZIP 215).
fn challenge(r: &[u8; 32], a: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(r).chain_update(a).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

fn signature(r: &[u8; 32], s: &[u8; 32]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(r);
    signature[32..].copy_from_slice(s);
    signature
}

type Item<'a> = ([u8; 32], &'a [u8], [u8; 64]);

fn batched(items: &[Item<'_>]) -> bool {
    let mut batch = Batch::default();
    items.iter().for_each(|(key, message, signature)| batch.add(&VerifyingKey(*key), message, signature));
    batch.verify()
}

/// The verdict, which must be the same alone, in a batch, twice in one, and beside good ones.
fn judge(name: &str, key: [u8; 32], message: &[u8], signature: [u8; 64]) -> Result<(), WireError> {
    let alone = VerifyingKey(key).verify(message, &signature);
    let item = (key, message, signature);
    let good: Item<'_> = (SigningKey::from_seed(&[9; 32]).verifying_key().0, b"good", honest(9, b"good"));
    assert!(batched(&[good]));
    assert_eq!(batched(&[item]), alone.is_ok(), "{name}: alone and in a batch");
    assert_eq!(batched(&[item, item]), alone.is_ok(), "{name}: twice in a batch");
    assert_eq!(batched(&[good, item, good]), alone.is_ok(), "{name}: beside good ones");
    alone
}

/// A plain signature by the key of this seed (RFC 8032, 5.1.6).
fn honest(seed: u8, message: &[u8]) -> [u8; 64] {
    let expanded: [u8; 64] = Sha512::digest([seed; 32]).into();
    let secret = Scalar::from_bytes_mod_order(clamped(&expanded));
    let nonce = Sha512::new().chain_update(&expanded[32..]).chain_update(message).finalize();
    let nonce = Scalar::from_bytes_mod_order_wide(&nonce.into());
    let key = (&secret * ED25519_BASEPOINT_TABLE).compress().0;
    let r = (&nonce * ED25519_BASEPOINT_TABLE).compress().0;
    signature(&r, (nonce + challenge(&r, &key, message) * secret).as_bytes())
}

fn clamped(expanded: &[u8; 64]) -> [u8; 32] {
    let mut bytes: [u8; 32] = expanded[..32].try_into().unwrap();
    bytes[0] &= 248;
    bytes[31] = (bytes[31] & 127) | 64;
    bytes
}

/// The same point with the sign bit of x turned, or with the prime added to y, where the bytes have room.
fn second_encodings(canonical: &[u8; 32]) -> Vec<[u8; 32]> {
    let mut all = Vec::new();
    let low = canonical[0] < 19 && canonical[1..31].iter().all(|b| *b == 0) && canonical[31] & 0x7f == 0;
    if low {
        let mut plus_prime = [0xff; 32];
        plus_prime[0] = 0xed + canonical[0];
        plus_prime[31] = 0x7f | canonical[31];
        all.push(plus_prime);
    }
    for mut encoding in [*canonical].into_iter().chain(all.clone()) {
        encoding[31] ^= 0x80;
        all.push(encoding);
    }
    let point = CompressedEdwardsY(*canonical).decompress();
    all.retain(|encoding| CompressedEdwardsY(*encoding).decompress() == point);
    all
}

/// Every encoding of the eight points of small order.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let canonical = EIGHT_TORSION.map(|point| point.compress().0);
    let second: Vec<_> = canonical.iter().flat_map(second_encodings).collect();
    canonical.into_iter().chain(second).collect()
}

#[test]
fn there_are_fourteen_encodings_of_the_points_of_small_order() {
    let mut all = small_order_encodings();
    for encoding in &all {
        let point = CompressedEdwardsY(*encoding).decompress().expect("ZIP 215 takes it");
        assert!(point.is_small_order());
    }
    all.sort_unstable();
    all.dedup();
    // Eight canonical ones; both of (0, 1) and (0, -1) have a second sign, and y = 0, 1 fit twice.
    assert_eq!(all.len(), 14);
}

/// With A and R of small order and s = 0 both sides vanish under the cofactor: all 196 hold, whatever
/// the message.
#[test]
fn small_order_keys_and_commitments_hold_in_every_encoding() {
    for a in small_order_encodings() {
        for r in small_order_encodings() {
            for message in [MESSAGE, b"", b"another"] {
                let verdict = judge("small A, small R", a, message, signature(&r, &[0; 32]));
                assert_eq!(verdict, Ok(()), "A {a:02x?} R {r:02x?}");
            }
        }
    }
}

#[test]
fn small_order_with_another_s_does_not_hold() {
    for a in small_order_encodings() {
        let r = EdwardsPoint::identity().compress().0;
        let verdict = judge("s = 1", a, MESSAGE, signature(&r, Scalar::ONE.as_bytes()));
        assert_eq!(verdict, Err(WireError::Signature));
    }
}

/// A key of small order and a commitment that is not: s B = R alone, which anyone can make.
#[test]
fn a_small_order_key_signs_everything() {
    for a in small_order_encodings() {
        let r = (&scalar(3) * ED25519_BASEPOINT_TABLE).compress().0;
        let verdict = judge("small A, large R", a, MESSAGE, signature(&r, scalar(3).as_bytes()));
        assert_eq!(verdict, Ok(()));
    }
}

/// An honest key with torsion added to A, to R, or to both, for all 64 pairs: the cofactored equation
/// holds for each, whether or not the one without cofactor does.
#[test]
fn mixed_order_holds_with_every_torsion() {
    let mut without_cofactor = 0;
    for torsion_a in EIGHT_TORSION {
        for torsion_r in EIGHT_TORSION {
            let a = (&scalar(1) * ED25519_BASEPOINT_TABLE + torsion_a).compress().0;
            let r = (&scalar(2) * ED25519_BASEPOINT_TABLE + torsion_r).compress().0;
            let k = challenge(&r, &a, MESSAGE);
            let s = scalar(2) + k * scalar(1);
            assert_eq!(judge("mixed", a, MESSAGE, signature(&r, s.as_bytes())), Ok(()));
            let wrong = judge("mixed, another message", a, b"m", signature(&r, s.as_bytes()));
            assert_eq!(wrong, Err(WireError::Signature));
            without_cofactor += usize::from((torsion_r + k * torsion_a) == EdwardsPoint::identity());
        }
    }
    assert!((1..64).contains(&without_cofactor), "the vectors tell the two equations apart");
}

/// The torsion of R and of k A may cancel: the equation without cofactor holds then as well.
#[test]
fn torsion_that_cancels_holds_too() {
    let torsion = EIGHT_TORSION[1];
    let found = (0u32..).find_map(|n| {
        let message = n.to_be_bytes();
        let a = (&scalar(1) * ED25519_BASEPOINT_TABLE + torsion).compress().0;
        let r = (&scalar(2) * ED25519_BASEPOINT_TABLE - torsion).compress().0;
        let k = challenge(&r, &a, &message);
        let cancels = k * torsion == torsion;
        cancels.then(|| (message, a, signature(&r, (scalar(2) + k * scalar(1)).as_bytes())))
    });
    let (message, a, signature) = found.unwrap();
    assert_eq!(judge("cancelling", a, &message, signature), Ok(()));
}

/// Only s has one encoding: s + L, and anything else not below L, is refused.
#[test]
fn s_must_be_canonical() {
    let good = honest(5, MESSAGE);
    let key = SigningKey::from_seed(&[5; 32]).verifying_key().0;
    assert_eq!(judge("honest", key, MESSAGE, good), Ok(()));
    let (r, s): ([u8; 32], [u8; 32]) = (good[..32].try_into().unwrap(), good[32..].try_into().unwrap());
    let mut carry = 0;
    let mut plus_order = [0; 32];
    for (at, byte) in plus_order.iter_mut().enumerate() {
        let sum = u16::from(s[at]) + u16::from(ORDER[at]) + carry;
        (*byte, carry) = (u8::try_from(sum & 0xff).unwrap(), sum >> 8);
    }
    for (name, s) in [("s + L", plus_order), ("L", ORDER), ("2^256 - 1", [0xff; 32])] {
        assert_eq!(judge(name, key, MESSAGE, signature(&r, &s)), Err(WireError::Signature), "{name}");
        let identity = EdwardsPoint::identity().compress().0;
        let small = judge(name, identity, MESSAGE, signature(&identity, &s));
        assert_eq!(small, Err(WireError::Signature), "{name} under a small key");
    }
    let mut top_bit = good;
    top_bit[63] |= 0x80;
    assert_eq!(judge("a high bit of s", key, MESSAGE, top_bit), Err(WireError::Signature));
}

/// Encodings of A and R that are no point are refused, in a batch too.
#[test]
fn encodings_off_the_curve_are_refused() {
    let off = (0u8..).map(|n| [n; 32]).find(|e| CompressedEdwardsY(*e).decompress().is_none()).unwrap();
    let identity = EdwardsPoint::identity().compress().0;
    let verdict = judge("A off the curve", off, MESSAGE, signature(&identity, &[0; 32]));
    assert_eq!(verdict, Err(WireError::Key));
    let verdict = judge("R off the curve", identity, MESSAGE, signature(&off, &[0; 32]));
    assert_eq!(verdict, Err(WireError::Signature));
}

/// The hash is over the bytes as sent: a second encoding of the same R is another signature.
#[test]
fn the_challenge_is_over_the_bytes_as_sent() {
    let a = (&scalar(1) * ED25519_BASEPOINT_TABLE).compress().0;
    for r in small_order_encodings() {
        let s = challenge(&r, &a, MESSAGE) * scalar(1);
        assert_eq!(judge("R as sent", a, MESSAGE, signature(&r, s.as_bytes())), Ok(()));
        let other = small_order_encodings().into_iter().find(|other| *other != r).unwrap();
        let verdict = judge("R in other bytes", a, MESSAGE, signature(&other, s.as_bytes()));
        assert_eq!(verdict, Err(WireError::Signature));
    }
}
