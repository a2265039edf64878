//! Reports of GPUs: of others, of another session, of another maker, changed, contradicted, missing.
//!
//! The GPUs are of a made-up maker, whose root the lab takes for the maker's; reports of real ones are the
//! data folder's, which are over nonces of their own.

#[path = "../../../../attestation/gpu/tests/world/mod.rs"]
mod maker;

use super::certificates::world as x509;
use assay_appraisal::{Appraisal, Policy, Severity};
use assay_gpu::GpuIdentity;
use assay_gpu::device::{Architecture, BootId, DeviceChain, DeviceEvidence, Roots, nonce};
use assay_gpu::rim::{RIM_NETWORK, Rim, RimKind, RimRow, SignerProof};
use assay_ledger::session::Evidence;
use assay_tests::{Attester, Chip, Lab, Node, accepted, fatal, finding, gpu, warned};
use assay_tpm::{Attest, Public};
use assay_wire::{Digest, Envelope, Kind, Network};
use assay_x509::Certificate;
use maker::Device;
use p384::ecdsa::signature::Signer as _;

/// Rows of the driver's reference values; the VBIOS has the others below 42.
const DRIVER_ROWS: [u8; 3] = [7, 21, 22];
const VBIOS_ROWS: [u8; 3] = [0, 1, 8];

/// A lab that takes the made-up maker for the maker of GPUs, and has reference values.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.trust.device_roots = maker::roots();
    for rim in
        [rim(RimKind::Driver, "590.12", DRIVER_ROWS), rim(RimKind::Vbios, "96.00.9F.00.01", VBIOS_ROWS)]
    {
        take(&mut lab, &rim);
    }
    lab
}

fn rim(kind: RimKind, version: &str, rows: [u8; 3]) -> Rim {
    let row = |index: u8| RimRow { index, name: "row".into(), values: vec![[index; 48].into()] };
    Rim {
        kind,
        product: "GH100".into(),
        version: version.into(),
        tag: "tag".into(),
        board: None,
        rows: rows.map(row).into(),
        source: Digest([1; 32]),
        signer: Digest([2; 32]),
        not_before: 0,
        not_after: i64::MAX,
        proof: SignerProof::default(),
    }
}

fn take(lab: &mut Lab, rim: &Rim) {
    let validator = &lab.validators[0];
    let network = Network::new(RIM_NETWORK);
    let envelope = Envelope::seal(Kind::GpuRim, validator.id, rim, &validator.key, &network);
    lab.state.take(&envelope, &lab.trust).unwrap();
}

/// What the GPU library says of the GPU with this index.
fn entry(index: u8) -> GpuIdentity {
    GpuIdentity {
        name: "NVIDIA H100 80GB HBM3".into(),
        driver: "590.12".into(),
        vbios: Some("96.00.9F.00.01".into()),
        board_part_number: Some("692-2G520-0200-000".into()),
        inforom: Some("G520.0200.00.05".into()),
        pdi: Some(pdi(index)),
        ..gpu(index)
    }
}

fn pdi(index: u8) -> u64 {
    0x1000 + u64::from(index)
}

fn device(index: u8) -> Device {
    Device::new(Architecture::Hopper, pdi(index))
}

/// What a device of this session has to sign.
fn due(evidence: &Evidence, ak_public: &[u8]) -> [u8; 32] {
    let name = Public::parse(ak_public).unwrap().name().unwrap();
    let clock = Attest::parse(&evidence.quote.attest).unwrap().clock_info;
    let boot = BootId { reset_count: clock.reset_count, restart_count: clock.restart_count };
    nonce(&evidence.session.challenge.0, name.as_bytes(), &evidence.session.id().0, &boot)
}

/// Evidence of a device over this nonce.
fn signed(gpu: Option<u8>, mut device: Device, nonce: [u8; 32]) -> DeviceEvidence {
    device.report.nonce = nonce;
    DeviceEvidence { gpu, ..device.evidence() }
}

