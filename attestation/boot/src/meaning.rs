//! Reading meaning from a log, digests first: an event counts only where its digest is the hash of
//! the data that is read, and its type, which nothing covers, never decides.

use crate::coverage::hashes;
use crate::guid::guid_text;
use crate::kind::{EV_S_CRTM_VERSION, EV_SEPARATOR};
use crate::uefi::utf16;
use crate::{Digest, EFI_GLOBAL_VARIABLE, Event, EventLog, HashAlg, UefiVariable};

const SECURE_BOOT_PCR: u32 = 7;
const SEPARATOR: [u8; 4] = [0; 4];

/// Whether the firmware booted with Secure Boot on (PFP 1.06, section 3.3.4.8: the variable is the
/// first thing measured into PCR 7). `None` when the log has no SecureBoot variable in PCR 7;
/// `Some(true)` only when every one is 1, is covered by its digest, and lies before PCR 7's
/// separator: whatever runs later can extend what it likes. Empty or 0 is `Some(false)`.
///
/// Proven only once PCR 7 is found quoted.
#[must_use]
pub fn secure_boot(log: &EventLog) -> Option<bool> {
    let banks = log.carried();
    let mut separated = false;
    let mut state = None;
    for event in log.extended().filter(|event| event.pcr == SECURE_BOOT_PCR) {
        separated |= is_separator(event);
        if let Some(value) = secure_boot_value(event) {
            let on = value == [1] && !separated && event.is_measured_in(&banks);
            state = Some(on && state.unwrap_or(true));
        }
    }
    state
}

/// The value of an event's SecureBoot variable, whatever covers it.
pub(crate) fn secure_boot_value(event: &Event) -> Option<Vec<u8>> {
    let variable = UefiVariable::parse(&event.data).ok()?;
    let wanted = variable.guid == EFI_GLOBAL_VARIABLE && variable.name == "SecureBoot";
    wanted.then_some(variable.value)
}

/// By type, and by digest too: a separator under another name is still one.
pub(crate) fn is_separator(event: &Event) -> bool {
    let hashed = |digest: &Digest| digest.alg.hash(&[&SEPARATOR]).as_ref() == Some(&digest.value);
    event.kind == EV_SEPARATOR || event.digests.iter().any(hashed)
}

/// Whether the digest is a separator's, in every bank: four zeros, or four ones where the firmware
/// says that it booted as the operating system's loader (PFP 1.06, section 10.4.1). Unlike
/// [`is_separator`], takes no type's word for it.
pub(crate) fn is_exact_separator(event: &Event, banks: &[HashAlg]) -> bool {
    [[0; 4], [0xff; 4]].iter().any(|data| hashes(event, data, banks))
}

/// What the firmware calls the version of its static root of trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrtmVersion {
    /// UTF-16 text without its terminator, or a GUID in its usual form.
    pub text: String,
    /// Whether the event's digest covers the text; some firmware hashes something else.
    pub measured: bool,
}

/// Reads the first EV_S_CRTM_VERSION event of PCR 0 (PFP 1.06, section 10.4.1: UTF-16 text or a
/// 16-byte GUID). `None` without one, or where it is neither, or empty text.
#[must_use]
pub fn scrtm_version(log: &EventLog) -> Option<ScrtmVersion> {
    let mut events = log.extended();
    let event = events.find(|event| event.pcr == 0 && event.kind == EV_S_CRTM_VERSION)?;
    let guid = || event.data.as_slice().try_into().ok().map(guid_text);
    let text = version_text(&event.data).or_else(guid)?;
    Some(ScrtmVersion { text, measured: log.is_measured(event) })
}

