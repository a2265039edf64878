//! Boot logs and what stands in them.

use std::collections::BTreeMap;

use assay_boot::{
    Authority, BootLogs, DevicePath, Digest, Event, EventLog, FirmwareBlob, Format, GptData, HandoffTables,
    HashAlg, ImaFormat, ImaLog, ImageLoad, LoadOption, MAX_BANKS, MAX_EVENT_BYTES, MAX_EVENTS,
    MAX_IMA_ENTRIES, MAX_LOG_BYTES, PCR_COUNT, SecureBootState, SignatureList, TaggedEvent, UefiVariable,
    Uki, UserspaceLog, boot_applications, compare, coverage, describe, os_events, reset_value, scrtm_version,
    secure_boot, virtualization_hints,
};

use crate::world;

/// A firmware log: the events written back are the log's own bytes, every bank replays by the
/// definition of extend, and limits hold.
pub fn eventlog(data: &[u8]) {
    let Ok(log) = EventLog::parse(data) else { return };
    assert!(data.len() <= MAX_LOG_BYTES && log.events.len() <= MAX_EVENTS && log.banks.len() <= MAX_BANKS);
    written_back(&log, data);
    for event in &log.events {
        assert!(event.pcr < PCR_COUNT && event.data.len() <= MAX_EVENT_BYTES && !event.digests.is_empty());
    }
    for bank in &log.banks {
        replays(&log, *bank);
    }
    assert_eq!(EventLog::parse(data).as_ref(), Ok(&log), "parsed twice, two results");
    assert_eq!(secure_boot(&log), secure_boot(&log));
    compares(&log);
    meaning(&log);
}

/// Events that were written as they were read are the log's own bytes: all of them up to what a quirk
/// added to one or put behind the last.
fn written_back(log: &EventLog, data: &[u8]) {
    let events: Vec<u8> = log.events.iter().flat_map(|event| written(event, log.format)).collect();
    if log.quirks.is_empty() {
        assert!(data.ends_with(&events), "events are not what the log holds");
    } else {
        assert!(events.len() <= data.len(), "more events than bytes");
    }
}

/// Readers of meaning are total, and say the same every time.
fn meaning(log: &EventLog) {
    let read = || {
        let state = (SecureBootState::read(log), boot_applications(log), Uki::read(log), scrtm_version(log));
        let hints = (virtualization_hints(log), os_events(log, 12), log.violations());
        let events: Vec<_> = log.events.iter().map(|event| (coverage(log, event), describe(event))).collect();
        format!("{state:?}{hints:?}{events:?}")
    };
    assert_eq!(read(), read());
}

/// systemd's userspace log: digests have their algorithm's length, each PCR's replay is the definition
/// of extend from where the firmware's log leaves it, and the log alone decides it.
pub fn userspace_log(data: &[u8]) {
    let Ok(log) = UserspaceLog::parse(data) else { return };
    assert!(data.len() <= MAX_LOG_BYTES && log.records.len() <= MAX_EVENTS);
    for record in &log.records {
        assert!(record.pcr().is_none_or(|pcr| u32::from(pcr) < PCR_COUNT));
        assert!(record.digests.iter().all(|d| d.alg.digest_len().is_none_or(|len| len == d.value.len())));
        let _ = (record.is_measured(), record.systemd());
    }
    assert_eq!(UserspaceLog::parse(data).as_ref(), Ok(&log), "parsed twice, two results");
    let firmware = firmware();
    let logs = BootLogs { firmware: &firmware, userspace: Some(&log), ima: None };
    if !log.carries(HashAlg::Sha256) {
        assert!(logs.replay(HashAlg::Sha256).is_empty());
        return;
    }
    let mut values = firmware.replay(HashAlg::Sha256);
    for record in &log.records {
        let (Some(pcr), Some(digest)) = (record.pcr(), record.digest(HashAlg::Sha256)) else { continue };
        // PCRs 17 to 22 too: only a dynamic launch, which clears them, makes them extendable.
        let value = values.entry(pcr).or_insert_with(|| vec![0; 32]);
        *value = HashAlg::Sha256.hash(&[value, digest]).unwrap();
    }
    assert_eq!(logs.replay(HashAlg::Sha256), values);
    let comparison = logs.compare(HashAlg::Sha256, &values);
    assert_eq!(comparison, logs.compare(HashAlg::Sha256, &values));
}

fn firmware() -> EventLog {
    EventLog::parse(world().evidence.logs.firmware.as_ref().unwrap()).unwrap()
}

