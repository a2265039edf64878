//! Ed25519 keys: signed with one library, verified by ZIP 215 everywhere.
//!
//! ZIP 215 fixes which encodings and which small-order points count, and its
//! cofactored equation is the same for one signature and for a batch, so two
//! validators never disagree about a beat.

use ed25519_dalek::Signer as _;
use ed25519_zebra::{Signature, VerificationKey, VerificationKeyBytes, batch};
use minicbor::{Decode, Encode};
use rand_core::SeedableRng as _;
use sha2::{Digest as _, Sha256};

use crate::error::{Result, WireError};
use crate::{Digest, Domain, hash};

/// A private Ed25519 key; wiped from memory when dropped.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of this 32-byte seed (RFC 8032 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key().to_bytes())
    }

    /// Signs these bytes as they are (RFC 8032 5.1.6).
    ///
    /// For formats that others define, a JWS say: whoever calls it makes sure that nothing else which
    /// this key signs can have the same bytes. Messages of our own go into an envelope.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", hex::encode(self.verifying_key().0))
    }
}

/// A public Ed25519 key, as its 32-byte encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct VerifyingKey(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl VerifyingKey {
    /// The id of a validator that signs with this key.
    pub fn validator_id(&self) -> Digest {
        hash(Domain::ValidatorId, &[&self.0])
    }

    /// Checks one signature by the rules of ZIP 215.
    ///
    /// # Errors
    /// [`WireError::Key`] when the key is no curve point, [`WireError::Signature`] when the equation fails.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<()> {
        VerificationKey::try_from(self.0)
            .map_err(|_| WireError::Key)?
            .verify(&Signature::from(*signature), message)
            .map_err(|_| WireError::Signature)
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Many signatures checked together, at about a third of the price of one by one.
#[derive(Default)]
pub struct Batch {
    verifier: batch::Verifier,
    transcript: Sha256,
    len: usize,
}

impl Batch {
    /// Adds one signature.
    pub fn add(&mut self, key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) {
        self.transcript.update(key.0);
        self.transcript.update(signature);
        self.transcript.update(u64::try_from(message.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.transcript.update(message);
        let item =
            batch::Item::from((VerificationKeyBytes::from(key.0), Signature::from(*signature), &message));
        self.verifier.queue(item);
        self.len += 1;
    }

    /// How many were added.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True when every signature holds; an empty batch holds.
    ///
    /// The random coefficients are drawn from a hash over everything in the batch:
    /// nobody can choose signatures after the coefficients, and the same input
    /// gives the same work on every machine.
    pub fn verify(self) -> bool {
        let seed = self.transcript.finalize().into();
        self.verifier.verify(rand_chacha::ChaCha20Rng::from_seed(seed)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32])
    }

    #[test]
    fn a_signature_holds_under_its_key_and_message_only() {
        let signature = key(1).sign(b"beat");
        assert_eq!(key(1).verifying_key().verify(b"beat", &signature), Ok(()));
        assert_eq!(key(1).verifying_key().verify(b"beau", &signature), Err(WireError::Signature));
        assert_eq!(key(2).verifying_key().verify(b"beat", &signature), Err(WireError::Signature));
        let off_curve = VerifyingKey([2; 32]);
        assert_eq!(off_curve.verify(b"beat", &signature), Err(WireError::Key));
    }

    #[test]
    fn a_key_is_shown_by_its_public_half() {
        // RFC 8032, 7.1, test 1.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let key = SigningKey::from_seed(&Digest::from_hex(seed).unwrap().0);
        assert_eq!(format!("{key:?}"), format!("SigningKey({public})"));
        assert_eq!(format!("{:?}", key.verifying_key()), public);
        let id = hash(Domain::ValidatorId, &[&key.verifying_key().0]);
        assert_eq!(key.verifying_key().validator_id(), id);
    }

    #[test]
    fn a_batch_holds_only_when_every_signature_does() {
        let sign = |n: u8, message: &[u8]| (key(n).verifying_key(), key(n).sign(message));
        let mut good = Batch::default();
        let mut bad = Batch::default();
        for n in 0..20 {
            let (k, s) = sign(n, &[n]);
            good.add(&k, &[n], &s);
            bad.add(&k, &[if n == 13 { 0 } else { n }], &s);
        }
        assert_eq!((good.len(), good.is_empty()), (20, false));
        assert!(good.verify());
        assert!(!bad.verify());
        assert!(Batch::default().is_empty() && Batch::default().verify());
    }

    /// ZIP 215: a small-order key and R, s = 0, verify alike alone and in a batch.
    #[test]
    fn torsion_is_judged_alike_alone_and_in_a_batch() {
        let mut point = [0u8; 32];
        point[0] = 1; // the identity
        let order_two = {
            let mut p = [0xff; 32];
            p[0] = 0xec;
            p[31] = 0x7f; // y = -1, order 2
            p
        };
        for (a, r) in [(point, point), (order_two, point), (order_two, order_two), (point, order_two)] {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&r);
            let alone = VerifyingKey(a).verify(b"m", &signature).is_ok();
            let mut batch = Batch::default();
            batch.add(&VerifyingKey(a), b"m", &signature);
            assert!(alone);
            assert_eq!(alone, batch.verify());
        }
    }
}
