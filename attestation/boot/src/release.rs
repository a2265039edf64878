//! Reference values of a release: what a node that runs it, and nothing else, measures.
//!
//! A release is signed by whoever builds images, and names *events* where values vary between good
//! machines (PCRs 4 and 7: boot order, revocation lists) and a *value* where they do not (PCR 11).
//! PCR 11 covers the kernel, the initrd and the command line of a unified kernel image; the command
//! line holds the root's verity hash, and so all of the operating system. It must also say
//! `systemd.import_credentials=no`: credentials that arrive by SMBIOS or firmware configuration are
//! in no PCR that this looks at, and can run code as root.
//!
//! Trust boundary: the signature is checked by [`assay_wire::Envelope`]; what a signer may release
//! is for the trust file to say.

use assay_wire::{Digest, WireError, cbor};
use minicbor::{Decode, Encode};

/// Longest release accepted, in bytes.
pub const MAX_RELEASE_BYTES: usize = 64 << 10;

/// PCR 11 once a path of phases is gone through.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PhaseValue {
    /// Phases joined by ":", as systemd-measure writes them; empty before the first.
    #[n(0)]
    pub path: String,
    /// The SHA-256 PCR's value.
    #[n(1)]
    pub value: Digest,
}

/// What an event of PCR 7 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Pcr7Event {
    /// Variable PK.
    #[n(0)]
    Pk,
    /// Variable KEK.
    #[n(1)]
    Kek,
    /// Variable db.
    #[n(2)]
    Db,
    /// Variable dbx.
    #[n(3)]
    Dbx,
    /// Variable dbt.
    #[n(4)]
    Dbt,
    /// Variable dbr.
    #[n(5)]
    Dbr,
    /// An entry that vouches for an image.
    #[n(6)]
    Authority,
    /// Something that this crate knows no meaning of.
    #[n(7)]
    Other,
}

impl Pcr7Event {
    /// Every kind.
    pub const ALL: [Self; 8] =
        [Self::Pk, Self::Kek, Self::Db, Self::Dbx, Self::Dbt, Self::Dbr, Self::Authority, Self::Other];

    /// The variable's name, or "authority" or "other".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pk => "PK",
            Self::Kek => "KEK",
            Self::Db => "db",
            Self::Dbx => "dbx",
            Self::Dbt => "dbt",
            Self::Dbr => "dbr",
            Self::Authority => "authority",
            Self::Other => "other",
        }
    }
}

/// One digest that an event of PCR 7 may have.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pcr7Digest {
    /// What the event is.
    #[n(0)]
    pub event: Pcr7Event,
    /// The event's SHA-256 digest.
    #[n(1)]
    pub digest: Digest,
}

/// Reference values of one release; the payload of an envelope of kind `release`, `kid` the
/// signer's [`assay_wire::VerifyingKey::validator_id`]. All digests are SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Release {
    /// What is released; versions of one name follow one another.
    #[n(0)]
    pub name: String,
    /// The version for people.
    #[n(1)]
    pub version: String,
    /// The version for comparing: rises with each release of this name.
    #[n(2)]
    pub number: u64,
    /// Releases of this name with a lower `number` are revoked from now on.
    #[n(3)]
    pub minimum: u64,
    /// Unix time in ms.
    #[n(4)]
    pub issued_ms: u64,
    /// Unix time in ms; from then on the release is no reference.
    #[n(5)]
    pub expires_ms: u64,
    /// PCR 11, for each path of phases that a node may report from.
    #[n(6)]
    pub kernel_boot: Vec<PhaseValue>,
    /// PCR 4: Authenticode digests of the applications that may be booted.
    #[n(7)]
    pub applications: Vec<Digest>,
    /// PCR 7: digests that its events may have, SecureBoot's own apart, which must be on.
    #[n(8)]
    pub secure_boot: Vec<Pcr7Digest>,
    /// PCR 12: digests that events may have; none, unless the release ships add-ons.
    #[n(9)]
    pub overrides: Vec<Digest>,
    /// PCR 13: digests that events may have; none, unless the release ships extensions.
    #[n(10)]
    pub extensions: Vec<Digest>,
    /// dm-verity root hash of the root file system. Compared through `command_line`, which PCR 11 covers,
    /// where that names it: see [`Release::names_root_hash`]. Elsewhere it is the signer's word alone.
    #[n(11)]
    pub root_hash: Digest,
    /// Hash of the agent's binary. Nothing that is measured names it: what binds the binary to a boot is
    /// the root hash of the file system that it lies in. It is for people who hold the binary.
    #[n(12)]
    pub agent: Digest,
    /// The image's `.cmdline` section, to the byte; absent where the signer does not say.
    #[n(13)]
    pub command_line: Option<String>,
}

