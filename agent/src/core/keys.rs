//! A session's keys: made with it, kept in memory, gone with it.

use assay_wire::{Digest, SigningKey};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Ed25519 for signing, X25519 for what is sealed to the session. Both are wiped when dropped.
pub(super) struct SessionKeys {
    /// Signs everything that the session says.
    pub(super) sign: SigningKey,
    sealing: StaticSecret,
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionKeys").field("sign", &self.sign).finish_non_exhaustive()
    }
}

impl SessionKeys {
    /// Fresh keys from the operating system's random numbers.
    pub(super) fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut())?;
        let sign = SigningKey::from_seed(&seed);
        getrandom::fill(seed.as_mut())?;
        Ok(Self { sign, sealing: StaticSecret::from(*seed) })
    }

    /// The private half of the sealing key.
    pub(super) fn sealing(&self) -> &StaticSecret {
        &self.sealing
    }

    /// The public half of the sealing key.
    pub(super) fn sealing_public(&self) -> Digest {
        Digest(PublicKey::from(&self.sealing).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_sessions_share_a_key() {
        let (a, b) = (SessionKeys::generate().unwrap(), SessionKeys::generate().unwrap());
        assert_ne!(a.sign.verifying_key(), b.sign.verifying_key());
        assert_ne!(a.sealing_public(), b.sealing_public());
        assert_ne!(a.sign.verifying_key().0, a.sealing_public().0);
        assert!(!format!("{a:?}").contains("sealing"));
    }
}
