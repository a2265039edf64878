//! Who attests for a node: a software TPM, or something that plays one.

use std::fs;
use std::path::Path;

use assay_attester::{Backend, Identity, Tpm};
use assay_demo::DemoError;
use assay_demo::simulated_boot::install;
use assay_demo::swtpm::Swtpm;
use assay_ledger::session::{Attested, PcrValue};
use assay_wire::Digest;
use tempfile::TempDir;

use crate::Raw;

/// What a session needs of a TPM.
pub trait Attester {
    /// Keys and certificates.
    fn identity(&mut self) -> Identity;

    /// A quote by the attestation key, and the values of the quoted PCRs in rising order.
    fn quote(&mut self, extra: &Digest, pcrs: &[u8]) -> (Attested, Vec<PcrValue>);

    /// A GetTime by the attestation key. `mono_ms` is the lab's clock, which a real TPM does not know.
    fn time(&mut self, extra: &Digest, mono_ms: u64) -> Attested;

    /// The firmware log.
    fn log(&self) -> Vec<u8>;
}

/// A software TPM of its own directory, booted by the simulated firmware; gone when dropped.
#[derive(Debug)]
pub struct Chip {
    tpm: Option<Tpm>,
    swtpm: Swtpm,
    log: Vec<u8>,
    dir: TempDir,
}

impl Chip {
    /// A new TPM with keys of its own; `None` after a SKIPPED line where swtpm is not installed.
    pub fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let swtpm = match Swtpm::start(dir.path()) {
            Err(error @ DemoError::MissingProgram { .. }) => {
                eprintln!("SKIPPED: {error}");
                return None;
            }
            outcome => outcome.unwrap(),
        };
        let mut tpm = open(&swtpm);
        let log = boot(&mut tpm, dir.path());
        Some(Self { tpm: Some(tpm), swtpm, log, dir })
    }

    /// A power cycle and the same boot again: resetCount rises.
    pub fn restart(&mut self) {
        self.tpm = None;
        self.swtpm.restart().unwrap();
        let mut tpm = open(&self.swtpm);
        self.log = boot(&mut tpm, self.dir.path());
        self.tpm = Some(tpm);
    }

    /// The TPM, as the agent uses it.
    pub fn tpm(&mut self) -> &mut Tpm {
        self.tpm.as_mut().unwrap()
    }

    /// The TPM for commands that an honest node never sends. One connection at a time: the agent's
    /// is closed meanwhile.
    pub fn raw<T>(&mut self, action: impl FnOnce(&mut Raw) -> T) -> T {
        self.tpm = None;
        let outcome = action(&mut Raw::open(&self.swtpm.tcti()));
        self.tpm = Some(open(&self.swtpm));
        outcome
    }
}

fn open(swtpm: &Swtpm) -> Tpm {
    Tpm::open(&Backend::parse(&swtpm.tcti()).unwrap()).unwrap()
}

fn boot(tpm: &mut Tpm, dir: &Path) -> Vec<u8> {
    let path = dir.join("binary_bios_measurements");
    install(tpm, &path).unwrap();
    fs::read(path).unwrap()
}

impl Attester for Chip {
    fn identity(&mut self) -> Identity {
        self.tpm().identity().unwrap()
    }

    fn quote(&mut self, extra: &Digest, pcrs: &[u8]) -> (Attested, Vec<PcrValue>) {
        let quoted = self.tpm().quote(&extra.0, pcrs).unwrap();
        let values =
            quoted.pcr_values.iter().map(|(pcr, value)| PcrValue { pcr: *pcr, value: Digest(*value) });
        (Attested { attest: quoted.attest, signature: quoted.signature }, values.collect())
    }

    fn time(&mut self, extra: &Digest, _mono_ms: u64) -> Attested {
        let signed = self.tpm().get_time(&extra.0).unwrap();
        Attested { attest: signed.attest, signature: signed.signature }
    }

    fn log(&self) -> Vec<u8> {
        self.log.clone()
    }
}
