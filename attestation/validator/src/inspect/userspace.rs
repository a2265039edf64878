//! systemd's userspace log.

use std::collections::BTreeSet;

use assay_boot::{BootLogs, Content, EventLog, Format, HashAlg, Register, UserspaceLog, UserspaceRecord};
use serde_json::{Map, Value, json};

use super::command::{Inspected, Undecodable};
use super::eventlog::{DIGEST, bank};
use super::page::{Page, Table};

/// Reads a userspace log. Its values start from zeros: what the firmware measured before is not known.
pub(super) fn inspect(bytes: &[u8]) -> Result<Inspected, Undecodable> {
    let log = UserspaceLog::parse(bytes)?;
    let records = log.records.iter().enumerate().map(|(index, record)| record_json(index, record));
    let json = json!({
        "schema": 1,
        "format": "cel-json",
        "event_count": log.records.len(),
        "banks": banks(&log),
        "startup_locality": null,
        "secure_boot": null,
        "quirks": [],
        "events": records.collect::<Vec<_>>(),
    });
    Ok(Inspected { json, page: page(&log), good: true })
}

fn algs(log: &UserspaceLog) -> BTreeSet<HashAlg> {
    log.records.iter().flat_map(|record| &record.digests).map(|digest| digest.alg).collect()
}

/// Values by bank and PCR; of a boot whose firmware measured nothing.
fn banks(log: &UserspaceLog) -> Map<String, Value> {
    let banks = algs(log).into_iter().map(|alg| {
        let values = replay(log, alg).into_iter().map(|(pcr, value)| (pcr, Value::from(value)));
        (bank(alg), Value::Object(values.collect()))
    });
    banks.collect()
}

fn replay(log: &UserspaceLog, alg: HashAlg) -> Vec<(String, String)> {
    let firmware = EventLog {
        format: Format::CryptoAgile,
        banks: vec![alg],
        events: Vec::new(),
        startup_locality: 0,
        hcrtm: false,
        quirks: Vec::new(),
    };
    let logs = BootLogs { firmware: &firmware, userspace: Some(log), ima: None };
    logs.replay(alg).into_iter().map(|(pcr, value)| (pcr.to_string(), hex::encode(value))).collect()
}

fn record_json(index: usize, record: &UserspaceRecord) -> Value {
    let digests = record.digests.iter().map(|digest| (bank(digest.alg), hex::encode(&digest.value).into()));
    json!({
        "index": index,
        "pcr": record.pcr(),
        "nv_index": match record.register {
            Register::NvIndex(index) => Some(format!("{index:#010x}")),
            Register::Pcr(_) => None,
        },
        "type": kind(record),
        "digests": digests.collect::<Map<String, Value>>(),
        "data": data(record),
        "measured": record.is_measured(),
    })
}

fn kind(record: &UserspaceRecord) -> String {
    match &record.content {
        Content::Systemd(content) => content.event_type.clone().unwrap_or_else(|| "systemd".to_owned()),
        Content::Other { kind, .. } => kind.clone(),
    }
}

fn data(record: &UserspaceRecord) -> Value {
    match &record.content {
        Content::Systemd(content) => json!({
            "form": "systemd", "string": content.string, "boot_id": content.boot_id,
            "timestamp_us": content.timestamp_us, "nv_index_name": content.nv_index_name,
        }),
        Content::Other { json: text, .. } => {
            let content = serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.as_str().into());
            json!({ "form": "json", "content": content })
        }
    }
}

fn page(log: &UserspaceLog) -> Page {
    let mut page = Page::new("a userspace log, cel-json");
    page.problem("values start from zeros: what the firmware extended before is in its own log");
    page.fact("events", log.records.len());
    let boots: BTreeSet<&str> = log.records.iter().filter_map(|r| r.systemd()?.boot_id.as_deref()).collect();
    page.fact("boot id", boots.into_iter().collect::<Vec<_>>().join(" "));
    for alg in algs(log) {
        let mut table = Table::new(&["pcr", &bank(alg)]);
        table.rows = replay(log, alg).into_iter().map(|(pcr, value)| vec![pcr, value]).collect();
        page.table(table);
    }
    let mut table = Table::new(&["event", "pcr", "type", "digest", "string"]);
    table.rows = log.records.iter().enumerate().map(|(index, record)| row(index, record)).collect();
    page.table(table);
    page
}

fn row(index: usize, record: &UserspaceRecord) -> Vec<String> {
    let register = match record.register {
        Register::Pcr(pcr) => pcr.to_string(),
        Register::NvIndex(index) => format!("NV {index:#x}"),
    };
    let digest = record.digests.last().map(|digest| hex::encode(&digest.value)).unwrap_or_default();
    let text = record.systemd().and_then(|content| content.string.clone()).unwrap_or_default();
    vec![index.to_string(), register, kind(record), digest.get(..DIGEST).unwrap_or(&digest).to_owned(), text]
}