/// A session of two GPUs of the maker, whose table and evidence are changed on the way.
fn changed<T: Attester>(
    lab: &mut Lab,
    node: &mut Node<T>,
    table: impl FnOnce(&mut Vec<GpuIdentity>),
    change: impl FnOnce(&mut Vec<DeviceEvidence>, [u8; 32]),
) -> Appraisal {
    let ak_public = node.identity.ak_public.clone();
    let session = lab.open_with(
        node,
        |start| {
            start.gpus = vec![entry(0), entry(1)];
            table(&mut start.gpus);
        },
        |evidence, _| {
            let nonce = due(evidence, &ak_public);
            let mut list: Vec<_> = [0, 1].map(|index| signed(Some(index), device(index), nonce)).into();
            change(&mut list, nonce);
            evidence.devices = Some(list);
        },
    );
    lab.appraise(&session.records.evidence)
}

/// The verdict on a session whose evidence is changed.
fn verdict(change: impl FnOnce(&mut Vec<DeviceEvidence>, [u8; 32])) -> Appraisal {
    let mut lab = lab();
    let mut node = lab.paper(3);
    changed(&mut lab, &mut node, |_| {}, change)
}

/// The verdict on a session whose first GPU is this one.
fn with_first(change: impl FnOnce(Device) -> Device) -> Appraisal {
    verdict(|list, nonce| list[0] = signed(Some(0), change(device(0)), nonce))
}

fn noted(appraisal: &Appraisal, id: &str) {
    accepted(appraisal);
    let found = finding(appraisal, id);
    assert_eq!(found.severity, Severity::Info, "{found:#?}");
}

#[test]
fn honest_gpus_of_the_maker_are_g3() {
    let mut lab = lab();
    let Some(mut node) = lab.chip() else { return };
    let appraisal = changed(&mut lab, &mut node, |_| {}, |_, _| {});
    accepted(&appraisal);
    assert_eq!(appraisal.axes.gpu, 3, "{:#?}", appraisal.findings);
    let devices = &appraisal.facts.sessions[0].devices;
    assert!(devices.iter().all(|device| device.attested) && devices.len() == 2);
    assert_eq!(devices[1].pdi.as_deref(), Some("0000000000001001"));
    assert_eq!(devices[1].board.as_deref(), Some("G520-0200-885"));
}

#[test]
fn a_maker_that_the_library_does_not_know_is_no_maker() {
    let mut lab = lab();
    // What a trust file gives, whatever it says.
    lab.trust.device_roots = assay_appraisal::Trust::parse(&lab.trust.to_toml()).unwrap().device_roots;
    assert_eq!(lab.trust.device_roots, Roots::nvidia());
    let mut node = lab.paper(3);
    let appraisal = changed(&mut lab, &mut node, |_| {}, |_, _| {});
    fatal(&appraisal, "gpu.device.chain");
}

#[test]
fn a_gpu_that_signs_nothing_stays_what_the_node_says() {
    for list in [None, Some(vec![])] {
        let mut lab = lab();
        let Some(mut node) = lab.chip() else { return };
        let session = lab.open_with(
            &mut node,
            |start| start.gpus = vec![entry(0)],
            |evidence, _| evidence.devices = list,
        );
        let appraisal = lab.appraise(&session.records.evidence);
        noted(&appraisal, "gpu.device.report");
        let said = finding(&appraisal, "gpu.device.report").seen.clone().unwrap();
        assert!(said.contains("unattested: GPU 0"), "{said}");
        assert_eq!(appraisal.axes.gpu, 0);
        lab.policy.checks.insert("gpu.device.report".into(), Severity::Fatal);
        fatal(&lab.appraise(&session.records.evidence), "gpu.device.report");
    }
    let appraisal = verdict(|list, _| drop(list.pop()));
    noted(&appraisal, "gpu.device.report");
    assert_eq!(appraisal.axes.gpu, 0, "one of two is not all");
}

