//! Signs of a virtual machine in a firmware log: facts with what was seen, for people and for
//! lowering trust, never for raising it. Their absence proves nothing.

use crate::coverage::coverage_in;
use crate::guid::guid;
use crate::text::printable;
use crate::{
    Coverage, EV_S_CRTM_VERSION, Event, EventLog, FirmwareBlob, HashAlg, ImageLoad, LoadOption, UefiVariable,
    scrtm_version,
};

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintKind {
    /// Google's event on the host of a virtual machine, and the memory encryption it says it has.
    GceNonHostInfo,
    /// A firmware version that names a hypervisor.
    FirmwareVersion,
    /// OVMF, the UEFI firmware of QEMU/KVM: where it keeps its volumes, or the GUID of one.
    Ovmf,
    /// A boot option or device path that names a hypervisor's devices.
    Device,
}

/// One sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// What was seen.
    pub kind: HintKind,
    /// Index in [`EventLog::events`].
    pub event: usize,
    /// The text, table entry or GUID that it was recognised by.
    pub seen: String,
    /// Whether the event's digest covers it.
    pub covered: bool,
}

const GCE_NON_HOST: &[u8] = b"GCE NonHostInfo\0";
/// Names in firmware versions and boot options, lower-case.
const HYPERVISORS: [&str; 10] = [
    "gce virtual",
    "google persistentdisk",
    "qemu",
    "virtio",
    "vmware",
    "virtualbox",
    "vbox",
    "hyper-v",
    "xen",
    "amazon ec2",
];
/// Where OVMF's PEI and DXE volumes lie in memory.
const OVMF_BLOBS: [u64; 2] = [0x0082_0000, 0x0090_0000];
/// Name of OVMF's DXE volume, in memory encoding.
const OVMF_VOLUME: [u8; 16] =
    guid(0x7cb8_bdc9, 0xf8eb, 0x4f34, [0xaa, 0xea, 0x3e, 0xe4, 0xaf, 0x65, 0x16, 0xa1]);

/// The signs that a log holds, in order of events.
#[must_use]
pub fn virtualization_hints(log: &EventLog) -> Vec<Hint> {
    let banks = log.carried();
    let mut hints = Vec::new();
    for (index, event) in log.events.iter().enumerate().filter(|(_, event)| event.is_extended()) {
        let Some((kind, seen)) = gce(event).or_else(|| ovmf(event)).or_else(|| device(event)) else {
            continue;
        };
        hints.push(Hint { kind, event: index, seen, covered: covered(event, kind, &banks) });
    }
    hints.extend(firmware_version(log));
    hints.sort_by_key(|hint| hint.event);
    hints
}

/// A variable's value is enough: it is what a device is read from. Addresses and paths of images
/// and blobs are never covered.
fn covered(event: &Event, kind: HintKind, banks: &[HashAlg]) -> bool {
    let value = matches!(kind, HintKind::Device | HintKind::Ovmf);
    match coverage_in(event, banks) {
        Coverage::Whole => true,
        Coverage::Value => value,
        Coverage::AllButLastByte | Coverage::Nothing => false,
    }
}

fn gce(event: &Event) -> Option<(HintKind, String)> {
    let rest = event.data.strip_prefix(GCE_NON_HOST)?;
    let technology = match rest.first() {
        Some(0) => "no memory encryption".to_owned(),
        Some(1) => "AMD SEV".to_owned(),
        Some(2) => "AMD SEV-ES".to_owned(),
        Some(3) => "Intel TDX".to_owned(),
        Some(4) => "AMD SEV-SNP".to_owned(),
        Some(other) => format!("technology {other}"),
        None => return None,
    };
    Some((HintKind::GceNonHostInfo, format!("GCE NonHostInfo: {technology}")))
}

fn ovmf(event: &Event) -> Option<(HintKind, String)> {
    let blob = FirmwareBlob::parse(&event.data).ok().filter(|_| event.pcr == 0);
    if let Some(blob) = blob.filter(|blob| OVMF_BLOBS.contains(&blob.base)) {
        return Some((HintKind::Ovmf, format!("firmware volume at {:#x}", blob.base)));
    }
    let in_volume = paths(event)?.iter().flat_map(|path| &path.nodes).any(|node| node.data == OVMF_VOLUME);
    in_volume.then(|| (HintKind::Ovmf, "OVMF's DXE volume".to_owned()))
}

