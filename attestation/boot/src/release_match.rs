//! Holding a machine's logs and quoted PCRs against a release.

use std::collections::BTreeMap;

use assay_wire::Digest;

use crate::alg::sha256;
use crate::coverage::sha256_of;
use crate::release::{Pcr7Event, Release};
use crate::{
    EventLog, HashAlg, Identity, KeyName, LogKind, SecureBootState, Uki, UserspaceMeasurement,
    boot_applications, os_separator_digest, phase_path,
};

/// What a machine showed. The digests are believed only where they lead to a quoted value.
#[derive(Debug, Clone, Copy)]
pub struct MatchInput<'a> {
    /// The firmware's log.
    pub firmware: &'a EventLog,
    /// The records of the userspace log, in order.
    pub userspace: &'a [UserspaceMeasurement<'a>],
    /// SHA-256 PCR values that a TPM quoted, keyed by the signed selection.
    pub quoted: &'a BTreeMap<u8, [u8; 32]>,
}

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventAt {
    /// The log.
    pub log: LogKind,
    /// Position in it, from 0.
    pub index: usize,
}

/// Which check differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseCheck {
    /// The PCR is quoted.
    Quoted,
    /// The two logs together lead to the quoted value.
    Explained,
    /// PCR 11 has the release's value for the phases that were gone through.
    KernelBoot,
    /// Each application of PCR 4 is the release's, and there is one.
    BootApplication,
    /// Secure Boot is on.
    SecureBoot,
    /// Each event of PCR 7 is one that the release names, and none is missing.
    SecureBootEvent,
    /// PCR 12 holds no other override than the release's.
    Override,
    /// PCR 13 holds no other extension than the release's.
    Extension,
    /// PCR 14 holds no keys of another boot loader.
    Shim,
    /// PCR 15 holds identities only.
    Identity,
    /// The `.cmdline` section is the release's command line.
    CommandLine,
    /// Userspace extended a PCR with something else than one os-separator.
    OsSeparator,
}

impl ReleaseCheck {
    /// Stable name, for the ids of findings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quoted => "quoted",
            Self::Explained => "explained",
            Self::KernelBoot => "kernel-boot",
            Self::BootApplication => "boot-application",
            Self::SecureBoot => "secure-boot",
            Self::SecureBootEvent => "secure-boot-event",
            Self::Override => "override",
            Self::Extension => "extension",
            Self::Shim => "shim",
            Self::Identity => "identity",
            Self::CommandLine => "command-line",
            Self::OsSeparator => "os-separator",
        }
    }
}

/// One way in which a machine is not what the release says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseDifference {
    /// Which check.
    pub check: ReleaseCheck,
    /// PCR index.
    pub pcr: u8,
    /// The event that differs, where it is one.
    pub event: Option<EventAt>,
    /// What the release asks for.
    pub expected: String,
    /// What was there.
    pub seen: String,
}

/// PCRs that a release says everything about.
pub const RELEASE_PCRS: [u8; 7] = [4, 7, 11, 12, 13, 14, 15];

impl Release {
    /// Compares a machine with the release; no difference means that the quoted PCRs 4, 7 and 11 to
    /// 15 hold what the release allows and nothing more. Differences come in order of check, then of
    /// event.
    ///
    /// Only digests and values are compared. Whether the release is current, not revoked, and signed
    /// by someone who may is not asked here; nor are PCRs 0 to 3, which are the firmware vendor's.
    #[must_use]
    pub fn compare(&self, input: MatchInput<'_>) -> Vec<ReleaseDifference> {
        let mut matcher = Matcher { release: self, input, found: Vec::new() };
        for pcr in RELEASE_PCRS {
            matcher.explained(pcr);
        }
        matcher.kernel_boot();
        matcher.command_line();
        matcher.boot_applications();
        matcher.secure_boot();
        matcher.only(12, ReleaseCheck::Override, &self.overrides);
        matcher.only(13, ReleaseCheck::Extension, &self.extensions);
        matcher.only(14, ReleaseCheck::Shim, &[]);
        matcher.only(15, ReleaseCheck::Identity, &[]);
        for pcr in [4, 7, 12, 13, 14] {
            matcher.os_separator(pcr);
        }
        matcher.identities();
        matcher.found
    }
}