#[test]
fn a_report_for_another_session_key_or_boot_is_refused() {
    let mut lab = lab();
    let (Some(mut node), Some(mut other)) = (lab.chip(), lab.chip()) else { return };
    let own = |node: &Node<Chip>| node.identity.ak_public.clone();
    let (ours, theirs) = (own(&node), own(&other));
    let mut earlier = [0; 32];
    let mut refused = |lab: &mut Lab, node: &mut Node<Chip>, of: &dyn Fn(&Evidence) -> [u8; 32]| {
        let appraisal = {
            let session = lab.open_with(
                node,
                |start| start.gpus = vec![entry(0)],
                |evidence, _| evidence.devices = Some(vec![signed(Some(0), device(0), of(evidence))]),
            );
            earlier = due(&session.evidence, &ours);
            lab.appraise(&session.records.evidence)
        };
        (appraisal, earlier)
    };
    let (honest, of_first) = refused(&mut lab, &mut node, &|evidence| due(evidence, &ours));
    accepted(&honest);
    let (again, _) = refused(&mut lab, &mut node, &|_| of_first);
    fatal(&again, "gpu.device.nonce");
    let (borrowed, _) = refused(&mut lab, &mut node, &|evidence| due(evidence, &theirs));
    fatal(&borrowed, "gpu.device.nonce");
    let (lent, _) = refused(&mut lab, &mut other, &|evidence| due(evidence, &ours));
    fatal(&lent, "gpu.device.nonce");
    let counts = |evidence: &Evidence| {
        let clock = Attest::parse(&evidence.quote.attest).unwrap().clock_info;
        let boot = BootId { reset_count: clock.reset_count - 1, restart_count: clock.restart_count };
        let name = Public::parse(&ours).unwrap().name().unwrap();
        nonce(&evidence.session.challenge.0, name.as_bytes(), &evidence.session.id().0, &boot)
    };
    let (booted, _) = refused(&mut lab, &mut node, &counts);
    fatal(&booted, "gpu.device.nonce");
}

/// Evidence of real GPUs whose signature holds.
fn recorded() -> Option<Vec<DeviceEvidence>> {
    let folder = maker::data()?;
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).unwrap();
    let cases: serde_json::Value = serde_json::from_str(&read("cases.json")).unwrap();
    let cases = cases["cases"].as_array().unwrap().iter().filter(|case| {
        case["arch"] == "HOPPER" && case["report"].is_string() && case["expected"]["signature"] == true
    });
    let load = |case: &serde_json::Value| DeviceEvidence {
        gpu: Some(0),
        architecture: Architecture::Hopper,
        report: hex::decode(read(case["report"].as_str().unwrap()).trim()).unwrap(),
        chain: DeviceChain::from_pem(&read(case["chain"].as_str().unwrap())).unwrap().der(),
        ocsp: vec![],
        simulated: false,
    };
    let cases: Vec<_> = cases.map(load).collect();
    assert!(!cases.is_empty());
    Some(cases)
}

#[test]
fn a_real_gpus_recorded_report_is_refused_by_its_nonce() {
    let Some(recorded) = recorded() else { return };
    for device in recorded {
        let mut lab = Lab::new();
        let Some(mut node) = lab.chip() else { return };
        let mut open = |simulated| {
            let told = DeviceEvidence { simulated, ..device.clone() };
            lab.open_with(
                &mut node,
                |start| start.gpus = vec![GpuIdentity { simulated, ..gpu(0) }],
                |evidence, _| evidence.devices = Some(vec![told]),
            )
        };
        let (claimed, marked) = (open(false), open(true));
        fatal(&lab.appraise(&claimed.records.evidence), "gpu.device.nonce");
        // Said to be simulated it is noted, where the policy takes that, and nothing is gained.
        let appraisal = lab.appraise(&marked.records.evidence);
        noted(&appraisal, "gpu.device.nonce");
        assert_eq!(appraisal.axes.gpu, 0);
        let device = &appraisal.facts.sessions[0].devices[0];
        assert_eq!((device.signature, device.chain, device.nonce), (Some(true), Some(true), Some(false)));
        fatal(&lab.appraise_under("open", &marked.records.evidence), "session.simulated");
    }
}

