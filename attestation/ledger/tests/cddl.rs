//! Every message that the code writes is what the CDDL says, by an independent validator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_gpu::device::{Architecture, DeviceEvidence};
use assay_gpu::{Flags, GpuBeat, GpuIdentity};
use assay_ledger::anchor::Anchor;
use assay_ledger::beacon::Beacon;
use assay_ledger::beat::Beat;
use assay_ledger::claim::{Claim, SessionRecords};
use assay_ledger::enrolment::{EnrolAnswer, EnrolChallenge, EnrolRequest, EnrolmentRecord, TpmClass};
use assay_ledger::firmware::{FirmwareSet, FirmwareTable};
use assay_ledger::job::{JobExit, JobOutput, JobReceipt, ReceiptBundle};
use assay_ledger::owner::OwnerTransfer;
use assay_ledger::protocol::{Accepted, ChallengeRequest, Records, Refusal, SessionChallenge};
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_ledger::revocation::{Revocation, RevocationList, RevokedKind};
use assay_ledger::session::{
    Attested, BootLogs, Evidence, Head, ImaQuote, Machine, PcrValue, SessionEnd, SessionStart, Simulated,
};
use assay_wire::{Digest, Envelope, Kind, Network, SigningKey, VerifyingKey, cbor};
use minicbor::Encode;

const LEDGER: &str = include_str!("../ledger.cddl");
const GPU: &str = include_str!("../../gpu/gpu.cddl");
const ENVELOPE: &str = include_str!("../../wire/envelope.cddl");

const D: Digest = Digest([7; 32]);

/// The first rule of a CDDL file is the one that is validated.
fn validate(rule: &str, rules: &str, bytes: &[u8]) -> Result<(), String> {
    let text = format!("start = {rule}\n{rules}");
    cddl::validate_cbor_from_slice(&text, bytes, None).map_err(|e| e.to_string())
}

fn holds<T: Encode<()>>(rule: &str, message: &T) {
    let bytes = cbor::to_vec(message);
    let rules = format!("{LEDGER}\n{GPU}");
    validate(rule, &rules, &bytes).unwrap_or_else(|e| panic!("{rule}: {e}\n{}", hex::encode(&bytes)));
    // And the rule says something: an empty map is none of these messages.
    assert!(validate(rule, &rules, &[0xa0]).is_err() || rule == "boot-logs", "{rule} takes anything");
}

fn attested() -> Attested {
    Attested { attest: vec![1; 130], signature: vec![2; 72] }
}

fn gpu() -> GpuIdentity {
    GpuIdentity {
        index: 0,
        uuid: "GPU-1".into(),
        name: "H100".into(),
        memory_mib: 81_559,
        pci_bus_id: "00000000:01:00.0".into(),
        driver: "550".into(),
        simulated: true,
        vbios: Some("96".into()),
        serial: None,
        pdi: Some(u64::MAX),
        power_limit_mw: Some(700_000),
        board_part_number: None,
        inforom: None,
    }
}

fn start(previous: Option<Head>) -> SessionStart {
    SessionStart {
        node: D,
        enrolment: D,
        boot_logs: D,
        key: VerifyingKey([1; 32]),
        sealing_key: D,
        challenge: D,
        beacon: D,
        mono_ms: u64::MAX,
        previous,
        agent: "0.1.0".into(),
        config: D,
        machine: Machine {
            cpu: "c".into(),
            cpus: 2,
            memory_mib: 1 << 40,
            kernel: "6".into(),
            virtualization: previous.map(|_| "kvm".into()),
        },
        gpus: vec![gpu(), gpu()],
        simulated: vec![Simulated::Tpm, Simulated::BootLog, Simulated::Gpu],
    }
}

#[test]
fn enrolment() {
    let bare = EnrolRequest::new(vec![1], vec![3], VerifyingKey([4; 32]), D);
    holds("enrol-request", &bare);
    let request = EnrolRequest {
        ek_certificates: vec![vec![2].into()],
        ek_chain: vec![vec![2].into()],
        platform_certificates: vec![vec![2].into()],
        device_certificates: vec![vec![2].into()],
        owner: Some(VerifyingKey([4; 32])),
        transfer: Some(vec![1; 300].into()),
        ..bare
    };
    holds("enrol-request", &request);
    holds("enrol-challenge", &EnrolChallenge { nonce: D, id_object: vec![1], encrypted_secret: vec![2] });
    holds(
        "enrol-answer",
        &EnrolAnswer {
            nonce: D,
            proof: D,
            attest: vec![1],
            signature: vec![2],
            pcrs: vec![PcrValue { pcr: 0, value: D }],
        },
    );
    for class in [TpmClass::Discrete, TpmClass::Firmware, TpmClass::Virtual, TpmClass::Unknown] {
        let record = EnrolmentRecord {
            node: D,
            ek_public: vec![1],
            ek_certificates: vec![],
            ak_public: vec![2],
            class,
            model: "swtpm".into(),
            firmware_version: u64::MAX,
            reset_count: u32::MAX,
            issued_ms: 1,
            expires_ms: u64::MAX,
            ek_chain: vec![vec![2].into()],
            platform_certificates: vec![vec![2].into()],
            device_certificates: vec![vec![2].into()],
            owner: Some(VerifyingKey([4; 32])),
            firmware: vec![PcrValue { pcr: 0, value: D }],
        };
        holds("enrolment-record", &record);
    }
}

#[test]
fn statements() {
    let key = VerifyingKey([4; 32]);
    holds("owner-transfer", &OwnerTransfer { node: D, from: key, to: key, at_ms: 1 });
    let revoked = |kind| Revocation { kind, digest: D, at_ms: 1, reason: "sold".into() };
    let entries = vec![revoked(RevokedKind::Node), revoked(RevokedKind::Record)];
    holds("revocation-list", &RevocationList { number: 1, issued_ms: 2, entries });
    let set = FirmwareSet { pcr0: D, owners: 1, first_ms: 2, name: "x".into() };
    holds("firmware-table", &FirmwareTable { issued_ms: 1, sets: vec![set] });
}

