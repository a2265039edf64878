//! Any bytes give a value or a typed error; what is written is read, and replays to its extends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;

use assay_boot::write::LogWriter;
use assay_boot::{
    BootLogs, Cause, EV_NO_ACTION, EventLog, HashAlg, ImaLog, UefiVariable, UserspaceLog, compare,
    reset_value, scrtm_version, secure_boot,
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
        let _ = log.violations();
        let _ = compare(&log, &(0..24).map(|pcr| (pcr, reset_value(pcr))).collect());
    }
}

/// Everything that is done with the logs of a boot; at least one of the bytes is a real firmware log.
fn join_everything(firmware: &[u8], userspace: &[u8], ima: &[u8]) {
    let Ok(firmware) = EventLog::parse(firmware) else { return };
    let (userspace, ima) = (UserspaceLog::parse(userspace).ok(), ImaLog::parse(ima).ok());
    let logs = BootLogs { firmware: &firmware, userspace: userspace.as_ref(), ima: ima.as_ref() };
    for alg in [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Other(0x12)] {
        let mut values = logs.replay(alg);
        let differences = logs.compare(alg, &values).differences;
        assert!(differences.iter().all(|row| row.cause == Cause::Misplaced), "{differences:?}");
        for pcr in 0..=255 {
            values.entry(pcr).or_default();
        }
        let _ = logs.compare(alg, &values);
    }
    for entry in ima.iter().flat_map(ImaLog::entries) {
        let _ = entry.fields();
    }
    let _ = ima.map(|log| (log.first_altered(), log.follows(&firmware)));
}

const RECORD: &str = concat!(
    "\x1e{\"pcr\":11,\"digests\":[{\"hashAlg\":\"sha1\",\"digest\":\"da39a3ee5e6b4b0d3255bfef95601890afd80709\"}],",
    "\"content_type\":\"systemd\",\"content\":{\"string\":\"\",\"eventType\":\"phase\"}}\n"
);
const LINE: &str = concat!(
    "10 edcfbc3299860219161af60b266f8e2fa1fbd0c0 ima-ng ",
    "sha1:009b0d8ee8fb8d890fa70f9c8e02b3f1eded1509 /data\n",
    "10 0000000000000000000000000000000000000000 ima-sig ",
    "sha1:0000000000000000000000000000000000000000 /x 03\n",
);

/// [`LINE`] in the binary form.
fn binary_ima() -> Vec<u8> {
    let log = ImaLog::parse(LINE.as_bytes()).unwrap();
    let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat();
    let record = |entry: assay_boot::ImaEntry<'_>| {
        let pcr = u32::from(entry.pcr).to_le_bytes();
        [&pcr[..], entry.template_hash, &sized(entry.template_name.as_bytes()), &sized(entry.data)].concat()
    };
    log.entries().flat_map(record).collect()
}

type Flips = Vec<(prop::sample::Index, u8)>;

fn flips() -> impl Strategy<Value = Flips> {
    proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)
}

fn flipped(bytes: &[u8], flips: &Flips) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, value) in flips {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    bytes
}

proptest! {
    #[test]
    fn no_bytes_panic_as_logs_of_the_operating_system(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let firmware = LogWriter::new().finish();
        join_everything(&firmware, &[&[0x1e], &bytes[..]].concat(), &bytes);
        join_everything(&firmware, &bytes, &[&[10, 0, 0, 0], &bytes[..]].concat());
    }

    #[test]
    fn no_mutation_of_logs_of_the_operating_system_panics(
        rows in rows(),
        flips in (flips(), flips(), flips()),
    ) {
        let firmware = flipped(&written(&rows).finish(), &flips.0);
        let userspace = flipped(RECORD.repeat(2).as_bytes(), &flips.1);
        join_everything(&firmware, &userspace, &flipped(LINE.as_bytes(), &flips.2));
        join_everything(&firmware, &userspace, &flipped(&binary_ima(), &flips.2));
    }

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