#[test]
fn evidence_that_is_marked_as_simulated_in_one_place_only_is_simulated() {
    let appraisal = verdict(|list, _| list[0].simulated = true);
    noted(&appraisal, "session.simulated");
    assert_eq!(appraisal.axes.gpu, 0);
}

#[test]
fn a_changed_report_or_one_of_another_key_is_refused() {
    let appraisal = verdict(|list, _| list[0].report[100] ^= 1);
    fatal(&appraisal, "gpu.device.signature");
    let appraisal = verdict(|list, _| list[0].chain = device(1).chain());
    fatal(&appraisal, "gpu.device.signature");
    let appraisal = verdict(|list, _| list[0].report.clear());
    fatal(&appraisal, "gpu.device.signature");
}

#[test]
fn certificates_that_do_not_lead_to_the_maker_are_refused() {
    let appraisal = verdict(|list, _| drop(list[0].chain.remove(3)));
    fatal(&appraisal, "gpu.device.chain");
    let appraisal = verdict(|list, _| list[0].architecture = Architecture::Blackwell);
    fatal(&appraisal, "gpu.device.chain");
}

#[test]
fn a_report_of_other_firmware_than_the_certificates_is_refused() {
    let appraisal = with_first(|mut device| {
        device.report = device.report.with(20, &[7; 48]);
        device
    });
    fatal(&appraisal, "gpu.device.fwid");
}

#[test]
fn a_report_that_names_no_firmware_is_g3_only_where_the_policy_thinks_nothing_of_it() {
    let silent = |list: &mut Vec<DeviceEvidence>, nonce| {
        let mut device = device(0);
        device.report = device.report.without(20);
        list[0] = signed(Some(0), device, nonce);
    };
    let mut lab = lab();
    let mut node = lab.paper(3);
    let appraisal = changed(&mut lab, &mut node, |_| {}, silent);
    warned(&appraisal, "gpu.device.fwid-absent");
    assert_eq!(appraisal.axes.gpu, 0);
    lab.policy.checks.insert("gpu.device.fwid-absent".into(), Severity::Info);
    let appraisal = changed(&mut lab, &mut node, |_| {}, silent);
    noted(&appraisal, "gpu.device.fwid-absent");
    assert_eq!(appraisal.axes.gpu, 3);
}

#[test]
fn measurements_that_nobody_published_are_a_warning_and_no_g3() {
    let appraisal = with_first(|mut device| {
        device.report.blocks[usize::from(DRIVER_ROWS[1])].1 = vec![0xee; 48];
        device
    });
    warned(&appraisal, "gpu.device.measurements");
    assert_eq!(appraisal.axes.gpu, 0);
    assert_eq!(appraisal.facts.sessions[0].devices[0].measurements, Some(false));
}

#[test]
fn without_both_reference_values_there_is_no_g3() {
    for missing in [&[RimKind::Driver][..], &[RimKind::Vbios], &[RimKind::Driver, RimKind::Vbios]] {
        let mut lab = lab();
        lab.state.gpu_rims.retain(|rim| !missing.contains(&rim.kind));
        let mut node = lab.paper(3);
        let appraisal = changed(&mut lab, &mut node, |_| {}, |_, _| {});
        noted(&appraisal, "gpu.device.reference-values");
        assert_eq!(appraisal.axes.gpu, 0, "{missing:?}");
        assert_eq!(appraisal.facts.sessions[0].devices[0].measurements, None, "{missing:?}");
    }
    // A second document that says otherwise takes the first one's word with it.
    let mut lab = lab();
    let other = Rim { source: Digest([3; 32]), ..rim(RimKind::Driver, "590.12", [7, 21, 23]) };
    let other = Rim { rows: other.rows.iter().cloned().map(elsewhere).collect(), ..other };
    take(&mut lab, &other);
    let mut node = lab.paper(3);
    let appraisal = changed(&mut lab, &mut node, |_| {}, |_, _| {});
    warned(&appraisal, "gpu.device.measurements");
}

