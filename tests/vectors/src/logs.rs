//! `expected.json`: what each firmware log must parse and replay to.

use std::collections::{BTreeMap, BTreeSet};

use assay_boot::{EventLog, HashAlg, secure_boot};
use serde_json::{Map, Value};

use crate::{Folder, Manifest, Sheet};

const FILE: &str = "expected.json";
/// Keys of a row that say why, not what.
const REMARKS: [&str; 2] = ["verdict", "why"];

/// PCR values of one bank as hex by index.
pub(crate) type Values = BTreeMap<u8, String>;

pub(crate) fn judge(folder: &Folder, _: &Manifest, sheet: &mut Sheet) {
    if !folder.has(FILE) {
        return sheet.not_judged(FILE, "form", "the folder has none");
    }
    let expected = match folder.json(FILE) {
        Ok(expected) => expected,
        Err(error) => return sheet.holds(FILE, "form", false, "JSON", error),
    };
    let logs = expected.get("logs").and_then(Value::as_object);
    sheet.holds(FILE, "form", logs.is_some(), "an object of logs", logs.map_or(0, Map::len));
    for (file, row) in logs.into_iter().flatten() {
        judge_log(folder, file, row, sheet);
    }
}

fn judge_log(folder: &Folder, file: &str, row: &Value, sheet: &mut Sheet) {
    let bytes = match folder.read(file) {
        Ok(bytes) => bytes,
        Err(error) => return sheet.holds(file, "verdict", false, "a file", error),
    };
    let parsed = EventLog::parse(&bytes);
    let seen = parsed.as_ref().map_or_else(|error| format!("refused: {error}"), |_| "parsed".to_owned());
    match (row.get("verdict").and_then(Value::as_str), &parsed) {
        (Some("ok"), parsed) => sheet.holds(file, "verdict", parsed.is_ok(), "ok", seen),
        (Some("refuse"), parsed) => sheet.holds(file, "verdict", parsed.is_err(), "refuse", seen),
        (Some("either"), _) => sheet.holds(file, "verdict", true, "either", seen),
        _ => sheet.not_judged(file, "verdict", "a verdict that is none of ok, refuse, either"),
    }
    if let (Ok(log), Some(row)) = (parsed, row.as_object()) {
        judge_fields(file, row, &log, sheet);
    }
}

fn judge_fields(file: &str, row: &Map<String, Value>, log: &EventLog, sheet: &mut Sheet) {
    for (key, expected) in row.iter().filter(|(key, _)| !REMARKS.contains(&key.as_str())) {
        match key.as_str() {
            "format" => sheet.same(file, key, text(expected), log.format.name()),
            "event_count" => sheet.same(file, key, expected, log.events.len()),
            "startup_locality" => sheet.same(file, key, expected, log.startup_locality),
            "secure_boot" => sheet.same(file, key, expected, Value::from(secure_boot(log))),
            "tail_bytes" => sheet.same(file, key, expected, log.tail_bytes()),
            "banks" => judge_banks(file, expected, log, sheet),
            other => sheet.not_judged(file, other, "no rule reads this key"),
        }
    }
    if !row.contains_key("tail_bytes") && !row.is_empty() {
        sheet.same(file, "tail_bytes", 0, log.tail_bytes());
    }
}

fn judge_banks(file: &str, expected: &Value, log: &EventLog, sheet: &mut Sheet) {
    let Some(banks) = expected.as_object() else {
        return sheet.not_judged(file, "banks", "not an object");
    };
    // Banks of other algorithms have no name that everyone uses.
    let declared = log.banks.iter().filter(|alg| alg.digest_len().is_some()).map(|alg| alg.name().to_owned());
    let named = banks.keys().filter(|name| bank_alg(name).is_some()).cloned();
    sheet.same(
        file,
        "banks",
        join(&named.collect::<BTreeSet<_>>()),
        join(&declared.collect::<BTreeSet<_>>()),
    );
    for (bank, values) in banks {
        let check = format!("banks.{bank}");
        let Some(alg) = bank_alg(bank) else {
            sheet.not_judged(file, &check, "digests of this algorithm are carried, not computed");
            continue;
        };
        same_values(file, &check, &expected_values(values), &replayed(log, alg), sheet);
    }
}

/// One verdict for a bank: how many PCRs agree, or which differ and how.
pub(crate) fn same_values(file: &str, check: &str, expected: &Values, seen: &Values, sheet: &mut Sheet) {
    if expected == seen {
        let count = format!("{} PCRs", expected.len());
        return sheet.same(file, check, &count, &count);
    }
    let differing = |values: &Values, other: &Values| {
        let rows = values.iter().filter(|(pcr, value)| other.get(*pcr) != Some(value));
        let rows: Vec<String> = rows.map(|(pcr, value)| format!("{pcr}={value}")).collect();
        if rows.is_empty() { "absent".to_owned() } else { rows.join(",") }
    };
    sheet.holds(file, check, false, &differing(expected, seen), differing(seen, expected));
}

pub(crate) fn replayed(log: &EventLog, alg: HashAlg) -> Values {
    log.replay(alg).into_iter().map(|(pcr, value)| (pcr, hex::encode(value))).collect()
}

/// `{"0": hex, ...}`; a key that is no PCR index is kept as PCR 255, which nothing replays to.
pub(crate) fn expected_values(values: &Value) -> Values {
    let rows = values.as_object().into_iter().flatten();
    rows.map(|(pcr, value)| (pcr.parse().unwrap_or(u8::MAX), text(value).to_ascii_lowercase())).collect()
}

pub(crate) fn bank_alg(name: &str) -> Option<HashAlg> {
    let known = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    known.into_iter().find(|alg| alg.name() == name)
}

pub(crate) fn join<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join("/") }
}

/// A string, or any other value as JSON.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
