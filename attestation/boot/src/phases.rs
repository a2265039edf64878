//! What systemd's userspace measures: boot phases into PCR 11, identities into PCR 15 (systemd,
//! "TPM2 PCR Measurements Made by systemd").

use crate::alg::sha256;

/// The word that systemd 261 and later extend PCRs 0-7, 9 and 12-14 with when userspace first sees
/// the TPM.
pub const OS_SEPARATOR: &str = "os-separator";

/// SHA-256 of [`OS_SEPARATOR`].
#[must_use]
pub fn os_separator_digest() -> [u8; 32] {
    sha256(OS_SEPARATOR.as_bytes())
}

/// The phases that systemd measures unless told otherwise, in their order.
pub const PHASES: [&str; 6] = ["enter-initrd", "leave-initrd", "sysinit", "ready", "shutdown", "final"];

/// One record of the userspace log, as far as it matters here. A claim, like the log it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserspaceMeasurement<'a> {
    /// PCR that was extended.
    pub pcr: u8,
    /// The digest that it was extended with.
    pub sha256: [u8; 32],
    /// What the record says was measured: the measured text itself, but for volume keys.
    pub text: &'a str,
}

impl UserspaceMeasurement<'_> {
    /// Whether the digest is the hash of the text.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        sha256(self.text.as_bytes()) == self.sha256
    }

    /// The phase that a record of PCR 11 stands for, by its digest: one of [`PHASES`] whatever the
    /// text is, or another word that the digest covers.
    #[must_use]
    pub fn phase(&self) -> Option<&str> {
        let known = PHASES.into_iter().find(|word| sha256(word.as_bytes()) == self.sha256);
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let named = !self.text.is_empty() && self.text.chars().all(word);
        known.or_else(|| (named && self.is_measured()).then_some(self.text))
    }

    /// What a record of PCR 15 stands for.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let measured = self.is_measured();
        match self.text.split_once(':') {
            Some(("machine-id", id)) if measured && is_machine_id(id) => Identity::MachineId(id.to_owned()),
            Some(("file-system", name)) if measured => Identity::FileSystem(name.to_owned()),
            Some(("cryptsetup", volume)) => Identity::VolumeKey(volume.to_owned()),
            _ => Identity::Unknown,
        }
    }
}

fn is_machine_id(id: &str) -> bool {
    id.len() == 32 && id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

/// What PCR 15 identifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The machine id: 32 hexadecimal digits.
    MachineId(String),
    /// A file system: type, UUID, label and the same of its partition.
    FileSystem(String),
    /// The key of a volume with this name and UUID. The digest is keyed with the volume's key, so
    /// it covers the name for its owner only.
    VolumeKey(String),
    /// Something else, or a text that its digest does not cover.
    Unknown,
}

/// Which phases PCR 11's records lead through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PhasePath {
    /// The words, joined by ":": "enter-initrd:leave-initrd"; empty before the first.
    pub path: String,
    /// Positions, among all records, of records of PCR 11 that are no phase.
    pub other: Vec<usize>,
}

/// Reads the phases from records in their order. Proven only once PCR 11 is found quoted.
#[must_use]
pub fn phase_path(records: &[UserspaceMeasurement<'_>]) -> PhasePath {
    let mut words = Vec::new();
    let mut other = Vec::new();
    for (index, record) in records.iter().enumerate().filter(|(_, record)| record.pcr == 11) {
        match record.phase() {
            Some(word) => words.push(word),
            None => other.push(index),
        }
    }
    PhasePath { path: words.join(":"), other }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(pcr: u8, measured: &str, text: &'a str) -> UserspaceMeasurement<'a> {
        UserspaceMeasurement { pcr, sha256: sha256(measured.as_bytes()), text }
    }

    #[test]
    fn phases_are_judged_by_digest() {
        let records = [
            record(11, "enter-initrd", "enter-initrd"),
            record(15, "sysinit", "sysinit"),
            record(11, "leave-initrd", "ready"),
            record(11, "our-phase", "our-phase"),
        ];
        assert_eq!(phase_path(&records).path, "enter-initrd:leave-initrd:our-phase");
        let odd = [record(11, "x", "ready"), record(11, "a:b", "a:b"), record(11, "", "")];
        assert_eq!(phase_path(&odd), PhasePath { path: String::new(), other: vec![0, 1, 2] });
    }

    #[test]
    fn identities_are_what_their_digests_cover() {
        let id = format!("machine-id:{}", "0a".repeat(16));
        assert_eq!(record(15, &id, &id).identity(), Identity::MachineId("0a".repeat(16)));
        assert_eq!(record(15, "x", &id).identity(), Identity::Unknown);
        assert_eq!(record(15, "machine-id:0A", "machine-id:0A").identity(), Identity::Unknown);
        assert_eq!(record(15, "x", "cryptsetup:a:b").identity(), Identity::VolumeKey("a:b".into()));
        assert_eq!(record(15, "file-system:x", "file-system:x").identity(), Identity::FileSystem("x".into()));
        assert_eq!(record(15, "x", "file-system:x").identity(), Identity::Unknown);
        assert_eq!(record(15, "anything", "anything").identity(), Identity::Unknown);
    }
}