#[test]
fn reference_values_whose_signer_no_responder_speaks_of_are_told() {
    let appraisal = verdict(|_, _| {});
    accepted(&appraisal);
    let told = appraisal.findings.iter().any(|finding| {
        let said = finding.seen.as_deref().unwrap_or_default();
        finding.id == "gpu.device.revocation-unknown" && said.contains("no responder's word on the signer")
    });
    assert!(told, "{:#?}", appraisal.findings);
    assert_eq!(appraisal.axes.gpu, 3);
}

/// What a policy asks of a device's own certificates it asks of those of its reference values' signers too.
#[test]
fn a_policy_may_demand_a_responders_word_on_the_signers_of_reference_values() {
    use x509::ocsp::good;
    let (maker, chain) = (device(0), device(0).chain());
    let answers = |places: std::ops::Range<usize>| -> Vec<Vec<u8>> {
        places.map(|at| answer(&chain, at, &good(), &maker.keys[at + 1])).collect()
    };
    let attested = |known: bool, severity: Severity| {
        let (mut lab, id) = (lab(), "gpu.device.revocation-unknown");
        lab.policy.checks.insert(id.into(), severity);
        for rim in lab.state.gpu_rims.iter_mut().filter(|_| known) {
            rim.signer = Digest(Certificate::parse(&chain[0]).unwrap().fingerprint().0);
            rim.proof = SignerProof {
                certificates: chain.iter().cloned().map(Into::into).collect(),
                ocsp: answers(0..4).into_iter().map(Into::into).collect(),
            };
        }
        let mut node = lab.paper(3);
        let appraisal = changed(&mut lab, &mut node, |_| {}, |list, _| list[0].ocsp = answers(1..4));
        accepted(&appraisal);
        appraisal.facts.sessions[0].devices[0].attested
    };
    assert!(attested(false, Severity::Info));
    assert!(!attested(false, Severity::Warning));
    assert!(attested(true, Severity::Warning));
}

/// The same row with another value.
fn elsewhere(row: RimRow) -> RimRow {
    RimRow { values: vec![[0xdd; 48].into()], ..row }
}

/// A responder's answer about a certificate of a chain, by its issuer.
fn answer(chain: &[Vec<u8>], at: usize, status: &[u8], key: &p384::ecdsa::SigningKey) -> Vec<u8> {
    answer_of(chain, at, status, "20270115000000Z", key)
}

/// The same, as of this time.
fn answer_of(
    chain: &[Vec<u8>],
    at: usize,
    status: &[u8],
    this_update: &str,
    key: &p384::ecdsa::SigningKey,
) -> Vec<u8> {
    use x509::ocsp;
    let read = |at: usize| Certificate::parse(&chain[at]).unwrap();
    let (certificate, issuer) = (read(at), read(at + 1));
    let single = |id: &[u8]| ocsp::single(id, status, this_update, Some("20270116000000Z"), &[]);
    let draft = ocsp::Answer {
        responder: x509::tlv(0xa1, issuer.subject.as_bytes()),
        produced: ocsp::date(this_update),
        singles: vec![single(&ocsp::id_of(&certificate.serial, &issuer))],
        algorithm: x509::seq(&[&x509::oid("1.2.840.10045.4.3.3")]),
        ..ocsp::Answer::good()
    };
    let signature: p384::ecdsa::DerSignature = key.sign(&draft.data());
    draft.sealed(signature.as_bytes())
}

#[test]
fn a_certificate_that_was_taken_back_is_refused() {
    use x509::ocsp::{good, revoked};
    let answers = |status: &[u8]| -> Vec<Vec<u8>> {
        let (device, chain) = (device(0), device(0).chain());
        let of =
            |at: usize| answer(&chain, at, if at == 1 { status } else { &[0x80, 0] }, &device.keys[at + 1]);
        (1..4).map(of).collect()
    };
    let appraisal = verdict(|list, _| list[0].ocsp = answers(&revoked("20270101000000Z", Some(1))));
    fatal(&appraisal, "gpu.device.revocation");
    let honest = verdict(|list, _| list[0].ocsp = answers(&good()));
    accepted(&honest);
    assert_eq!(honest.facts.sessions[0].devices[0].revocation, Some(true));
    assert_eq!(honest.axes.gpu, 3);
    // On hold is taken back for now.
    let appraisal = verdict(|list, _| list[0].ocsp = answers(&revoked("20270101000000Z", Some(6))));
    fatal(&appraisal, "gpu.device.revocation");
}

