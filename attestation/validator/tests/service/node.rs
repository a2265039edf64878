//! A node as the protocol has it, with every message in the test's hands.

use assay_gpu::device::DeviceEvidence;
use assay_ledger::anchor::{Anchor, AnchorPoint, extra_data};
use assay_ledger::beat::Beat;
use assay_ledger::enrolment::{
    EnrolAnswer, EnrolChallenge, EnrolRequest, proof_input, quote_extra_data as enrol_extra_data, transcript,
};
use assay_ledger::job::{JobExit, JobReceipt};
use assay_ledger::protocol::{
    Accepted, CHALLENGE, ChallengeRequest, ENROL, ENROL_ANSWER, RECORDS, Records, SESSION, SessionChallenge,
};
use assay_ledger::receipt::BeatReceipt;
use assay_ledger::session::{
    BootLogs, Evidence, Head, Machine, PcrValue, SESSION_PCRS, SessionEnd, SessionStart, quote_extra_data,
    time_extra_data,
};
use assay_wire::{Digest, Domain, Envelope, Kind, Network, SigningKey, cbor};

use crate::client::{Client, Response};
use crate::server::Server;
use crate::soft_tpm::{SoftTpm, hmac};

pub(crate) struct Node {
    pub(crate) tpm: SoftTpm,
    pub(crate) key: SigningKey,
    pub(crate) network: Network,
    /// The enrolment record's envelope.
    pub(crate) record: Vec<u8>,
}

/// An opened session and where its chain stands.
pub(crate) struct Session {
    pub(crate) id: Digest,
    pub(crate) seq: u64,
    pub(crate) head: Digest,
    pub(crate) mono_ms: u64,
}

pub(crate) fn network(server: &Server) -> Network {
    server.trust().network
}

pub(crate) fn request(tpm: &SoftTpm, key: &SigningKey) -> EnrolRequest {
    let (ek, ak) = (tpm.ek_public().to_bytes(), tpm.ak_public().to_bytes());
    EnrolRequest::new(ek, ak, key.verifying_key(), Digest([3; 32]))
}

/// What a TPM answers to an enrolment challenge.
pub(crate) fn answer(tpm: &SoftTpm, request: &EnrolRequest, challenge: &EnrolChallenge) -> EnrolAnswer {
    let secret = tpm.activate(&challenge.id_object, &challenge.encrypted_secret);
    let bound = transcript(request, challenge);
    let quote = tpm.quote(&enrol_extra_data(&bound).0);
    EnrolAnswer {
        nonce: challenge.nonce,
        proof: Digest(hmac(&secret, &proof_input(&bound).0)),
        attest: quote.attest,
        signature: quote.signature,
        pcrs: untouched(),
    }
}

/// The PCRs of a machine that measured nothing.
fn untouched() -> Vec<PcrValue> {
    SESSION_PCRS.map(|pcr| PcrValue { pcr, value: Digest([0; 32]) }).to_vec()
}

/// Goes through an enrolment; the record's envelope or the first refusal.
pub(crate) fn try_enrol(client: &mut Client, tpm: &SoftTpm, request: &EnrolRequest) -> Response {
    let challenge = client.post(ENROL, &cbor::to_vec(request));
    if challenge.status != 200 {
        return challenge;
    }
    let challenge = cbor::from_slice("challenge", &challenge.ok(), 4096).unwrap();
    client.post(ENROL_ANSWER, &cbor::to_vec(&answer(tpm, request, &challenge)))
}

impl Node {
    /// A node that has enrolled.
    pub(crate) fn enrolled(server: &Server, client: &mut Client, seed: u8) -> Self {
        let (tpm, key) = (SoftTpm::new(seed), SigningKey::from_seed(&[seed; 32]));
        let request = request(&tpm, &key);
        Self::enrol(server, client, tpm, key, &request)
    }

    /// A node that has enrolled with this TPM and this request.
    pub(crate) fn enrol(
        server: &Server,
        client: &mut Client,
        tpm: SoftTpm,
        key: SigningKey,
        request: &EnrolRequest,
    ) -> Self {
        let record = try_enrol(client, &tpm, request).ok();
        Self { tpm, key, network: network(server), record }
    }

