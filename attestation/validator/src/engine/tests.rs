//! The engine by itself: nonces, and what one request may cost.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use assay_appraisal::DeviceFacts;
use assay_gpu::GpuIdentity;
use assay_gpu::device::{Architecture, Asking, ChainKind, HoldPolicy, Report};
use assay_gpu::rim::{Rim, SignerProof, SignerStatus};
use assay_ledger::anchor::{AnchorContext, TpmInstant};
use assay_ledger::protocol::{ChallengeRequest, SessionChallenge};
use assay_ledger::session::PcrValue;
use assay_x509::Certificate;

use super::*;
#[path = "../../../gpu/tests/world/mod.rs"]
mod maker;
#[path = "../../../x509/tests/world/mod.rs"]
pub(super) mod responder;

use crate::beacon::OsBeacons;
use crate::config::Home;
use crate::store::NewSession;
use crate::{init, trusted};

/// An engine over a fresh directory with a clock that the test moves.
fn engine(challenges: usize) -> (Engine, Arc<AtomicU64>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path().join("v"));
    init::init(home.dir(), &init::Options::default()).unwrap();
    let (trust, key) = (trusted::trust(&home.trust()).unwrap(), trusted::signing_key(&home.key()).unwrap());
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let time = Arc::clone(&clock);
    let parts = Parts {
        rims: Shelf::open(&home.rims(), &trust).unwrap(),
        ocsp: Cache::open(&home.ocsp()).unwrap(),
        policy: trusted::policy(&home.trust(), &trust.policy).unwrap(),
        store: Store::open(
            &home.store(),
            trust.network.id(),
            &key.verifying_key().validator_id().to_string(),
        )
        .unwrap(),
        trust,
        key,
        beacons: Box::new(OsBeacons),
        clock: Arc::new(move || time.load(Ordering::SeqCst)),
        challenge_ms: 120_000,
        challenges,
        policy_text: String::new(),
        ak_change_ms: 0,
        twins: Twins::default(),
    };
    (Engine::new(parts), clock, dir)
}

fn nonce(engine: &mut Engine, node: Digest) -> Digest {
    let body = engine.challenge(ChallengeRequest { node }).unwrap();
    cbor::from_slice::<SessionChallenge>("challenge", &body, 4096).unwrap().nonce
}

#[test]
fn ten_thousand_nonces_are_unique_and_look_random() {
    let (mut engine, _clock, _dir) = engine(20_000);
    let nonces: Vec<Digest> = (0..10_000).map(|_| nonce(&mut engine, Digest([1; 32]))).collect();
    assert_eq!(nonces.iter().collect::<HashSet<_>>().len(), nonces.len());
    // 2,560,000 bits: half of them set, within eight standard deviations of 800.
    let ones: u32 = nonces.iter().flat_map(|nonce| nonce.0).map(u8::count_ones).sum();
    assert!(ones.abs_diff(1_280_000) < 6_400, "{ones}");
    // No byte of a nonce follows from the one before: not a counter, not a clock.
    for place in 0..32 {
        let steps: HashSet<u8> =
            nonces.windows(2).map(|w| w[1].0[place].wrapping_sub(w[0].0[place])).collect();
        assert!(steps.len() > 250, "byte {place}");
    }
}

#[test]
fn nonces_are_bounded_by_number_and_time() {
    let (mut engine, clock, _dir) = engine(3);
    let mut ask = || engine.challenge(ChallengeRequest { node: Digest([1; 32]) });
    assert_eq!((0..10).filter(|_| ask().is_ok()).count(), 3);
    assert_eq!(ask().unwrap_err().refusal.code, "challenge.busy");
    clock.fetch_add(120_000, Ordering::SeqCst);
    assert_eq!((0..10).filter(|_| ask().is_ok()).count(), 3);
}

