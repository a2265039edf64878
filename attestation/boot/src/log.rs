//! A parsed log: events, banks, and what the log says about how the TPM was started.

use crate::kind::EV_NO_ACTION;
use crate::{BootError, HashAlg, parse};

/// Which of the two formats the bytes had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `TCG_PCR_EVENT2` records with one digest per bank, opened by "Spec ID Event03".
    CryptoAgile,
    /// `TCG_PCR_EVENT` records with one SHA-1 digest.
    Sha1Legacy,
}

impl Format {
    /// The name used in findings: "crypto-agile" or "sha1-legacy".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CryptoAgile => "crypto-agile",
            Self::Sha1Legacy => "sha1-legacy",
        }
    }
}

/// One digest of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The bank it extends.
    pub alg: HashAlg,
    /// The digest; its length is what the Spec ID event declares for the bank.
    pub value: Vec<u8>,
}

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// PCR index, below [`crate::PCR_COUNT`].
    pub pcr: u32,
    /// Event type; see [`crate::event_type_name`]. No digest covers it.
    pub kind: u32,
    /// At least one digest, each of a declared bank and none twice.
    pub digests: Vec<Digest>,
    /// Event data, at most [`crate::MAX_EVENT_BYTES`]. Not proven by replay: see
    /// [`EventLog::is_measured`].
    pub data: Vec<u8>,
}

impl Event {
    /// Whether the TPM extended a PCR for this event (PFP 10.4.5: EV_NO_ACTION is only logged).
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.kind != EV_NO_ACTION
    }

    /// Whether the digest is the hash of the data in each of `banks`, of which there must be one.
    pub(crate) fn is_measured_in(&self, banks: &[HashAlg]) -> bool {
        let whole = |alg: &HashAlg| alg.hash(&[&self.data]).as_deref() == self.digest(*alg);
        self.is_extended() && !banks.is_empty() && banks.iter().all(whole)
    }

    /// The event's digest in one bank.
    #[must_use]
    pub fn digest(&self, alg: HashAlg) -> Option<&[u8]> {
        self.digests.iter().find(|digest| digest.alg == alg).map(|digest| digest.value.as_slice())
    }
}

/// A deviation from the specification that real machines write; each deserves a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quirk {
    /// Windows ends the log that it hands out with a record for PCR 0xFFFFFFFF. Its contents are
    /// not extended and not kept.
    WindowsTail {
        /// Length of the record in bytes.
        bytes: usize,
    },
    /// The first event's size leaves out the vendor information that the Spec ID event declares,
    /// which then follows the event.
    SpecIdVendorInfoOutside {
        /// Length of the vendor information in bytes.
        bytes: usize,
    },
    /// A declared bank that some extended events have no digest for (an operating system that
    /// measures with fewer banks than the firmware): it replays to nothing.
    BankIncomplete {
        /// The bank.
        alg: HashAlg,
        /// How many extended events lack it.
        events: usize,
    },
    /// The StartupLocality event is followed by zeros: coreboot's records have a fixed size.
    StartupLocalityPadded {
        /// Length of the padding in bytes.
        bytes: usize,
    },
    /// Separators whose four bytes are followed by zeros, for the same reason: 50 bytes in all.
    SeparatorPadded {
        /// How many separators are.
        events: usize,
    },
    /// The log ends before ExitBootServices was called, but the firmware measured it into PCR 5: the
    /// missing actions, when appended, lead to the quoted value. Named by [`crate::BootLogs::compare`].
    ExitBootServicesMissing {
        /// The actions that had to be appended, in order.
        actions: &'static [&'static str],
    },
    /// The kernel extended the SHA-1 template hash, padded with zeros, into a bank of a longer
    /// algorithm: kernels before 5.8, and banks that the kernel can't compute. Such a bank is worth no
    /// more than SHA-1. Named by [`crate::BootLogs::compare`] and [`crate::ImaLog::matching_prefix`].
    ImaPaddedSha1,
    /// Authorities of PCR 7 with up to six bytes after the structure: versions of shim count a compiler's
    /// padding, and some measure all of it but the last byte. Named by [`crate::secure_boot_quirks`].
    ShimAuthorityPadded {
        /// How many authorities are.
        events: usize,
    },
    /// The SecureBoot variable was measured without a value, which is read as off. Named by
    /// [`crate::secure_boot_quirks`].
    SecureBootEmpty,
}

