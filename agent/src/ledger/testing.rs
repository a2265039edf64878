//! Signed records for tests, as a node makes them.

use assay_ledger::beat::Beat;
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_ledger::session::{Attested, BootLogs, Evidence, Machine, SessionEnd, SessionStart};
use assay_wire::{Digest, Domain, Envelope, Kind, Network, SigningKey, hash};

use super::{Ledger, NewSession};

pub(crate) fn network() -> Network {
    Network::new("test")
}

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

pub(crate) fn validator(n: u8) -> Digest {
    key(n).verifying_key().validator_id()
}

/// A session whose attestations are empty: the ledger does not look at them.
pub(crate) struct Maker {
    pub(crate) id: Digest,
    pub(crate) start: SessionStart,
    seed: u8,
    seq: u64,
    head: Digest,
}

impl Maker {
    pub(crate) fn new(seed: u8) -> Self {
        let machine = Machine {
            cpu: String::new(),
            cpus: 1,
            memory_mib: 1,
            kernel: String::new(),
            virtualization: None,
        };
        let start = SessionStart {
            node: Digest([1; 32]),
            enrolment: Digest([2; 32]),
            boot_logs: BootLogs::default().digest(),
            key: key(seed).verifying_key(),
            sealing_key: Digest([3; 32]),
            challenge: Digest([4; 32]),
            beacon: Digest([5; 32]),
            mono_ms: 1000,
            previous: None,
            agent: "test".into(),
            config: Digest([6; 32]),
            machine,
            gpus: vec![],
            simulated: vec![],
        };
        let id = start.id();
        Self { id, start, seed, seq: 0, head: id }
    }

    fn seal<T: minicbor::Encode<()>>(&self, kind: Kind, message: &T) -> Vec<u8> {
        Envelope::seal(kind, self.id, message, &key(self.seed), &network())
    }

    pub(crate) fn evidence(&self) -> Vec<u8> {
        let attested = || Attested { attest: vec![], signature: vec![] };
        let evidence = Evidence {
            enrolment: vec![],
            session: self.start.clone(),
            quote: attested(),
            time: attested(),
            pcrs: vec![],
            logs: BootLogs::default(),
            further: vec![],
            ima: None,
            devices: None,
        };
        self.seal(Kind::Evidence, &evidence)
    }

    pub(crate) fn beat(&mut self) -> Vec<u8> {
        self.seq += 1;
        let beat = Beat {
            seq: self.seq,
            prev: self.head,
            mono_ms: 1000 + self.seq,
            beacon: Digest([5; 32]).into(),
            samples: Digest([7; 32]),
            gpus: vec![],
            jobs: vec![],
            flags: 0,
        };
        let bytes = self.seal(Kind::Beat, &beat);
        self.head = hash(Domain::Envelope, &[&bytes]);
        bytes
    }

    pub(crate) fn end(&self) -> Vec<u8> {
        self.seal(Kind::SessionEnd, &SessionEnd { seq: self.seq, head: self.head, mono_ms: 9000 })
    }

    pub(crate) fn receipt(&self, by: u8, subject: Subject, seq: u64, of: &[u8]) -> (BeatReceipt, Vec<u8>) {
        let hash = hash(Domain::Envelope, &[of]);
        let receipt = BeatReceipt { session: self.id, subject, seq, hash, at_ms: 77 };
        let bytes = Envelope::seal(Kind::BeatReceipt, validator(by), &receipt, &key(by), &network());
        (receipt, bytes)
    }

    pub(crate) fn open_in(&self, ledger: &mut Ledger, local: bool) -> Vec<u8> {
        let evidence = self.evidence();
        let key = self.start.key;
        let session = NewSession { id: self.id, key, evidence: &evidence, local, opened_ms: 5 };
        ledger.add_session(&session).unwrap();
        evidence
    }

    pub(crate) fn beats_in(&mut self, ledger: &mut Ledger, count: u64) -> Vec<Vec<u8>> {
        let mut add = |_| {
            let bytes = self.beat();
            ledger.add_record(&self.id, Kind::Beat, self.seq, &bytes).unwrap();
            bytes
        };
        (0..count).map(&mut add).collect()
    }

    pub(crate) fn end_in(&self, ledger: &mut Ledger) {
        ledger.add_record(&self.id, Kind::SessionEnd, self.seq, &self.end()).unwrap();
    }
}
