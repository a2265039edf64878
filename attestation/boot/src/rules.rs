//! Rules that a firmware log must keep beyond its format (PFP 1.06, sections 3.3.4 and 10.4). Real logs
//! break some: each breach is a value for policy to judge, not a parse error. Types prove nothing,
//! but a log that plays with them is telling.

use crate::kind::{
    EV_ACTION, EV_COMPACT_HASH, EV_EFI_ACTION, EV_EFI_BOOT_SERVICES_APPLICATION, EV_EFI_BOOT_SERVICES_DRIVER,
    EV_EFI_GPT_EVENT, EV_EFI_GPT_EVENT2, EV_EFI_RUNTIME_SERVICES_DRIVER, EV_EFI_SPDM_DEVICE_AUTHORITY,
    EV_EFI_SPDM_DEVICE_POLICY, EV_EFI_SPDM_FIRMWARE_BLOB, EV_EFI_SPDM_FIRMWARE_CONFIG,
    EV_EFI_VARIABLE_AUTHORITY, EV_EFI_VARIABLE_DRIVER_CONFIG, EV_EVENT_TAG, EV_IPL, EV_IPL_PARTITION_DATA,
    EV_OMIT_BOOT_DEVICE_EVENTS, EV_SEPARATOR,
};
use crate::{Digest, Event, EventLog, HashAlg};

/// PCRs that firmware closes with a separator.
const SEPARATED: std::ops::RangeInclusive<u32> = 0..=7;
/// Data of a separator: the firmware is done.
const DONE: [[u8; 4]; 2] = [[0; 4], [0xff; 4]];
/// Data of a separator: the firmware failed (PFP 1.06, section 3.3.4.8).
const FAILED: [u8; 4] = [1, 0, 0, 0];

/// A rule that a log breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// PCRs 0 to 7 each have a separator.
    SeparatorMissing,
    /// They have only one, whatever its type says.
    SeparatorRepeated,
    /// The separator does not report an error of the firmware.
    SeparatorError,
    /// A separator's data is four zeros or four 0xFF, and its digest the hash of them.
    SeparatorAltered,
    /// What has a separator's digest has its type.
    SeparatorDisguised,
    /// Events of PCRs 4 and 7 have a type that firmware and boot loaders use there.
    UnknownType,
    /// What follows a PCR's separator has a type that boot loaders and the handover use there.
    AfterSeparator,
    /// The digest of an event that says what it measures is the hash of that.
    DataAltered,
    /// An event that is not extended has no digest to extend (PFP 1.06, section 10.4.5).
    NoActionDigest,
}

impl Rule {
    /// The name used in findings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SeparatorMissing => "separator-missing",
            Self::SeparatorRepeated => "separator-repeated",
            Self::SeparatorError => "separator-error",
            Self::SeparatorAltered => "separator-altered",
            Self::SeparatorDisguised => "separator-disguised",
            Self::UnknownType => "unknown-type",
            Self::AfterSeparator => "after-separator",
            Self::DataAltered => "data-altered",
            Self::NoActionDigest => "no-action-digest",
        }
    }
}

/// A breach of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// PCR index.
    pub pcr: u32,
    /// Index in [`EventLog::events`]; `None` where an event is missing.
    pub event: Option<usize>,
}

impl EventLog {
    /// Every breach, in order of events; missing separators come last. Computed from types, digests and
    /// data, none of which is proven before the log is found quoted.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let banks = self.carried();
        let separators = Separators::of(&banks);
        let mut separated = [false; 8];
        let mut violations = Vec::new();
        for (index, event) in self.events.iter().enumerate() {
            let done = usize::try_from(event.pcr).ok().and_then(|pcr| separated.get_mut(pcr));
            let rules = match done {
                _ if !event.is_extended() => no_action(event),
                Some(done) => judge(event, &separators, done),
                None => Rules { data: altered_data(event, &banks), ..Rules::default() },
            };
            let broken = [rules.separator, rules.order, rules.data].into_iter().flatten();
            violations.extend(broken.map(|rule| Violation { rule, pcr: event.pcr, event: Some(index) }));
        }
        let missing = SEPARATED.zip(separated).filter(|(_, separated)| !separated);
        let missing = missing.map(|(pcr, _)| Violation { rule: Rule::SeparatorMissing, pcr, event: None });
        violations.extend(missing);
        violations
    }
}

/// What one event breaks.
#[derive(Default)]
struct Rules {
    separator: Option<Rule>,
    order: Option<Rule>,
    data: Option<Rule>,
}

fn no_action(event: &Event) -> Rules {
    let zeros = |digest: &Digest| digest.value.iter().all(|byte| *byte == 0);
    let broken = !event.digests.iter().all(zeros);
    Rules { data: broken.then_some(Rule::NoActionDigest), ..Rules::default() }
}

/// Judges an event of PCRs 0 to 7; `separated` tells and learns whether the separator has come.
fn judge(event: &Event, separators: &Separators<'_>, separated: &mut bool) -> Rules {
    let banks = separators.banks;
    let by_type = event.kind == EV_SEPARATOR;
    if by_type || separators.has(event) {
        let repeated = std::mem::replace(separated, true).then_some(Rule::SeparatorRepeated);
        let disguised = (!by_type).then_some(Rule::SeparatorDisguised);
        return Rules {
            separator: disguised.or_else(|| separator(event, banks)),
            order: repeated,
            data: None,
        };
    }
    let known = if *separated { after(event.pcr) } else { before(event.pcr) };
    let rule = if *separated { Rule::AfterSeparator } else { Rule::UnknownType };
    let broken = known.is_some_and(|known| !known.contains(&event.kind));
    Rules { separator: None, order: broken.then_some(rule), data: altered_data(event, banks) }
}

