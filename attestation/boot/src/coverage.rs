//! How much of an event's data its digest covers: the one question to ask before reading it.

use crate::{Event, EventLog, HashAlg, UefiVariable};

/// What of an event's data is proven where its PCR is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// All of it.
    Whole,
    /// The value of the variable that the data holds, but not its name: so EV_EFI_VARIABLE_BOOT
    /// is measured (PFP 1.06, section 10.4.1, table 27).
    Value,
    /// All but the last byte: a boot loader logged one byte more than it measured.
    AllButLastByte,
    /// Nothing: the digest is of something that the log does not hold, or the data is untrue.
    Nothing,
}

impl Coverage {
    /// Lower-case name for JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Value => "value",
            Self::AllButLastByte => "all-but-last-byte",
            Self::Nothing => "nothing",
        }
    }
}

/// How much of `event`'s data its digests cover, by every bank of `log` that can be replayed.
#[must_use]
pub fn coverage(log: &EventLog, event: &Event) -> Coverage {
    coverage_in(event, &log.carried())
}

pub(crate) fn coverage_in(event: &Event, banks: &[HashAlg]) -> Coverage {
    let value = || UefiVariable::parse(&event.data).ok().map(|variable| variable.value);
    match event.data.as_slice() {
        data if hashes(event, data, banks) => Coverage::Whole,
        [data @ .., _] if hashes(event, data, banks) => Coverage::AllButLastByte,
        _ if value().is_some_and(|value| hashes(event, &value, banks)) => Coverage::Value,
        _ => Coverage::Nothing,
    }
}

/// Whether the event's digest is the hash of `bytes` in each of `banks`, of which there must be one.
pub(crate) fn hashes(event: &Event, bytes: &[u8], banks: &[HashAlg]) -> bool {
    let whole = |alg: &HashAlg| alg.hash(&[bytes]).as_deref() == event.digest(*alg);
    event.is_extended() && !banks.is_empty() && banks.iter().all(whole)
}

/// The SHA-256 digest of an event, as reference values name it.
pub(crate) fn sha256_of(event: &Event) -> Option<[u8; 32]> {
    event.digest(HashAlg::Sha256)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::LogWriter;
    use crate::{EFI_GLOBAL_VARIABLE, EV_EFI_VARIABLE_BOOT, EV_NO_ACTION};

    fn covered(measured: &[u8], logged: &[u8]) -> Coverage {
        let mut writer = LogWriter::new();
        let digest = crate::alg::sha256(measured);
        writer.event(1, EV_EFI_VARIABLE_BOOT, digest, logged).unwrap();
        let log = EventLog::parse(&writer.finish()).unwrap();
        coverage(&log, &log.events[0])
    }

    #[test]
    fn coverage_is_what_the_digest_says() {
        let variable = UefiVariable { guid: EFI_GLOBAL_VARIABLE, name: "Boot0000".into(), value: vec![1, 2] };
        let data = variable.encode();
        assert_eq!(covered(&data, &data), Coverage::Whole);
        assert_eq!(covered(&[1, 2], &data), Coverage::Value);
        assert_eq!(covered(&data, &[&data[..], &[0xaf]].concat()), Coverage::AllButLastByte);
        assert_eq!(covered(&data, &[&data[..], &[0xaf, 0]].concat()), Coverage::Nothing);
        assert_eq!(covered(b"", b""), Coverage::Whole);
    }

    #[test]
    fn what_is_not_extended_or_in_no_bank_covers_nothing() {
        let mut writer = LogWriter::new();
        writer.event(1, EV_NO_ACTION, crate::alg::sha256(b"x"), b"x").unwrap();
        let mut log = EventLog::parse(&writer.finish()).unwrap();
        assert_eq!(coverage(&log, &log.events[0]), Coverage::Nothing);
        log.events[0].kind = EV_EFI_VARIABLE_BOOT;
        assert_eq!(coverage(&log, &log.events[0]), Coverage::Whole);
        log.banks.clear();
        assert_eq!(coverage(&log, &log.events[0]), Coverage::Nothing);
    }
}
