//! Real messages against `gpu.cddl`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_gpu::device::{Architecture, DeviceEvidence, Report};
use assay_gpu::rim::{Board, Rim, RimKind, RimRow, SignerProof};
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
        inforom: None,
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

fn rim(board: Option<Board>, proof: SignerProof) -> Rim {
    let value = [7; 48].into();
    Rim {
        kind: RimKind::Vbios,
        product: "GH100".into(),
        version: "96.00.5E.00.01".into(),
        tag: "t".into(),
        board,
        rows: vec![RimRow { index: 9, name: "m9".into(), values: vec![value, value] }],
        source: assay_wire::Digest([1; 32]),
        signer: assay_wire::Digest([2; 32]),
        not_before: -1,
        not_after: 2_000_000_000,
        proof,
    }
}

#[test]
fn reference_values_match_their_rule() {
    let board = Board { project: "G520".into(), project_sku: "0200".into(), chip_sku: "885".into() };
    let proof = SignerProof { certificates: vec![vec![1].into(); 5], ocsp: vec![vec![2].into()] };
    for rim in [rim(None, SignerProof::default()), rim(Some(board), proof)] {
        assert_valid("gpu-rim", &minicbor::to_vec(&rim).unwrap());
    }
    let empty = minicbor::to_vec(Rim { rows: vec![], ..rim(None, SignerProof::default()) }).unwrap();
    assert!(cddl::validate_cbor_from_slice(&schema("gpu-rim"), &empty, None).is_err());
}

fn evidence(gpu: Option<u8>, architecture: Architecture) -> DeviceEvidence {
    let report = vec![0; Report::MAX];
    DeviceEvidence {
        gpu,
        architecture,
        report,
        chain: vec![vec![1]; 5],
        ocsp: vec![vec![2]],
        simulated: true,
    }
}

#[test]
fn evidence_matches_its_rule_and_reads_back() {
    for (gpu, architecture) in
        [(Some(0), Architecture::Hopper), (Some(255), Architecture::Blackwell), (None, Architecture::Ls10)]
    {
        let full = evidence(gpu, architecture);
        let bare =
            DeviceEvidence { report: vec![], chain: vec![], ocsp: vec![], simulated: false, ..full.clone() };
        for evidence in [full, bare] {
            let bytes = minicbor::to_vec(&evidence).unwrap();
            assert_valid("device-evidence", &bytes);
            assert_eq!(
                assay_wire::cbor::from_slice::<DeviceEvidence>("evidence", &bytes, 16 << 10).unwrap(),
                evidence
            );
        }
    }
}

#[test]
fn a_wrong_message_does_not_match() {
    let valid = |message: &[u8]| cddl::validate_cbor_from_slice(&schema("gpu-beat"), message, None).is_ok();
    assert!(valid(&minicbor::to_vec([0u8; 10]).unwrap()));
    assert!(!valid(&minicbor::to_vec([0u8; 9]).unwrap()));
}
