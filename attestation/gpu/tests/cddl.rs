//! Real messages against `gpu.cddl`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_gpu::{Accumulator, GpuIdentity, GpuSample, Readings};

const CDDL: &str = include_str!("../gpu.cddl");

/// The rules with `root` as the first, which is the one that is matched.
fn schema(root: &str) -> String {
    format!("start = {root}\n{CDDL}")
}

fn assert_valid(root: &str, bytes: &[u8]) {
    if let Err(error) = cddl::validate_cbor_from_slice(&schema(root), bytes, None) {
        panic!("{root}: {error}");
    }
}

fn identity() -> GpuIdentity {
    GpuIdentity {
        index: 0,
        uuid: "GPU-0".into(),
        name: "H100".into(),
        memory_mib: 81_559,
        pci_bus_id: "00000000:1A:00.0".into(),
        driver: "550.163.01".into(),
        simulated: false,
        vbios: Some("96.00.74.00.09".into()),
        serial: None,
        pdi: Some(u64::MAX),
        power_limit_mw: Some(700_000),
        board_part_number: None,
    }
}

fn sample() -> GpuSample {
    let readings = Readings { energy_mj: Some(1 << 41), power_mw: Some(650_123), ..Readings::default() };
    GpuSample { readings, ..GpuSample::empty(0, 86_400_000) }
}

#[test]
fn messages_match_their_rules() {
    let mut gpu = Accumulator::new(0, 81_559);
    gpu.push(&sample());
    assert_valid("gpu-identity", &minicbor::to_vec(identity()).unwrap());
    assert_valid("gpu-sample", &minicbor::to_vec(sample()).unwrap());
    assert_valid("gpu-beat", &minicbor::to_vec(gpu.beat()).unwrap());
}

#[test]
fn a_wrong_message_does_not_match() {
    let valid = |message: &[u8]| cddl::validate_cbor_from_slice(&schema("gpu-beat"), message, None).is_ok();
    assert!(valid(&minicbor::to_vec([0u8; 10]).unwrap()));
    assert!(!valid(&minicbor::to_vec([0u8; 9]).unwrap()));
}
