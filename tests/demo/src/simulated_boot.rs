//! A boot that a bare software TPM did not have: a plausible firmware log, and the extends that make
//! it true of that TPM, so that boot evidence is replayed for real.
//!
//! The log says what it is: the S-CRTM version is [`FIRMWARE`], keys and image are named "simulated".
//! It is the same on every machine; a verifier learns from it that parsing, replay and quote work.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use assay_attester::Tpm;
use assay_boot::write::LogWriter;
use assay_boot::{
    BootError, EFI_GLOBAL_VARIABLE, EFI_IMAGE_SECURITY_DATABASE, EV_EFI_ACTION,
    EV_EFI_BOOT_SERVICES_APPLICATION, EV_EFI_GPT_EVENT, EV_EFI_PLATFORM_FIRMWARE_BLOB,
    EV_EFI_VARIABLE_AUTHORITY, EV_EFI_VARIABLE_BOOT, EV_EFI_VARIABLE_DRIVER_CONFIG, EV_IPL, EV_POST_CODE,
    EV_S_CRTM_VERSION, EV_SEPARATOR, EventLog, HashAlg,
};
use sha2::{Digest as _, Sha256};

use crate::DemoError;
use crate::efi;

/// What the simulated firmware calls its version.
pub const FIRMWARE: &str = "ASSAY SIMULATED FIRMWARE";

/// Owner of the simulated Secure Boot keys.
const OWNER: [u8; 16] = *b"ASSAY SIMULATED\0";
/// GUIDs of the simulated disk and its system partition.
const DISK: [u8; 16] = *b"ASSAY SIM DISK 0";
const PARTITION: [u8; 16] = *b"ASSAY SIM PART 1";
const BOOT_FILE: &str = "\\EFI\\BOOT\\BOOTX64.EFI";
/// Sections of the simulated unified kernel image in the order in which systemd-stub measures them.
const SECTIONS: [(&str, &str); 6] = [
    (".linux", "ASSAY SIMULATED KERNEL"),
    (".osrel", "ID=assay-simulated\n"),
    (".cmdline", "ro systemd.import_credentials=no"),
    (".initrd", "ASSAY SIMULATED INITRD"),
    (".uname", "0.0.0-simulated"),
    (".sbat", "sbat,1,SBAT Version,sbat,1\n"),
];

/// A firmware log and what a TPM must be extended with for it to be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedBoot {
    /// The crypto-agile log, SHA-256 bank only.
    pub log: Vec<u8>,
    /// PCR and SHA-256 digest, in order.
    pub extends: Vec<(u8, [u8; 32])>,
}

/// Writes the simulated firmware log; the same bytes every time.
///
/// # Errors
/// [`DemoError::WriteLog`], which would be a defect here.
pub fn write_log() -> Result<SimulatedBoot, DemoError> {
    let mut writer = LogWriter::new();
    events(&mut writer).map_err(DemoError::WriteLog)?;
    let extends = writer.extends().to_vec();
    Ok(SimulatedBoot { log: writer.finish(), extends })
}

/// Gives a software TPM the simulated boot, and writes its log to `path`. Idempotent within one power
/// cycle: PCRs are extended only when all that the log touches are zero.
///
/// # Errors
/// [`DemoError::ForeignPcr`] when something else has extended them, so that a real boot can't be mixed
/// with a simulated one; else what failed.
pub fn install(tpm: &mut Tpm, path: &Path) -> Result<(), DemoError> {
    let boot = write_log()?;
    let expected = replay(&boot)?;
    let pcrs: Vec<u8> = expected.keys().copied().collect();
    let before = tpm.pcr_read(&pcrs).map_err(DemoError::ReadPcrs)?;
    if before.iter().all(|(_, value)| *value == [0; 32]) {
        for (pcr, digest) in &boot.extends {
            let failed = |source| DemoError::ExtendPcr { pcr: *pcr, source };
            tpm.pcr_extend(*pcr, *digest).map_err(failed)?;
        }
    }
    for (pcr, value) in tpm.pcr_read(&pcrs).map_err(DemoError::ReadPcrs)? {
        if expected.get(&pcr).is_none_or(|expected| expected.as_slice() != value) {
            return Err(DemoError::ForeignPcr { pcr });
        }
    }
    write_whole(path, &boot.log)
}

