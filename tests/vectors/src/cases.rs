//! `cases.json`: what each attestation is worth, alone, with its logs, and after another.

use std::collections::BTreeMap;

use assay_boot::EventLog;
use assay_tpm::Public;
use serde_json::{Map, Value};

use crate::attestation::{Attested, Key, json_pcr, unhex};
use crate::logs::{Values, bank_alg, expected_values, replayed, text};
use crate::sequence::follows;
use crate::{Folder, Manifest, Sheet};

const FILE: &str = "cases.json";
/// Keys of `expected` that say in words what the others say.
const REMARKS: [&str; 3] = ["why", "finding", "after"];

struct Case<'a> {
    name: &'a str,
    json: &'a Value,
    attested: Attested,
    key: Key,
    logs: Vec<(&'a str, Option<EventLog>)>,
}

pub(crate) fn judge(folder: &Folder, _: &Manifest, sheet: &mut Sheet) {
    if !folder.has(FILE) {
        return sheet.not_judged(FILE, "form", "the folder has none");
    }
    let file = match folder.json(FILE) {
        Ok(file) => file,
        Err(error) => return sheet.holds(FILE, "form", false, "JSON", error),
    };
    let list: Vec<&Value> = file.get("cases").and_then(Value::as_array).into_iter().flatten().collect();
    sheet.holds(FILE, "form", !list.is_empty(), "a list of cases", list.len());
    let mut cases = BTreeMap::new();
    for json in &list {
        let name = json.get("name").and_then(Value::as_str).unwrap_or("unnamed");
        match Case::read(folder, name, json) {
            Ok(case) => {
                cases.insert(name, case);
            }
            Err(error) => unreadable(name, json, &error, sheet),
        }
    }
    for json in list {
        let name = json.get("name").and_then(Value::as_str).unwrap_or("unnamed");
        if let Some(case) = cases.get(name) {
            case.judge(&cases, sheet);
        }
    }
}

/// A case whose parts don't parse is as good as one whose every use is refused.
fn unreadable(name: &str, json: &Value, error: &str, sheet: &mut Sheet) {
    for (key, expected) in json.get("expected").and_then(Value::as_object).into_iter().flatten() {
        match key.as_str() {
            "signature" => sheet.holds(name, key, expected == false, &expected.to_string(), error),
            "as_quote" | "as_time" | "in_sequence" => {
                sheet.holds(name, key, expected == "reject", &text(expected), error);
            }
            _ => sheet.not_judged(name, key, error),
        }
    }
}

impl<'a> Case<'a> {
    fn read(folder: &Folder, name: &'a str, json: &'a Value) -> Result<Self, String> {
        let part =
            |key| unhex(json.get(key).unwrap_or(&Value::Null)).map_err(|error| format!("{key}: {error}"));
        let attested =
            Attested::parse(part("attest")?, &part("signature")?).map_err(|error| error.to_string())?;
        let key = Key::from_json(json.get("ak").unwrap_or(&Value::Null))?;
        let logs = json.get("eventlogs").and_then(Value::as_array).into_iter().flatten();
        let logs = logs.filter_map(Value::as_str).map(|log| (log, parse(folder, log))).collect();
        Ok(Self { name, json, attested, key, logs })
    }

    fn judge(&self, cases: &BTreeMap<&str, Self>, sheet: &mut Sheet) {
        let expected = self.json.get("expected").and_then(Value::as_object);
        for (key, value) in expected.into_iter().flatten().filter(|(key, _)| !REMARKS.contains(&key.as_str()))
        {
            match key.as_str() {
                "signature" => self.signature(value, sheet),
                "selection" => self.selection(value, sheet),
                "pcr_digest" => self.pcr_digest(value, sheet),
                "replay" => self.replay(value, sheet),
                "boot_log" => sheet.same(self.name, key, text(value), self.boot_log().0),
                "current_log" => sheet.same(self.name, key, value, Value::from(self.boot_log().1)),
                "as_quote" => self.usable(key, value, Attested::as_quote, sheet),
                "as_time" => self.usable(key, value, Attested::as_time, sheet),
                "in_sequence" => self.in_sequence(expected, value, cases, sheet),
                other => sheet.not_judged(self.name, other, "no rule reads this key"),
            }
        }
    }

