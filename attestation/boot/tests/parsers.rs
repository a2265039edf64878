//! Any bytes give each parser a value or a typed error; what is written is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;

use assay_boot::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn read_everything(bytes: &[u8]) {
    let _ = (UefiVariable::parse(bytes), SignatureList::parse_all(bytes), LoadOption::parse(bytes));
    let _ = (DevicePath::parse_list(bytes), DevicePath::parse(bytes).map(|path| path.to_string()));
    let _ = (ImageLoad::parse(bytes), GptData::parse(bytes), TaggedEvent::parse_all(bytes));
    let _ = (FirmwareBlob::parse(bytes), FirmwareBlob::parse2(bytes), Authority::parse(bytes));
    let _ = (HandoffTables::parse(bytes), HandoffTables::parse2(bytes));
    let _ = (Release::decode(bytes), Release::from_corim(bytes));
    for kind in (0..0x14).chain(0x8000_0001..0x8000_0011).chain(0x8000_00e0..0x8000_00e5) {
        let event = Event { pcr: 7, kind, digests: vec![], data: bytes.to_vec() };
        assert!(describe(&event).fields.iter().all(|(_, value)| !value.contains(char::is_control)));
    }
}

fn read_log(log: &EventLog) {
    let records = [UserspaceMeasurement { pcr: 11, sha256: [0; 32], text: "\u{0}" }];
    let quoted = BTreeMap::from([(11, [0; 32])]);
    let release = Release::from_corim(&[]).err();
    assert!(release.is_some());
    let _ = (SecureBootState::read(log), boot_applications(log), driver_count(log), Uki::read(log));
    let _ = (virtualization_hints(log), phase_path(&records), quoted);
    for pcr in 0..24 {
        let _ = os_events(log, pcr);
    }
    for event in &log.events {
        let _ = coverage(log, event);
    }
}

fn list() -> impl Strategy<Value = SignatureList> {
    let kind = prop_oneof![
        Just((SignatureType::Sha256, 32)),
        Just((SignatureType::X509Sha384, 64)),
        (1usize..200).prop_map(|len| (SignatureType::X509, len)),
        (1usize..200).prop_map(|len| (SignatureType::Other([9; 16]), len)),
    ];
    (kind, 1usize..4, 0usize..40).prop_map(|((kind, len), count, header)| {
        let header = if matches!(kind, SignatureType::Other(_)) { vec![1; header] } else { vec![] };
        let entry = |n| Signature { owner: [n; 16], data: vec![n; len] };
        let signatures = (0..count).map(|n| entry(u8::try_from(n).unwrap())).collect();
        SignatureList { kind, header, signatures }
    })
}

fn path() -> impl Strategy<Value = DevicePath> {
    let node = (1u8..6, 0u8..40, vec(any::<u8>(), 0..60));
    let node = node.prop_map(|(kind, subtype, data)| DevicePathNode { kind, subtype, data });
    vec(node, 0..6).prop_map(|nodes| DevicePath { nodes })
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..500)) {
        read_everything(&bytes);
    }

    #[test]
    fn lists_and_paths_round_trip(lists in vec(list(), 0..4), path in path()) {
        let bytes: Vec<u8> = lists.iter().flat_map(SignatureList::encode).collect();
        prop_assert_eq!(SignatureList::parse_all(&bytes), Ok(lists));
        prop_assert!(!path.to_string().contains(char::is_control));
        prop_assert_eq!(DevicePath::parse(&path.encode()), Ok(path));
    }

    #[test]
    fn no_mutation_of_a_structure_panics(
        lists in vec(list(), 1..3),
        path in path(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let lists: Vec<u8> = lists.iter().flat_map(SignatureList::encode).collect();
        let variable = UefiVariable { guid: KeyName::Db.guid(), name: "db".into(), value: lists };
        let path = path.encode();
        let len = u16::try_from(path.len()).unwrap();
        let image = [&[0; 24][..], &u64::from(len).to_le_bytes(), &path].concat();
        let option = [&[1, 0, 0, 0][..], &len.to_le_bytes(), &[0x41, 0, 0, 0], &path].concat();
        for mut bytes in [variable.encode(), image, option] {
            for (at, value) in &flips {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            read_everything(&bytes);
            let events = [1, 2, 4, 7, 11, 12, 13, 14].map(|pcr| {
                let digest = HashAlg::Sha256.hash(&[&bytes]).unwrap();
                let digests = vec![Digest { alg: HashAlg::Sha256, value: digest }];
                Event { pcr, kind: EV_IPL, digests, data: bytes.clone() }
            });
            let log = EventLog {
                format: Format::CryptoAgile,
                banks: vec![HashAlg::Sha256],
                events: events.to_vec(),
                startup_locality: 0,
                hcrtm: false,
                quirks: vec![],
            };
            read_log(&log);
        }
    }
}