fn replay(boot: &SimulatedBoot) -> Result<BTreeMap<u8, Vec<u8>>, DemoError> {
    let log = EventLog::parse(&boot.log).map_err(DemoError::WriteLog)?;
    Ok(log.replay(HashAlg::Sha256))
}

/// Writes a file under another name first: a reader sees all of it or none.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    let failed = |source| DemoError::WriteFile { path: path.into(), source };
    let draft = path.with_extension("tmp");
    fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, path)).map_err(failed)
}

/// The order of a UEFI boot by systemd-stub (PFP 1.06, section 3.3; OVMF behaves like this).
fn events(writer: &mut LogWriter) -> Result<(), BootError> {
    firmware(writer)?;
    secure_boot(writer)?;
    boot_options(writer)?;
    ready_to_boot(writer)?;
    boot_application(writer)?;
    unified_kernel(writer)?;
    exit_boot_services(writer)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn firmware(writer: &mut LogWriter) -> Result<(), BootError> {
    writer.measure(0, EV_S_CRTM_VERSION, &efi::utf16z(FIRMWARE))?;
    let post = sha256(b"ASSAY SIMULATED FIRMWARE: POST");
    writer.event(0, EV_POST_CODE, post, b"POST CODE")?;
    let blob = sha256(b"ASSAY SIMULATED FIRMWARE: DXE");
    writer.event(0, EV_EFI_PLATFORM_FIRMWARE_BLOB, blob, &efi::firmware_blob(0x90_0000, 0xc0_0000))
}

fn database_entry() -> Vec<u8> {
    efi::not_a_certificate("ASSAY SIMULATED SIGNATURE DATABASE")
}

fn secure_boot(writer: &mut LogWriter) -> Result<(), BootError> {
    let key = |name: &str| efi::x509_list(OWNER, &efi::not_a_certificate(name));
    let forbidden = efi::sha256_list(OWNER, sha256(b"ASSAY SIMULATED FORBIDDEN IMAGE"));
    let variables = [
        (EFI_GLOBAL_VARIABLE, "SecureBoot", vec![1]),
        (EFI_GLOBAL_VARIABLE, "PK", key("ASSAY SIMULATED PLATFORM KEY")),
        (EFI_GLOBAL_VARIABLE, "KEK", key("ASSAY SIMULATED KEY EXCHANGE KEY")),
        (EFI_IMAGE_SECURITY_DATABASE, "db", efi::x509_list(OWNER, &database_entry())),
        (EFI_IMAGE_SECURITY_DATABASE, "dbx", forbidden),
    ];
    for (guid, name, value) in variables {
        writer.measure(7, EV_EFI_VARIABLE_DRIVER_CONFIG, &efi::variable(guid, name, &value))?;
    }
    separator(writer, 7)
}

fn boot_options(writer: &mut LogWriter) -> Result<(), BootError> {
    let option = efi::load_option("Assay (simulated)", &efi::device_path(PARTITION, BOOT_FILE));
    for (name, value) in [("BootOrder", &[0, 0][..]), ("Boot0000", &option)] {
        writer.measure(1, EV_EFI_VARIABLE_BOOT, &efi::variable(EFI_GLOBAL_VARIABLE, name, value))?;
    }
    Ok(())
}

fn ready_to_boot(writer: &mut LogWriter) -> Result<(), BootError> {
    action(writer, 4, "Calling EFI Application from Boot Option")?;
    (0..=6).try_for_each(|pcr| separator(writer, pcr))
}

fn boot_application(writer: &mut LogWriter) -> Result<(), BootError> {
    let authority = efi::signature_data(OWNER, &database_entry());
    let authority = efi::variable(EFI_IMAGE_SECURITY_DATABASE, "db", &authority);
    writer.measure(7, EV_EFI_VARIABLE_AUTHORITY, &authority)?;
    writer.measure(5, EV_EFI_GPT_EVENT, &efi::gpt(DISK, PARTITION))?;
    let image = efi::image_load(0x022c_4088, &efi::device_path(PARTITION, BOOT_FILE));
    // Firmware measures the image's Authenticode hash; there is no image.
    let hash = sha256(b"ASSAY SIMULATED UNIFIED KERNEL IMAGE");
    writer.event(4, EV_EFI_BOOT_SERVICES_APPLICATION, hash, &image)
}

/// systemd-stub measures a section's name with its terminator, then its contents, and logs the name
/// in UTF-16 for both (systemd 257, `measure_sections`).
fn unified_kernel(writer: &mut LogWriter) -> Result<(), BootError> {
    for (name, contents) in SECTIONS {
        let label = efi::utf16z(name);
        writer.event(11, EV_IPL, sha256(&[name.as_bytes(), &[0]].concat()), &label)?;
        writer.event(11, EV_IPL, sha256(contents.as_bytes()), &label)?;
    }
    Ok(())
}

fn exit_boot_services(writer: &mut LogWriter) -> Result<(), BootError> {
    action(writer, 5, "Exit Boot Services Invocation")?;
    action(writer, 5, "Exit Boot Services Returned with Success")
}

fn action(writer: &mut LogWriter, pcr: u8, what: &str) -> Result<(), BootError> {
    writer.measure(pcr, EV_EFI_ACTION, what.as_bytes()).map(drop)
}

fn separator(writer: &mut LogWriter, pcr: u8) -> Result<(), BootError> {
    writer.measure(pcr, EV_SEPARATOR, &[0; 4]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_boot::{Format, UefiVariable, event_type_name, scrtm_version};

    fn parsed() -> EventLog {
        EventLog::parse(&write_log().unwrap().log).unwrap()
    }

    #[test]
    fn the_log_is_well_formed_and_says_that_it_is_simulated() {
        let log = parsed();
        assert_eq!((log.format, log.startup_locality), (Format::CryptoAgile, 0));
        assert_eq!((&log.banks[..], &log.quirks[..]), (&[HashAlg::Sha256][..], &[][..]));
        let version = scrtm_version(&log).unwrap();
        assert_eq!((version.text.as_str(), version.measured), (FIRMWARE, true));
        assert_eq!(assay_boot::secure_boot(&log), Some(true));
        assert!(log.events.iter().all(|event| event_type_name(event.kind) != "EV_UNKNOWN"));
        assert_eq!(write_log().unwrap(), write_log().unwrap(), "the same every time");
    }

    #[test]
    fn the_extends_are_the_logs() {
        let boot = write_log().unwrap();
        let mut values = BTreeMap::new();
        for (pcr, digest) in &boot.extends {
            let value = values.entry(*pcr).or_insert_with(|| vec![0; 32]);
            *value = sha256(&[value.as_slice(), digest].concat()).to_vec();
        }
        assert_eq!(replay(&boot).unwrap(), values);
        assert_eq!(values.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7, 11]);
    }

    #[test]
    fn each_of_pcrs_0_to_7_has_one_separator() {
        let log = parsed();
        for pcr in 0..8 {
            let of = log.events.iter().filter(|event| event.pcr == pcr && event.data == [0; 4]);
            assert_eq!(of.count(), 1, "PCR {pcr}");
        }
    }

    #[test]
    fn variables_decode() {
        let log = parsed();
        let pcr7 = log.events.iter().filter(|event| event.pcr == 7 && event.kind != EV_SEPARATOR);
        let names: Vec<String> = pcr7.map(|event| UefiVariable::parse(&event.data).unwrap().name).collect();
        assert_eq!(names, ["SecureBoot", "PK", "KEK", "db", "dbx", "db"]);
    }
}