    fn signature(&self, expected: &Value, sheet: &mut Sheet) {
        let seen = self.key.verify(&self.attested.bytes, &self.attested.signature);
        let good = expected.as_bool() == Some(seen.is_ok());
        let seen = seen.map_or_else(|error| error.to_string(), |()| "true".to_owned());
        sheet.holds(self.name, "signature", good, &expected.to_string(), seen);
        self.sensitive(sheet);
    }

    /// Bytes that differ in one bit are not what was signed.
    fn sensitive(&self, sheet: &mut Sheet) {
        let holds = |at: usize| {
            let mut bytes = self.attested.bytes.clone();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x10;
            }
            self.key.verify(&bytes, &self.attested.signature).is_ok()
        };
        let held = (0..self.attested.bytes.len()).step_by(7).filter(|at| holds(*at)).count();
        sheet.same(self.name, "signature.of-other-bytes", 0, held);
    }

    fn selection(&self, expected: &Value, sheet: &mut Sheet) {
        let Some(seen) = self.attested.selection() else {
            return sheet.holds(
                self.name,
                "selection",
                expected.is_null(),
                &expected.to_string(),
                "no quote",
            );
        };
        let rows = expected.as_object().into_iter().flatten();
        let expected: BTreeMap<String, Vec<u8>> =
            rows.map(|(bank, pcrs)| (bank.clone(), indices(pcrs))).collect();
        sheet.same(self.name, "selection", selection_text(&expected), selection_text(&seen));
    }

    fn pcr_digest(&self, expected: &Value, sheet: &mut Sheet) {
        let pcrs = self.json.get("pcrs").unwrap_or(&Value::Null);
        let seen = self.attested.digest_holds(|alg, pcr| json_pcr(pcrs, alg, pcr));
        sheet.same(self.name, "pcr_digest", expected, Value::from(seen));
    }

    fn replay(&self, expected: &Value, sheet: &mut Sheet) {
        for (log, rows) in expected.as_object().into_iter().flatten() {
            let Some(seen) = self.compared(log) else {
                sheet.not_judged(self.name, &format!("replay {log}"), "the case does not list this log");
                continue;
            };
            sheet.same(self.name, &format!("replay {log}"), replay_text(rows), rows_text(&seen));
        }
    }

    /// Per quoted bank that the log carries: the PCRs that match and that don't. `None` for a log that
    /// the case doesn't list, nothing for one that doesn't parse.
    fn compared(&self, name: &str) -> Option<BTreeMap<String, Compared>> {
        let (_, log) = self.logs.iter().find(|(log, _)| *log == name)?;
        let banks = self.json.get("pcrs").and_then(Value::as_object).into_iter().flatten();
        let rows = banks.filter_map(|(bank, values)| {
            let replayed = replayed(log.as_ref()?, bank_alg(bank)?);
            let compared = Compared::new(&replayed, &expected_values(values));
            (!replayed.is_empty()).then(|| (bank.clone(), compared))
        });
        Some(rows.collect())
    }

    /// Whether some log leads to the quoted values, and the last that does: after a resume, firmware
    /// hands out the logs of earlier boots before the one of this boot.
    fn boot_log(&self) -> (&'static str, Option<&str>) {
        let explains = |log: &str| {
            let rows = self.compared(log).unwrap_or_default();
            rows.values().any(|row| !row.matched.is_empty())
                && rows.values().all(|row| row.mismatched.is_empty())
        };
        let current = self.logs.iter().map(|(log, _)| *log).rfind(|log| explains(log));
        match (self.logs.is_empty(), current) {
            (true, _) => ("none", None),
            (false, Some(log)) => ("accept", Some(log)),
            (false, None) => ("reject", None),
        }
    }

    fn usable(
        &self,
        check: &str,
        expected: &Value,
        usable: fn(&Attested, &Public) -> Result<(), String>,
        sheet: &mut Sheet,
    ) {
        let Key::Area(ak) = &self.key else {
            return sheet.not_judged(self.name, check, "the key's attributes and Name are not known");
        };
        verdict(self.name, check, expected, usable(&self.attested, ak), sheet);
    }

    fn in_sequence(
        &self,
        expected: Option<&Map<String, Value>>,
        value: &Value,
        cases: &BTreeMap<&str, Self>,
        sheet: &mut Sheet,
    ) {
        let after = expected.and_then(|expected| expected.get("after")).and_then(Value::as_str);
        let Some(earlier) = after.and_then(|name| cases.get(name)) else {
            return sheet.not_judged(self.name, "in_sequence", "the case before it is not there");
        };
        let seen = follows(&earlier.attested.attest, &self.attested.attest);
        verdict(self.name, "in_sequence", value, seen, sheet);
    }
}