#[test]
fn without_a_responders_word_that_is_said() {
    let mut lab = lab();
    let mut node = lab.paper(3);
    let appraisal = changed(&mut lab, &mut node, |_| {}, |_, _| {});
    noted(&appraisal, "gpu.device.revocation-unknown");
    let appraisal = verdict(|list, _| list[0].ocsp = vec![vec![0x30, 0]]);
    noted(&appraisal, "gpu.device.revocation-unknown");
    lab.policy.checks.insert("gpu.device.revocation-unknown".into(), Severity::Warning);
    let appraisal = changed(&mut lab, &mut node, |_| {}, |_, _| {});
    warned(&appraisal, "gpu.device.revocation-unknown");
    assert_eq!(appraisal.axes.gpu, 0);
}

#[test]
fn evidence_of_devices_that_the_session_does_not_have_is_refused() {
    let refused = |change: &dyn Fn(&mut Vec<DeviceEvidence>)| {
        fatal(&verdict(|list, _| change(list)), "gpu.device.table");
    };
    refused(&|list| list[0].gpu = Some(7));
    refused(&|list| list[0].gpu = Some(1));
    refused(&|list| list[0].gpu = None);
    refused(&|list| list[0].architecture = Architecture::Ls10);
    let crowded = verdict(|list, _| {
        let switch = Device::new(Architecture::Ls10, 5).evidence();
        list.extend(std::iter::repeat_n(switch, 100));
    });
    fatal(&crowded, "evidence.form");
}

#[test]
fn two_gpus_under_one_index_are_refused() {
    let mut lab = lab();
    let mut node = lab.paper(3);
    let appraisal = changed(&mut lab, &mut node, |table| table[1].index = 0, |list, _| drop(list.pop()));
    fatal(&appraisal, "gpu.device.table");
}

#[test]
fn one_gpu_in_two_places_is_refused() {
    let appraisal = verdict(|list, nonce| list[1] = signed(Some(1), device(0), nonce));
    fatal(&appraisal, "gpu.topology.duplicate");
}

/// The field of a GPU's report that names the switches it is linked to.
fn switches(pdis: &[u64]) -> (u16, Vec<u8>) {
    (22, maker::slots(pdis, 18, false, 0))
}

fn linked(index: u8, pdis: &[u64]) -> Device {
    let (kind, data) = switches(pdis);
    let mut device = device(index);
    device.report = device.report.with(kind, &data);
    device
}

#[test]
fn gpus_and_switches_that_do_not_describe_one_machine_are_told() {
    let two = |first: &[u64], second: &[u64]| {
        verdict(|list, nonce| {
            list[0] = signed(Some(0), linked(0, first), nonce);
            list[1] = signed(Some(1), linked(1, second), nonce);
        })
    };
    // Switches that sign nothing: nothing contradicts them.
    let appraisal = two(&[5, 6], &[5, 6]);
    noted(&appraisal, "gpu.topology.missing");
    assert_eq!(appraisal.axes.gpu, 3);
    let appraisal = two(&[5, 6], &[5, 8]);
    warned(&appraisal, "gpu.topology.sets");
    assert_eq!(appraisal.axes.gpu, 0);
    let appraisal = verdict(|list, nonce| {
        list.push(signed(None, Device::new(Architecture::Ls10, 9), nonce));
    });
    warned(&appraisal, "gpu.topology.unlisted");
    assert_eq!(appraisal.axes.gpu, 0);
}

/// A switch of the machine, whose report names these GPUs.
fn switch(number: u64, gpus: &[u64]) -> Device {
    let mut device = Device::new(Architecture::Ls10, number);
    let named = [maker::slots(gpus, 8, true, 0xff), vec![0xff; 64]].concat();
    device.report = device.report.with(26, &named);
    device
}

