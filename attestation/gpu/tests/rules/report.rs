//! Reports: what is read of them, and what is refused.

use crate::world::{Device, FWID, NONCE, ReportDraft, key, order, order_minus, slots};
use assay_gpu::device::{Architecture, DeviceError, OpaqueField, Pdi, Report, ReportFacts, SignatureFault};
use assay_x509::{EcCurve, PublicKey};

fn draft() -> ReportDraft {
    ReportDraft::new(Architecture::Hopper, 7)
}

fn read(draft: &ReportDraft) -> Result<Report, DeviceError> {
    Report::parse(&draft.sign(&key(9)))
}

fn facts(kind: u16, data: &[u8]) -> ReportFacts {
    read(&draft().with(kind, data)).unwrap().facts().clone()
}

fn public(seed: u64) -> PublicKey {
    let point = key(seed).verifying_key().to_encoded_point(false).as_bytes().to_vec();
    PublicKey::Ec { curve: EcCurve::P384, point }
}

#[test]
fn every_part_is_read() {
    let report = read(&draft()).unwrap();
    assert_eq!(report.request_nonce(), &NONCE);
    assert_eq!(report.responder_nonce(), &[0xa5; 32]);
    assert_eq!(report.measurements().len(), 64);
    for (at, measurement) in report.measurements().iter().enumerate() {
        let index = u8::try_from(at).unwrap();
        assert_eq!((measurement.index, measurement.value_type), (index + 1, 1));
        assert_eq!(measurement.value, [index; 48]);
        assert_eq!(measurement.digest(), Some(&[index; 48]));
    }
    let facts = report.facts();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(facts.vbios, text("96.00.9F.00.01"));
    assert_eq!(facts.driver, text("590.12"));
    assert_eq!((&facts.project, &facts.project_sku), (&text("G520"), &text("0200")));
    assert_eq!((&facts.chip_sku, facts.fwid), (&text("885"), Some(FWID)));
    assert_eq!((report.trailing(), report.opaque().len()), (0, 6));
    assert_eq!(report.verify(&public(9)), Ok(()));
    assert_eq!(report.verify(&public(8)), Err(SignatureFault::Invalid));
}

#[test]
fn fields_have_their_meaning() {
    assert_eq!(facts(4, &[0x80, 1, 0, 0, 0, 0, 0, 0]).chip_id, Some(0x180));
    assert_eq!(facts(35, b"GB202\0").chip_name.as_deref(), Some("GB202"));
    assert_eq!(facts(34, &[1, 2]).opaque_version, Some(0x201));
    for data in [&[2][..], &[2, 0]] {
        assert_eq!(facts(36, data).feature_flag, Some(2));
    }
    for (byte, state) in [(0xaa, Some(true)), (0x55, Some(false)), (0, None)] {
        assert_eq!(facts(11, &[byte]).nvdec0, state);
        assert_eq!(facts(21, &[byte]).protected_pcie, state);
    }
    assert_eq!(facts(3, b"550.90.07").driver.as_deref(), Some("550.90.07"), "an end is not needed");
    assert_eq!(facts(3, b"595 beta~\0").driver.as_deref(), Some("595 beta~"), "any printable ASCII");
    assert_eq!(facts(3, &[0]).driver, None);
    let vbios = facts(6, &[0x00, 0x88, 0x00, 0x97, 0x0f, 0, 0, 0]).vbios;
    assert_eq!(vbios.as_deref(), Some("97.00.88.00.0F"));
    assert_eq!(facts(6, b"96.10.5c.00.01").vbios.as_deref(), Some("96.10.5C.00.01"));
}

