//! Event types (PFP 1.06, section 10.4.1, table 27). Names are for people and for telling events
//! apart: no digest covers an event's type, so no verdict may rest on it alone.

macro_rules! kinds {
    ($($name:ident = $value:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub const $name: u32 = $value;)*

        /// The specification's name of an event type; "EV_UNKNOWN" for one it does not list.
        #[must_use]
        pub fn event_type_name(kind: u32) -> &'static str {
            match kind {
                $($name => stringify!($name),)*
                _ => "EV_UNKNOWN",
            }
        }
    };
}

kinds! {
    EV_PREBOOT_CERT = 0x0000_0000, "Reserved.";
    EV_POST_CODE = 0x0000_0001, "Firmware code, PCR 0.";
    EV_UNUSED = 0x0000_0002, "Reserved.";
    EV_NO_ACTION = 0x0000_0003, "Information only: never extended.";
    EV_SEPARATOR = 0x0000_0004, "End of the firmware's own measurements in a PCR.";
    EV_ACTION = 0x0000_0005, "A string that names what the firmware did.";
    EV_EVENT_TAG = 0x0000_0006, "Tagged event of an operating system or host.";
    EV_S_CRTM_CONTENTS = 0x0000_0007, "The static root of trust's contents.";
    EV_S_CRTM_VERSION = 0x0000_0008, "The static root of trust's version: UTF-16 text or a GUID.";
    EV_CPU_MICROCODE = 0x0000_0009, "A microcode patch.";
    EV_PLATFORM_CONFIG_FLAGS = 0x0000_000a, "Platform configuration, PCR 1.";
    EV_TABLE_OF_DEVICES = 0x0000_000b, "Devices, PCR 1.";
    EV_COMPACT_HASH = 0x0000_000c, "Whatever the caller of the compact hash call measured.";
    EV_IPL = 0x0000_000d, "Boot loader data; systemd-stub and GRUB use it.";
    EV_IPL_PARTITION_DATA = 0x0000_000e, "Partition table data.";
    EV_NONHOST_CODE = 0x0000_000f, "Code of a non-host platform.";
    EV_NONHOST_CONFIG = 0x0000_0010, "Configuration of a non-host platform.";
    EV_NONHOST_INFO = 0x0000_0011, "Version of a non-host platform.";
    EV_OMIT_BOOT_DEVICE_EVENTS = 0x0000_0012, "Boot device events are left out.";
    EV_POST_CODE2 = 0x0000_0013, "Firmware code with a description, PCR 0.";
    EV_EFI_VARIABLE_DRIVER_CONFIG = 0x8000_0001, "A UEFI variable: Secure Boot's, in PCR 7.";
    EV_EFI_VARIABLE_BOOT = 0x8000_0002, "A boot variable, PCR 1.";
    EV_EFI_BOOT_SERVICES_APPLICATION = 0x8000_0003, "A UEFI application that was loaded, PCR 4.";
    EV_EFI_BOOT_SERVICES_DRIVER = 0x8000_0004, "A UEFI driver that was loaded.";
    EV_EFI_RUNTIME_SERVICES_DRIVER = 0x8000_0005, "A UEFI runtime driver that was loaded.";
    EV_EFI_GPT_EVENT = 0x8000_0006, "The boot disk's partition table, PCR 5.";
    EV_EFI_ACTION = 0x8000_0007, "A string that names what UEFI did.";
    EV_EFI_PLATFORM_FIRMWARE_BLOB = 0x8000_0008, "A firmware blob: address and length.";
    EV_EFI_HANDOFF_TABLES = 0x8000_0009, "Configuration tables, PCR 1.";
    EV_EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000_000a, "A firmware blob with a description.";
    EV_EFI_HANDOFF_TABLES2 = 0x8000_000b, "Configuration tables with a description.";
    EV_EFI_VARIABLE_BOOT2 = 0x8000_000c, "A boot variable as UEFI_VARIABLE_DATA, PCR 1.";
    EV_EFI_GPT_EVENT2 = 0x8000_000d, "A GPT without the disk's GUIDs.";
    EV_EFI_HCRTM_EVENT = 0x8000_0010, "The hardware root of trust measured before start-up, PCR 0.";
    EV_EFI_VARIABLE_AUTHORITY = 0x8000_00e0, "The db entry that vouched for an image, PCR 7.";
    EV_EFI_SPDM_FIRMWARE_BLOB = 0x8000_00e1, "Firmware of a device, by SPDM.";
    EV_EFI_SPDM_FIRMWARE_CONFIG = 0x8000_00e2, "Configuration of a device, by SPDM.";
    EV_EFI_SPDM_DEVICE_POLICY = 0x8000_00e3, "Policy for SPDM devices, PCR 7.";
    EV_EFI_SPDM_DEVICE_AUTHORITY = 0x8000_00e4, "The authority of an SPDM device, PCR 7.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_specifications() {
        assert_eq!(event_type_name(0x8000_00e0), "EV_EFI_VARIABLE_AUTHORITY");
        assert_eq!(event_type_name(EV_S_CRTM_VERSION), "EV_S_CRTM_VERSION");
        assert_eq!(event_type_name(0x8000_0003), "EV_EFI_BOOT_SERVICES_APPLICATION");
        assert_eq!(event_type_name(0xdead_beef), "EV_UNKNOWN");
    }
}