#[test]
fn session() {
    let head = Head { session: D, seq: 9, head: D };
    holds("session-start", &start(None));
    holds("session-start", &start(Some(head)));
    let logs = BootLogs { firmware: Some(vec![1].into()), userspace: None, ima: Some(vec![].into()) };
    holds("boot-logs", &logs);
    let evidence = Evidence {
        enrolment: vec![1; 300],
        session: start(Some(head)),
        quote: attested(),
        time: attested(),
        pcrs: vec![PcrValue { pcr: 0, value: D }, PcrValue { pcr: 23, value: D }],
        logs,
        further: vec![vec![1; 300].into()],
        ima: Some(ImaQuote { quote: attested(), value: D }),
        devices: None,
    };
    holds("evidence", &evidence);
    // Without a device it is encoded as before there was such a field, and reads as before.
    let older = cbor::to_vec(&evidence);
    assert_eq!(older.first(), Some(&0xa8), "keys 0 to 7");
    assert_eq!(cbor::from_slice::<Evidence>("evidence", &older, 1 << 20).unwrap(), evidence);
    let device = |gpu| DeviceEvidence {
        gpu,
        architecture: if gpu.is_some() { Architecture::Blackwell } else { Architecture::Ls10 },
        report: vec![1; 4000],
        chain: vec![vec![2; 900]; 5],
        ocsp: vec![],
        simulated: true,
    };
    let with = Evidence { devices: Some(vec![device(Some(7)), device(None)]), ..evidence };
    holds("evidence", &with);
    assert_eq!(cbor::from_slice::<Evidence>("evidence", &cbor::to_vec(&with), 1 << 20).unwrap(), with);
    holds("session-end", &SessionEnd { seq: 0, head: D, mono_ms: 1 });
}

#[test]
fn chain() {
    let flags = Flags { lost: true, no_data: true, counter_reset: false, implausible: false };
    let beat = Beat {
        seq: 1,
        prev: D,
        mono_ms: 2,
        beacon: D.into(),
        samples: D,
        gpus: vec![GpuBeat::empty(0, flags), GpuBeat::empty(1, Flags::default())],
        jobs: vec![[1; 8].into()],
        flags: 7,
    };
    holds("beat", &beat);
    holds("beacon", &Beacon { round: 1, time_ms: 2, randomness: D });
    holds("anchor", &Anchor { seq: 1, head: D, beacon: D, mono_ms: 2, time: attested(), quote: attested() });
    for subject in [Subject::Session, Subject::Beats, Subject::Anchor, Subject::Job, Subject::End] {
        holds("beat-receipt", &BeatReceipt { session: D, subject, seq: 3, hash: D, at_ms: 4 });
    }
}

#[test]
fn job_and_claim() {
    let exits = [
        JobExit::Code(0),
        JobExit::Signal(9),
        JobExit::TimedOut,
        JobExit::Cancelled,
        JobExit::NotStarted,
        JobExit::OutOfMemory,
        JobExit::Quota,
    ];
    for exit in exits {
        let receipt = JobReceipt {
            job: D,
            image: D,
            started_mono_ms: 1,
            wall_ms: 2,
            exit,
            cpu_us: 3,
            max_rss_kib: 4,
            limits: "rlimit".into(),
            ids: "range".into(),
            network: "none".into(),
            outputs: vec![JobOutput { path: "/out/x".into(), size: 1, sha256: D }],
            stdout: D,
            stderr: D,
            seq: 5,
            config: D,
            policy: D,
            io_read: 6,
            io_write: 7,
            checkpoint: Some(D),
            restarts: 8,
            outputs_skipped: 9,
        };
        holds("job-receipt", &receipt);
        holds("job-receipt", &JobReceipt { checkpoint: None, ..receipt });
    }
    let bundle = ReceiptBundle { evidence: vec![vec![1].into()], receipt: vec![2], seen: vec![] };
    holds("receipt-bundle", &bundle);
    let records =
        SessionRecords { evidence: vec![1], end: Some(vec![2].into()), ..SessionRecords::default() };
    let sessions = vec![records, SessionRecords::default()];
    holds("claim", &Claim { node: D, beacons: vec![vec![1].into()], sessions, powered_s: 1, reachable_s: 2 });
}

#[test]
fn protocol() {
    holds("challenge-request", &ChallengeRequest { node: D });
    holds("session-challenge", &SessionChallenge { nonce: D });
    holds("records", &Records { session: D, envelopes: vec![vec![1].into()] });
    let refusal = Refusal { code: "a".into(), message: "b".into() };
    holds("refusal", &refusal);
    holds("accepted", &Accepted { count: 1, receipts: vec![vec![1].into()], refusal: None });
    holds("accepted", &Accepted { count: 1, receipts: vec![], refusal: Some(refusal) });
}

#[test]
fn envelopes_of_every_kind() {
    for kind in Kind::ALL {
        let bytes = Envelope::seal(kind, D, &1u8, &SigningKey::from_seed(&[1; 32]), &Network::new("n"));
        validate("envelope", ENVELOPE, &bytes).unwrap_or_else(|e| panic!("{}: {e}", kind.name()));
        let mut decoder = minicbor::Decoder::new(&bytes[1..]);
        decoder.array().unwrap();
        let header = decoder.bytes().unwrap();
        validate("protected-header", ENVELOPE, header).unwrap_or_else(|e| panic!("{}: {e}", kind.name()));
    }
}