#[test]
fn typed_fields_are_kept_in_order() {
    let cases: [(u16, &[u8], OpaqueField); 11] = [
        (11, &[0x55], OpaqueField::Nvdec0(0x55)),
        (12, &[1, 0, 0, 0, 0, 1, 0, 0], OpaqueField::Counters(vec![1, 256])),
        (13, &[0, 0xc0, 1, 0], OpaqueField::Cpr(vec![0, 0xc0, 1, 0])),
        (14, &[0xb1, 3, 0, 0], OpaqueField::BoardId(0x3b1)),
        (16, b"0\0\0", OpaqueField::ChipSkuModifier("0".into())),
        (19, &[0, 0], OpaqueField::ProjectSkuModifier(String::new())),
        (23, &[0xec, 0], OpaqueField::DisabledPorts(vec![0xec, 0])),
        (24, &[2, 0], OpaqueField::Position(vec![2, 0])),
        (25, &[1, 0], OpaqueField::LockStatus(vec![1, 0])),
        (33, &[7, 7], OpaqueField::Unknown { kind: 33, data: vec![7, 7] }),
        (0xffff, &[], OpaqueField::Unknown { kind: 0xffff, data: vec![] }),
    ];
    let all = cases.iter().fold(draft(), |draft, (kind, data, _)| draft.with(*kind, data));
    let report = read(&all).unwrap();
    let kinds: Vec<_> = report.opaque().iter().map(OpaqueField::kind).collect();
    assert_eq!(kinds, all.opaque.iter().map(|(kind, _)| *kind).collect::<Vec<_>>());
    for (_, _, field) in cases {
        assert!(report.opaque().contains(&field), "{field:?}");
    }
}

#[test]
fn identifiers_have_two_byte_orders() {
    let (a, b) = (0x0102_0304_0506_0708, 0x1112_1314_1516_1718);
    let links = [a, 0, b, u64::MAX, a];
    assert_eq!(facts(22, &slots(&links, 18, false, 0)).switch_pdis, [Pdi(a), Pdi(b)]);
    let own = facts(22, &a.to_be_bytes());
    assert_eq!((own.own_pdi, own.switch_pdis), (Some(Pdi(a)), vec![]));
    let ports = [slots(&[b, a, 0, b], 8, true, 0xff), vec![1; 64]].concat();
    assert_eq!(facts(26, &ports).gpu_pdis, [Pdi(b), Pdi(a)]);
    let report = read(&draft().with(26, &ports)).unwrap();
    let is_ports = |field: &OpaqueField| matches!(field, OpaqueField::GpuPdis { ports, gpus } if ports == &[1; 64] && gpus.len() == 8);
    assert!(report.opaque().iter().any(is_ports));
}

#[test]
fn fields_of_another_form_are_told_by_type_and_offset() {
    let bad: [(u16, &[u8]); 25] = [
        (3, b"55\xff0"),
        (3, b"550\n1\0"),
        (3, b"550\x7f1\0"),
        (3, b"550\0.1"),
        (4, &[0x80, 1]),
        (6, &[0; 7]),
        (6, b"96.10.55.00"),
        (6, b"96.10.55.00.1"),
        (6, b"96.10.55.00.0g"),
        (11, &[]),
        (12, &[1; 5]),
        (14, &[1; 5]),
        (15, b"885\0\0\x01"),
        (20, &[1; 47]),
        (20, &[1; 49]),
        (20, &[]),
        (21, &[1, 2]),
        (22, &[1; 9]),
        (22, &[]),
        (26, &[1; 64]),
        (26, &[1; 63]),
        (26, &[1; 136]),
        (34, &[1]),
        (35, b"\x01"),
        (36, &[0, 1]),
    ];
    for (kind, data) in bad {
        let draft = draft().without(kind).with(kind, data);
        let start = draft.signed_part().len() - data.len() - 4;
        match read(&draft) {
            Err(DeviceError::Opaque { kind: seen, offset, .. }) => assert_eq!((seen, offset), (kind, start)),
            other => panic!("{kind} {data:x?}: {other:?}"),
        }
    }
}

#[test]
fn no_type_stands_twice() {
    for (kind, data) in [(20, vec![0; 48]), (33, vec![1])] {
        let mut twice = draft().with(kind, &data);
        twice.opaque.push((kind, data));
        let detail = "a type that stands there already";
        assert!(
            matches!(read(&twice), Err(DeviceError::Opaque { kind: k, detail: d, .. }) if (k, d) == (kind, detail))
        );
    }
}

#[test]
fn counts_and_lengths_are_bounded() {
    let many = |count: u16| (100..100 + count).fold(draft(), |draft, kind| draft.with(kind, &[]));
    assert!(read(&many(58)).is_ok());
    assert_eq!(read(&many(59)), Err(DeviceError::TooMany { field: "opaque fields", max: 64 }));
    for (blocks, sound) in [(0, false), (1, true), (64, true), (65, false)] {
        let draft = ReportDraft { blocks: vec![(1, vec![0; 48]); blocks], ..draft() };
        assert_eq!(read(&draft).is_ok(), sound, "{blocks}");
    }
    let room = Report::MAX - draft().sign(&key(9)).len() - 4;
    assert!(read(&draft().with(99, &vec![0; room])).is_ok());
    let long = draft().with(99, &vec![0; room + 1]);
    assert!(matches!(read(&long), Err(DeviceError::Oversized { field: "report", .. })));
}

