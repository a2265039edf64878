//! PCR 11 before the operating system runs: the sections of a unified kernel image, as systemd-stub
//! measures them (UAPI.5; systemd, "TPM2 PCR Measurements Made by systemd", PCR 11).

use crate::coverage::{hashes, sha256_of};
use crate::text::logged_text;
use crate::{Event, EventLog, HashAlg};

const KERNEL_BOOT_PCR: u32 = 11;

/// One section: an event for its name, then one for its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UkiSection {
    /// Name, as its own event's digest proves it: ".linux", ".cmdline".
    pub name: String,
    /// Index in [`EventLog::events`] of the content's event.
    pub event: usize,
    /// SHA-256 of the content, where the log has that bank.
    pub sha256: Option<[u8; 32]>,
}

/// What the firmware's log holds for PCR 11.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uki {
    /// The sections in order.
    pub sections: Vec<UkiSection>,
    /// Indices of events that are no pair of name and content.
    pub other: Vec<usize>,
}

impl Uki {
    /// Reads a log. Proven only once PCR 11 is found quoted.
    #[must_use]
    pub fn read(log: &EventLog) -> Self {
        let banks = log.carried();
        let events = log.events.iter().enumerate();
        let mut events = events.filter(|(_, event)| event.pcr == KERNEL_BOOT_PCR && event.is_extended());
        let mut uki = Self::default();
        while let Some((index, event)) = events.next() {
            match (section_name(event, &banks), events.next()) {
                (Some(name), Some((event, content))) => {
                    uki.sections.push(UkiSection { name, event, sha256: sha256_of(content) });
                }
                (_, next) => {
                    uki.other.push(index);
                    uki.other.extend(next.map(|(index, _)| index));
                }
            }
        }
        uki
    }

    /// The section of this name; `None` where there is not exactly one.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&UkiSection> {
        let mut named = self.sections.iter().filter(|section| section.name == name);
        named.next().filter(|_| named.next().is_none())
    }
}

/// The digest covers the name in ASCII with its NUL, whatever the log's text is encoded in.
fn section_name(event: &Event, banks: &[HashAlg]) -> Option<String> {
    let name = logged_text(&event.data).filter(|name| name.starts_with('.'))?;
    hashes(event, &[name.as_bytes(), &[0]].concat(), banks).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EV_IPL;
    use crate::alg::sha256;
    use crate::write::LogWriter;

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    fn read(events: &[(&[u8], &str)]) -> Uki {
        let mut writer = LogWriter::new();
        for (measured, logged) in events {
            writer.event(11, EV_IPL, sha256(measured), &wide(logged)).unwrap();
        }
        Uki::read(&EventLog::parse(&writer.finish()).unwrap())
    }

    #[test]
    fn a_section_is_a_name_and_its_content() {
        let uki = read(&[
            (b".linux\0", ".linux"),
            (b"MZ", ".linux"),
            (b".cmdline\0", ".cmdline"),
            (b"quiet", ".cmdline"),
        ]);
        assert_eq!((uki.sections.len(), uki.other.len()), (2, 0));
        let cmdline = uki.section(".cmdline").unwrap();
        assert_eq!((cmdline.event, cmdline.sha256), (3, Some(sha256(b"quiet"))));
        assert_eq!(uki.section(".initrd"), None);
    }

    #[test]
    fn a_name_that_its_digest_does_not_cover_is_none() {
        let uki = read(&[(b".linux\0", ".initrd"), (b"MZ", ".initrd")]);
        assert_eq!((uki.sections.len(), uki.other), (0, vec![0, 1]));
        assert_eq!(read(&[(b".linux\0", ".linux")]).other, [0], "a name alone");
        let twice = read(&[(b".a\0", ".a"), (b"1", ""), (b".a\0", ".a"), (b"2", "")]);
        assert_eq!(twice.section(".a"), None);
    }
}