struct Matcher<'a> {
    release: &'a Release,
    input: MatchInput<'a>,
    found: Vec<ReleaseDifference>,
}

impl Matcher<'_> {
    fn differs(
        &mut self,
        check: ReleaseCheck,
        pcr: u8,
        event: Option<EventAt>,
        expected: String,
        seen: String,
    ) {
        self.found.push(ReleaseDifference { check, pcr, event, expected, seen });
    }

    /// Each digest that a PCR was extended with, and where that is said.
    fn extends(&self, pcr: u8) -> Vec<(EventAt, [u8; 32])> {
        let events = self.input.firmware.events.iter().enumerate();
        let events = events.filter(|(_, event)| event.pcr == u32::from(pcr) && event.is_extended());
        let at = |log, index| EventAt { log, index };
        let firmware =
            events.map(|(index, event)| (at(LogKind::Firmware, index), sha256_of(event).unwrap_or_default()));
        let records = self.input.userspace.iter().enumerate().filter(|(_, record)| record.pcr == pcr);
        firmware
            .chain(records.map(|(index, record)| (at(LogKind::Userspace, index), record.sha256)))
            .collect()
    }

    fn explained(&mut self, pcr: u8) {
        let Some(quoted) = self.input.quoted.get(&pcr) else {
            self.differs(ReleaseCheck::Quoted, pcr, None, format!("PCR {pcr}"), "not quoted".into());
            return;
        };
        let carried = self.input.firmware.carries(HashAlg::Sha256);
        let extends = self.extends(pcr);
        let replayed = extends.iter().fold([0; 32], |value, (_, digest)| extend(&value, digest));
        if !carried {
            let seen = "a firmware log without SHA-256 digests".into();
            self.differs(ReleaseCheck::Explained, pcr, None, Digest(*quoted).to_string(), seen);
        } else if replayed != *quoted {
            let (expected, seen) = (Digest(replayed).to_string(), Digest(*quoted).to_string());
            self.differs(ReleaseCheck::Explained, pcr, None, expected, seen);
        }
    }

    fn kernel_boot(&mut self) {
        const CHECK: ReleaseCheck = ReleaseCheck::KernelBoot;
        let path = phase_path(self.input.userspace);
        for index in path.other {
            let event = Some(EventAt { log: LogKind::Userspace, index });
            let seen = self.input.userspace.get(index).map(|record| Digest(record.sha256).to_string());
            self.differs(CHECK, 11, event, "a phase".into(), seen.unwrap_or_default());
        }
        let mut values = self.release.kernel_boot.iter();
        let Some(wanted) = values.find(|phase| phase.path == path.path) else {
            let paths: Vec<_> = self.release.kernel_boot.iter().map(|phase| phase.path.as_str()).collect();
            self.differs(CHECK, 11, None, format!("phases {}", paths.join(" or ")), path.path);
            return;
        };
        let seen = self.input.quoted.get(&11).copied().unwrap_or_default();
        if wanted.value.0 != seen {
            let expected = format!("{} after {}", wanted.value, wanted.path);
            self.differs(CHECK, 11, None, expected, Digest(seen).to_string());
        }
    }

    fn command_line(&mut self) {
        let Some(line) = &self.release.command_line else { return };
        let uki = Uki::read(self.input.firmware);
        let section = uki.section(".cmdline");
        let wanted = Digest(sha256(line.as_bytes()));
        let seen = section.and_then(|section| section.sha256);
        if seen != Some(wanted.0) {
            let event = section.map(|section| EventAt { log: LogKind::Firmware, index: section.event });
            let seen = seen.map_or_else(|| "no .cmdline section".into(), |seen| Digest(seen).to_string());
            self.differs(ReleaseCheck::CommandLine, 11, event, wanted.to_string(), seen);
        }
    }

    fn boot_applications(&mut self) {
        const CHECK: ReleaseCheck = ReleaseCheck::BootApplication;
        let applications = boot_applications(self.input.firmware);
        if applications.is_empty() {
            self.differs(CHECK, 4, None, "a boot application".into(), "none".into());
        }
        let release = self.release;
        for application in applications {
            self.allowed(CHECK, 4, application.event, application.sha256, &release.applications);
        }
    }

    /// One firmware event against the digests that it may have.
    fn allowed(
        &mut self,
        check: ReleaseCheck,
        pcr: u8,
        index: usize,
        sha256: Option<[u8; 32]>,
        allowed: &[Digest],
    ) {
        let seen = sha256.map(Digest);
        if seen.is_some_and(|seen| allowed.contains(&seen)) {
            return;
        }
        let seen = seen.map_or_else(|| "no SHA-256 digest".into(), |seen| seen.to_string());
        let event = Some(EventAt { log: LogKind::Firmware, index });
        self.differs(check, pcr, event, one_of(allowed), seen);
    }

    fn secure_boot(&mut self) {
        const CHECK: ReleaseCheck = ReleaseCheck::SecureBootEvent;
        let state = SecureBootState::read(self.input.firmware);
        let seen = match state.enabled {
            None => Some("not measured"),
            Some(false) => Some("off"),
            Some(true) if state.setup_mode == Some(true) => Some("setup mode"),
            Some(true) if state.audit_mode == Some(true) => Some("audit mode"),
            Some(true) => None,
        };
        if let Some(seen) = seen {
            self.differs(ReleaseCheck::SecureBoot, 7, None, "on".into(), seen.into());
        }
        for name in [KeyName::Pk, KeyName::Kek, KeyName::Db, KeyName::Dbx] {
            if state.keys(name).is_none() {
                self.differs(CHECK, 7, None, name.name().into(), "not measured".into());
            }
        }
        if state.authorities.is_empty() {
            self.differs(CHECK, 7, None, "authority".into(), "not measured".into());
        }
        for keys in &state.keys {
            self.allowed(CHECK, 7, keys.event, keys.sha256, &self.release.pcr7(pcr7_event(keys.name)));
        }
        for authority in &state.authorities {
            let allowed = self.release.pcr7(Pcr7Event::Authority);
            self.allowed(CHECK, 7, authority.event, authority.sha256, &allowed);
        }
        for index in state.other {
            let sha256 = self.input.firmware.events.get(index).and_then(sha256_of);
            self.allowed(CHECK, 7, index, sha256, &self.release.pcr7(Pcr7Event::Other));
        }
    }

    /// The firmware log's events of a PCR are among `allowed`.
    fn only(&mut self, pcr: u8, check: ReleaseCheck, allowed: &[Digest]) {
        for (at, digest) in self.extends(pcr) {
            if at.log == LogKind::Firmware {
                self.allowed(check, pcr, at.index, Some(digest), allowed);
            }
        }
    }

    /// Userspace adds one os-separator at most.
    fn os_separator(&mut self, pcr: u8) {
        let mut separated = false;
        for (at, digest) in self.extends(pcr) {
            if at.log != LogKind::Userspace {
                continue;
            }
            if digest != os_separator_digest() || separated {
                let seen = Digest(digest).to_string();
                self.differs(ReleaseCheck::OsSeparator, pcr, Some(at), "one os-separator".into(), seen);
            }
            separated = true;
        }
    }

    fn identities(&mut self) {
        for (index, record) in self.input.userspace.iter().enumerate().filter(|(_, record)| record.pcr == 15)
        {
            if record.identity() == Identity::Unknown {
                let event = Some(EventAt { log: LogKind::Userspace, index });
                let expected = "a machine id, file system or volume key".into();
                self.differs(ReleaseCheck::Identity, 15, event, expected, Digest(record.sha256).to_string());
            }
        }
    }
}

fn pcr7_event(name: KeyName) -> Pcr7Event {
    match name {
        KeyName::Pk => Pcr7Event::Pk,
        KeyName::Kek => Pcr7Event::Kek,
        KeyName::Db => Pcr7Event::Db,
        KeyName::Dbx => Pcr7Event::Dbx,
        KeyName::Dbt => Pcr7Event::Dbt,
        KeyName::Dbr => Pcr7Event::Dbr,
    }
}

fn extend(value: &[u8; 32], digest: &[u8; 32]) -> [u8; 32] {
    sha256(&[&value[..], digest].concat())
}

/// Digests that are shown in a difference.
const SHOWN: usize = 4;

fn one_of(allowed: &[Digest]) -> String {
    let shown: Vec<String> = allowed.iter().take(SHOWN).map(Digest::to_string).collect();
    match allowed.len() {
        0 => "no event".to_owned(),
        len if len > SHOWN => format!("one of {len}: {}, …", shown.join(", ")),
        _ => shown.join(" or "),
    }
}