#[test]
fn switches_that_sign_cost_nothing_and_a_hidden_one_costs_g3() {
    let machine = |present: &[u64]| {
        let mut lab = lab();
        take(&mut lab, &Rim { product: "LS10".into(), ..rim(RimKind::Switch, "96.10.55.00.01", [0, 1, 8]) });
        let mut node = lab.paper(3);
        let list = |list: &mut Vec<DeviceEvidence>, nonce| {
            let gpus = [0, 1].map(|index| signed(Some(index), linked(index, &[5, 6]), nonce));
            let switches =
                present.iter().map(|number| signed(None, switch(*number, &[pdi(0), pdi(1)]), nonce));
            *list = gpus.into_iter().chain(switches).collect();
        };
        changed(&mut lab, &mut node, |_| {}, list)
    };
    let whole = machine(&[5, 6]);
    accepted(&whole);
    assert_eq!(whole.axes.gpu, 3, "{:#?}", whole.findings);
    assert!(whole.findings.iter().all(|one| one.id != "gpu.device.fwid-absent"));
    let hidden = machine(&[5]);
    warned(&hidden, "gpu.topology.missing");
    assert_eq!(hidden.axes.gpu, 0);
    let silent = machine(&[]);
    noted(&silent, "gpu.topology.missing");
    assert_eq!(silent.axes.gpu, 3);
}

#[test]
fn a_single_gpu_that_names_switches_which_sign_nothing_is_told() {
    let mut lab = lab();
    let mut node = lab.paper(3);
    let one =
        |list: &mut Vec<DeviceEvidence>, nonce| *list = vec![signed(Some(0), linked(0, &[5, 6]), nonce)];
    let appraisal = changed(&mut lab, &mut node, |table| drop(table.pop()), one);
    noted(&appraisal, "gpu.topology.missing");
    assert_eq!(appraisal.axes.gpu, 3);
}

#[test]
fn a_gpu_library_that_says_otherwise_is_told() {
    let told = |id: &str, change: &dyn Fn(&mut GpuIdentity)| {
        let mut lab = lab();
        let mut node = lab.paper(3);
        let appraisal = changed(&mut lab, &mut node, |table| change(&mut table[0]), |_, _| {});
        warned(&appraisal, id);
        assert_eq!(appraisal.axes.gpu, 0, "{id}");
    };
    told("gpu.report.driver", &|gpu| gpu.driver = "590.13".into());
    told("gpu.report.vbios", &|gpu| gpu.vbios = Some("96.00.9F.00.02".into()));
    told("gpu.report.board-part", &|gpu| gpu.board_part_number = Some("692-2G525-0200-000".into()));
    told("gpu.report.inforom", &|gpu| gpu.inforom = Some("G525.0200.00.05".into()));
    told("gpu.report.pdi", &|gpu| gpu.pdi = Some(1));
    told("gpu.report.architecture", &|gpu| gpu.name = "NVIDIA B200".into());
}

#[test]
fn a_gpu_library_that_says_nothing_of_driver_or_vbios_is_no_g3() {
    let with = |change: &dyn Fn(&mut GpuIdentity)| {
        let mut lab = lab();
        let mut node = lab.paper(3);
        changed(&mut lab, &mut node, |table| change(&mut table[0]), |_, _| {})
    };
    let silent: [&dyn Fn(&mut GpuIdentity); 3] =
        [&|gpu| gpu.driver = String::new(), &|gpu| gpu.vbios = None, &|entry| {
            *entry = GpuIdentity { driver: String::new(), ..gpu(0) }
        }];
    for change in silent {
        let appraisal = with(change);
        noted(&appraisal, "gpu.report.not-compared");
        assert_eq!(appraisal.axes.gpu, 0);
        let attested: Vec<_> = appraisal.facts.sessions[0].devices.iter().map(|one| one.attested).collect();
        assert_eq!(attested, [false, true]);
    }
    // What not every library knows is told, and costs nothing.
    let appraisal = with(&|gpu| (gpu.pdi, gpu.inforom, gpu.board_part_number) = (None, None, None));
    noted(&appraisal, "gpu.report.not-compared");
    let said = finding(&appraisal, "gpu.report.not-compared").seen.clone().unwrap();
    assert!(said.contains("GPU 0: gpu.report.board-part, gpu.report.inforom, gpu.report.pdi"), "{said}");
    assert_eq!(appraisal.axes.gpu, 3);
}