    pub(crate) fn record_hash(&self) -> Digest {
        Envelope::decode(&self.record).unwrap().hash()
    }

    pub(crate) fn id(&self) -> Digest {
        assay_ledger::enrolment::node_id(self.tpm.ek_public().as_bytes())
    }

    pub(crate) fn challenge(&self, client: &mut Client) -> Digest {
        let body = client.post(CHALLENGE, &cbor::to_vec(&ChallengeRequest { node: self.id() })).ok();
        cbor::from_slice::<SessionChallenge>("challenge", &body, 4096).unwrap().nonce
    }

    pub(crate) fn start(&self, challenge: Digest, previous: Option<Head>) -> SessionStart {
        SessionStart {
            node: self.id(),
            enrolment: Envelope::decode(&self.record).unwrap().hash(),
            boot_logs: BootLogs::default().digest(),
            key: self.key.verifying_key(),
            sealing_key: Digest([3; 32]),
            challenge,
            beacon: Digest([4; 32]),
            mono_ms: 1000,
            previous,
            agent: "test".into(),
            config: Digest([5; 32]),
            machine: Machine {
                cpu: "c".into(),
                cpus: 2,
                memory_mib: 3,
                kernel: "k".into(),
                virtualization: None,
            },
            gpus: vec![],
            simulated: vec![],
        }
    }

    pub(crate) fn evidence(&self, start: SessionStart) -> Vec<u8> {
        self.evidence_with(start, None)
    }

    /// Evidence with what devices have signed.
    pub(crate) fn evidence_with(
        &self,
        start: SessionStart,
        devices: impl Into<Option<Vec<DeviceEvidence>>>,
    ) -> Vec<u8> {
        let id = start.id();
        let evidence = Evidence {
            enrolment: self.record.clone(),
            session: start,
            quote: self.tpm.quote(&quote_extra_data(&id).0),
            time: self.tpm.time(&time_extra_data(&id).0),
            pcrs: untouched(),
            logs: BootLogs::default(),
            further: vec![],
            ima: None,
            devices: devices.into(),
        };
        Envelope::seal(Kind::Evidence, id, &evidence, &self.key, &self.network)
    }

    pub(crate) fn try_open(&self, client: &mut Client, previous: Option<Head>) -> (Response, Session) {
        let start = self.start(self.challenge(client), previous);
        let (id, mono_ms) = (start.id(), start.mono_ms);
        let response = client.post(SESSION, &self.evidence(start));
        (response, Session { id, seq: 0, head: id, mono_ms })
    }

    pub(crate) fn open(&self, client: &mut Client, previous: Option<Head>) -> Session {
        let (response, session) = self.try_open(client, previous);
        response.ok();
        session
    }

    pub(crate) fn seal<T: minicbor::Encode<()>>(
        &self,
        kind: Kind,
        session: &Session,
        message: &T,
    ) -> Vec<u8> {
        Envelope::seal(kind, session.id, message, &self.key, &self.network)
    }

