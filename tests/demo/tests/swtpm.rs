//! The software TPM and the simulated boot, with the real programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use assay_attester::{Backend, Tpm, TpmError};
use assay_boot::{EventLog, HashAlg, compare};
use assay_demo::DemoError;
use assay_demo::simulated_boot::{install, write_log};
use assay_demo::swtpm::Swtpm;

/// A started TPM, or `None` after a SKIPPED line.
fn swtpm(dir: &Path) -> Option<Swtpm> {
    match Swtpm::start(dir) {
        Err(error @ DemoError::MissingProgram { .. }) => {
            eprintln!("SKIPPED: {error}");
            None
        }
        outcome => Some(outcome.unwrap()),
    }
}

fn open(swtpm: &Swtpm) -> Tpm {
    Tpm::open(&Backend::parse(&swtpm.tcti()).unwrap()).unwrap()
}

fn sha256_pcrs(tpm: &mut Tpm) -> BTreeMap<u8, [u8; 32]> {
    tpm.pcr_read(&(0..24).collect::<Vec<u8>>()).unwrap().into_iter().collect()
}

#[test]
fn a_tpm_is_made_once_and_keeps_its_identity_through_power_cycles() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut swtpm) = swtpm(dir.path()) else { return };
    let (tcti, identity) = (swtpm.tcti(), open(&swtpm).identity().unwrap());
    assert!(!identity.ek_certificates.is_empty());
    for path in swtpm.ca_certificates() {
        assert!(fs::read_to_string(path).unwrap().contains("BEGIN CERTIFICATE"));
    }
    swtpm.restart().unwrap();
    assert_eq!(swtpm.tcti(), tcti);
    assert_eq!(open(&swtpm).identity().unwrap(), identity);
    swtpm.kill9();
    assert!(swtpm.pid().is_none());
    let gone = Tpm::open(&Backend::parse(&tcti).unwrap());
    assert!(matches!(gone, Err(TpmError::Missing { .. })));
    swtpm.restart().unwrap();
    drop(swtpm);
    let again = self::swtpm(dir.path()).unwrap();
    assert_eq!(open(&again).identity().unwrap(), identity);
}

#[test]
fn the_process_ends_with_its_owner_and_all_files_lie_in_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let Some(swtpm) = swtpm(dir.path()) else { return };
    let process = Path::new("/proc").join(swtpm.pid().unwrap().to_string());
    assert!(process.exists());
    drop(swtpm);
    assert!(!process.exists());
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["ca", "state", "swtpm.log"]);
}

#[test]
fn a_second_tpm_on_the_same_state_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let Some(first) = swtpm(dir.path()) else { return };
    match Swtpm::start(dir.path()) {
        Err(DemoError::ProgramFailed { program: "swtpm", output, .. }) => {
            assert!(output.contains("lock"), "{output}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(open(&first).pcr_read(&[0]).unwrap(), [(0, [0; 32])], "the first is unharmed");
}

#[test]
fn the_simulated_boot_is_installed_once_and_replays_to_the_tpms_pcrs() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut swtpm) = swtpm(dir.path()) else { return };
    let path = dir.path().join("log");
    let pcrs = {
        let mut tpm = open(&swtpm);
        install(&mut tpm, &path).unwrap();
        let pcrs = sha256_pcrs(&mut tpm);
        install(&mut tpm, &path).unwrap();
        assert_eq!(sha256_pcrs(&mut tpm), pcrs, "the second time changes nothing");
        pcrs
    };
    let log = EventLog::parse(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(compare(&log, &pcrs), [], "all 24 PCRs");
    swtpm.restart().unwrap();
    let mut tpm = open(&swtpm);
    assert_eq!(compare(&log, &sha256_pcrs(&mut tpm)).len(), 9, "a power cycle forgets the boot");
    install(&mut tpm, &path).unwrap();
    assert_eq!(sha256_pcrs(&mut tpm), pcrs);
}

#[test]
fn a_boot_of_someone_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let Some(swtpm) = swtpm(dir.path()) else { return };
    let mut tpm = open(&swtpm);
    for pcr in [11, 3] {
        tpm.pcr_extend(pcr, [1; 32]).unwrap();
        let before = sha256_pcrs(&mut tpm);
        let path = dir.path().join("log");
        assert!(matches!(install(&mut tpm, &path), Err(DemoError::ForeignPcr { .. })));
        assert_eq!(sha256_pcrs(&mut tpm), before);
        assert!(!path.exists());
    }
}

/// The log read by somebody else's parser: it finds no fault, and replays to the same values.
#[test]
fn tpm2_eventlog_agrees_with_the_simulated_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let boot = write_log().unwrap();
    fs::write(&path, &boot.log).unwrap();
    let Ok(output) = Command::new("tpm2_eventlog").arg(&path).output() else {
        eprintln!("SKIPPED: tpm2_eventlog is not installed (package tpm2-tools)");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    for (pcr, value) in EventLog::parse(&boot.log).unwrap().replay(HashAlg::Sha256) {
        assert!(text.contains(&format!("{pcr:<2} : 0x{}", hex::encode(value))), "PCR {pcr}");
    }
}
