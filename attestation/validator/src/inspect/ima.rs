//! The kernel's IMA log.

use std::collections::BTreeMap;

use assay_boot::{HashAlg, ImaEntry, ImaLog, MAX_IMA_LOG_BYTES};
use serde_json::{Map, Value, json};

use super::command::{Inspected, Undecodable};
use super::page::{Page, Table};

/// Longest file read, in bytes.
pub(super) const MAX_BYTES: usize = MAX_IMA_LOG_BYTES;
/// Banks that are replayed: a log does not say which the TPM has.
const BANKS: [HashAlg; 3] = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384];
/// Entries that the page shows; the JSON has all.
const SHOWN: usize = 200;

/// Reads an IMA log of either form.
pub(super) fn inspect(bytes: &[u8]) -> Result<Inspected, Undecodable> {
    let log = ImaLog::parse(bytes)?;
    let entries = log.entries().enumerate().map(|(index, entry)| entry_json(index, &entry, log.hash_alg()));
    let json = json!({
        "schema": 1,
        "format": log.format().name(),
        "event_count": log.len(),
        "banks": banks(&log),
        "startup_locality": null,
        "secure_boot": null,
        "quirks": [],
        "violations": log.entries().filter(ImaEntry::is_violation).count(),
        "first_altered": log.first_altered(),
        "boot_aggregate": log.logged_boot_aggregate().map(|(alg, digest)| format!("{}:{}", alg.name(), hex::encode(digest))),
        "events": entries.collect::<Vec<_>>(),
    });
    Ok(Inspected { json, page: page(&log), good: true })
}

fn banks(log: &ImaLog<'_>) -> Map<String, Value> {
    let values = |alg: HashAlg| {
        let values =
            log.replay(alg).into_iter().map(|(pcr, value)| (pcr.to_string(), hex::encode(value).into()));
        (alg.name().to_owned(), Value::Object(values.collect()))
    };
    BANKS.into_iter().map(values).collect()
}

fn entry_json(index: usize, entry: &ImaEntry<'_>, alg: HashAlg) -> Value {
    let digests = Map::from_iter([(alg.name().to_owned(), hex::encode(entry.template_hash).into())]);
    json!({
        "index": index,
        "pcr": entry.pcr,
        "type": entry.template_name,
        "digests": digests,
        "data": data(entry),
        "violation": entry.is_violation(),
    })
}

fn data(entry: &ImaEntry<'_>) -> Value {
    let Some(fields) = entry.fields() else {
        return json!({ "form": "bytes", "bytes": hex::encode(entry.data) });
    };
    let mut shown = json!({
        "form": "ima",
        "digest": format!("{}:{}", fields.digest_alg, hex::encode(fields.digest)),
        "path": path(fields.path),
    });
    let more = [("signature", fields.signature), ("buffer", fields.buffer), ("modsig", fields.modsig)];
    for (name, bytes) in more.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
        if let Some(fields) = shown.as_object_mut() {
            fields.insert(name.to_owned(), hex::encode(bytes).into());
        }
    }
    shown
}

fn path(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn page(log: &ImaLog<'_>) -> Page {
    let mut page = Page::new(format!("an IMA log, {}", log.format().name()));
    if let Some(index) = log.first_altered() {
        page.problem(format!("entry {index}: its template hash is not that of its data"));
    }
    let violations = log.entries().filter(ImaEntry::is_violation).count();
    if violations > 0 {
        page.problem(format!("{violations} violations: files that changed while they were measured"));
    }
    page.fact("entries", log.len());
    let mut templates: BTreeMap<&str, usize> = BTreeMap::new();
    let names: Vec<ImaEntry<'_>> = log.entries().collect();
    names.iter().for_each(|entry| *templates.entry(entry.template_name).or_default() += 1);
    let templates: Vec<String> =
        templates.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
    page.fact("templates", templates.join(", "));
    if let Some((alg, digest)) = log.logged_boot_aggregate() {
        page.fact("boot aggregate", format!("{}:{}", alg.name(), hex::encode(digest)));
    }
    let mut values = Table::new(&["pcr", "bank", "value"]);
    for alg in BANKS {
        let rows = log.replay(alg).into_iter();
        values.rows.extend(
            rows.map(|(pcr, value)| vec![pcr.to_string(), alg.name().to_owned(), hex::encode(value)]),
        );
    }
    page.table(values);
    page.table(entries_table(log));
    page
}

fn entries_table(log: &ImaLog<'_>) -> Table {
    let mut table = Table::new(&["entry", "pcr", "template", "file digest", "path"]);
    table.rows = log
        .entries()
        .enumerate()
        .take(SHOWN)
        .map(|(index, entry)| {
            let (digest, path) = entry.fields().map_or_else(Default::default, |fields| {
                let digest: String =
                    hex::encode(fields.digest).chars().take(super::eventlog::DIGEST).collect();
                (format!("{}:{digest}", fields.digest_alg), path(fields.path))
            });
            vec![index.to_string(), entry.pcr.to_string(), entry.template_name.to_owned(), digest, path]
        })
        .collect();
    if let Some(more) = log.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let note = format!("{more} more: --json shows them all");
        table.rows.push(vec!["...".to_owned(), String::new(), String::new(), String::new(), note]);
    }
    table
}
