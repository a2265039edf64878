//! What the firmware loaded: boot applications in PCR 4, drivers in PCR 2 (PFP 1.06, sections
//! 3.3.4.3 and 3.3.4.5).

use crate::coverage::{hashes, sha256_of};
use crate::meaning::is_exact_separator;
use crate::{EV_EFI_BOOT_SERVICES_DRIVER, EV_EFI_RUNTIME_SERVICES_DRIVER, EventLog, ImageLoad};

const DRIVER_PCR: u32 = 2;
const BOOT_PCR: u32 = 4;

/// What firmware measures into PCR 4 that is no image (PFP 1.06, section 10.4.4).
const ACTIONS: [&[u8]; 3] = [
    b"Calling EFI Application from Boot Option",
    b"Returning from EFI Application from Boot Option",
    b"BOOT ATTEMPTS OMITTED",
];

/// An image that PCR 4 names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootApplication {
    /// Index in [`EventLog::events`].
    pub event: usize,
    /// Its Authenticode SHA-256 digest, where the log has one.
    pub sha256: Option<[u8; 32]>,
    /// Where it came from, by what the log says; no digest covers that.
    pub path_hint: Option<String>,
}

/// The boot applications of a log in order: every extended event of PCR 4 that is not, by its
/// digest, a separator or one of the specification's action strings. Types decide nothing, so that
/// an application can't hide under another one. Proven only once PCR 4 is found quoted.
#[must_use]
pub fn boot_applications(log: &EventLog) -> Vec<BootApplication> {
    let banks = log.carried();
    let events = log.events.iter().enumerate();
    let extended = events.filter(|(_, event)| event.pcr == BOOT_PCR && event.is_extended());
    let mut applications = Vec::new();
    for (index, event) in extended {
        if is_exact_separator(event, &banks) || ACTIONS.iter().any(|action| hashes(event, action, &banks)) {
            continue;
        }
        let path = ImageLoad::parse(&event.data).ok().map(|image| image.path);
        let path = path.filter(|path| !path.nodes.is_empty());
        let path_hint = path.map(|path| path.to_string());
        applications.push(BootApplication { event: index, sha256: sha256_of(event), path_hint });
    }
    applications
}

/// How many events of PCR 2 are images by their type: information, as no digest covers a type.
#[must_use]
pub fn driver_count(log: &EventLog) -> usize {
    let drivers = [EV_EFI_BOOT_SERVICES_DRIVER, EV_EFI_RUNTIME_SERVICES_DRIVER];
    log.extended().filter(|event| event.pcr == DRIVER_PCR && drivers.contains(&event.kind)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::LogWriter;
    use crate::{EV_EFI_ACTION, EV_EFI_BOOT_SERVICES_APPLICATION, EV_SEPARATOR};

    fn log(build: impl FnOnce(&mut LogWriter)) -> EventLog {
        let mut writer = LogWriter::new();
        build(&mut writer);
        EventLog::parse(&writer.finish()).unwrap()
    }

    #[test]
    fn an_application_is_what_is_left_when_digests_are_explained() {
        let image = [0u64, 0, 0, 22].map(u64::to_le_bytes).concat();
        let path = [&[4u8, 4, 18, 0][..], b"\\\0a\0.\0e\0f\0i\0\0\0", &[0x7f, 0xff, 4, 0]].concat();
        let image = [image, path].concat();
        let log = log(|writer| {
            writer.measure(4, EV_EFI_ACTION, ACTIONS[0]).unwrap();
            writer.measure(4, EV_SEPARATOR, &[0; 4]).unwrap();
            writer.event(4, EV_EFI_BOOT_SERVICES_APPLICATION, [7; 32], &image).unwrap();
            writer.event(4, EV_SEPARATOR, [8; 32], &[0; 4]).unwrap();
            writer.event(4, EV_EFI_ACTION, [9; 32], ACTIONS[0]).unwrap();
            writer.measure(4, EV_EFI_ACTION, b"Calling something else").unwrap();
            writer.event(2, EV_EFI_BOOT_SERVICES_DRIVER, [1; 32], &[]).unwrap();
        });
        let read = boot_applications(&log);
        let digests: Vec<_> = read.iter().filter_map(|application| application.sha256).collect();
        assert_eq!(digests[..3], [[7; 32], [8; 32], [9; 32]]);
        assert_eq!((digests.len(), driver_count(&log)), (4, 1));
        assert_eq!(read[0].path_hint.as_deref(), Some(r"\a.efi"));
    }
}
