//! A firmware log or systemd's userspace log: events, and the PCR values that they lead to.

use assay_boot::{
    Event, EventData, EventLog, HashAlg, MAX_LOG_BYTES, Quirk, describe, event_type_name, scrtm_version,
    secure_boot, secure_boot_quirks, virtualization_hints,
};
use serde_json::{Map, Value, json};

use super::command::{Inspected, Undecodable};
use super::page::{Page, Table};
use super::userspace;

/// Longest file read, in bytes.
pub(super) const MAX_BYTES: usize = MAX_LOG_BYTES;
/// Characters of a digest that a table shows.
pub(super) const DIGEST: usize = 16;

/// What a userspace log begins with (RFC 7464, section 2.1); a firmware log begins with a PCR index.
const RECORD_SEPARATOR: u8 = 0x1e;

/// Reads a firmware log of either format, or a userspace log.
pub(super) fn inspect(bytes: &[u8]) -> Result<Inspected, Undecodable> {
    if bytes.first() == Some(&RECORD_SEPARATOR) && bytes.get(1..4) != Some(&[0; 3]) {
        return userspace::inspect(bytes);
    }
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

/// A bank's name; of one that is not computed, as TPM tools print it (TCG Algorithm Registry 1.34).
pub(super) fn bank(alg: HashAlg) -> String {
    match alg {
        HashAlg::Other(0x0012) => "sm3_256".to_owned(),
        HashAlg::Other(0x0027) => "sha3_256".to_owned(),
        HashAlg::Other(0x0028) => "sha3_384".to_owned(),
        HashAlg::Other(0x0029) => "sha3_512".to_owned(),
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
        "quirks": quirks(log).iter().map(Quirk::name).collect::<Vec<_>>(),
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
        "data": readable(&describe(event)),
        "measured": log.is_measured(event),
    })
}

fn page(log: &EventLog) -> Page {
    let mut page = Page::new(format!("a firmware log, {}", log.format.name()));
    for quirk in quirks(log) {
        page.problem(quirk_text(&quirk));
    }
    if log.extended().all(|event| event.pcr != 0) {
        page.problem("no event in PCR 0: nothing is said of the firmware");
    }
    for hint in virtualization_hints(log) {
        page.problem(format!("event {} looks like a virtual machine's: {}", hint.event, hint.seen));
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
            vec![index.to_string(), event.pcr.to_string(), kind, digest, one_line(&describe(event))]
        })
        .collect();
    table
}

/// What was overlooked in the log's form, and in what PCR 7 says.
fn quirks(log: &EventLog) -> Vec<Quirk> {
    [&log.quirks[..], &secure_boot_quirks(log)].concat()
}

/// A quirk with its size, for people.
fn quirk_text(quirk: &Quirk) -> String {
    let name = quirk.name();
    match quirk {
        Quirk::WindowsTail { bytes }
        | Quirk::SpecIdVendorInfoOutside { bytes }
        | Quirk::StartupLocalityPadded { bytes } => format!("quirk {name}: {bytes} bytes"),
        Quirk::BankIncomplete { alg, events } => {
            format!(
                "quirk {name}: {} lacks the digests of {events} events and replays to nothing",
                bank(*alg)
            )
        }
        Quirk::SeparatorPadded { events } | Quirk::ShimAuthorityPadded { events } => {
            format!("quirk {name}: {events} events")
        }
        _ => format!("quirk {name}"),
    }
}

/// Fields by name; a name that is there more than once has a list.
fn readable(data: &EventData) -> Value {
    let mut fields = Map::from_iter([("form".to_owned(), data.form.into())]);
    for (name, value) in &data.fields {
        match fields.get_mut(*name) {
            None => {
                fields.insert((*name).to_owned(), value.as_str().into());
            }
            Some(Value::Array(values)) => values.push(value.as_str().into()),
            Some(first) => *first = Value::Array(vec![first.take(), value.as_str().into()]),
        }
    }
    Value::Object(fields)
}

fn one_line(data: &EventData) -> String {
    let fields: Vec<String> = data.fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
    match data.form {
        "text" | "bytes" | "separator" => data.fields.iter().map(|(_, value)| value.as_str()).collect(),
        _ => fields.join(", "),
    }
}
