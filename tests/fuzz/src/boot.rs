//! Boot logs and what stands in them.

use std::collections::BTreeMap;

use assay_boot::{
    Digest, Event, EventLog, Format, HashAlg, MAX_BANKS, MAX_EVENT_BYTES, MAX_EVENTS, MAX_LOG_BYTES,
    PCR_COUNT, Quirk, UefiVariable, compare, reset_value, scrtm_version, secure_boot,
};

/// A firmware log: the events written back are the log's own bytes, every bank replays by the
/// definition of extend, and limits hold.
pub fn eventlog(data: &[u8]) {
    let Ok(log) = EventLog::parse(data) else { return };
    assert!(data.len() <= MAX_LOG_BYTES && log.events.len() <= MAX_EVENTS && log.banks.len() <= MAX_BANKS);
    let events: Vec<u8> = log.events.iter().flat_map(|event| written(event, log.format)).collect();
    let tail = log.quirks.iter().map(|quirk| match quirk {
        Quirk::WindowsTail { bytes } => *bytes,
        _ => 0,
    });
    let end = data.len() - tail.sum::<usize>();
    assert!(data[..end].ends_with(&events), "events are not what the log holds");
    for event in &log.events {
        assert!(event.pcr < PCR_COUNT && event.data.len() <= MAX_EVENT_BYTES && !event.digests.is_empty());
    }
    for bank in &log.banks {
        replays(&log, *bank);
    }
    assert_eq!(EventLog::parse(data).as_ref(), Ok(&log), "parsed twice, two results");
    assert_eq!(secure_boot(&log), secure_boot(&log));
    let _ = scrtm_version(&log);
    compares(&log);
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

/// A variable as firmware logs it: written back the same.
pub fn uefi(data: &[u8]) {
    if let Ok(variable) = UefiVariable::parse(data) {
        assert_eq!(variable.encode(), data, "one encoding");
    }
}
