//! `init`: a validator's directory with fresh keys.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use assay_appraisal::{Policy, Trust, TrustedValidator};
use assay_wire::{Network, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::config::{Config, Home};
use crate::error::Error;
use crate::tls;

/// What a new validator is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The network's id.
    pub network: String,
    /// This validator's name in the trust file.
    pub name: String,
    /// Who runs it.
    pub operator: String,
    /// Where it will listen.
    pub listen: SocketAddr,
    /// Names and addresses for the certificate.
    pub hosts: Vec<String>,
    /// Length of a beacon round in ms.
    pub beacon_period_ms: u64,
    /// Chance of an anchor in a round, in thousandths.
    pub anchor_per_mille: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            network: "assay-local".to_owned(),
            name: "validator-1".to_owned(),
            operator: "operator-1".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7443)),
            hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            beacon_period_ms: 60_000,
            anchor_per_mille: 250,
        }
    }
}

/// What `init` made, for people and scripts.
#[derive(Debug, Clone)]
pub struct Made {
    /// SHA-256 of the TLS key's SubjectPublicKeyInfo, in hex: what nodes pin.
    pub pin: String,
    /// The key that signs records, beacons and receipts.
    pub key: VerifyingKey,
}

/// Writes the directory.
///
/// # Errors
/// [`Error::AlreadyThere`] before anything is changed; [`Error::Trust`] for options that no
/// trust file can hold; [`Error::WriteFile`], [`Error::MakeCertificate`] or [`Error::Randomness`].
pub fn init(dir: &Path, options: &Options) -> Result<Made, Error> {
    let home = Home::new(dir);
    refuse_to_overwrite(&home)?;
    let (seed, key) = new_seed()?;
    let trust = trust_file(options, key, &home)?;
    let identity = tls::generate(&options.hosts)?;
    if let Some(parent) = dir.parent() {
        make_dir(parent, 0o755)?;
    }
    make_dir(dir, 0o700)?;
    make_dir(&home.policies(), 0o755)?;
    for (name, text) in Policy::BUILTIN {
        write(&home.policies().join(format!("{name}.toml")), 0o644, text)?;
    }
    write(&home.trust(), 0o644, &trust)?;
    write(&home.config(), 0o644, Config::template(options.listen))?;
    write(&home.certificate(), 0o644, &identity.certificate)?;
    write(&home.tls_key(), 0o600, &*Zeroizing::new(identity.key))?;
    write(&home.key(), 0o600, &*seed)?;
    Ok(Made { pin: identity.pin, key })
}

/// Writes a signing key of its own, as `init` does a validator's: 64 hexadecimal digits.
///
/// # Errors
/// [`Error::AlreadyThere`], [`Error::WriteFile`] or [`Error::Randomness`].
pub fn key(path: &Path) -> Result<VerifyingKey, Error> {
    if path.symlink_metadata().is_ok() {
        return Err(Error::AlreadyThere { path: path.to_owned() });
    }
    let (seed, key) = new_seed()?;
    write(path, 0o600, &*seed)?;
    Ok(key)
}

/// A fresh seed as its file's text, and its key.
fn new_seed() -> Result<(Zeroizing<String>, VerifyingKey), Error> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(Error::Randomness)?;
    let key = SigningKey::from_seed(&seed).verifying_key();
    Ok((Zeroizing::new(hex::encode(*seed) + "\n"), key))
}

fn refuse_to_overwrite(home: &Home) -> Result<(), Error> {
    let ours = [home.key(), home.certificate(), home.tls_key(), home.trust(), home.config(), home.store()];
    let builtin = Policy::BUILTIN.map(|(name, _)| home.policies().join(format!("{name}.toml")));
    match ours.into_iter().chain(builtin).find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(Error::AlreadyThere { path }),
        None => Ok(()),
    }
}

/// The trust file's text, read back once so that `init` can't write one that `serve` refuses.
fn trust_file(options: &Options, key: VerifyingKey, home: &Home) -> Result<String, Error> {
    let (name, operator) = (options.name.clone(), options.operator.clone());
    let trust = Trust {
        policy: "development".to_owned(),
        validators: [(key.validator_id(), TrustedValidator { name, operator, key })].into(),
        receipt_threshold: 1,
        beacon_period_ms: options.beacon_period_ms,
        anchor_per_mille: options.anchor_per_mille,
        ..Trust::of(Network::new(&options.network))
    };
    let text = trust.to_toml();
    match Trust::parse(&text) {
        Ok(_) => Ok(text),
        Err(source) => Err(Error::Trust { path: home.trust(), source }),
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| Error::WriteFile { path: path.to_owned(), source })
}

/// Creates the file, so that a race can't make this overwrite one, and syncs it.
pub(crate) fn write(path: &Path, mode: u32, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(bytes.as_ref()).and_then(|()| file.sync_all()))
        .map_err(|source| Error::WriteFile { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trusted;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_init_writes_is_what_serve_reads() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("deep/validator");
        let made = init(&dir, &Options::default()).unwrap();
        let home = Home::new(&dir);
        assert_eq!(trusted::signing_key(&home.key()).unwrap().verifying_key(), made.key);
        assert_eq!(tls::pin(&home.tls_key()).unwrap(), made.pin);
        tls::server(&home.certificate(), &home.tls_key()).unwrap();
        let trust = trusted::trust(&home.trust()).unwrap();
        assert!(trust.validators.contains_key(&made.key.validator_id()));
        assert_eq!(Config::load(&home.config()).unwrap().listen, Options::default().listen);
        for secret in [home.key(), home.tls_key()] {
            assert_eq!(fs::metadata(secret).unwrap().permissions().mode() & 0o777, 0o600);
        }
        for (name, _) in Policy::BUILTIN {
            assert!(home.policies().join(format!("{name}.toml")).exists());
        }
    }

    #[test]
    fn nothing_is_overwritten_and_no_two_keys_are_alike() {
        let root = tempfile::tempdir().unwrap();
        let first = init(root.path(), &Options::default()).unwrap();
        let before = fs::read(Home::new(root.path()).key()).unwrap();
        assert!(matches!(init(root.path(), &Options::default()), Err(Error::AlreadyThere { .. })));
        assert_eq!(fs::read(Home::new(root.path()).key()).unwrap(), before);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(init(other.path(), &Options::default()).unwrap().key, first.key);
    }

    #[test]
    fn options_that_no_trust_file_holds_leave_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        for options in [
            Options { network: "two words".into(), ..Options::default() },
            Options { beacon_period_ms: 1, ..Options::default() },
            Options { anchor_per_mille: 1001, ..Options::default() },
            Options { operator: String::new(), ..Options::default() },
        ] {
            assert!(matches!(init(&dir, &options), Err(Error::Trust { .. })));
        }
        assert!(!dir.exists());
    }
}