#[test]
fn at_most_three_bytes_follow() {
    for count in 0..=4 {
        let bytes = ReportDraft { trailing: vec![1; count], ..draft() }.sign(&key(9));
        match Report::parse(&bytes) {
            Ok(report) => {
                assert_eq!(report.bytes(), bytes);
                assert_eq!((report.trailing(), report.verify(&public(9))), (count, Ok(())));
                assert!(count <= 3);
            }
            Err(error) => {
                let len = draft().sign(&key(9)).len();
                assert_eq!((count, error), (4, DeviceError::Trailing { field: "report", offset: len }));
            }
        }
    }
}

#[test]
fn every_cut_is_refused() {
    let whole = draft().sign(&key(9));
    for len in 0..whole.len() {
        assert!(matches!(Report::parse(&whole[..len]), Err(DeviceError::Truncated { .. })), "{len}");
    }
}

/// Each constant with its offset and every other value that its byte could have.
#[test]
fn constants_are_exact() {
    let whole = draft().sign(&key(9));
    let record = 37 + 8;
    // Request, response, and the headers of the first and the last block.
    let constants = [0, 1, 2, 3, 36, 37, 38, 39, 40, 41, 42, 43, 44];
    let headers =
        [0, 63].map(|block| record + 55 * block).map(|start| [0, 1, 2, 3, 5, 6].map(|at| start + at));
    for at in constants.into_iter().chain(headers.into_iter().flatten()) {
        for value in (0..=255).filter(|value| *value != whole[at]) {
            let mut bytes = whole.clone();
            bytes[at] = value;
            match Report::parse(&bytes) {
                // Fewer blocks than the record has, or a record that ends elsewhere.
                Err(
                    DeviceError::Trailing { field: "MeasurementRecord", .. } | DeviceError::Truncated { .. },
                ) => {
                    assert!((41..45).contains(&at), "{at}");
                }
                Err(DeviceError::Constant { offset, .. }) => assert!(offset <= at && at < offset + 2),
                Err(DeviceError::Value { field: "NumberOfBlocks", offset: 41, .. }) => assert_eq!(at, 41),
                other => panic!("{at} {value}: {other:?}"),
            }
        }
    }
}

/// Of 48 bytes either is read, and only one of them is a digest.
#[test]
fn bit_7_of_a_value_type_tells_raw_bytes_from_a_digest() {
    let whole = draft().sign(&key(9));
    let at = 37 + 8 + 4;
    for value_type in 0..=255 {
        let mut bytes = whole.clone();
        bytes[at] = value_type;
        let report = Report::parse(&bytes).unwrap();
        let first = &report.measurements()[0];
        assert_eq!((first.value_type, &first.value[..]), (value_type, &[0; 48][..]));
        assert_eq!(first.digest(), (value_type < 0x80).then_some(&[0; 48]));
    }
}

#[test]
fn blocks_have_sizes_of_their_own() {
    let draft = ReportDraft::of_another_processor();
    let report = read(&draft).unwrap();
    assert_eq!(report.measurements().len(), draft.blocks.len());
    for (measurement, (kind, value)) in report.measurements().iter().zip(&draft.blocks) {
        assert_eq!((measurement.value_type, &measurement.value), (*kind, value));
        assert_eq!(measurement.digest().map(|digest| digest.to_vec()), (*kind < 0x80).then(|| value.clone()));
    }
    assert_eq!((report.opaque(), report.facts()), (&[][..], &ReportFacts::default()));
    assert_eq!(report.verify(&public(9)), Ok(()));
}

