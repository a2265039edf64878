//! Secure Boot as PCR 7 tells it (PFP 1.06, section 3.3.4.8): state, keys, and who vouched.

use crate::coverage::{coverage_in, sha256_of};
use crate::meaning::{is_exact_separator, is_separator, secure_boot, secure_boot_value};
use crate::{
    Authority, BootError, Coverage, EFI_GLOBAL_VARIABLE, EFI_IMAGE_SECURITY_DATABASE, Event, EventLog, Quirk,
    SignatureList, UefiVariable,
};

const CONFIGURATION_PCR: u32 = 1;
const SECURE_BOOT_PCR: u32 = 7;

/// A variable that holds Secure Boot's keys or digests (UEFI 2.10, section 32.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyName {
    /// Platform key.
    Pk,
    /// Key exchange keys.
    Kek,
    /// Allowed signers and images.
    Db,
    /// Forbidden signers and images.
    Dbx,
    /// Time stamping authorities.
    Dbt,
    /// Recovery signers.
    Dbr,
}

impl KeyName {
    /// Every name.
    pub const ALL: [Self; 6] = [Self::Pk, Self::Kek, Self::Db, Self::Dbx, Self::Dbt, Self::Dbr];

    /// The variable's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pk => "PK",
            Self::Kek => "KEK",
            Self::Db => "db",
            Self::Dbx => "dbx",
            Self::Dbt => "dbt",
            Self::Dbr => "dbr",
        }
    }

    /// The variable's GUID in memory encoding.
    #[must_use]
    pub fn guid(self) -> [u8; 16] {
        match self {
            Self::Pk | Self::Kek => EFI_GLOBAL_VARIABLE,
            Self::Db | Self::Dbx | Self::Dbt | Self::Dbr => EFI_IMAGE_SECURITY_DATABASE,
        }
    }

    fn of(variable: &UefiVariable) -> Option<Self> {
        let mut names = Self::ALL.into_iter();
        names.find(|key| key.guid() == variable.guid && key.name() == variable.name)
    }
}

/// A key variable as it was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasuredKeys {
    /// Which variable.
    pub name: KeyName,
    /// Index in [`EventLog::events`].
    pub event: usize,
    /// The event's SHA-256 digest, where the log has one.
    pub sha256: Option<[u8; 32]>,
    /// What the variable holds, or why it can't be read. Empty for a variable that is not set.
    pub lists: Result<Vec<SignatureList>, BootError>,
}

/// An entry that vouched for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasuredAuthority {
    /// Index in [`EventLog::events`].
    pub event: usize,
    /// The event's SHA-256 digest, where the log has one.
    pub sha256: Option<[u8; 32]>,
    /// The entry.
    pub authority: Authority,
}

/// What PCR 7 says, as far as its events' digests cover it. Proven only once PCR 7 is found quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureBootState {
    /// As [`secure_boot`].
    pub enabled: Option<bool>,
    /// SetupMode, where it was measured into PCR 1 or 7: without a platform key, anyone sets keys.
    pub setup_mode: Option<bool>,
    /// AuditMode, likewise: images that fail the check run all the same.
    pub audit_mode: Option<bool>,
    /// DeployedMode, likewise.
    pub deployed_mode: Option<bool>,
    /// Key variables measured before PCR 7's separator, in order; one can be there twice.
    pub keys: Vec<MeasuredKeys>,
    /// Entries that vouched for images, in order.
    pub authorities: Vec<MeasuredAuthority>,
    /// Indices of the other events of PCR 7, the separator and the variables of this struct apart:
    /// digests that cover no known meaning.
    pub other: Vec<usize>,
}

