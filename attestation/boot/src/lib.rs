//! Measured-boot event logs: what a machine's firmware, userspace and kernel say they measured, parsed,
//! replayed, and held against the PCR values that a TPM quoted.
//!
//! # Trust boundary
//! A log is a *claim*. Nothing in it is true until [`EventLog::replay`] ends at quoted PCR values, and
//! even then only digests are proven, in their order: an event's type is never covered, and its data
//! only where [`EventLog::is_measured`] says so. Readers of meaning ([`secure_boot`],
//! [`scrtm_version`]) keep to that rule. Bytes come from the machine under suspicion: the parser is
//! total, bounded by the constants below, and answers a value or a [`BootError`] with field and offset.
//!
//! # From bytes to a verdict
//! [`EventLog::parse`], [`UserspaceLog::parse`] and [`ImaLog::parse`] read one log each;
//! [`BootLogs::compare`] replays them together, firmware's first, and answers one [`Difference`] per
//! quoted PCR that they don't explain, with its [`Cause`] and the event to look at. What was accepted
//! although the specification does not allow it is a [`Quirk`] with a name; what a firmware log does
//! that it should not is a [`Violation`] of a [`Rule`].
//!
//! # Formats
//! TCG PC Client Platform Firmware Profile (PFP) 1.06, section 10: the crypto-agile log
//! (`TCG_PCR_EVENT2`, opened by "Spec ID Event03") and the SHA-1 log before it (`TCG_PCR_EVENT`).
//! TCG Canonical Event Log 1.0 as systemd writes it (CEL-JSON, RFC 7464), and the kernel's IMA log in
//! both forms, of every template that is made of known fields.
//! Deviations that real machines write are accepted only where [`Quirk`] names them.
//!
//! # Meaning
//! [`SecureBootState`], [`boot_applications`], [`Uki`], [`os_events`], [`phase_path`] and
//! [`virtualization_hints`] say what events stand for, [`describe`] puts any event in words, and
//! [`Release::compare`] holds a machine against reference values. Structures inside events come from
//! the UEFI specification, 2.10.
//!
//! # Non-goals
//! No I/O, no clock, no quote verification (`assay-tpm`), no policy (`assay-appraisal`).

mod alg;
mod applications;
mod authority;
pub mod corim;
mod coverage;
mod cursor;
mod describe;
mod device_path;
mod device_text;
mod error;
mod exit_boot_services;
mod guid;
mod hints;
mod ima;
mod joined;
mod json;
/// Event types by name and number.
pub mod kind;
mod load_option;
mod log;
mod meaning;
mod os_events;
mod parse;
mod phases;
pub mod release;
mod release_match;
mod replay;
mod rules;
mod secure_boot;
mod signature_list;
mod spec_id;
mod text;
mod uefi;
mod uefi_events;
mod uki;
mod userspace;
/// Writing logs, for generators and tests.
pub mod write;

pub use alg::HashAlg;
pub use applications::{BootApplication, boot_applications, driver_count};
pub use authority::{Authority, SHIM_LOCK, Voucher};
pub use coverage::{Coverage, coverage};
pub use describe::{EventData, describe};
pub use device_path::{DevicePath, DevicePathNode};
pub use error::BootError;
pub use guid::guid_text;
pub use hints::{Hint, HintKind, virtualization_hints};
pub use ima::{ImaEntry, ImaFields, ImaFormat, ImaLog, ImaPrefix, boot_aggregate};
pub use joined::{BootLogs, Cause, Comparison, Difference, LogKind};
pub use kind::{
    EV_ACTION, EV_COMPACT_HASH, EV_CPU_MICROCODE, EV_EFI_ACTION, EV_EFI_BOOT_SERVICES_APPLICATION,
    EV_EFI_BOOT_SERVICES_DRIVER, EV_EFI_GPT_EVENT, EV_EFI_GPT_EVENT2, EV_EFI_HANDOFF_TABLES,
    EV_EFI_HANDOFF_TABLES2, EV_EFI_HCRTM_EVENT, EV_EFI_PLATFORM_FIRMWARE_BLOB,
    EV_EFI_PLATFORM_FIRMWARE_BLOB2, EV_EFI_RUNTIME_SERVICES_DRIVER, EV_EFI_VARIABLE_AUTHORITY,
    EV_EFI_VARIABLE_BOOT, EV_EFI_VARIABLE_BOOT2, EV_EFI_VARIABLE_DRIVER_CONFIG, EV_EVENT_TAG, EV_IPL,
    EV_NO_ACTION, EV_POST_CODE, EV_POST_CODE2, EV_S_CRTM_CONTENTS, EV_S_CRTM_VERSION, EV_SEPARATOR,
    event_type_name,
};
pub use load_option::LoadOption;
pub use log::{Digest, Event, EventLog, Format, Quirk};
pub use meaning::{ScrtmVersion, scrtm_version, secure_boot};
pub use os_events::{OsEvent, OsMeasurement, os_events, tag_name};
pub use phases::{
    Identity, OS_SEPARATOR, PHASES, PhasePath, UserspaceMeasurement, os_separator_digest, phase_path,
};
pub use release::Release;
pub use release_match::{EventAt, MatchInput, RELEASE_PCRS, ReleaseCheck, ReleaseDifference};
pub use replay::{PcrMismatch, compare, reset_value, reset_value_of};
pub use rules::{Rule, Violation};
pub use secure_boot::{KeyName, MeasuredAuthority, MeasuredKeys, SecureBootState, secure_boot_quirks};
pub use signature_list::{Signature, SignatureList, SignatureType};
pub use uefi::{EFI_GLOBAL_VARIABLE, EFI_IMAGE_SECURITY_DATABASE, UefiVariable};
pub use uefi_events::{FirmwareBlob, GptData, GptPartition, HandoffTables, ImageLoad, TaggedEvent};
pub use uki::{Uki, UkiSection};
pub use userspace::{Content, Register, SystemdContent, UserspaceLog, UserspaceRecord};

/// Longest log accepted, in bytes. Real ones have 2 to 64 KiB.
pub const MAX_LOG_BYTES: usize = 1 << 20;
/// Most events accepted in one log, the Spec ID event apart.
pub const MAX_EVENTS: usize = 4096;
/// Longest event data accepted, in bytes.
pub const MAX_EVENT_BYTES: usize = 64 << 10;
/// PCRs of a PC Client TPM: indices `0..24` (PC Client Platform TPM Profile 1.05, section 4.6).
pub const PCR_COUNT: u32 = 24;
/// Most banks that a Spec ID event may declare; a TPM has at most a handful.
pub const MAX_BANKS: usize = 8;
/// Longest IMA log accepted, in bytes. A server that measures every executable writes 2 to 3 MiB.
pub const MAX_IMA_LOG_BYTES: usize = 8 << 20;
/// Most entries accepted in one IMA log.
pub const MAX_IMA_ENTRIES: usize = 65_536;
/// Longest template data accepted in an IMA entry, in bytes: kernels log whole keys, command lines
/// and policies.
pub const MAX_IMA_DATA_BYTES: usize = 256 << 10;
