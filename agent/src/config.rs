//! The agent's configuration: one TOML file, read strictly.
//!
//! Unknown keys are refused, every value is checked against its range, and what
//! was read is hashed into the session, so that a verifier knows which
//! configuration a node ran under. A file that says nothing is a good file:
//! every key has a default, and [`Config::render`] writes all of them down with
//! their meaning.
//!
//! Trust boundary: on the appliance the file lies in the measured image; in the
//! package it belongs to the machine's owner. Nothing in it can raise an axis of
//! a verdict: `simulated = true` lowers one, its absence proves nothing.
//!
//! Not here: what a validator believes (its trust file), and anything that a
//! tenant could set.

pub(crate) mod check;
mod hex32;
mod images;
mod render;
mod sandbox;

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use assay_wire::{Digest, Domain, VerifyingKey, hash};
use serde::Deserialize;

pub use self::images::ImageSettings;
pub use self::sandbox::SandboxSettings;

/// Where the file is when `--config` does not say otherwise.
pub const DEFAULT_PATH: &str = "/etc/assay/agent.toml";
/// Largest file that is read, in bytes.
pub const MAX_BYTES: u64 = 64 * 1024;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the agent keeps things.
    pub node: Node,
    /// Which network this node belongs to.
    pub network: NetworkConfig,
    /// Validators to report to, at most [`Config::MAX_VALIDATORS`].
    pub validator: Vec<Validator>,
    /// The TPM.
    pub tpm: TpmConfig,
    /// Boot logs.
    pub boot: Boot,
    /// How often things happen.
    pub cadence: Cadence,
    /// GPUs.
    pub gpu: Gpu,
    /// How jobs are confined.
    pub sandbox: SandboxSettings,
}

/// Where the agent keeps things.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// Ledger, job outputs, layers: survives a reboot.
    pub state_dir: PathBuf,
    /// Sockets: gone after a reboot.
    pub runtime_dir: PathBuf,
    /// Whom the node belongs to: an Ed25519 public key of 64 hexadecimal digits.
    #[serde(deserialize_with = "hex32::optional_key")]
    pub owner: Option<VerifyingKey>,
    /// An earlier owner's transfer of this node to `owner`, as `assay-agent owner transfer` writes it.
    pub transfer: Option<PathBuf>,
}

impl Node {
    /// The ledger's file name.
    pub const LEDGER: &str = "ledger.db";

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.state_dir.join(Self::LEDGER)
    }

    /// The sandbox's own directory: image layers, job outputs and logs.
    #[must_use]
    pub fn sandbox_dir(&self) -> PathBuf {
        self.state_dir.join("sandbox")
    }
}

impl Default for Node {
    fn default() -> Self {
        let (state_dir, runtime_dir) = ("/var/lib/assay".into(), "/run/assay".into());
        Self { state_dir, runtime_dir, owner: None, transfer: None }
    }
}

/// Which network this node belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// The network's id, as in its validators' trust files.
    pub id: String,
    /// How many of a thousand beacon slots call for an anchor, as in the trust file.
    pub anchor_per_mille: u32,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { id: "assay-local".into(), anchor_per_mille: 250 }
    }
}

/// One validator, pinned by two keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// A name for people: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// `https://HOST[:PORT]`, without a path.
    pub url: String,
    /// Its signing key: 64 hexadecimal digits.
    #[serde(with = "hex32::key")]
    pub key: VerifyingKey,
    /// SHA-256 of its TLS certificate's SubjectPublicKeyInfo: 64 hexadecimal digits.
    #[serde(with = "hex32::digest")]
    pub tls_spki: Digest,
}

impl Validator {
    /// Host (without brackets) and port to connect to; `None` only for a URL that was never checked.
    #[must_use]
    pub fn authority(&self) -> Option<(&str, u16)> {
        check::authority(&self.url)
    }
}