#[test]
fn sizes_agree_with_each_other_and_with_the_record() {
    let whole = ReportDraft::of_another_processor().sign(&key(9));
    let record = 37 + 8;
    // The first raw block behind four digests: its size, its value's size, and the record's.
    let raw = record + 4 * 55;
    for (at, change) in
        [(raw + 2, 1), (raw + 2, 0xff), (raw + 5, 1), (raw + 6, 1), (42, 1), (42, 0xff), (43, 1)]
    {
        let mut bytes = whole.clone();
        bytes[at] = bytes[at].wrapping_add(change);
        let error = Report::parse(&bytes).unwrap_err();
        let known = match error {
            DeviceError::Constant { field: "block MeasurementSize", offset, .. } => {
                offset == raw + 2 && at > raw
            }
            DeviceError::Truncated { offset, .. } => offset >= record,
            DeviceError::Trailing { field: "MeasurementRecord", .. } => at < record,
            _ => false,
        };
        assert!(known, "{at} {change}: {error}");
    }
    for len in [0, 47, 49] {
        let short = ReportDraft { blocks: vec![(1, vec![0; len])], ..draft() };
        let field = "DMTFSpecMeasurementValueSize";
        assert!(matches!(read(&short), Err(DeviceError::Constant { field: f, .. }) if f == field), "{len}");
    }
    // A value that fills the report, and one that can't be in it.
    let empty = ReportDraft { blocks: vec![(0x83, vec![])], opaque: vec![], ..draft() };
    let room = Report::MAX - empty.sign(&key(9)).len();
    let filled = |len| ReportDraft { blocks: vec![(0x83, vec![7; len])], ..empty.clone() };
    assert_eq!(read(&filled(room)).unwrap().measurements()[0].value.len(), room);
    assert!(matches!(read(&filled(room + 1)), Err(DeviceError::Oversized { .. })));
}

#[test]
fn numbers_of_a_signature_are_one_to_order_minus_one() {
    let good = draft().sign(&key(9));
    let signature = good.len() - 96;
    let mut one = [0; 48];
    one[47] = 1;
    for number in [0, 48] {
        let judged = |value: &[u8; 48]| {
            let mut bytes = good.clone();
            bytes[signature + number..][..48].copy_from_slice(value);
            Report::parse(&bytes).unwrap().verify(&public(9))
        };
        for value in [[0; 48], order(), [0xff; 48]] {
            assert_eq!(judged(&value), Err(SignatureFault::Range));
        }
        for value in [one, order_minus(&one)] {
            assert_eq!(judged(&value), Err(SignatureFault::Invalid), "in range, and wrong");
        }
    }
}

/// FIPS 186-5 has no low-s rule: (r, s) and (r, n - s) are signatures of the same statement.
#[test]
fn a_signatures_twin_says_the_same() {
    let good = draft().sign(&key(9));
    let at = good.len() - 48;
    let mut twin = good.clone();
    twin[at..].copy_from_slice(&order_minus(&good[at..].try_into().unwrap()));
    assert_ne!(good, twin);
    let [good, twin] = [good, twin].map(|bytes| Report::parse(&bytes).unwrap());
    assert_eq!((good.verify(&public(9)), twin.verify(&public(9))), (Ok(()), Ok(())));
    assert_eq!(good.facts(), twin.facts());
    assert_eq!(good.measurements(), twin.measurements());
    assert_ne!(good.signature(), twin.signature());
}

#[test]
fn only_keys_on_p384_count() {
    let report = read(&draft()).unwrap();
    let PublicKey::Ec { point, .. } = public(9) else { panic!() };
    let mut off = point.clone();
    off[96] ^= 1;
    for other in [
        PublicKey::Ec { curve: EcCurve::P256, point: point.clone() },
        PublicKey::Ec { curve: EcCurve::P384, point: off },
        PublicKey::Ec { curve: EcCurve::P384, point: vec![] },
        PublicKey::Rsa { modulus: vec![0xff; 256], exponent: vec![3] },
    ] {
        assert_eq!(report.verify(&other), Err(SignatureFault::Key));
    }
}

#[test]
fn every_flipped_byte_of_a_made_up_report_is_refused() {
    let device = Device::new(Architecture::Ls10, 5);
    let other = ReportDraft::of_another_processor();
    let key = {
        let point = device.keys[0].verifying_key().to_encoded_point(false).as_bytes().to_vec();
        PublicKey::Ec { curve: EcCurve::P384, point }
    };
    for draft in [&device.report, &other] {
        let good = draft.sign(&device.keys[0]);
        assert_eq!(Report::parse(&good).unwrap().verify(&key), Ok(()));
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            if let Ok(report) = Report::parse(&bytes) {
                assert!(report.verify(&key).is_err(), "{at}");
            }
        }
    }
}