fn version_text(data: &[u8]) -> Option<String> {
    let text = utf16(data)?;
    let text = text.trim_end_matches('\0');
    // Sixteen random bytes are often valid UTF-16, but hardly ever ASCII.
    let printable = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    (!text.is_empty() && printable).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::EV_NO_ACTION;
    use crate::write::LogWriter;
    use crate::{EV_EFI_VARIABLE_DRIVER_CONFIG, EV_IPL};

    fn variable(name: &str, value: &[u8]) -> Vec<u8> {
        let guid = EFI_GLOBAL_VARIABLE;
        UefiVariable { guid, name: name.into(), value: value.to_vec() }.encode()
    }

    fn log(build: impl FnOnce(&mut LogWriter)) -> EventLog {
        let mut writer = LogWriter::new();
        build(&mut writer);
        EventLog::parse(&writer.finish()).unwrap()
    }

    fn measured(pcr: u8, kind: u32, parts: &[Vec<u8>]) -> EventLog {
        log(|writer| {
            for data in parts {
                writer.measure(pcr, kind, data).unwrap();
            }
        })
    }

    #[test]
    fn secure_boot_is_on_off_or_not_said() {
        let kind = EV_EFI_VARIABLE_DRIVER_CONFIG;
        let state = |parts: &[Vec<u8>]| secure_boot(&measured(7, kind, parts));
        let [on, off] = [variable("SecureBoot", &[1]), variable("SecureBoot", &[0])];
        assert_eq!(state(std::slice::from_ref(&on)), Some(true));
        assert_eq!(state(std::slice::from_ref(&off)), Some(false));
        assert_eq!(state(&[variable("SecureBoot", &[])]), Some(false));
        assert_eq!(state(&[variable("SecureBoot", &[1, 1])]), Some(false));
        assert_eq!(state(&[variable("SetupMode", &[1])]), None);
        assert_eq!(state(&[]), None);
        assert_eq!(state(&[on.clone(), off.clone()]), Some(false));
        assert_eq!(state(&[off, on.clone()]), Some(false));
        assert_eq!(secure_boot(&measured(1, kind, &[on])), None, "another PCR");
    }

    #[test]
    fn secure_boot_under_another_guid_says_nothing() {
        let guid = [7; 16];
        let data = UefiVariable { guid, name: "SecureBoot".into(), value: vec![1] }.encode();
        assert_eq!(secure_boot(&measured(7, EV_EFI_VARIABLE_DRIVER_CONFIG, &[data])), None);
    }

    #[test]
    fn a_variable_after_the_separator_was_not_the_firmwares() {
        let on = variable("SecureBoot", &[1]);
        for kind in [EV_SEPARATOR, EV_IPL] {
            let late = log(|writer| {
                writer.measure(7, kind, &SEPARATOR).unwrap();
                writer.measure(7, EV_EFI_VARIABLE_DRIVER_CONFIG, &on).unwrap();
            });
            assert_eq!(secure_boot(&late), Some(false), "{kind}");
        }
        let odd = log(|writer| {
            writer.measure(7, EV_SEPARATOR, &[0; 50]).unwrap();
            writer.measure(7, EV_EFI_VARIABLE_DRIVER_CONFIG, &on).unwrap();
        });
        assert_eq!(secure_boot(&odd), Some(false), "a separator of another length");
    }

    #[test]
    fn data_that_its_digest_does_not_cover_proves_nothing() {
        let mut log = measured(7, EV_EFI_VARIABLE_DRIVER_CONFIG, &[variable("SecureBoot", &[0])]);
        log.events[0].data = variable("SecureBoot", &[1]);
        assert_eq!(secure_boot(&log), Some(false));
    }

    #[test]
    fn what_no_pcr_was_extended_with_is_not_measured() {
        let mut log = measured(7, EV_IPL, &[vec![1]]);
        assert!(log.is_measured(&log.events[0]));
        log.events[0].kind = EV_NO_ACTION;
        assert!(!log.is_measured(&log.events[0]), "only logged");
        log.events[0].kind = EV_IPL;
        log.banks.clear();
        assert!(!log.is_measured(&log.events[0]), "no bank");
    }

    #[test]
    fn a_type_decides_nothing() {
        let log = measured(7, EV_IPL, &[variable("SecureBoot", &[0])]);
        assert_eq!(secure_boot(&log), Some(false));
    }

    fn version(data: &[u8]) -> Option<ScrtmVersion> {
        scrtm_version(&measured(0, EV_S_CRTM_VERSION, &[data.to_vec()]))
    }

    #[test]
    fn a_version_is_text_or_a_guid() {
        let text: Vec<u8> = "N24ET56W \0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let read = version(&text).unwrap();
        assert_eq!((read.text.as_str(), read.measured), ("N24ET56W ", true));
        let guid = version(&EFI_GLOBAL_VARIABLE).unwrap();
        assert_eq!(guid.text, "8be4df61-93ca-11d2-aa0d-00e098032b8c");
        assert_eq!(version(&[0, 0]), None);
        assert_eq!(version(&[0x41]), None);
        assert_eq!(version(&[0xff; 15]), None);
    }

    #[test]
    fn a_version_outside_pcr_0_is_none_and_an_uncovered_one_says_so() {
        let text: Vec<u8> = "V1".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(scrtm_version(&measured(1, EV_S_CRTM_VERSION, std::slice::from_ref(&text))), None);
        let mut log = measured(0, EV_S_CRTM_VERSION, &[vec![1]]);
        log.events[0].data = text;
        assert!(!scrtm_version(&log).unwrap().measured);
    }
}
