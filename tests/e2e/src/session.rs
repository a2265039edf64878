//! A session of the lab: its keys, and the records it has made so far.

use assay_gpu::GpuIdentity;
use assay_ledger::claim::SessionRecords;
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_ledger::session::{
    Evidence, Head, Machine, SESSION_PCRS, SessionStart, quote_extra_data, time_extra_data,
};
use assay_wire::{Digest, Domain, Envelope, Kind, Network, SigningKey, hash};
use minicbor::Encode;

use crate::lab::LATENCY_MS;
use crate::{Attester, Lab, Node};

/// A session, open to change.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: Digest,
    /// What its evidence says.
    pub evidence: Evidence,
    /// Everything it has made, as it would be exported.
    pub records: SessionRecords,
    /// Sequence number of its last beat.
    pub seq: u64,
    /// Envelope hash of its last beat, or its id.
    pub head: Digest,
    seed: Digest,
    network: Network,
}

impl Session {
    /// Seals a message with the session's key.
    pub fn seal<M: Encode<()>>(&self, kind: Kind, message: &M) -> Vec<u8> {
        Envelope::seal(kind, self.id, message, &self.key(), &self.network)
    }

    /// The key.
    pub fn key(&self) -> SigningKey {
        SigningKey::from_seed(&self.seed.0)
    }

    /// Where its chain stands: what the node's next session names.
    pub fn head(&self) -> Head {
        Head { session: self.id, seq: self.seq, head: self.head }
    }

    /// Seals the evidence anew after a change.
    pub fn reseal(&mut self) {
        self.records.evidence = self.seal(Kind::Evidence, &self.evidence);
    }
}

/// What a node of the lab says of its machine.
fn machine() -> Machine {
    Machine {
        cpu: "Lab CPU".into(),
        cpus: 2,
        memory_mib: 4096,
        kernel: "0.0.0-lab".into(),
        virtualization: None,
    }
}

/// A GPU for a session's table.
pub fn gpu(index: u8) -> GpuIdentity {
    GpuIdentity {
        index,
        uuid: format!("GPU-00000000-0000-0000-0000-00000000000{index}"),
        name: "Lab GPU".into(),
        memory_mib: 80_000,
        pci_bus_id: format!("00000000:0{index}:00.0"),
        driver: "1.0".into(),
        simulated: false,
        vbios: None,
        serial: None,
        pdi: None,
        power_limit_mw: Some(700_000),
        board_part_number: None,
        inforom: None,
    }
}

impl Lab {
    /// An honest session, received by the validators if the lab is online.
    pub fn open<T: Attester>(&mut self, node: &mut Node<T>) -> Session {
        self.open_with(node, |_| {}, |_, _| {})
    }

    /// A session whose body is changed before the quote, or whose evidence is changed before it is
    /// signed.
    pub fn open_with<T: Attester>(
        &mut self,
        node: &mut Node<T>,
        before_quote: impl FnOnce(&mut SessionStart),
        before_signature: impl FnOnce(&mut Evidence, &mut T),
    ) -> Session {
        let seed = self.random();
        let mut start = self.start(node, &SigningKey::from_seed(&seed.0));
        before_quote(&mut start);
        let id = start.id();
        let (quote, pcrs) = node.attester.quote(&quote_extra_data(&id), &SESSION_PCRS);
        let time = node.attester.time(&time_extra_data(&id), self.mono_ms);
        let (enrolment, logs) = (node.record.clone(), node.logs.clone());
        let (further, ima, devices) = (Vec::new(), None, None);
        let mut evidence =
            Evidence { enrolment, session: start, quote, time, pcrs, logs, further, ima, devices };
        before_signature(&mut evidence, &mut node.attester);
        let (records, network) = (SessionRecords::default(), self.trust.network.clone());
        let mut session = Session { id, evidence, records, seq: 0, head: id, seed, network };
        session.reseal();
        if self.online {
            let evidence = hash(Domain::Envelope, &[&session.records.evidence]);
            self.receive(&mut session, Subject::Session, 0, evidence);
        }
        session
    }

    fn start<T>(&mut self, node: &Node<T>, key: &SigningKey) -> SessionStart {
        SessionStart {
            node: node.id,
            enrolment: hash(Domain::Envelope, &[&node.record]),
            boot_logs: node.logs.digest(),
            key: key.verifying_key(),
            sealing_key: self.random(),
            challenge: self.random(),
            beacon: self.beacon(),
            mono_ms: self.mono_ms,
            previous: node.previous,
            agent: "lab".into(),
            config: Digest::default(),
            machine: machine(),
            gpus: vec![],
            simulated: node.simulated.clone(),
        }
    }

    /// Every validator's receipt for a record, a moment from now.
    pub fn receive(&self, session: &mut Session, subject: Subject, seq: u64, hash: Digest) {
        let at_ms = self.unix_ms + LATENCY_MS;
        let receipt = BeatReceipt { session: session.id, subject, seq, hash, at_ms };
        for validator in 0..self.validators.len() {
            session.records.receipts.push(self.sign_receipt(validator, &receipt).into());
        }
    }
}
