//! Machines of several devices: a closed one, and one fault at a time.

use std::sync::OnceLock;

use crate::world::{Device, judged, slots};
use assay_gpu::device::{Architecture, DeviceFacts, Pdi, Topology, TopologyFault, topology};

const GPUS: [u64; 8] = [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18];
const SWITCHES: [u64; 4] = [0x21, 0x22, 0x23, 0x24];

/// What a device says, once its evidence is accepted.
fn said(device: &Device) -> DeviceFacts {
    let judgement = judged(&device.evidence());
    assert!(judgement.is_accepted(), "{judgement:?}");
    judgement.facts
}

/// One GPU and one switch, judged once; the others differ in what they name.
fn base() -> &'static [DeviceFacts; 2] {
    static BASE: OnceLock<[DeviceFacts; 2]> = OnceLock::new();
    BASE.get_or_init(|| [Architecture::Hopper, Architecture::Ls10].map(|kind| said(&Device::new(kind, 1))))
}

fn gpu(pdi: u64, switches: &[u64]) -> DeviceFacts {
    let switch_pdis = switches.iter().copied().map(Pdi).collect();
    DeviceFacts { pdi: Some(Pdi(pdi)), switch_pdis, ..base()[0].clone() }
}

fn switch(pdi: u64, gpus: &[u64]) -> DeviceFacts {
    let gpu_pdis = gpus.iter().copied().map(Pdi).collect();
    DeviceFacts { pdi: Some(Pdi(pdi)), gpu_pdis, ..base()[1].clone() }
}

/// Eight GPUs and four switches that name each other.
fn machine() -> Vec<DeviceFacts> {
    let gpus = GPUS.map(|pdi| gpu(pdi, &SWITCHES));
    let switches = SWITCHES.map(|pdi| switch(pdi, &GPUS));
    gpus.into_iter().chain(switches).collect()
}

fn faults(devices: &[DeviceFacts]) -> Vec<TopologyFault> {
    let Topology { result, faults, .. } = topology(devices);
    assert_eq!(result, Some(false), "{faults:?}");
    faults
}

#[test]
fn a_closed_machine_is_one() {
    let closed = topology(&machine());
    let expected = Topology {
        result: Some(true),
        gpus: GPUS.map(Pdi).into(),
        switches: SWITCHES.map(Pdi).into(),
        faults: vec![],
    };
    assert_eq!(closed, expected);
    // In any order, and with names in any order.
    let mut shuffled = machine();
    shuffled.reverse();
    shuffled[11] = gpu(GPUS[0], &[0x24, 0x21, 0x22, 0x23]);
    assert_eq!(topology(&shuffled), expected);
}

/// The same from bytes: every report signed, every chain judged.
#[test]
fn a_closed_machine_of_evidence_is_one() {
    let gpus = GPUS.map(|pdi| {
        let mut device = Device::new(Architecture::Hopper, pdi);
        let links = [&SWITCHES[..], &[0, u64::MAX], &SWITCHES].concat();
        device.report = device.report.with(22, &slots(&links, 18, false, 0));
        device
    });
    let switches = SWITCHES.map(|pdi| {
        let mut device = Device::new(Architecture::Ls10, pdi);
        device.report = device.report.with(26, &[slots(&GPUS, 8, true, 0xff), vec![0xff; 64]].concat());
        device
    });
    let said: Vec<_> = gpus.iter().chain(&switches).map(said).collect();
    assert_eq!(topology(&said), topology(&machine()));
    assert_eq!(topology(&said).result, Some(true));
}

#[test]
fn a_repeated_device_is_a_fault() {
    for (at, facts) in machine().into_iter().enumerate() {
        let mut devices = machine();
        let pdi = facts.pdi.unwrap();
        devices.push(facts);
        assert_eq!(faults(&devices), [TopologyFault::Duplicate { device: 12, pdi }]);
        // In the place of another one.
        let mut devices = machine();
        let other = (at + 1) % 12;
        devices[other] = devices[at].clone();
        assert!(faults(&devices).iter().any(|fault| matches!(fault, TopologyFault::Duplicate { .. })));
    }
}

#[test]
fn a_missing_device_is_a_fault() {
    for at in 0..GPUS.len() + SWITCHES.len() {
        let mut devices = machine();
        let pdi = devices.remove(at).pdi.unwrap();
        let is_switch = at >= GPUS.len();
        let expected =
            if is_switch { TopologyFault::SwitchMissing { pdi } } else { TopologyFault::GpuMissing { pdi } };
        assert_eq!(faults(&devices), [expected]);
    }
}