/// PCRs of one bank that log and quote both speak of.
struct Compared {
    matched: Vec<u8>,
    mismatched: Vec<u8>,
}

impl Compared {
    fn new(replayed: &Values, quoted: &Values) -> Self {
        let both = replayed.iter().filter_map(|(pcr, value)| Some((*pcr, quoted.get(pcr)? == value)));
        let (matched, mismatched): (Vec<_>, Vec<_>) = both.partition(|(_, same)| *same);
        let indices = |rows: Vec<(u8, bool)>| rows.into_iter().map(|(pcr, _)| pcr).collect();
        Self { matched: indices(matched), mismatched: indices(mismatched) }
    }
}

fn verdict(file: &str, check: &str, expected: &Value, seen: Result<(), String>, sheet: &mut Sheet) {
    let (expected, good) = (text(expected), seen.is_ok());
    let seen = seen.map_or_else(|error| format!("reject: {error}"), |()| "accept".to_owned());
    match expected.as_str() {
        "accept" => sheet.holds(file, check, good, &expected, seen),
        "reject" => sheet.holds(file, check, !good, &expected, seen),
        _ => sheet.not_judged(file, check, "neither accept nor reject is expected"),
    }
}

fn parse(folder: &Folder, log: &str) -> Option<EventLog> {
    EventLog::parse(&folder.read(log).ok()?).ok()
}

/// PCR indices, given as strings or numbers.
fn indices(values: &Value) -> Vec<u8> {
    let values = values.as_array().into_iter().flatten();
    values.map(|value| text(value).parse().unwrap_or(u8::MAX)).collect()
}

fn list(pcrs: &[u8]) -> String {
    pcrs.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

fn selection_text(selection: &BTreeMap<String, Vec<u8>>) -> String {
    let banks: Vec<String> = selection.iter().map(|(bank, pcrs)| format!("{bank}:{}", list(pcrs))).collect();
    if banks.is_empty() { "nothing".to_owned() } else { banks.join("+") }
}

fn rows_text(rows: &BTreeMap<String, Compared>) -> String {
    let rows: Vec<String> = rows
        .iter()
        .filter(|(_, row)| !row.matched.is_empty() || !row.mismatched.is_empty())
        .map(|(bank, row)| {
            format!("{bank}:matched={} mismatched={}", list(&row.matched), list(&row.mismatched))
        })
        .collect();
    if rows.is_empty() { "nothing".to_owned() } else { rows.join("+") }
}

fn replay_text(rows: &Value) -> String {
    let row = |row: &Value, key| row.get(key).map(indices).unwrap_or_default();
    let rows = rows.as_object().into_iter().flatten().map(|(bank, values)| {
        let compared = Compared { matched: row(values, "matched"), mismatched: row(values, "mismatched") };
        (bank.clone(), compared)
    });
    rows_text(&rows.collect())
}
