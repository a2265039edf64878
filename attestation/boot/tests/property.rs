//! Any bytes give a value or a typed error; what is written is read, and replays to its extends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;

use assay_boot::write::LogWriter;
use assay_boot::{
    EV_NO_ACTION, EventLog, HashAlg, UefiVariable, compare, reset_value, scrtm_version, secure_boot,
};
use proptest::prelude::*;

type Row = (u8, u32, Vec<u8>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let kind = prop_oneof![1u32..15, 0x8000_0001u32..0x8000_000d];
    let data = proptest::collection::vec(any::<u8>(), 0..80);
    proptest::collection::vec((0u8..24, kind, data), 0..40)
}

fn written(rows: &[Row]) -> LogWriter {
    let mut writer = LogWriter::new();
    writer.startup_locality(3).unwrap();
    for (pcr, kind, data) in rows {
        writer.measure(*pcr, *kind, data).unwrap();
    }
    writer
}

/// PCR values by the definition of extend alone.
fn extended(extends: &[(u8, [u8; 32])]) -> BTreeMap<u8, Vec<u8>> {
    let mut values = BTreeMap::new();
    for (pcr, digest) in extends {
        let mut start = vec![0; 32];
        start[31] = if *pcr == 0 { 3 } else { 0 };
        let value = values.entry(*pcr).or_insert(start);
        *value = HashAlg::Sha256.hash(&[value, digest]).unwrap();
    }
    values
}

fn read_everything(bytes: &[u8]) {
    if let Ok(log) = EventLog::parse(bytes) {
        for bank in log.banks.clone() {
            let _ = log.replay(bank);
        }
        let _ = (secure_boot(&log), scrtm_version(&log));
        let _ = compare(&log, &(0..24).map(|pcr| (pcr, reset_value(pcr))).collect());
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        read_everything(&bytes);
        let _ = UefiVariable::parse(&bytes);
    }

    #[test]
    fn no_mutation_of_a_log_panics(
        rows in rows(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = written(&rows).finish();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read_everything(&bytes);
    }

    #[test]
    fn what_is_written_is_read_and_replayed(rows in rows()) {
        let writer = written(&rows);
        let extends = writer.extends().to_vec();
        let log = EventLog::parse(&writer.finish()).unwrap();
        let read: Vec<Row> = log.events.iter().skip(1)
            .map(|event| (u8::try_from(event.pcr).unwrap(), event.kind, event.data.clone()))
            .collect();
        prop_assert_eq!(&read, &rows);
        prop_assert_eq!(log.startup_locality, 3);
        prop_assert_eq!(log.replay(HashAlg::Sha256), extended(&extends));
        let remarks = rows.iter().filter(|(_, kind, _)| *kind == EV_NO_ACTION).count();
        prop_assert_eq!(extends.len() + remarks, rows.len());
    }

    #[test]
    fn variables_round_trip(guid in any::<[u8; 16]>(), name in ".{0,20}", value in any::<Vec<u8>>()) {
        let variable = UefiVariable { guid, name, value };
        prop_assert_eq!(UefiVariable::parse(&variable.encode()), Ok(variable));
    }
}