#[test]
fn a_state_reads_back_and_is_only_of_its_node() {
    use assay_ledger::revocation::{Revocation, RevokedKind};
    let (engine, _clock, _dir) = engine(1);
    let store = &engine.parts.store;
    let (node, record, pcr0) =
        (Digest([1; 32]), Digest([2; 32]), PcrValue { pcr: 0, value: Digest([3; 32]) });
    for (kind, digest) in [
        (RevokedKind::Node, node),
        (RevokedKind::Record, record),
        (RevokedKind::Record, node),
        (RevokedKind::Node, Digest([9; 32])),
    ] {
        store.insert_revocation(&Revocation { kind, digest, at_ms: 5, reason: "r".into() }).unwrap();
    }
    store.approve_firmware(&node, &pcr0.value, 1).unwrap();
    let owner = engine.parts.key.verifying_key();
    store.saw_firmware(&pcr0.value, (&node, &owner), "f", 1).unwrap();
    let of = state::StateOf {
        node: &node,
        record: &record,
        issued: (&record, 0),
        pcr0: Some(&pcr0.value),
        previous: None,
        devices: (&[], &[]),
        ocsp: (&engine.parts.ocsp, 0),
    };
    let found = state::state_for(store, of).unwrap();
    let entries: Vec<usize> = found.revocations.values().map(|list| list.entries.len()).collect();
    assert_eq!((entries, found.approved_firmware.len()), (vec![2], 1));
    assert_eq!(found.firmware, [(pcr0.value, 1)].into());
    let bytes = cbor::to_vec(&found);
    assert_eq!(cbor::from_slice::<assay_appraisal::State>("state", &bytes, 1 << 20).unwrap(), found);
    let other = Digest([7; 32]);
    let of = state::StateOf {
        node: &other,
        record: &other,
        issued: (&other, 0),
        pcr0: Some(&other),
        previous: None,
        devices: (&[], &[]),
        ocsp: (&engine.parts.ocsp, 0),
    };
    assert_eq!(state::state_for(store, of).unwrap(), assay_appraisal::State::default());
}

/// A session of a node in the store.
fn stored(store: &Store, n: u8, now_ms: u64) -> (i64, Digest) {
    let node = Digest([n; 32]);
    let opened = TpmInstant { time_ms: 0, reset_count: 0, restart_count: 0, firmware_version: 0 };
    let number = store.insert_session(&NewSession {
        id: Digest([n + 100; 32]),
        node,
        key: SigningKey::from_seed(&[n; 32]).verifying_key(),
        ak_public: &[],
        context: &AnchorContext { session: Digest([n + 100; 32]), pcr_digest: vec![], opened },
        evidence_hash: Digest([n + 50; 32]),
        enrolment: Digest::default(),
        evidence: &[],
        mono_ms: 0,
        opened_ms: now_ms,
    });
    (number.unwrap(), node)
}

#[test]
fn a_device_that_signed_for_two_nodes_is_flagged_on_both() {
    let yes = Some(true);
    let good = DeviceFacts {
        pdi: Some("00000000000000aa".into()),
        signature: yes,
        chain: yes,
        nonce: yes,
        ..DeviceFacts::default()
    };
    let cases = [
        (good.clone(), 1),
        (DeviceFacts { simulated: true, ..good.clone() }, 0),
        (DeviceFacts { nonce: Some(false), ..good.clone() }, 0),
        (DeviceFacts { chain: None, ..good.clone() }, 0),
        (DeviceFacts { signature: Some(false), ..good.clone() }, 0),
        (DeviceFacts { signature: None, ..good }, 0),
    ];
    for (device, expected) in cases {
        let (engine, clock, _dir) = engine(1);
        let now_ms = clock.load(Ordering::SeqCst);
        let nodes = [1, 2].map(|n| stored(&engine.parts.store, n, now_ms));
        for (number, node) in &nodes {
            engine.place_devices(*number, node, std::slice::from_ref(&device), now_ms).unwrap();
        }
        for (_, node) in &nodes {
            let found = engine.parts.store.findings_of(node).unwrap();
            let codes: Vec<_> = found.iter().map(|one| one.code.as_str()).collect();
            assert_eq!(codes, vec!["session.gpu-twin"; expected], "{device:?}");
        }
    }
}

/// An entry of a session's table.
fn entry(uuid: &str, pdi: Option<u64>) -> GpuIdentity {
    GpuIdentity {
        index: 0,
        uuid: uuid.into(),
        name: String::new(),
        memory_mib: 1,
        pci_bus_id: String::new(),
        driver: String::new(),
        simulated: false,
        vbios: None,
        serial: None,
        pdi,
        power_limit_mw: None,
        board_part_number: None,
        inforom: None,
    }
}

/// How many findings each of two nodes has, of which the first has this GPU and the second this one, and which
/// of them signed as the device with this identifier.
fn twins((first, second): (&GpuIdentity, &GpuIdentity), signed: [bool; 2]) -> Vec<usize> {
    let yes = Some(true);
    let pdi = Some("00000000000000aa".to_owned());
    let device = DeviceFacts { pdi, signature: yes, chain: yes, nonce: yes, ..DeviceFacts::default() };
    let (engine, clock, _dir) = engine(1);
    let now_ms = clock.load(Ordering::SeqCst);
    let nodes = [1, 2].map(|n| stored(&engine.parts.store, n, now_ms));
    for ((number, node), (gpu, signed)) in nodes.iter().zip([first, second].into_iter().zip(signed)) {
        engine.place_gpus(*number, node, std::slice::from_ref(gpu), now_ms).unwrap();
        let devices = if signed { std::slice::from_ref(&device) } else { &[] };
        engine.place_devices(*number, node, devices, now_ms).unwrap();
    }
    nodes.iter().map(|(_, node)| engine.parts.store.findings_of(node).unwrap().len()).collect()
}

