//! A firmware log: events, and the PCR values that they lead to.

use assay_boot::{
    Event, EventLog, HashAlg, MAX_LOG_BYTES, Quirk, event_type_name, scrtm_version, secure_boot,
};
use serde_json::{Map, Value, json};

use super::command::{Inspected, Undecodable};
use super::page::{Page, Table};

/// Longest file read, in bytes; the parsers say which of their limits is exceeded.
pub(super) const MAX_BYTES: usize = MAX_LOG_BYTES + 1;
/// Characters of a digest that a table shows.
const DIGEST: usize = 16;

/// Reads a firmware log of either format.
pub(super) fn inspect(bytes: &[u8]) -> Result<Inspected, Undecodable> {
    let log = EventLog::parse(bytes)?;
    Ok(Inspected { json: log_json(&log), page: page(&log), good: true })
}

/// Values of each declared bank, empty for one that not every event extends.
fn banks(log: &EventLog) -> Map<String, Value> {
    let values = |alg: &HashAlg| {
        let values =
            log.replay(*alg).into_iter().map(|(pcr, value)| (pcr.to_string(), hex::encode(value).into()));
        (bank(*alg), Value::Object(values.collect()))
    };
    log.banks.iter().map(values).collect()
}

fn bank(alg: HashAlg) -> String {
    match alg {
        HashAlg::Other(id) => format!("{id:#06x}"),
        known => known.name().to_owned(),
    }
}

fn log_json(log: &EventLog) -> Value {
    let events = log.events.iter().enumerate().map(|(index, event)| event_json(log, index, event));
    let mut json = json!({
        "schema": 1,
        "format": log.format.name(),
        "event_count": log.events.len(),
        "banks": banks(log),
        "startup_locality": log.startup_locality,
        "hcrtm": log.hcrtm,
        "secure_boot": secure_boot(log),
        "crtm_version": scrtm_version(log).map(|version| version.text),
        "quirks": log.quirks.iter().map(quirk_name).collect::<Vec<_>>(),
        "events": events.collect::<Vec<_>>(),
    });
    if let (tail @ 1.., Some(fields)) = (log.tail_bytes(), json.as_object_mut()) {
        fields.insert("tail_bytes".to_owned(), tail.into());
    }
    json
}

fn event_json(log: &EventLog, index: usize, event: &Event) -> Value {
    let digests = event.digests.iter().map(|digest| (bank(digest.alg), hex::encode(&digest.value).into()));
    json!({
        "index": index,
        "pcr": event.pcr,
        "type": event_type_name(event.kind),
        "type_id": format!("{:#010x}", event.kind),
        "digests": digests.collect::<Map<String, Value>>(),
        "data": readable(event),
        "measured": log.is_measured(event),
    })
}

fn page(log: &EventLog) -> Page {
    let mut page = Page::new(format!("a firmware log, {}", log.format.name()));
    for quirk in &log.quirks {
        page.problem(format!("quirk {}", quirk_name(quirk)));
    }
    if log.extended().all(|event| event.pcr != 0) {
        page.problem("no event in PCR 0: nothing is said of the firmware");
    }
    page.fact("events", log.events.len());
    page.fact(
        "secure boot",
        match secure_boot(log) {
            Some(true) => "on",
            Some(false) => "off",
            None => "not in the log",
        },
    );
    page.fact("PCR 0 starts at", log.pcr0_start());
    if let Some(version) = scrtm_version(log) {
        page.fact("firmware version", version.text);
    }
    for alg in &log.banks {
        page.table(values_table(log, *alg));
    }
    page.table(events_table(log));
    page
}

fn values_table(log: &EventLog, alg: HashAlg) -> Table {
    let name = bank(alg);
    let mut table = Table::new(&["pcr", &name]);
    table.rows =
        log.replay(alg).into_iter().map(|(pcr, value)| vec![pcr.to_string(), hex::encode(value)]).collect();
    table
}

fn events_table(log: &EventLog) -> Table {
    let mut table = Table::new(&["event", "pcr", "type", "digest", "data"]);
    table.rows = log
        .events
        .iter()
        .enumerate()
        .map(|(index, event)| {
            let digest = event.digests.last().map(|digest| hex::encode(&digest.value)).unwrap_or_default();
            let digest = digest.get(..DIGEST).unwrap_or(&digest).to_owned();
            let kind = event_type_name(event.kind).to_owned();
            vec![index.to_string(), event.pcr.to_string(), kind, digest, one_line(event)]
        })
        .collect();
    table
}

fn quirk_name(quirk: &Quirk) -> &'static str {
    match quirk {
        Quirk::WindowsTail { .. } => "windows-tail",
        Quirk::SpecIdVendorInfoOutside { .. } => "spec-id-vendor-info-outside",
        Quirk::BankIncomplete { .. } => "bank-incomplete",
        _ => "other",
    }
}

/// The event's data as fields, chosen by its type.
fn readable(event: &Event) -> Value {
    json!({ "form": "bytes", "bytes": hex::encode(&event.data) })
}

fn one_line(event: &Event) -> String {
    hex::encode(&event.data)
}
