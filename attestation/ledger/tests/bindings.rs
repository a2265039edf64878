//! What hashes bind, and the words that outputs promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_ledger::chain::ChainFault;
use assay_ledger::enrolment::{self, TpmClass};
use assay_ledger::session::{self, BootLogs, Machine, SessionStart, Simulated};
use assay_ledger::uptime::GapReason;
use assay_wire::{Digest, Domain, VerifyingKey, WireError, cbor, hash};

const A: Digest = Digest([1; 32]);
const B: Digest = Digest([2; 32]);

fn start() -> SessionStart {
    let machine =
        Machine { cpu: "c".into(), cpus: 2, memory_mib: 3, kernel: "6".into(), virtualization: None };
    SessionStart {
        node: A,
        enrolment: A,
        boot_logs: A,
        key: VerifyingKey([1; 32]),
        sealing_key: A,
        challenge: A,
        beacon: A,
        mono_ms: 4,
        previous: None,
        agent: "0.1.0".into(),
        config: A,
        machine,
        gpus: vec![],
        simulated: vec![],
    }
}

#[test]
fn a_sessions_id_is_the_hash_of_its_whole_body() {
    assert_eq!(start().id(), hash(Domain::SessionId, &[&cbor::to_vec(&start())]));
    assert_ne!(start().id(), SessionStart { sealing_key: B, ..start() }.id());
}

#[test]
fn boot_logs_are_bound_by_their_hash() {
    let logs = |bytes: &[u8]| BootLogs { ima: Some(bytes.to_vec().into()), ..BootLogs::default() };
    assert_eq!(logs(b"a").digest(), hash(Domain::BootLogs, &[&cbor::to_vec(&logs(b"a"))]));
    assert_ne!(logs(b"a").digest(), logs(b"b").digest());
}

#[test]
fn what_the_tpm_signs_has_a_domain_for_each_use() {
    let of = |id: &Digest| {
        [
            (session::quote_extra_data(id), Domain::SessionQuote),
            (session::time_extra_data(id), Domain::SessionTime),
            (enrolment::quote_extra_data(id), Domain::EnrolQuote),
            (enrolment::proof_input(id), Domain::EnrolProof),
            (enrolment::node_id(&id.0), Domain::NodeId),
        ]
    };
    for id in [A, B] {
        assert!(of(&id).iter().all(|(seen, domain)| *seen == hash(*domain, &[&id.0])));
    }
    assert_eq!(session::ima_extra_data(&A, &B), hash(Domain::ImaQuote, &[&A.0, &B.0]));
}

#[test]
fn every_fault_of_a_chain_knows_the_beat_that_was_due() {
    let seq = 5;
    for fault in [
        ChainFault::Decode { seq, source: WireError::Key },
        ChainFault::Session { seq, seen: A },
        ChainFault::Sequence { seq, seen: 9 },
        ChainFault::Link { seq },
        ChainFault::Time { seq },
        ChainFault::Signature { seq },
    ] {
        assert_eq!(fault.seq(), 5, "{fault}");
    }
}

#[test]
fn words_of_outputs_do_not_change() {
    let classes = [TpmClass::Discrete, TpmClass::Firmware, TpmClass::Virtual, TpmClass::Unknown];
    assert_eq!(classes.map(TpmClass::name), ["discrete", "firmware", "virtual", "unknown"]);
    let simulated = [Simulated::Tpm, Simulated::BootLog, Simulated::Gpu];
    assert_eq!(simulated.map(Simulated::name), ["tpm", "boot-log", "gpu"]);
    use GapReason as Gap;
    let gaps = [Gap::NoBeats, Gap::LateReceipt, Gap::NoReceipt, Gap::BetweenSessions];
    let names = ["no-beats", "late-receipt", "no-receipt", "between-sessions"];
    assert_eq!(gaps.map(GapReason::name), names);
    let gaps = [Gap::Unanchored, Gap::ClockDisagreement, Gap::ClockTooFast, Gap::NoRoom];
    let names = ["unanchored", "clock-disagreement", "clock-too-fast", "no-room"];
    assert_eq!(gaps.map(GapReason::name), names);
}