fn separator(event: &Event, banks: &[HashAlg]) -> Option<Rule> {
    let value = event.data.first_chunk::<4>().copied().unwrap_or_default();
    let padding = event.data.get(4..).unwrap_or_default();
    let hashed = |data: &[u8]| has_digest(event, banks, data);
    if event.data.len() < 4
        || padding.iter().any(|byte| *byte != 0)
        || !(hashed(&value) || hashed(&event.data))
    {
        return Some(Rule::SeparatorAltered);
    }
    match value {
        FAILED => Some(Rule::SeparatorError),
        value if DONE.contains(&value) => None,
        _ => Some(Rule::SeparatorAltered),
    }
}

/// What separators' data hash to in the banks of a log.
struct Separators<'a> {
    banks: &'a [HashAlg],
    /// For each data, one for each bank.
    digests: Vec<Vec<Option<Vec<u8>>>>,
}

impl<'a> Separators<'a> {
    fn of(banks: &'a [HashAlg]) -> Self {
        let hashes = |data: &[u8; 4]| banks.iter().map(|alg| alg.hash(&[data])).collect();
        Self { banks, digests: DONE.iter().chain([&FAILED]).map(hashes).collect() }
    }

    /// Whether an event has the digests of one data in all banks.
    fn has(&self, event: &Event) -> bool {
        let equal = |(alg, digest): (&HashAlg, &Option<Vec<u8>>)| digest.as_deref() == event.digest(*alg);
        !self.banks.is_empty() && self.digests.iter().any(|digests| self.banks.iter().zip(digests).all(equal))
    }
}

fn has_digest(event: &Event, banks: &[HashAlg], data: &[u8]) -> bool {
    !banks.is_empty() && banks.iter().all(|alg| alg.hash(&[data]).as_deref() == event.digest(*alg))
}

fn altered_data(event: &Event, banks: &[HashAlg]) -> Option<Rule> {
    let altered = says_what_it_measures(event.kind) && !banks.iter().all(|alg| hashes_its_data(event, *alg));
    altered.then_some(Rule::DataAltered)
}

/// Whether the digest of events of this type is by the specification the hash of their data (PFP 1.06,
/// table 27), for types where firmware keeps to that.
pub(crate) fn says_what_it_measures(kind: u32) -> bool {
    matches!(
        kind,
        EV_SEPARATOR
            | EV_ACTION
            | EV_EFI_ACTION
            | EV_EFI_VARIABLE_DRIVER_CONFIG
            | EV_EFI_GPT_EVENT
            | EV_EFI_GPT_EVENT2
    )
}

/// Whether the digest of a bank is the hash of the data, padding of a separator apart.
pub(crate) fn hashes_its_data(event: &Event, alg: HashAlg) -> bool {
    let value = event.data.get(..4).filter(|_| event.kind == EV_SEPARATOR);
    let hashed = |data: &[u8]| alg.hash(&[data]).as_deref() == event.digest(alg);
    hashed(&event.data) || value.is_some_and(hashed)
}

/// Types before the separator, where the rule applies.
fn before(pcr: u32) -> Option<&'static [u32]> {
    match pcr {
        4 => Some(&[
            EV_ACTION,
            EV_COMPACT_HASH,
            EV_IPL,
            EV_IPL_PARTITION_DATA,
            EV_OMIT_BOOT_DEVICE_EVENTS,
            EV_EFI_ACTION,
            EV_EFI_BOOT_SERVICES_APPLICATION,
            EV_EFI_BOOT_SERVICES_DRIVER,
        ]),
        7 => Some(&[
            EV_EFI_ACTION,
            EV_EFI_VARIABLE_AUTHORITY,
            EV_EFI_VARIABLE_DRIVER_CONFIG,
            EV_EFI_SPDM_DEVICE_AUTHORITY,
            EV_EFI_SPDM_DEVICE_POLICY,
        ]),
        _ => None,
    }
}

/// Types after the separator. PCR 1 has no list: configuration goes on up to the boot menu; nor has
/// PCR 6, the vendor's.
fn after(pcr: u32) -> Option<&'static [u32]> {
    match pcr {
        0 => Some(&[]),
        2 => Some(&[EV_EFI_BOOT_SERVICES_DRIVER, EV_EFI_RUNTIME_SERVICES_DRIVER, EV_EFI_SPDM_FIRMWARE_BLOB]),
        3 => Some(&[EV_EFI_SPDM_FIRMWARE_CONFIG]),
        4 => Some(&[
            EV_ACTION,
            EV_COMPACT_HASH,
            EV_IPL,
            EV_EFI_ACTION,
            EV_EFI_BOOT_SERVICES_APPLICATION,
            EV_EFI_BOOT_SERVICES_DRIVER,
        ]),
        5 => Some(&[
            EV_ACTION,
            EV_EVENT_TAG,
            EV_IPL,
            EV_IPL_PARTITION_DATA,
            EV_EFI_ACTION,
            EV_EFI_GPT_EVENT,
            EV_EFI_GPT_EVENT2,
        ]),
        7 => Some(&[EV_EFI_VARIABLE_AUTHORITY, EV_EFI_SPDM_DEVICE_AUTHORITY]),
        _ => None,
    }
}
