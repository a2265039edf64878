//! Reading whom and what to believe: trust file, policy, the validator's own key.

use std::path::Path;

use assay_appraisal::{Policy, Trust};
use assay_wire::{Digest, SigningKey};
use zeroize::Zeroizing;

use crate::error::{Error, read_text};

/// Reads a trust file.
///
/// # Errors
/// [`Error::ReadFile`] or [`Error::Trust`].
pub fn trust(path: &Path) -> Result<Trust, Error> {
    let text = read_text(path)?;
    Trust::parse(&text).map_err(|source| Error::Trust { path: path.to_owned(), source })
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