/// The TPM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TpmConfig {
    /// A device path, or `swtpm:host=ADDRESS,port=PORT`.
    pub backend: String,
    /// Whether it is a software TPM; goes into the evidence.
    pub simulated: bool,
    /// The endorsement key's certificate, DER or PEM, for a TPM that does not carry it; in PEM its
    /// issuers may follow.
    pub ek_certificate: Option<PathBuf>,
    /// Whether a firmware TPM's certificate is fetched from its maker when the TPM does not carry it.
    pub ek_certificate_url: bool,
    /// Where it is fetched in place of the maker's own service: `https://HOST[:PORT]/PATH/`.
    pub ek_certificate_service: Option<String>,
}

impl Default for TpmConfig {
    fn default() -> Self {
        Self {
            backend: "/dev/tpmrm0".into(),
            simulated: false,
            ek_certificate: None,
            ek_certificate_url: true,
            ek_certificate_service: None,
        }
    }
}

/// Boot logs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Boot {
    /// The firmware's measurement log.
    pub firmware_log: PathBuf,
    /// Whether a generator wrote the firmware log; goes into the evidence.
    pub simulated: bool,
    /// systemd's measurement log; missing is fine.
    pub userspace_log: PathBuf,
    /// The kernel's IMA log, where one is kept.
    pub ima_log: Option<PathBuf>,
}

impl Default for Boot {
    fn default() -> Self {
        Self {
            firmware_log: "/sys/kernel/security/tpm0/binary_bios_measurements".into(),
            simulated: false,
            userspace_log: "/run/log/systemd/tpm2-measure.log".into(),
            ima_log: None,
        }
    }
}

/// How often things happen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cadence {
    /// Milliseconds from one beat to the next.
    pub beat_ms: u64,
    /// Milliseconds from one GPU sample to the next.
    pub sample_ms: u64,
}

impl Default for Cadence {
    fn default() -> Self {
        Self { beat_ms: 60_000, sample_ms: 1_000 }
    }
}

/// GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gpu {
    /// Whether GPUs are looked for.
    pub enabled: bool,
    /// NVML's file name, or the absolute path of one; a simulated one is found here too.
    pub library: String,
}

impl Default for Gpu {
    fn default() -> Self {
        Self { enabled: true, library: "libnvidia-ml.so.1".into() }
    }
}

/// Why a configuration was refused. Messages do not repeat their source; print the chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is larger than [`MAX_BYTES`].
    #[error("{} is larger than {MAX_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The text is not TOML, has an unknown key, or a value of the wrong type.
    #[error("line {line}, column {column}: {message}")]
    Parse {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong, with the keys that are known where one is not.
        message: String,
    },
    /// A value outside its range.
    #[error("{key} = {value}: must be {expected}")]
    Value {
        /// The key, with its table.
        key: String,
        /// The value as read.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
}

impl Config {
    /// Most validators that one node reports to.
    pub const MAX_VALIDATORS: usize = 16;

    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`], [`ConfigError::TooLarge`], and those of [`Config::parse`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let mut text = String::new();
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(read)?;
        if u64::try_from(text.len()).is_ok_and(|length| length > MAX_BYTES) {
            return Err(ConfigError::TooLarge { path: path.to_owned() });
        }
        Self::parse(&text)
    }

    /// Parses and checks a file's text.
    ///
    /// # Errors
    /// [`ConfigError::Parse`] for a shape that is not this configuration's,
    /// [`ConfigError::Value`] for the first value outside its range.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| located(text, &error))?;
        check::check(&config)?;
        Ok(config)
    }

    /// The hash of what is in force: the values, not the file's comments and spacing.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let values: Vec<String> = self
            .render()
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| format!("{line}\n"))
            .collect();
        hash(Domain::Config, &[values.concat().as_bytes()])
    }
}

/// `toml`'s message on one line, with its place in the text.
fn located(text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    ConfigError::Parse {
        line: before.matches('\n').count() + 1,
        column: before.len() - line_start + 1,
        message: error.message().replace('\n', " "),
    }
}

#[cfg(test)]
mod tests;
