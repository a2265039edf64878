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
use crate::power::only_bank;

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
        let mut chip = Self::bare()?;
        chip.boot();
        Some(chip)
    }

    /// A new TPM that nothing was measured into.
    pub fn bare() -> Option<Self> {
        Self::start(tempfile::tempdir().unwrap())
    }

    /// A new TPM whose only bank is SHA-1's.
    pub fn sha1() -> Option<Self> {
        let mut chip = Self::bare()?;
        chip.without_connection(|swtpm, dir| only_bank(swtpm, dir, "sha1"));
        Some(chip)
    }

    /// The same TPM a second time, keys, seeds and counters: its state in another software TPM, which
    /// has booted too.
    pub fn copy(&mut self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        self.without_connection(|swtpm, from| {
            swtpm.kill9();
            fs::create_dir(dir.path().join("state")).unwrap();
            for file in fs::read_dir(from.join("state")).unwrap().map(|file| file.unwrap()) {
                fs::copy(file.path(), dir.path().join("state").join(file.file_name())).unwrap();
            }
            swtpm.restart().unwrap();
        });
        self.boot();
        let mut copy = Self::start(dir).unwrap();
        copy.boot();
        copy
    }

    fn start(dir: TempDir) -> Option<Self> {
        let swtpm = match Swtpm::start(dir.path()) {
            Err(error @ DemoError::MissingProgram { .. }) => {
                eprintln!("SKIPPED: {error}");
                return None;
            }
            outcome => outcome.unwrap(),
        };
        let tpm = Some(open(&swtpm));
        Some(Self { tpm, swtpm, log: vec![], dir })
    }

    pub(crate) fn boot(&mut self) {
        self.log = boot(self.tpm.as_mut().unwrap(), self.dir.path());
    }

    /// A power cycle and the same boot again: resetCount rises.
    pub fn restart(&mut self) {
        self.without_connection(|swtpm, _| swtpm.restart().unwrap());
        self.boot();
    }

    /// Extends SHA-256 PCRs, as whoever runs the machine can.
    pub fn extend(&mut self, extends: &[(u8, [u8; 32])]) {
        extends.iter().for_each(|(pcr, digest)| self.tpm().pcr_extend(*pcr, *digest).unwrap());
    }

    /// The TPM, as the agent uses it.
    pub fn tpm(&mut self) -> &mut Tpm {
        self.tpm.as_mut().unwrap()
    }

    /// The TPM for commands that an honest node never sends. One connection at a time: the agent's
    /// is closed meanwhile.
    pub fn raw<T>(&mut self, action: impl FnOnce(&mut Raw) -> T) -> T {
        self.without_connection(|swtpm, _| action(&mut Raw::open(&swtpm.tcti())))
    }

    /// Closes the agent's connection meanwhile.
    pub(crate) fn without_connection<T>(&mut self, action: impl FnOnce(&mut Swtpm, &Path) -> T) -> T {
        self.tpm = None;
        let outcome = action(&mut self.swtpm, self.dir.path());
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