impl SecureBootState {
    /// Reads a log.
    #[must_use]
    pub fn read(log: &EventLog) -> Self {
        let mut state = Self {
            enabled: secure_boot(log),
            setup_mode: mode(log, "SetupMode"),
            audit_mode: mode(log, "AuditMode"),
            deployed_mode: mode(log, "DeployedMode"),
            keys: Vec::new(),
            authorities: Vec::new(),
            other: Vec::new(),
        };
        let banks = log.carried();
        let mut separated = false;
        for (index, event) in extended(log, SECURE_BOOT_PCR) {
            let covered = coverage_in(event, &banks);
            separated |= is_separator(event);
            if !is_exact_separator(event, &banks) && !state.add(index, event, covered, separated) {
                state.other.push(index);
            }
        }
        state
    }

    /// The first measurement of a key variable.
    #[must_use]
    pub fn keys(&self, name: KeyName) -> Option<&MeasuredKeys> {
        self.keys.iter().find(|keys| keys.name == name)
    }

    /// Whether the event had a place.
    fn add(&mut self, event: usize, record: &Event, covered: Coverage, separated: bool) -> bool {
        let sha256 = sha256_of(record);
        if let Some((name, lists)) = self.key_variable(record, covered, separated) {
            self.keys.push(MeasuredKeys { name, event, sha256, lists });
            return true;
        }
        if covered == Coverage::Whole && !separated && is_state(&record.data) {
            return true;
        }
        let Ok(authority) = Authority::parse(&record.data) else { return false };
        if !vouches(&authority, covered) {
            return false;
        }
        self.authorities.push(MeasuredAuthority { event, sha256, authority });
        true
    }

    /// A variable's lists, unless the event names the variable as the one that vouched: after the
    /// separator, or a second time and with a single entry in place of lists.
    fn key_variable(
        &self,
        record: &Event,
        covered: Coverage,
        separated: bool,
    ) -> Option<(KeyName, Result<Vec<SignatureList>, BootError>)> {
        let variable = UefiVariable::parse(&record.data).ok()?;
        let name = KeyName::of(&variable).filter(|_| covered == Coverage::Whole && !separated)?;
        let lists = SignatureList::parse_all(&variable.value);
        (lists.is_ok() || self.keys(name).is_none()).then_some((name, lists))
    }
}

/// Whether an authority is of a known kind and measured: to its last byte, or but for it where shim padded.
fn vouches(authority: &Authority, covered: Coverage) -> bool {
    let known = authority.guid == EFI_IMAGE_SECURITY_DATABASE || authority.guid == crate::SHIM_LOCK;
    known
        && (covered == Coverage::Whole || (covered == Coverage::AllButLastByte && authority.extra_bytes > 0))
}

/// Deviations that [`SecureBootState`] and [`secure_boot`] overlook in PCR 7, each once.
#[must_use]
pub fn secure_boot_quirks(log: &EventLog) -> Vec<Quirk> {
    let banks = log.carried();
    let (mut padded, mut empty) = (0, false);
    for (_, event) in extended(log, SECURE_BOOT_PCR) {
        empty |= secure_boot_value(event).is_some_and(|value| value.is_empty());
        let authority = Authority::parse(&event.data).ok().filter(|authority| authority.extra_bytes > 0);
        padded += usize::from(authority.is_some_and(|it| vouches(&it, coverage_in(event, &banks))));
    }
    let padded = (padded > 0).then_some(Quirk::ShimAuthorityPadded { events: padded });
    padded.into_iter().chain(empty.then_some(Quirk::SecureBootEmpty)).collect()
}

fn extended(log: &EventLog, pcr: u32) -> impl Iterator<Item = (usize, &Event)> {
    let events = log.events.iter().enumerate();
    events.filter(move |(_, event)| event.pcr == pcr && event.is_extended())
}

const STATES: [&str; 4] = ["SecureBoot", "SetupMode", "AuditMode", "DeployedMode"];

fn is_state(data: &[u8]) -> bool {
    let variable = UefiVariable::parse(data);
    variable.is_ok_and(|read| read.guid == EFI_GLOBAL_VARIABLE && STATES.contains(&read.name.as_str()))
}

