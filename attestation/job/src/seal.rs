//! Secrets that one session of one node can open, for one job.
//!
//! HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20Poly1305,
//! to the X25519 key that the session's quote binds. `info` is the hash, under the domain
//! `assay/1/job-secret`, of session, node, job digest and network id; `aad` is the secret's name.
//! What is sealed therefore opens in no other network, session, node or job, under no other name.
//!
//! Base mode does not say who sealed: whoever knows the session's public key can seal to it. A
//! secret is its tenant's business; it gives nobody any right on the node.
//!
//! The private half lives in the memory of the node's core and ends with the session; a job file
//! with sealed secrets is therefore good for one session, and sealed anew for the next.

use assay_wire::{Digest, Domain, hash};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use crate::file::{JobFile, Sealed};
use crate::hpke;

/// Bytes that sealing adds: the encapsulated key and the tag.
pub const OVERHEAD: usize = 32 + 16;

/// Why a secret was not sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The session's key is none that anything can be sealed to.
    #[error("the session's sealing key is of small order")]
    Key,
    /// Sealed to another session, node, network or job, under another name, or changed.
    #[error("secret {name} is not sealed to this session and this job")]
    Open {
        /// Its name.
        name: String,
    },
}

/// What a secret is sealed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The network's id.
    pub network: &'a str,
    /// The session's id.
    pub session: &'a Digest,
    /// The node's id.
    pub node: &'a Digest,
    /// [`JobFile::digest`].
    pub job: &'a [u8; 32],
}

impl Binding<'_> {
    /// HPKE's `info`.
    fn info(&self) -> Digest {
        hash(Domain::JobSecret, &[&self.session.0, &self.node.0, self.job, self.network.as_bytes()])
    }
}

/// An opened secret: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("name", &self.name).finish_non_exhaustive()
    }
}

/// True for a name that can be a file of `/run/secrets`: 1 to 64 letters, digits, `_`, `-` and `.`,
/// not starting with a dot.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// Seals a secret to a session's X25519 key. `ephemeral` is 32 fresh random bytes, used for nothing else.
///
/// # Errors
/// [`SealError::Key`].
pub fn seal(
    key: &[u8; 32],
    binding: &Binding<'_>,
    name: &str,
    value: &[u8],
    ephemeral: &Zeroizing<[u8; 32]>,
) -> Result<Sealed, SealError> {
    let ephemeral = StaticSecret::from(**ephemeral);
    let sealed = hpke::seal(key, &ephemeral, &binding.info().0, name.as_bytes(), value);
    sealed.map(Sealed).ok_or(SealError::Key)
}

/// Opens one secret.
///
/// # Errors
/// [`SealError::Open`].
pub fn open(
    key: &StaticSecret,
    binding: &Binding<'_>,
    name: &str,
    sealed: &Sealed,
) -> Result<Secret, SealError> {
    let value = hpke::open(key, &binding.info().0, name.as_bytes(), &sealed.0);
    let value = value.ok_or_else(|| SealError::Open { name: name.to_owned() })?;
    Ok(Secret { name: name.to_owned(), value })
}

/// Opens all secrets of a job, in the order of their names.
///
/// # Errors
/// [`SealError::Open`] for the first that does not open.
pub fn open_all(
    job: &JobFile,
    key: &StaticSecret,
    network: &str,
    session: &Digest,
    node: &Digest,
) -> Result<Vec<Secret>, SealError> {
    let digest = job.digest();
    let binding = Binding { network, session, node, job: &digest };
    job.secrets.iter().map(|(name, sealed)| open(key, &binding, name, sealed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use x25519_dalek::PublicKey;

    const D: [Digest; 3] = [Digest([1; 32]), Digest([2; 32]), Digest([3; 32])];

    #[test]
    fn opens_where_it_was_sealed_to_and_nowhere_else() {
        let key = StaticSecret::from([5; 32]);
        let public = PublicKey::from(&key).to_bytes();
        let good = Binding { network: "n", session: &D[0], node: &D[1], job: &[4; 32] };
        let sealed = seal(&public, &good, "KEY", b"value", &Zeroizing::new([6; 32])).unwrap();
        assert_eq!(sealed.0.len(), OVERHEAD + 5);
        assert_eq!(*open(&key, &good, "KEY", &sealed).unwrap().value, b"value");
        let others = [
            (Binding { network: "m", ..good }, "KEY"),
            (Binding { session: &D[2], ..good }, "KEY"),
            (Binding { node: &D[2], ..good }, "KEY"),
            (Binding { job: &[5; 32], ..good }, "KEY"),
            (good, "OTHER"),
        ];
        for (binding, name) in others {
            let refusal = SealError::Open { name: name.into() };
            assert_eq!(open(&key, &binding, name, &sealed), Err(refusal), "{binding:?}");
        }
        assert!(open(&StaticSecret::from([7; 32]), &good, "KEY", &sealed).is_err());
        assert_eq!(seal(&[0; 32], &good, "KEY", b"", &Zeroizing::new([6; 32])), Err(SealError::Key));
    }

    #[test]
    fn a_jobs_secrets_open_together() {
        let key = StaticSecret::from([5; 32]);
        let public = PublicKey::from(&key).to_bytes();
        let text = |a: &str, b: &str| {
            format!("[job]\nimage = \"oci:/l\"\n[job.secrets]\nA = \"{a}\"\nB = \"{b}\"\n")
        };
        let some = "A".repeat(64);
        let mut job = JobFile::parse(text(&some, &some).as_bytes()).unwrap();
        let digest = job.digest();
        let binding = Binding { network: "n", session: &D[0], node: &D[1], job: &digest };
        for name in ["A", "B"] {
            let sealed = seal(&public, &binding, name, name.as_bytes(), &Zeroizing::new([6; 32])).unwrap();
            job.secrets.insert(name.to_owned(), sealed);
        }
        let open = |job: &JobFile| open_all(job, &key, "n", &D[0], &D[1]);
        let opened = open(&job).unwrap();
        assert_eq!(opened.iter().map(|s| s.value.as_slice()).collect::<Vec<_>>(), [b"A", b"B"]);
        // Another command is another job, and gets none of its secrets.
        job.command = vec!["/bin/cat".to_owned(), "/run/secrets/A".to_owned()];
        assert_eq!(open(&job), Err(SealError::Open { name: "A".into() }));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret { name: "A".into(), value: Zeroizing::new(b"hush".to_vec()) };
        assert!(!format!("{secret:?}").contains("hush") && !format!("{secret:?}").contains("104"));
    }

    #[test]
    fn names_are_file_names() {
        assert!(is_secret_name("TOKEN") && is_secret_name("a-b_c.d"));
        for name in ["", ".a", "a/b", "..", "a b", "\u{e9}", &"a".repeat(65)] {
            assert!(!is_secret_name(name), "{name:?}");
        }
    }
}