impl Release {
    /// Decodes an envelope's payload.
    ///
    /// # Errors
    /// Anything but the one encoding of a release of at most [`MAX_RELEASE_BYTES`].
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        cbor::from_slice("release", payload, MAX_RELEASE_BYTES)
    }

    /// Whether the release is a reference at this Unix time in ms: issued, and not expired.
    #[must_use]
    pub fn is_current(&self, now_ms: u64) -> bool {
        (self.issued_ms..self.expires_ms).contains(&now_ms)
    }

    /// Whether this release takes `other` back: the same name, and a number below this minimum. A
    /// release whose number is below its own minimum takes itself back.
    #[must_use]
    pub fn revokes(&self, other: &Self) -> bool {
        self.name == other.name && other.number < self.minimum
    }

    /// Whether the command line turns the import of credentials off; `None` where the release does
    /// not say what the command line is. The last setting counts, as for systemd.
    #[must_use]
    pub fn refuses_credentials(&self) -> Option<bool> {
        let line = self.command_line.as_deref()?.trim_end_matches('\0');
        let settings = line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
        let mut ours = settings.filter(|(key, _)| key.replace('-', "_") == "systemd.import_credentials");
        let last = ours.next_back();
        Some(last.is_some_and(|(_, value)| matches!(value, "no" | "0" | "false" | "off" | "n" | "f")))
    }

    /// Whether every `roothash=` of the command line is `root_hash` (systemd-veritysetup-generator); `None`
    /// where there is none, or no command line.
    #[must_use]
    pub fn names_root_hash(&self) -> Option<bool> {
        let line = self.command_line.as_deref()?.trim_end_matches('\0');
        let hashes = line.split_ascii_whitespace().filter_map(|word| word.strip_prefix("roothash="));
        let ours = |hash: &str| Digest::from_hex(&hash.to_ascii_lowercase()) == Some(self.root_hash);
        hashes.map(ours).reduce(|all, one| all && one)
    }

    /// The digests that events of PCR 7 of one kind may have.
    pub(crate) fn pcr7(&self, event: Pcr7Event) -> Vec<Digest> {
        let allowed = self.secure_boot.iter().filter(|allowed| allowed.event == event);
        allowed.map(|allowed| allowed.digest).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn release() -> Release {
        let digest = |byte| Digest([byte; 32]);
        Release {
            name: "appliance".into(),
            version: "1.2.0".into(),
            number: 12,
            minimum: 10,
            issued_ms: 1_760_000_000_000,
            expires_ms: 1_790_000_000_000,
            kernel_boot: vec![
                PhaseValue { path: "enter-initrd".into(), value: digest(1) },
                PhaseValue { path: String::new(), value: digest(2) },
            ],
            applications: vec![digest(3), digest(4)],
            secure_boot: Pcr7Event::ALL.map(|event| Pcr7Digest { event, digest: digest(5) }).to_vec(),
            overrides: vec![digest(6)],
            extensions: vec![digest(7)],
            root_hash: digest(8),
            agent: digest(9),
            command_line: Some("root=x systemd.import_credentials=no".into()),
        }
    }

    #[test]
    fn a_release_round_trips_and_nothing_else_decodes() {
        let bytes = cbor::to_vec(&release());
        assert_eq!(Release::decode(&bytes), Ok(release()));
        assert!(Release::decode(&bytes[1..]).is_err());
        assert!(Release::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_release_has_its_time_and_its_successors() {
        let release = release();
        assert!(release.is_current(release.issued_ms) && release.is_current(release.expires_ms - 1));
        assert!(!release.is_current(release.issued_ms - 1) && !release.is_current(release.expires_ms));
        let with = |number, name: &str| Release { number, name: name.into(), ..release.clone() };
        assert!(release.revokes(&with(9, "appliance")) && !release.revokes(&with(10, "appliance")));
        assert!(!release.revokes(&with(9, "other")));
    }

    #[test]
    fn the_last_word_on_credentials_counts() {
        let says = |line: Option<&str>| {
            Release { command_line: line.map(str::to_owned), ..release() }.refuses_credentials()
        };
        assert_eq!(says(None), None);
        assert_eq!(says(Some("quiet")), Some(false));
        assert_eq!(says(Some("systemd.import_credentials=no\0")), Some(true));
        assert_eq!(says(Some("systemd.import-credentials=no x=1")), Some(true));
        assert_eq!(says(Some("systemd.import_credentials=no systemd.import_credentials=yes")), Some(false));
        assert_eq!(says(Some("systemd.import_credentials")), Some(false));
        assert_eq!(says(Some("xsystemd.import_credentials=no")), Some(false));
    }

    #[test]
    fn the_command_line_names_the_root_hash() {
        let hash = release().root_hash.to_string();
        let other = "0a".repeat(32);
        let says = |line: &str| Release { command_line: Some(line.into()), ..release() }.names_root_hash();
        assert_eq!(Release { command_line: None, ..release() }.names_root_hash(), None);
        assert_eq!((says("quiet"), says(&format!("xroothash={hash}"))), (None, None));
        assert_eq!(says(&format!("quiet roothash={hash}\0")), Some(true));
        assert_eq!(says(&format!("roothash={}", hash.to_ascii_uppercase())), Some(true));
        for line in
            [format!("roothash={other}"), format!("roothash={hash} roothash={other}"), "roothash=".into()]
        {
            assert_eq!(says(&line), Some(false), "{line}");
        }
    }
}