#[test]
fn what_a_report_has_too_much_is_noted() {
    let appraisal = with_first(|mut device| {
        device.report.trailing = vec![0];
        device
    });
    noted(&appraisal, "gpu.device.trailing-bytes");
    let appraisal = with_first(|mut device| {
        device.report = device.report.with(99, &[1, 2, 3]);
        device
    });
    noted(&appraisal, "gpu.device.unknown-field");
    assert_eq!(appraisal.axes.gpu, 3);
}

#[test]
fn the_shipped_policies_let_no_check_of_a_device_be_milder() {
    for (name, _) in Policy::BUILTIN {
        let policy = Policy::builtin(name).unwrap();
        assert!(!policy.checks.keys().any(|id| id.starts_with("gpu.device.")), "{name}");
    }
}

/// A node that leaves out what its maker's responder says gains nothing by it.
#[test]
fn a_verifiers_own_answers_count_before_the_nodes() {
    use x509::ocsp::{good, revoked};
    let answers = |status: &[u8]| -> Vec<Vec<u8>> {
        let (device, chain) = (device(0), device(0).chain());
        let of =
            |at: usize| answer(&chain, at, if at == 1 { status } else { &[0x80, 0] }, &device.keys[at + 1]);
        (1..4).map(of).collect()
    };
    let at_hand = |status: &[u8], brought: Vec<Vec<u8>>| {
        let mut lab = lab();
        let mut node = lab.paper(3);
        lab.state.gpu_ocsp = answers(status).into_iter().map(Into::into).collect();
        changed(&mut lab, &mut node, |_| {}, |list, _| list[0].ocsp = brought)
    };
    let taken = revoked("20270101000000Z", Some(1));
    fatal(&at_hand(&taken, vec![]), "gpu.device.revocation");
    fatal(&at_hand(&taken, answers(&good())), "gpu.device.revocation");
    let honest = at_hand(&good(), vec![]);
    accepted(&honest);
    assert_eq!(honest.facts.sessions[0].devices[0].revocation, Some(true));
    // A crowd of answers that say nothing crowds none of the verifier's own out.
    let crowd = vec![answers(&good()).remove(1); 40];
    assert_eq!(at_hand(&good(), crowd).facts.sessions[0].devices[0].revocation, Some(true));
}

/// A node that brings many newer answers crowds the verifier's word on the same certificate out of none.
#[test]
fn newer_answers_of_the_nodes_do_not_outweigh_a_verifiers_own_revocation() {
    use x509::ocsp::{good, revoked};
    let (maker, chain) = (device(0), device(0).chain());
    let about =
        |at: usize, status: &[u8], this: &str| answer_of(&chain, at, status, this, &maker.keys[at + 1]);
    let mut lab = lab();
    let mut node = lab.paper(3);
    let taken = about(1, &revoked("20270101000000Z", Some(1)), "20270114000000Z");
    lab.state.gpu_ocsp = vec![taken.into()];
    let brought: Vec<_> = (0..6).map(|hour| about(1, &good(), &format!("202701150{hour}0000Z"))).collect();
    // Serial numbers of the made-up maker's devices are alike: both bring the crowd.
    let bring =
        |list: &mut Vec<DeviceEvidence>, _| list.iter_mut().for_each(|one| one.ocsp = brought.clone());
    let appraisal = changed(&mut lab, &mut node, |_| {}, bring);
    fatal(&appraisal, "gpu.device.revocation");
    lab.state.gpu_ocsp.clear();
    accepted(&changed(&mut lab, &mut node, |_| {}, bring));
}