    /// The next `count` beats; the session goes on behind them.
    pub(crate) fn beats(&self, session: &mut Session, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.beat(session, 0)).collect()
    }

    /// Delivers the next beats; how many were taken.
    pub(crate) fn send(&self, client: &mut Client, session: &mut Session, count: usize) -> u32 {
        let beats = self.beats(session, count);
        deliver(client, session, &beats).count
    }

    /// The body that delivers the next beat.
    pub(crate) fn next(&self, session: &mut Session) -> Vec<u8> {
        let beats = self.beats(session, 1);
        records(session, &beats)
    }

    /// The next beat, with flags that tell two beats of one place apart.
    pub(crate) fn beat(&self, session: &mut Session, flags: u32) -> Vec<u8> {
        session.seq += 1;
        session.mono_ms += 1000;
        let bytes = self.seal(Kind::Beat, session, &plain_beat(session, flags));
        session.head = Envelope::decode(&bytes).unwrap().hash();
        bytes
    }

    pub(crate) fn anchor(&self, session: &Session) -> Vec<u8> {
        let (seq, head, mono_ms, beacon) = (session.seq, session.head, session.mono_ms, Digest([4; 32]));
        let point = AnchorPoint { seq, head, beacon, mono_ms };
        let over = |domain| extra_data(domain, &session.id, &point).0;
        let time = self.tpm.time(&over(Domain::AnchorTime));
        let quote = self.tpm.quote(&over(Domain::AnchorQuote));
        self.seal(Kind::Anchor, session, &Anchor { seq, head, beacon, mono_ms, time, quote })
    }

    pub(crate) fn job(&self, session: &Session, seq: u64) -> Vec<u8> {
        let receipt = JobReceipt {
            job: Digest([6; 32]),
            image: Digest([7; 32]),
            started_mono_ms: 1,
            wall_ms: 2,
            exit: JobExit::Code(0),
            cpu_us: 3,
            max_rss_kib: 4,
            limits: "rlimit".into(),
            ids: "single".into(),
            network: "none".into(),
            outputs: vec![],
            stdout: Digest([8; 32]),
            stderr: Digest([9; 32]),
            seq,
            config: Digest([5; 32]),
            policy: Digest([6; 32]),
            io_read: 0,
            io_write: 0,
            checkpoint: None,
            restarts: 0,
            outputs_skipped: 0,
        };
        self.seal(Kind::JobReceipt, session, &receipt)
    }

    pub(crate) fn end(&self, session: &Session) -> Vec<u8> {
        let (seq, head, mono_ms) = (session.seq, session.head, session.mono_ms);
        self.seal(Kind::SessionEnd, session, &SessionEnd { seq, head, mono_ms })
    }
}

pub(crate) fn plain_beat(session: &Session, flags: u32) -> Beat {
    Beat {
        seq: session.seq,
        prev: session.head,
        mono_ms: session.mono_ms,
        beacon: Digest([4; 32]).into(),
        samples: Digest([0; 32]),
        gpus: vec![],
        jobs: vec![],
        flags,
    }
}

impl Session {
    pub(crate) fn as_head(&self) -> Head {
        Head { session: self.id, seq: self.seq, head: self.head }
    }
}

pub(crate) fn records(session: &Session, envelopes: &[Vec<u8>]) -> Vec<u8> {
    let envelopes = envelopes.iter().map(|bytes| bytes.clone().into()).collect();
    cbor::to_vec(&Records { session: session.id, envelopes })
}

pub(crate) fn deliver(client: &mut Client, session: &Session, envelopes: &[Vec<u8>]) -> Accepted {
    let body = client.post(RECORDS, &records(session, envelopes)).ok();
    cbor::from_slice("accepted", &body, 1 << 20).unwrap()
}

/// Delivers, and expects a refusal after `count` envelopes.
pub(crate) fn refused(client: &mut Client, session: &Session, envelopes: &[Vec<u8>]) -> (u32, String) {
    let accepted = deliver(client, session, envelopes);
    (accepted.count, accepted.refusal.expect("a refusal").code)
}

/// The content of receipts whose signatures hold.
pub(crate) fn read_receipts<T: AsRef<[u8]>>(server: &Server, receipts: &[T]) -> Vec<BeatReceipt> {
    let trust = server.trust();
    let read = |bytes: &T| {
        let envelope = Envelope::decode_as(Kind::BeatReceipt, bytes.as_ref()).unwrap();
        envelope.verify(&trust.validators[&envelope.kid].key, &trust.network).unwrap();
        envelope.message().unwrap()
    };
    receipts.iter().map(read).collect()
}

pub(crate) fn receipts_of(server: &Server, accepted: &Accepted) -> Vec<BeatReceipt> {
    let bytes: Vec<&[u8]> = accepted.receipts.iter().map(|bytes| bytes.as_slice()).collect();
    read_receipts(server, &bytes)
}
