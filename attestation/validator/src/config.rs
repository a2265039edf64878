//! A validator's directory and its configuration file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, read_text};

/// Where things are in a validator's directory.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// The directory at this path; nothing is looked at yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// `validator.toml`.
    pub fn config(&self) -> PathBuf {
        self.0.join("validator.toml")
    }

    /// The Ed25519 seed, as 64 hexadecimal digits.
    pub fn key(&self) -> PathBuf {
        self.0.join("validator.key")
    }

    /// The TLS certificate.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("tls.crt")
    }

    /// The TLS key.
    pub fn tls_key(&self) -> PathBuf {
        self.0.join("tls.key")
    }

    /// The trust file.
    pub fn trust(&self) -> PathBuf {
        self.0.join("trust.toml")
    }

    /// More TPM makers and their authorities; need not be there.
    pub fn vendors(&self) -> PathBuf {
        self.0.join("vendors.toml")
    }

    /// The folder of release manifests, each a `.cbor`; need not be there.
    pub fn releases(&self) -> PathBuf {
        self.0.join("releases")
    }

    /// The folder of GPUs' reference values, as `rim import` writes them or as their vendor does; need not be there.
    pub fn rims(&self) -> PathBuf {
        self.0.join("rims")
    }

    /// The folder of OCSP answers about certificates of GPUs.
    pub fn ocsp(&self) -> PathBuf {
        self.0.join("ocsp")
    }

    /// The folder of policies.
    pub fn policies(&self) -> PathBuf {
        self.0.join("policies")
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.0.join("validator.db")
    }

    /// The socket for orders of whoever runs the validator.
    pub fn admin(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    /// Held by the process that serves the directory.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
}

/// `validator.toml`: how this validator serves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Of the file; 1.
    pub schema: u32,
    /// Where to listen.
    pub listen: SocketAddr,
    /// How much strangers may ask for.
    #[serde(default)]
    pub limits: Limits,
    /// When two sessions are on one TPM.
    #[serde(default)]
    pub twins: Twins,
}

/// When two sessions of different nodes are on one TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Twins {
    /// The most that two power-on instants may differ to be one, in ms.
    pub tolerance_ms: u64,
    /// Seconds after its last record for which an open session counts as live.
    pub live_s: u64,
}

impl Default for Twins {
    fn default() -> Self {
        Self { tolerance_ms: 1000, live_s: 600 }
    }
}

impl Twins {
    fn fault(&self) -> Option<&'static str> {
        let good = (1..=60_000).contains(&self.tolerance_ms) && (1..=86_400).contains(&self.live_s);
        (!good).then_some("twins: tolerance_ms between 1 and 60000, live_s between 1 and 86400")
    }
}

/// How much strangers may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: usize,
    /// Seconds for a TLS handshake.
    pub handshake_s: u64,
    /// Seconds from the first byte of a request to the end of its header.
    pub header_s: u64,
    /// Seconds for a body.
    pub body_s: u64,
    /// Seconds that a connection may be silent between two requests.
    pub idle_s: u64,
    /// Seconds for which a nonce is good.
    pub challenge_s: u64,
    /// Nonces that may be outstanding.
    pub challenges: usize,
    /// MiB of request bodies in memory at the same time.
    pub body_memory_mib: u32,
    /// Connections of one address (IPv6: one /64) at the same time.
    pub address_connections: usize,
    /// New connections, enrolments, nonces and sessions together that one address may ask for per minute.
    pub address_per_minute: u32,
    /// What all addresses together may ask for per second.
    pub total_per_second: u32,
    /// Seconds for which a node keeps an AK before another may take its place.
    pub ak_change_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshake_s: 10,
            header_s: 10,
            body_s: 20,
            idle_s: 150,
            challenge_s: 120,
            challenges: 4096,
            body_memory_mib: 64,
            address_connections: 256,
            address_per_minute: 1200,
            total_per_second: 200,
            ak_change_s: 3600,
        }
    }
}

impl Limits {
    pub(crate) fn handshake(&self) -> Duration {
        Duration::from_secs(self.handshake_s)
    }

    pub(crate) fn body(&self) -> Duration {
        Duration::from_secs(self.body_s)
    }

    /// The first number that makes no sense, if any.
    fn fault(&self) -> Option<&'static str> {
        let seconds = [self.handshake_s, self.header_s, self.body_s, self.idle_s, self.challenge_s];
        if seconds.iter().any(|s| !(1..=3600).contains(s)) {
            return Some("limits: seconds are between 1 and 3600");
        }
        if !(1..=65_536).contains(&self.connections) || !(1..=1_048_576).contains(&self.challenges) {
            return Some("limits: connections up to 65536, challenges up to 1048576, neither 0");
        }
        if self.address_connections == 0 || self.address_per_minute == 0 || self.total_per_second == 0 {
            return Some("limits: address_connections, address_per_minute and total_per_second are not 0");
        }
        if self.ak_change_s > 2_592_000 {
            return Some("limits.ak_change_s: at most 2592000");
        }
        // One body of the largest kind must fit, or none of them ever would.
        (!(8..=4096).contains(&self.body_memory_mib)).then_some("limits.body_memory_mib: between 8 and 4096")
    }
}