fn paths(event: &Event) -> Option<Vec<crate::DevicePath>> {
    let image = ImageLoad::parse(&event.data).map(|image| vec![image.path]);
    image.ok().or_else(|| option(event).map(|option| option.paths))
}

fn option(event: &Event) -> Option<LoadOption> {
    let variable = UefiVariable::parse(&event.data).ok()?;
    LoadOption::parse(&variable.value).ok()
}

fn device(event: &Event) -> Option<(HintKind, String)> {
    let option = option(event)?;
    names_hypervisor(&option.description).then(|| (HintKind::Device, printable(&option.description)))
}

fn names_hypervisor(text: &str) -> bool {
    let text = text.to_lowercase();
    HYPERVISORS.iter().any(|name| text.contains(name))
}

fn firmware_version(log: &EventLog) -> Option<Hint> {
    let version = scrtm_version(log).filter(|version| names_hypervisor(&version.text))?;
    let mut events = log.events.iter();
    let event = events.position(|event| event.pcr == 0 && event.kind == EV_S_CRTM_VERSION)?;
    let seen = version.text;
    Some(Hint { kind: HintKind::FirmwareVersion, event, seen, covered: version.measured })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::LogWriter;
    use crate::{EFI_GLOBAL_VARIABLE, EV_EFI_PLATFORM_FIRMWARE_BLOB, EV_EFI_VARIABLE_BOOT, EV_POST_CODE};

    fn hints(build: impl FnOnce(&mut LogWriter)) -> Vec<(HintKind, String, bool)> {
        let mut writer = LogWriter::new();
        build(&mut writer);
        let log = EventLog::parse(&writer.finish()).unwrap();
        virtualization_hints(&log).into_iter().map(|hint| (hint.kind, hint.seen, hint.covered)).collect()
    }

    fn boot_option(description: &str) -> Vec<u8> {
        let text: Vec<u8> = description.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let value = [&[1, 0, 0, 0, 4, 0][..], &text, &[0x7f, 0xff, 4, 0]].concat();
        UefiVariable { guid: EFI_GLOBAL_VARIABLE, name: "Boot0000".into(), value }.encode()
    }

    #[test]
    fn each_sign_is_seen_and_says_whether_it_is_covered() {
        let version: Vec<u8> =
            "GCE Virtual Firmware v1\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let host = [GCE_NON_HOST, &[2], &[0; 15]].concat();
        let blob = [0x82_0000u64, 0xe_0000].map(u64::to_le_bytes).concat();
        let seen = hints(|writer| {
            writer.measure(0, EV_S_CRTM_VERSION, &version).unwrap();
            writer.measure(0, EV_POST_CODE, &host).unwrap();
            writer.event(0, EV_EFI_PLATFORM_FIRMWARE_BLOB, [1; 32], &blob).unwrap();
            writer.measure(1, EV_EFI_VARIABLE_BOOT, &boot_option("UEFI QEMU DVD-ROM QM00005 ")).unwrap();
        });
        assert_eq!(
            seen,
            [
                (HintKind::FirmwareVersion, "GCE Virtual Firmware v1".into(), true),
                (HintKind::GceNonHostInfo, "GCE NonHostInfo: AMD SEV-ES".into(), true),
                (HintKind::Ovmf, "firmware volume at 0x820000".into(), false),
                (HintKind::Device, "UEFI QEMU DVD-ROM QM00005 ".into(), true),
            ]
        );
    }

    #[test]
    fn a_plain_machine_shows_none() {
        let seen = hints(|writer| {
            writer.measure(1, EV_EFI_VARIABLE_BOOT, &boot_option("debian")).unwrap();
            writer.measure(0, EV_POST_CODE, b"ACPI DATA").unwrap();
        });
        assert_eq!(seen, []);
    }
}
