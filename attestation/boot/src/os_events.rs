//! What boot loaders measure for an operating system, beside the kernel image itself: command
//! lines, credentials, add-ons and extensions in PCRs 12 and 13 (systemd, "TPM2 PCR Measurements
//! Made by systemd"), shim's keys in PCR 14, configuration and initrds in PCRs 1, 5, 8 and 9.

use crate::coverage::{coverage_in, hashes, sha256_of};
use crate::text::{logged_text, printable};
use crate::{Coverage, Event, EventLog, HashAlg, TaggedEvent};

/// Tags of EV_EVENT_TAG events and what they stand for: Linux' EFI stub, then systemd.
const TAGS: [(u32, &str); 10] = [
    (0x8f3b_22ec, "linux initrd"),
    (0x8f3b_22ed, "linux command line"),
    (0xf5bc_582a, "systemd-boot loader.conf"),
    (0x6c46_f751, "systemd-stub devicetree add-on"),
    (0x49df_fe0f, "systemd-stub initrd add-on"),
    (0xdac0_8e1a, "systemd-stub microcode add-on"),
    (0x13ae_d6db, "systemd-stub profile"),
    (0xd5cb_7cbc, "SMBIOS system information"),
    (0xe0d4_7bc8, "SMBIOS baseboard information"),
    (0xc0b3_bd23, "SMBIOS OEM strings"),
];

/// The name of a known tag.
#[must_use]
pub fn tag_name(id: u32) -> Option<&'static str> {
    TAGS.iter().find(|(tag, _)| *tag == id).map(|(_, name)| *name)
}

/// What an event stands for, by its text; only [`OsMeasurement::CommandLine`]'s is covered by its
/// digest, the others name a file that the log does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OsMeasurement {
    /// A kernel command line that is not part of the image: its digest covers this very text.
    CommandLine(String),
    /// Credentials, packed as an initrd.
    Credentials,
    /// System or configuration extensions, packed as an initrd.
    Extensions,
    /// A known tag of [`tag_name`] and the text that comes with it.
    Tagged(&'static str, String),
    /// Anything else, with its text where it has one.
    Other(Option<String>),
}

/// One event of an operating system's PCR in the firmware's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsEvent {
    /// Index in [`EventLog::events`].
    pub event: usize,
    /// The event's SHA-256 digest, where the log has one.
    pub sha256: Option<[u8; 32]>,
    /// What it stands for.
    pub what: OsMeasurement,
}

/// The extended events of `pcr` in the firmware's log.
#[must_use]
pub fn os_events(log: &EventLog, pcr: u32) -> Vec<OsEvent> {
    let banks = log.carried();
    let events = log.events.iter().enumerate();
    let extended = events.filter(|(_, event)| event.pcr == pcr && event.is_extended());
    let read = |(index, event)| OsEvent { event: index, sha256: sha256_of(event), what: what(event, &banks) };
    extended.map(read).collect()
}

fn what(event: &Event, banks: &[HashAlg]) -> OsMeasurement {
    if let Some((name, text)) = tagged(&event.data) {
        return OsMeasurement::Tagged(name, text);
    }
    let Some(text) = logged_text(&event.data) else { return OsMeasurement::Other(None) };
    if text.to_lowercase().ends_with("credentials initrd") {
        return OsMeasurement::Credentials;
    }
    if text.ends_with("extension initrd") {
        return OsMeasurement::Extensions;
    }
    // systemd measures the UTF-16 without its NUL, and some versions with it.
    let covered = coverage_in(event, banks) == Coverage::Whole
        || event.data.strip_suffix(&[0, 0]).is_some_and(|data| hashes(event, data, banks));
    match event.pcr {
        12 if covered && is_wide(&event.data, &text) => OsMeasurement::CommandLine(printable(&text)),
        _ => OsMeasurement::Other(Some(printable(&text))),
    }
}

/// systemd's command lines are UTF-16; other systems measure ASCII into PCR 12.
fn is_wide(data: &[u8], text: &str) -> bool {
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    data.strip_suffix(&[0, 0]).unwrap_or(data) == wide
}

/// The first of an event's tags, if it is known.
pub(crate) fn tagged(data: &[u8]) -> Option<(&'static str, String)> {
    let tag = TaggedEvent::parse_all(data).ok()?.into_iter().next()?;
    let text = logged_text(&tag.data).map(|text| printable(&text));
    Some((tag_name(tag.id)?, text.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alg::sha256;
    use crate::write::LogWriter;
    use crate::{EV_EVENT_TAG, EV_IPL};

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    fn read(pcr: u8, kind: u32, measured: &[u8], logged: &[u8]) -> OsMeasurement {
        let mut writer = LogWriter::new();
        writer.event(pcr, kind, sha256(measured), logged).unwrap();
        let log = EventLog::parse(&writer.finish()).unwrap();
        os_events(&log, pcr.into()).remove(0).what
    }

    #[test]
    fn a_command_line_is_one_where_the_digest_says_so() {
        let line = wide("init=/bin/sh");
        let ascii = read(12, EV_IPL, b"WBCL", b"WBCL");
        assert_eq!(ascii, OsMeasurement::Other(Some("WBCL".into())));
        let read = |measured: &[u8]| read(12, EV_IPL, measured, &line);
        assert_eq!(read(&line), OsMeasurement::CommandLine("init=/bin/sh".into()));
        assert_eq!(read(&line[..line.len() - 2]), OsMeasurement::CommandLine("init=/bin/sh".into()));
        assert_eq!(read(b"x"), OsMeasurement::Other(Some("init=/bin/sh".into())));
    }

    #[test]
    fn files_are_named_by_what_systemd_logs() {
        let read = |pcr, text: &str| read(pcr, EV_IPL, b"cpio", &wide(text));
        assert_eq!(read(12, "Credentials initrd"), OsMeasurement::Credentials);
        assert_eq!(read(12, "Global credentials initrd"), OsMeasurement::Credentials);
        assert_eq!(read(13, "System extension initrd"), OsMeasurement::Extensions);
        assert_eq!(read(14, "MokList"), OsMeasurement::Other(Some("MokList".into())));
    }

    #[test]
    fn tags_are_named_where_they_are_known() {
        let tag = |id: u32, text: &[u8]| {
            let len = u32::try_from(text.len()).unwrap();
            [&id.to_le_bytes()[..], &len.to_le_bytes(), text].concat()
        };
        let read = |data: &[u8]| read(9, EV_EVENT_TAG, b"x", data);
        let initrd = OsMeasurement::Tagged("linux initrd", "Linux initrd".into());
        assert_eq!(read(&tag(0x8f3b_22ec, b"Linux initrd\0")), initrd);
        assert_eq!(read(&tag(0x1234_5678, &[1])), OsMeasurement::Other(None));
    }
}