impl Config {
    /// Reads `validator.toml`.
    ///
    /// # Errors
    /// [`Error::ReadFile`] or [`Error::Config`], which names the key.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let config = |detail| Error::Config { path: path.to_owned(), detail };
        let parsed: Self = toml::from_str(&read_text(path)?).map_err(|e| config(e.to_string()))?;
        if parsed.schema != 1 {
            return Err(config("schema: this version reads schema 1".to_owned()));
        }
        match parsed.limits.fault().or_else(|| parsed.twins.fault()) {
            Some(fault) => Err(config(fault.to_owned())),
            None => Ok(parsed),
        }
    }

    /// The file with its comments, listening on `listen`, all limits at their defaults.
    pub fn template(listen: SocketAddr) -> String {
        let d = Limits::default();
        format!(
            "# How this assay-validator serves. Unknown keys are refused.\n\
             # Whom it believes, the network's id and its cadence are in trust.toml.\n\
             schema = 1\n\n\
             # Address and port of the HTTPS service (TLS 1.3 only).\n\
             listen = \"{listen}\"\n\n\
             [limits]\n\
             # Connections at the same time; one more is closed at once.\n\
             connections = {}\n\
             # Seconds for a TLS handshake.\n\
             handshake_s = {}\n\
             # Seconds from the first byte of a request to the end of its header.\n\
             header_s = {}\n\
             # Seconds for a request's body.\n\
             body_s = {}\n\
             # Seconds that a connection may be silent; more than the nodes' delivery interval.\n\
             idle_s = {}\n\
             # Seconds for which a nonce is good.\n\
             challenge_s = {}\n\
             # Nonces that may be outstanding; more are refused.\n\
             challenges = {}\n\
             # MiB of request bodies in memory at the same time.\n\
             body_memory_mib = {}\n\
             # Connections of one address (IPv6: one /64) at the same time.\n\
             address_connections = {}\n\
             # New connections, enrolments, nonces and sessions that one address may ask for per minute,\n\
             # counted before any signature is looked at; a fifth of it may come at once.\n\
             address_per_minute = {}\n\
             # What all addresses together may ask for per second.\n\
             total_per_second = {}\n\
             # Seconds for which a node keeps an AK before another may take its place.\n\
             ak_change_s = {}\n\n\
             [twins]\n\
             # The most that two power-on instants may differ to be one TPM's, in ms.\n\
             tolerance_ms = {}\n\
             # Seconds after its last record for which an open session counts as live.\n\
             live_s = {}\n",
            d.connections,
            d.handshake_s,
            d.header_s,
            d.body_s,
            d.idle_s,
            d.challenge_s,
            d.challenges,
            d.body_memory_mib,
            d.address_connections,
            d.address_per_minute,
            d.total_per_second,
            d.ak_change_s,
            Twins::default().tolerance_ms,
            Twins::default().live_s,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load(file.path())
    }

    fn template() -> String {
        Config::template("127.0.0.1:7443".parse().unwrap())
    }

    #[test]
    fn the_template_is_the_defaults() {
        let config = load(&template()).unwrap();
        assert_eq!((config.limits, config.twins), (Limits::default(), Twins::default()));
        assert_eq!(config.listen.port(), 7443);
    }

    #[test]
    fn unknown_keys_and_nonsense_are_refused() {
        for (from, to) in [
            ("schema = 1", "schema = 2"),
            ("schema = 1", "schema = 1\nsurprise = 1"),
            ("[limits]", "[limits]\nsurprise = 1"),
            ("connections = 1024", "connections = 0"),
            ("challenges = 4096", "challenges = 0"),
            ("idle_s = 150", "idle_s = 0"),
            ("body_memory_mib = 64", "body_memory_mib = 1"),
            ("address_per_minute = 1200", "address_per_minute = 0"),
            ("ak_change_s = 3600", "ak_change_s = 9999999"),
            ("tolerance_ms = 1000", "tolerance_ms = 0"),
            ("live_s = 600", "live_s = 99999"),
            ("127.0.0.1:7443", "localhost"),
        ] {
            assert!(template().contains(from), "{from}");
            assert!(matches!(load(&template().replace(from, to)), Err(Error::Config { .. })), "{to}");
        }
    }
}