/// A mode's variable in PCR 1 or 7, before the separator: true where any of them is not 0.
fn mode(log: &EventLog, name: &str) -> Option<bool> {
    let banks = log.carried();
    let mut state = None;
    for pcr in [CONFIGURATION_PCR, SECURE_BOOT_PCR] {
        for (_, event) in extended(log, pcr).take_while(|(_, event)| !is_separator(event)) {
            let variable = UefiVariable::parse(&event.data).ok();
            let wanted = |read: &UefiVariable| read.guid == EFI_GLOBAL_VARIABLE && read.name == name;
            let Some(variable) = variable.filter(wanted) else { continue };
            if event.is_measured_in(&banks) {
                state = Some(variable.value != [0] || state.unwrap_or(false));
            }
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::LogWriter;
    use crate::{EV_EFI_ACTION, EV_EFI_VARIABLE_AUTHORITY, EV_EFI_VARIABLE_DRIVER_CONFIG, EV_SEPARATOR};
    use crate::{Signature, SignatureType, Voucher};

    fn variable(guid: [u8; 16], name: &str, value: &[u8]) -> Vec<u8> {
        UefiVariable { guid, name: name.into(), value: value.to_vec() }.encode()
    }

    fn list() -> SignatureList {
        let signatures = vec![Signature { owner: [1; 16], data: vec![2; 32] }];
        SignatureList { kind: SignatureType::Sha256, header: vec![], signatures }
    }

    fn keys(name: KeyName) -> Vec<u8> {
        variable(name.guid(), name.name(), &list().encode())
    }

    fn good() -> LogWriter {
        let mut writer = LogWriter::new();
        let mut config = |data: &[u8]| writer.measure(7, EV_EFI_VARIABLE_DRIVER_CONFIG, data).unwrap();
        config(&variable(EFI_GLOBAL_VARIABLE, "SecureBoot", &[1]));
        for name in KeyName::ALL {
            config(&keys(name));
        }
        writer.measure(7, EV_SEPARATOR, &[0; 4]).unwrap();
        let entry = [&[1; 16][..], &[2; 32]].concat();
        let data = variable(EFI_IMAGE_SECURITY_DATABASE, "db", &entry);
        writer.measure(7, EV_EFI_VARIABLE_AUTHORITY, &data).unwrap();
        writer
    }

    fn read(writer: LogWriter) -> SecureBootState {
        SecureBootState::read(&EventLog::parse(&writer.finish()).unwrap())
    }

    #[test]
    fn keys_and_authorities_are_read_where_their_digests_cover_them() {
        let log = EventLog::parse(&good().finish()).unwrap();
        let state = SecureBootState::read(&log);
        assert_eq!((state.enabled, state.keys.len(), state.other.len()), (Some(true), 6, 0));
        assert_eq!(state.keys(KeyName::Db).unwrap().lists, Ok(vec![list()]));
        assert!(matches!(state.authorities[0].authority.voucher, Voucher::Entry(_)));
        for index in 1..log.events.len() {
            let mut changed = log.clone();
            let Some(last) = changed.events[index].data.last_mut() else { continue };
            *last ^= 1;
            let state = SecureBootState::read(&changed);
            let separator = log.events[index].kind == EV_SEPARATOR;
            assert_eq!(state.other.len(), usize::from(!separator), "{index}");
        }
    }

    #[test]
    fn a_key_after_the_separator_is_no_key() {
        let mut writer = good();
        writer.measure(7, EV_EFI_VARIABLE_DRIVER_CONFIG, &keys(KeyName::Pk)).unwrap();
        let state = read(writer);
        assert_eq!((state.keys.len(), state.other.len()), (6, 1), "PK vouches for nothing");
    }

    #[test]
    fn an_unknown_event_is_reported() {
        let mut writer = good();
        writer.measure(7, EV_EFI_ACTION, b"DMA Protection Disabled").unwrap();
        writer.measure(7, EV_EFI_VARIABLE_AUTHORITY, &variable([9; 16], "db", &[0x30])).unwrap();
        assert_eq!(read(writer).other.len(), 2);
    }

    #[test]
    fn a_separator_by_type_alone_is_an_unknown_event() {
        let mut writer = good();
        writer.event(7, EV_SEPARATOR, [9; 32], &[0; 4]).unwrap();
        assert_eq!(read(writer).other.len(), 1);
    }

    #[test]
    fn an_entry_is_covered_to_its_last_byte() {
        let data = variable(EFI_IMAGE_SECURITY_DATABASE, "db", &[1; 48]);
        let digest = crate::alg::sha256(&data[..data.len() - 1]);
        let mut writer = good();
        writer.event(7, EV_EFI_VARIABLE_AUTHORITY, digest, &data).unwrap();
        let state = read(writer);
        assert_eq!((state.authorities.len(), state.other.len()), (1, 1));
    }

    #[test]
    fn padding_and_an_empty_variable_are_read_under_a_name() {
        assert_eq!(secure_boot_quirks(&EventLog::parse(&good().finish()).unwrap()), []);
        let certificate = [&[0x30, 0x82, 1, 0][..], &[7; 256]].concat();
        let plain = variable(crate::SHIM_LOCK, "Shim", &certificate);
        let padded = [&plain[..], &[0xaf; 6]].concat();
        let with = |measured: &[u8]| {
            let mut writer = good();
            let digest = crate::alg::sha256(measured);
            writer.event(7, EV_EFI_VARIABLE_AUTHORITY, digest, &padded).unwrap();
            let log = EventLog::parse(&writer.finish()).unwrap();
            (SecureBootState::read(&log).authorities.len(), secure_boot_quirks(&log))
        };
        let quirk = vec![Quirk::ShimAuthorityPadded { events: 1 }];
        assert_eq!(with(&padded), (2, quirk.clone()), "all of it is measured");
        assert_eq!(with(&padded[..padded.len() - 1]), (2, quirk), "all but the last byte");
        assert_eq!(with(&plain), (1, vec![]), "measured otherwise: no authority, and nothing overlooked");
        let mut writer = LogWriter::new();
        let empty = variable(EFI_GLOBAL_VARIABLE, "SecureBoot", &[]);
        writer.measure(7, EV_EFI_VARIABLE_DRIVER_CONFIG, &empty).unwrap();
        let log = EventLog::parse(&writer.finish()).unwrap();
        assert_eq!(
            (secure_boot(&log), secure_boot_quirks(&log)),
            (Some(false), vec![Quirk::SecureBootEmpty])
        );
    }

    #[test]
    fn modes_count_where_they_are_measured_early() {
        let mut writer = LogWriter::new();
        let kind = EV_EFI_VARIABLE_DRIVER_CONFIG;
        writer.measure(1, kind, &variable(EFI_GLOBAL_VARIABLE, "AuditMode", &[1])).unwrap();
        writer.measure(1, kind, &variable(EFI_GLOBAL_VARIABLE, "DeployedMode", &[0])).unwrap();
        writer.measure(7, EV_SEPARATOR, &[0; 4]).unwrap();
        writer.measure(7, kind, &variable(EFI_GLOBAL_VARIABLE, "SetupMode", &[0])).unwrap();
        let state = read(writer);
        assert_eq!(
            (state.audit_mode, state.deployed_mode, state.setup_mode),
            (Some(true), Some(false), None)
        );
    }

    #[test]
    fn a_broken_list_is_kept_as_what_it_is() {
        let mut writer = LogWriter::new();
        let data = variable(EFI_GLOBAL_VARIABLE, "PK", &[1, 2, 3]);
        writer.measure(7, EV_EFI_VARIABLE_DRIVER_CONFIG, &data).unwrap();
        assert!(read(writer).keys(KeyName::Pk).unwrap().lists.is_err());
    }
}