#[test]
fn a_uuid_cannot_pass_for_a_certified_device() {
    let (odd, other) = (entry("PDI-00000000000000aa", None), entry("GPU-1", None));
    assert_eq!(twins((&odd, &other), [false, true]), [0, 0]);
    assert_eq!(twins((&other, &odd), [true, false]), [0, 0]);
    // It is a name like any other all the same.
    assert_eq!(twins((&odd, &odd), [false, false]), [1, 1]);
    let said = entry("SAID-PDI-00000000000000aa", None);
    assert_eq!(twins((&said, &other), [false, true]), [0, 0]);
}

#[test]
fn an_identifier_in_a_table_is_held_against_those_that_signed_and_other_tables() {
    let (named, other) = (entry("GPU-1", Some(0xaa)), entry("GPU-2", None));
    assert_eq!(twins((&named, &other), [false, true]), [1, 1]);
    assert_eq!(twins((&other, &named), [true, false]), [1, 1]);
    assert_eq!(twins((&named, &entry("GPU-2", Some(0xaa))), [false, false]), [1, 1]);
    assert_eq!(twins((&named, &entry("GPU-2", Some(0xab))), [false, false]), [0, 0]);
    assert_eq!(twins((&named, &other), [true, false]), [0, 0]);
}

/// Evidence of a real GPU, from the data folder.
fn recorded() -> Option<DeviceEvidence> {
    let data = std::env::var_os("ASSAY_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let folder = data.join("gpu");
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).ok();
    let cases: serde_json::Value = serde_json::from_str(&read("cases.json")?).unwrap();
    let gpu = |case: &&serde_json::Value| case["arch"] == "HOPPER" && case["report"].is_string();
    let case = cases["cases"].as_array().unwrap().iter().find(gpu)?;
    Some(DeviceEvidence {
        gpu: Some(0),
        architecture: Architecture::Hopper,
        report: hex::decode(read(case["report"].as_str()?)?.trim()).unwrap(),
        chain: Vec::new(),
        ocsp: Vec::new(),
        simulated: false,
    })
}

#[test]
fn a_state_has_the_reference_values_that_a_report_asks_for_and_no_others() {
    let Some(device) = recorded() else {
        eprintln!("SKIPPED: no data folder; set ASSAY_DATA");
        return;
    };
    let driver = Report::parse(&device.report).unwrap().facts().driver.clone().unwrap();
    let rims = [crate::rim::made_up(&driver), crate::rim::made_up("1.2.3")];
    let (engine, _clock, _dir) = engine(1);
    let node = Digest([7; 32]);
    let found = |devices: &[DeviceEvidence]| {
        let of = state::StateOf {
            node: &node,
            record: &node,
            issued: (&node, 0),
            pcr0: None,
            previous: None,
            devices: (devices, &rims),
            ocsp: (&engine.parts.ocsp, 0),
        };
        state::state_for(&engine.parts.store, of).unwrap().gpu_rims
    };
    assert_eq!(found(std::slice::from_ref(&device)), std::slice::from_ref(&rims[0]));
    assert_eq!(found(&[DeviceEvidence { report: vec![1], ..device }]), []);
    assert_eq!(found(&[]), []);
}

/// The issuer's answer about the certificate at this place of a made-up device's chain.
fn answer(device: &maker::Device, at: usize, status: &[u8]) -> Vec<u8> {
    use p384::ecdsa::signature::Signer as _;
    use responder::ocsp::{Answer, date, id_of, single};
    let [certificate, issuer] = [at, at + 1].map(|at| Certificate::parse(&device.chain()[at]).unwrap());
    let id = id_of(&certificate.serial, &issuer);
    let answer = Answer {
        responder: maker::tlv(0xa1, issuer.subject.as_bytes()),
        produced: date("20251231120000Z"),
        singles: vec![single(&id, status, "20251231120000Z", Some("20260102000000Z"), &[])],
        algorithm: maker::seq(&[&maker::oid("1.2.840.10045.4.3.3")]),
        ..Answer::good()
    };
    let signature: p384::ecdsa::DerSignature = device.keys[at + 1].sign(&answer.data());
    answer.sealed(signature.as_bytes())
}

/// A device with the answers of its issuers, all good.
fn stapled() -> DeviceEvidence {
    let device = maker::Device::new(Architecture::Hopper, 7);
    let ocsp = (1..4).map(|at| answer(&device, at, &responder::ocsp::good())).collect();
    DeviceEvidence { ocsp, ..device.evidence() }
}