/// A well-formed event log. Its digests are claims until [`crate::compare`] finds them quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    /// Which format the bytes had.
    pub format: Format,
    /// The banks declared, in the Spec ID event's order; SHA-1 alone for the legacy format.
    pub banks: Vec<HashAlg>,
    /// The events in order, without the Spec ID event and without a final Windows record.
    pub events: Vec<Event>,
    /// Locality of TPM2_Startup as the StartupLocality event says; 0 without one.
    pub startup_locality: u8,
    /// Whether a hardware root of trust measured before TPM2_Startup, which sets PCR 0 to 4.
    pub hcrtm: bool,
    /// Deviations accepted while parsing.
    pub quirks: Vec<Quirk>,
}

impl EventLog {
    /// Parses a whole log of either format.
    ///
    /// # Errors
    /// A [`BootError`] naming field and offset where the bytes are not exactly one log within the
    /// crate's limits (PFP 1.06, sections 10.2 to 10.4).
    pub fn parse(bytes: &[u8]) -> Result<Self, BootError> {
        parse::parse(bytes)
    }

    /// Last byte of PCR 0 before the first event: 4 after H-CRTM, else the start-up locality (TPM 2.0
    /// Library, part 1, "Initializing PCR"; PFP 1.06, section 10.4.5.3).
    #[must_use]
    pub fn pcr0_start(&self) -> u8 {
        if self.hcrtm { 4 } else { self.startup_locality }
    }

    /// Whether a bank can be replayed: declared, computable, and with a digest in every extended event.
    #[must_use]
    pub fn carries(&self, alg: HashAlg) -> bool {
        alg.digest_len().is_some()
            && self.banks.contains(&alg)
            && self.extended().all(|event| event.digest(alg).is_some())
    }

    /// Whether an event's digest is the hash of its data in every bank that can be replayed. Where it
    /// is not, the data is a remark by whoever wrote the log: firmware blobs, images and tables are
    /// logged by address, and some firmware hashes something else.
    #[must_use]
    pub fn is_measured(&self, event: &Event) -> bool {
        event.is_measured_in(&self.carried())
    }

    /// The banks that can be replayed.
    pub(crate) fn carried(&self) -> Vec<HashAlg> {
        self.banks.iter().copied().filter(|alg| self.carries(*alg)).collect()
    }

    /// The events that extended a PCR.
    pub fn extended(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.is_extended())
    }

    /// Length in bytes of what followed the last event by a declared quirk; 0 without one.
    #[must_use]
    pub fn tail_bytes(&self) -> usize {
        self.quirks.iter().map(Quirk::bytes).sum()
    }
}

impl Quirk {
    /// The name used in findings and by `inspect`; part of the output format, so it never changes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::WindowsTail { .. } => "windows-tail",
            Self::SpecIdVendorInfoOutside { .. } => "spec-id-vendor-info-outside",
            Self::BankIncomplete { .. } => "bank-incomplete",
            Self::StartupLocalityPadded { .. } => "startup-locality-padded",
            Self::SeparatorPadded { .. } => "separator-padded",
            Self::ExitBootServicesMissing { .. } => "exit-boot-services-missing",
            Self::ImaPaddedSha1 => "ima-padded-sha1",
            Self::ShimAuthorityPadded { .. } => "shim-authority-padded",
            Self::SecureBootEmpty => "secure-boot-empty",
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::WindowsTail { bytes } | Self::SpecIdVendorInfoOutside { bytes } => *bytes,
            _ => 0,
        }
    }
}
