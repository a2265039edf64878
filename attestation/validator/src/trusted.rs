//! Reading whom and what to believe: trust file, vendor files, releases, policy, the validator's own key.

use std::io;
use std::path::{Path, PathBuf};

use assay_appraisal::{Policy, Trust};
use assay_wire::{Digest, SigningKey};
use zeroize::Zeroizing;

use crate::config::Home;
use crate::error::{Error, read_file, read_text};

/// Reads a trust file.
///
/// # Errors
/// [`Error::ReadFile`] or [`Error::Trust`].
pub fn trust(path: &Path) -> Result<Trust, Error> {
    let text = read_text(path)?;
    Trust::parse(&text).map_err(|source| Error::Trust { path: path.to_owned(), source })
}

/// Whom a validator believes: its trust file, its vendor file and the releases in its folder.
///
/// # Errors
/// Those of [`trust`], [`add_vendors`] and [`add_releases`].
pub fn home(home: &Home) -> Result<Trust, Error> {
    let mut trust = trust(&home.trust())?;
    add_home_vendors(&mut trust, home)?;
    add_releases(&mut trust, &manifests(&home.releases())?)?;
    Ok(trust)
}

/// Adds what a validator's vendor file says, where there is one.
///
/// # Errors
/// Those of [`add_vendors`].
pub fn add_home_vendors(trust: &mut Trust, home: &Home) -> Result<(), Error> {
    let path = home.vendors();
    if path.exists() { add_vendors(trust, &path) } else { Ok(()) }
}

/// Adds what a vendor file says: TPM makers, their authorities, firmware floors.
///
/// # Errors
/// [`Error::ReadFile`] or [`Error::Trust`].
pub fn add_vendors(trust: &mut Trust, path: &Path) -> Result<(), Error> {
    let text = read_text(path)?;
    trust.add_vendors(&text).map_err(|source| Error::Trust { path: path.to_owned(), source })
}

/// Adds release manifests by signers in the trust file.
///
/// # Errors
/// [`Error::ReadFile`], [`Error::FileTooLarge`] or [`Error::Release`].
pub fn add_releases(trust: &mut Trust, paths: &[PathBuf]) -> Result<(), Error> {
    for path in paths {
        let added = trust.add_release(&read_file(path)?).map(drop);
        added.map_err(|source| Error::Release { path: path.clone(), source })?;
    }
    Ok(())
}

/// The `.cbor` files of a folder by name; none where there is no folder.
fn manifests(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::ReadFile { path: dir.to_owned(), source };
    let entries = match dir.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "cbor"));
    paths.sort();
    Ok(paths)
}

/// The policy of this name: `policies/NAME.toml` beside the trust file, else the built-in one.
///
/// # Errors
/// [`Error::Policy`] when there is neither, [`Error::ReadFile`] or [`Error::Trust`].
pub fn policy(trust_file: &Path, name: &str) -> Result<Policy, Error> {
    let none = || Error::Policy { name: name.to_owned() };
    // The name becomes part of a path.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        return Err(none());
    }
    let dir = trust_file.parent().unwrap_or_else(|| Path::new("."));
    let path = dir.join("policies").join(format!("{name}.toml"));
    if !path.exists() {
        return Policy::builtin(name).ok_or_else(none);
    }
    Policy::parse(&read_text(&path)?).map_err(|source| Error::Trust { path, source })
}

/// Reads the validator's Ed25519 seed: 64 hexadecimal digits.
///
/// # Errors
/// [`Error::ReadFile`] or [`Error::Config`]; the content never enters a message.
pub fn signing_key(path: &Path) -> Result<SigningKey, Error> {
    let text = Zeroizing::new(read_text(path)?);
    let seed = Digest::from_hex(text.trim()).ok_or_else(|| Error::Config {
        path: path.to_owned(),
        detail: "not 64 hexadecimal digits".to_owned(),
    })?;
    Ok(SigningKey::from_seed(&seed.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beside_the_trust_file_wins_over_the_builtin() {
        let dir = tempfile::tempdir().unwrap();
        let trust = dir.path().join("trust.toml");
        assert_eq!(policy(&trust, "open").unwrap(), Policy::builtin("open").unwrap());
        std::fs::create_dir(dir.path().join("policies")).unwrap();
        let file = dir.path().join("policies/open.toml");
        std::fs::write(&file, Policy::BUILTIN[0].1).unwrap();
        assert_eq!(policy(&trust, "open").unwrap().name, "development");
        std::fs::write(&file, "schema = 9").unwrap();
        assert!(matches!(policy(&trust, "open"), Err(Error::Trust { .. })));
    }

    #[test]
    fn a_policy_name_is_no_path() {
        let trust = Path::new("/nowhere/trust.toml");
        for name in ["", "lenient", "../open", "a/b", "a.b"] {
            assert!(matches!(policy(trust, name), Err(Error::Policy { .. })), "{name}");
        }
    }

    #[test]
    fn a_key_is_64_digits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{}\n", "07".repeat(32))).unwrap();
        let key = signing_key(file.path()).unwrap().verifying_key();
        assert_eq!(key, SigningKey::from_seed(&[7; 32]).verifying_key());
        std::fs::write(file.path(), "07").unwrap();
        assert!(matches!(signing_key(file.path()), Err(Error::Config { .. })));
    }
}