/// An IMA log in either form: entries are bounded, a binary log's are its bytes in order, the whole
/// log's value is matched by a prefix, and banks replay alike every time.
pub fn ima(data: &[u8]) {
    let Ok(log) = ImaLog::parse(data) else { return };
    let entries: Vec<_> = log.entries().collect();
    assert_eq!(entries.len(), log.len());
    assert!((1..=MAX_IMA_ENTRIES).contains(&log.len()));
    let held: usize = entries.iter().map(|entry| entry.data.len()).sum();
    assert!(log.format() == ImaFormat::Ascii || held <= data.len(), "more data than bytes");
    for entry in &entries {
        assert!(u32::from(entry.pcr) < PCR_COUNT);
        let _ = (entry.fields(), entry.is_violation());
    }
    let _ = (log.first_altered(), log.follows(&firmware()));
    for alg in [HashAlg::Sha1, HashAlg::Sha256] {
        let values = log.replay(alg);
        assert_eq!(values, log.replay(alg));
        for (pcr, value) in &values {
            let prefix = log.matching_prefix(alg, *pcr, value).expect("the whole log is a prefix");
            assert!(prefix.entries <= log.len());
        }
    }
}

/// A record as the specification lays it out (PFP 1.06, 10.2.1 and 10.2.2).
fn written(event: &Event, format: Format) -> Vec<u8> {
    let mut bytes = [event.pcr, event.kind].map(u32::to_le_bytes).concat();
    let agile = format == Format::CryptoAgile;
    if agile {
        bytes.extend(u32::try_from(event.digests.len()).unwrap().to_le_bytes());
    }
    for Digest { alg, value } in &event.digests {
        if agile {
            bytes.extend(alg.id().to_le_bytes());
        }
        bytes.extend(value);
    }
    bytes.extend(u32::try_from(event.data.len()).unwrap().to_le_bytes());
    bytes.extend(&event.data);
    bytes
}

/// PCR := H(PCR || digest), event by event.
fn replays(log: &EventLog, alg: HashAlg) {
    let replayed = log.replay(alg);
    let Some(len) = alg.digest_len().filter(|_| log.carries(alg)) else {
        assert!(replayed.is_empty(), "a bank that is not carried replays to nothing");
        return;
    };
    let mut values: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    for event in log.events.iter().filter(|event| event.is_extended()) {
        let pcr = u8::try_from(event.pcr).unwrap();
        let value = values.entry(pcr).or_insert_with(|| {
            let mut start = vec![0; len];
            start[len - 1] = if pcr == 0 { log.pcr0_start() } else { 0 };
            start
        });
        *value = alg.hash(&[value, event.digest(alg).unwrap()]).unwrap();
    }
    assert_eq!(replayed, values);
}

/// What a log replays to agrees with it, and one changed value does not.
fn compares(log: &EventLog) {
    let quoted = quoted(log);
    let carried = log.carries(HashAlg::Sha256);
    assert_eq!(compare(log, &quoted).is_empty(), carried || quoted.is_empty());
    for pcr in quoted.keys() {
        let mut other = quoted.clone();
        other.entry(*pcr).and_modify(|value| value[0] ^= 1);
        assert!(compare(log, &other).iter().any(|mismatch| mismatch.pcr == *pcr));
    }
}

/// SHA-256 PCRs 0 to 23 as a TPM would hold them that lived through this log.
pub(crate) fn quoted(log: &EventLog) -> BTreeMap<u8, [u8; 32]> {
    let replayed = log.replay(HashAlg::Sha256);
    let value = |pcr: u8| match replayed.get(&pcr) {
        Some(value) => value.as_slice().try_into().unwrap(),
        None => {
            let mut value = reset_value(pcr);
            value[31] |= if pcr == 0 { log.pcr0_start() } else { 0 };
            value
        }
    };
    (0..24).map(|pcr| (pcr, value(pcr))).collect()
}

/// What UEFI puts into events and variables: structures that have an encoder are written back the same,
/// the others are read alike. They stand in event data, which is no longer than this.
pub fn uefi(data: &[u8]) {
    if data.len() > MAX_EVENT_BYTES {
        return;
    }
    if let Ok(variable) = UefiVariable::parse(data) {
        assert_eq!(variable.encode(), data, "one encoding");
    }
    if let Ok(lists) = SignatureList::parse_all(data) {
        let whole = lists.iter().all(|list| !list.signatures.is_empty());
        let encoded: Vec<u8> = lists.iter().flat_map(SignatureList::encode).collect();
        // A list without an entry has an entry size that says nothing and is not kept.
        assert!(!whole || encoded == data, "one encoding");
        assert_eq!(encoded.len(), data.len());
    }
    if let Ok(path) = DevicePath::parse(data) {
        assert_eq!(path.encode(), data, "one encoding");
    }
    if let Ok(paths) = DevicePath::parse_list(data) {
        assert_eq!(paths.iter().flat_map(DevicePath::encode).collect::<Vec<_>>(), data, "one encoding");
    }
    let others = || {
        let images = (LoadOption::parse(data), ImageLoad::parse(data), Authority::parse(data));
        let tables = (FirmwareBlob::parse(data), FirmwareBlob::parse2(data), GptData::parse(data));
        let rest = (HandoffTables::parse(data), HandoffTables::parse2(data), TaggedEvent::parse_all(data));
        format!("{images:?}{tables:?}{rest:?}")
    };
    assert_eq!(others(), others());
}