#[test]
fn a_device_that_nobody_names_is_a_fault() {
    let mut devices = machine();
    devices.push(gpu(0x19, &SWITCHES));
    assert_eq!(faults(&devices), [TopologyFault::GpuUnlisted { pdi: Pdi(0x19) }]);
    let mut devices = machine();
    devices.push(switch(0x25, &GPUS));
    assert_eq!(faults(&devices), [TopologyFault::SwitchUnlisted { pdi: Pdi(0x25) }]);
}

#[test]
fn all_of_a_side_name_the_same() {
    for at in 1..8 {
        let mut devices = machine();
        devices[at] = gpu(GPUS[at], &SWITCHES[..3]);
        assert_eq!(faults(&devices), [TopologyFault::SwitchSet { device: at }]);
    }
    for at in 9..12 {
        let mut devices = machine();
        devices[at] = switch(SWITCHES[at - 8], &GPUS[..7]);
        assert_eq!(faults(&devices), [TopologyFault::GpuSet { device: at }]);
    }
    let mut devices = machine();
    devices[3] = gpu(GPUS[3], &[0x21, 0x22, 0x23, 0x99]);
    let foreign = [TopologyFault::SwitchSet { device: 3 }, TopologyFault::SwitchMissing { pdi: Pdi(0x99) }];
    assert_eq!(faults(&devices), foreign);
    // A GPU whose links are all disabled.
    let mut devices = machine();
    devices[7] = gpu(GPUS[7], &[]);
    assert_eq!(faults(&devices), [TopologyFault::SwitchSet { device: 7 }]);
}

#[test]
fn all_reports_are_for_one_nonce() {
    let mut said = machine();
    said[5].request_nonce = Some([9; 32]);
    let fault = |said: &[DeviceFacts]| topology(said).faults;
    assert_eq!(fault(&said), [TopologyFault::Nonce { device: 5 }]);
    said[5].request_nonce = None;
    assert_eq!(fault(&said), [TopologyFault::Nonce { device: 5 }]);
    let mut none = machine()[..1].to_vec();
    none[0].request_nonce = None;
    assert_eq!(topology(&none).result, Some(false));
}

#[test]
fn a_device_without_identity_is_a_fault() {
    let mut said = machine();
    said[2].pdi = None;
    let found = topology(&said);
    let expected = [TopologyFault::NoIdentity { device: 2 }, TopologyFault::GpuMissing { pdi: Pdi(GPUS[2]) }];
    assert_eq!((found.result, &found.faults[..]), (Some(false), &expected[..]));
}

#[test]
fn one_side_alone_is_not_closed_and_does_not_contradict() {
    let gpus = topology(&machine()[..8]);
    let missing: Vec<_> = SWITCHES.map(|pdi| TopologyFault::SwitchMissing { pdi: Pdi(pdi) }).into();
    assert_eq!((gpus.result, gpus.faults), (None, missing));
    let switches = topology(&machine()[8..]);
    let missing: Vec<_> = GPUS.map(|pdi| TopologyFault::GpuMissing { pdi: Pdi(pdi) }).into();
    assert_eq!((switches.result, switches.faults), (None, missing));
    // Boards without links.
    let boards = topology(&[gpu(1, &[]), gpu(2, &[])]);
    assert_eq!((boards.result, boards.faults), (None, vec![]));
    assert_eq!(topology(&[]).result, None);
    let twice = [gpu(1, &SWITCHES), gpu(1, &SWITCHES)];
    assert!(faults(&twice).contains(&TopologyFault::Duplicate { device: 1, pdi: Pdi(1) }));
}

#[test]
fn ids_are_distinct() {
    let (device, pdi) = (0, Pdi(0));
    let all = [
        TopologyFault::NoIdentity { device },
        TopologyFault::Duplicate { device, pdi },
        TopologyFault::Nonce { device },
        TopologyFault::SwitchSet { device },
        TopologyFault::GpuSet { device },
        TopologyFault::SwitchMissing { pdi },
        TopologyFault::GpuMissing { pdi },
        TopologyFault::SwitchUnlisted { pdi },
        TopologyFault::GpuUnlisted { pdi },
    ];
    let ids: std::collections::BTreeSet<_> = all.iter().map(TopologyFault::id).collect();
    assert_eq!(ids.len(), all.len());
}