/// A revocation that lies in the validator's folder of answers reaches reference values that were imported before it.
#[test]
fn answers_at_hand_reach_the_signers_of_reference_values() {
    let (engine, _clock, _dir) = engine(1);
    let device = maker::Device::new(Architecture::Hopper, 7);
    let evidence = device.evidence();
    let chain: Vec<_> = device.chain().iter().map(|der| Certificate::parse(der).unwrap()).collect();
    let driver = Report::parse(&evidence.report).unwrap().facts().driver.clone().unwrap();
    let rim = Rim {
        signer: Digest(chain[0].fingerprint().0),
        proof: SignerProof {
            certificates: chain.iter().map(|one| one.der().to_vec().into()).collect(),
            ocsp: Vec::new(),
        },
        ..crate::rim::made_up(&driver)
    };
    let hold = HoldPolicy::default();
    let status = || {
        let of = state::StateOf {
            node: &Digest([7; 32]),
            record: &Digest([7; 32]),
            issued: (&Digest([7; 32]), 0),
            pcr0: None,
            previous: None,
            devices: (std::slice::from_ref(&evidence), std::slice::from_ref(&rim)),
            ocsp: (&engine.parts.ocsp, u64::try_from(maker::NOW).unwrap() * 1000),
        };
        let state = state::state_for(&engine.parts.store, of).unwrap();
        SignerStatus::of(&state.gpu_rims[0], maker::NOW, hold)
    };
    assert_eq!(status(), SignerStatus::Unchecked);
    let taken = answer(&device, 1, &responder::ocsp::revoked("20251201000000Z", Some(1)));
    let asking = Asking::stapled(maker::NOW, hold);
    assert_eq!(engine.parts.ocsp.keep(ChainKind::Rim, &chain, &[taken], &asking).unwrap(), 1);
    assert_eq!(status(), SignerStatus::Revoked);
}

#[test]
fn what_was_imported_meanwhile_is_there_for_a_session_with_devices() {
    let (mut engine, _clock, dir) = engine(2);
    let (rims, key) = (Home::new(dir.path().join("v")).rims(), &engine.parts.key);
    let network = assay_wire::Network::new(assay_gpu::rim::RIM_NETWORK);
    let rim = crate::rim::made_up("590.12");
    let bytes = Envelope::seal(Kind::GpuRim, key.verifying_key().validator_id(), &rim, key, &network);
    std::fs::create_dir(&rims).unwrap();
    std::fs::write(rims.join("a.rim"), bytes).unwrap();
    for (devices, seen) in [(vec![], 0), (vec![stapled()], 1)] {
        let node = Digest([7; 32]);
        let opening = Opening {
            bytes: vec![1],
            hash: Digest([1; 32]),
            id: Digest([2; 32]),
            node,
            challenge: nonce(&mut engine, node),
            previous: None,
            mono_ms: 0,
            enrolment: vec![],
            further: vec![],
            time: vec![],
            pcr0: None,
            devices,
        };
        assert!(engine.open_session(&opening).unwrap().is_err());
        assert_eq!(engine.parts.rims.rims().len(), seen);
    }
}

#[test]
fn answers_of_responders_are_kept_and_stand_in_the_state_of_later_sessions() {
    let (mut engine, _clock, _dir) = engine(1);
    engine.parts.trust.device_roots = maker::roots();
    let (device, now_ms) = (stapled(), u64::try_from(maker::NOW).unwrap() * 1000);
    let bare = DeviceEvidence { ocsp: Vec::new(), ..device.clone() };
    let found = |engine: &Engine, now_ms: u64| {
        let of = state::StateOf {
            node: &Digest([7; 32]),
            record: &Digest([7; 32]),
            issued: (&Digest([7; 32]), 0),
            pcr0: None,
            previous: None,
            devices: (&[bare.clone(), bare.clone()], &[]),
            ocsp: (&engine.parts.ocsp, now_ms),
        };
        state::state_for(&engine.parts.store, of).unwrap().gpu_ocsp
    };
    engine.keep_answers(std::slice::from_ref(&bare), now_ms);
    assert_eq!(found(&engine, now_ms), Vec::<ByteVec>::new());
    engine.keep_answers(std::slice::from_ref(&device), now_ms);
    let kept: Vec<Vec<u8>> = found(&engine, now_ms).into_iter().map(Vec::from).collect();
    assert_eq!(kept, device.ocsp, "each once, though two devices ask");
    assert_eq!(found(&engine, now_ms + 2 * 86_400_000), Vec::<ByteVec>::new(), "until they end");
    // Of a chain under another root nothing is kept.
    let (mut other, _clock, _other_dir) = self::engine(1);
    other.parts.trust.device_roots = assay_gpu::device::Roots::nvidia();
    other.keep_answers(std::slice::from_ref(&device), now_ms);
    assert_eq!(found(&other, now_ms), Vec::<ByteVec>::new());
}
