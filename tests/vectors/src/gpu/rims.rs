//! `rims`: signature, chain, dates and rows of each file. `measurements`: what a case differs from one in.

use std::collections::BTreeMap;
use std::path::Path;

use assay_gpu::device::{HoldPolicy, Report, Roots};
use assay_gpu::rim::{Comparison, Rim, compare};
use assay_validator::rim::{Examined, examine, load_document};
use assay_x509::Seconds;
use serde_json::Value;

use super::{Case, REMARKS, full, list, look_up, means, seconds, time, word};
use crate::{Folder, Sheet};

/// Bytes between two that are changed, each in a run of its own.
const STRIDE: usize = 499;
const DAY: Seconds = 86_400;

pub(super) fn judge(folder: &Folder, file: &Value, sheet: &mut Sheet) {
    for json in list(file, "rims") {
        let Some(name) = word(json, "file") else {
            sheet.not_judged("rims", "form", "an entry names no file");
            continue;
        };
        sheet.cover(name);
        let bytes = match folder.read(name) {
            Ok(bytes) => bytes,
            Err(error) => {
                sheet.holds(name, "file", false, "readable", error);
                continue;
            }
        };
        let expected = json.get("expected").unwrap_or(&Value::Null);
        match examine(&bytes, Roots::nvidia().rim()) {
            Ok(examined) => Document { name, bytes: &bytes, examined }.judge(json, expected, sheet),
            Err(error) => {
                let refused = |key| expected.get(key) == Some(&Value::Bool(false));
                let said = |key| expected.get(key).map(ToString::to_string).unwrap_or_default();
                sheet.holds(name, "signature", refused("signature"), &said("signature"), full(&error));
                match refused("chain") {
                    true => sheet.holds(name, "chain", true, &said("chain"), full(&error)),
                    false => sheet.not_judged(name, "chain", "a document of another form is not read"),
                }
            }
        }
    }
}

/// A document and what was found out about it.
struct Document<'a> {
    name: &'a str,
    bytes: &'a [u8],
    examined: Examined,
}

impl Document<'_> {
    fn judge(self, json: &Value, expected: &Value, sheet: &mut Sheet) {
        let Self { name, examined, .. } = &self;
        for (key, value) in expected.as_object().into_iter().flatten() {
            let seen = match key.as_str() {
                remark if REMARKS.contains(&remark) => continue,
                "signature" => outcome(&examined.signature),
                "chain" => outcome(&examined.chain),
                "time" | "valid" => (time(json).is_ok_and(|at| examined.in_force(at)), String::new()),
                _ => {
                    sheet.not_judged(name, key, "no rule reads this key");
                    continue;
                }
            };
            sheet.holds(name, key, *value == Value::Bool(seen.0), &value.to_string(), shown(&seen));
        }
        if let Some(rows) = json.get("active_rows") {
            sheet.same(name, "active_rows", rows, examined.claim.rows.len());
        }
        self.dates(json, sheet);
        self.sensitive(sheet);
    }

    /// In force at the time given, not long before the signer's certificate began nor after it ended.
    fn dates(&self, json: &Value, sheet: &mut Sheet) {
        let Self { name, examined, .. } = self;
        match time(json) {
            Ok(at) if word(json, "time").is_some() => sheet.same(name, "time", true, examined.in_force(at)),
            Ok(_) => {}
            Err(error) => sheet.not_judged(name, "time", &error),
        }
        let days: Vec<Option<Seconds>> =
            list(json, "leaf_valid").iter().map(|day| seconds(day.as_str().unwrap_or_default())).collect();
        if let [Some(first), Some(last)] = days[..] {
            sheet.same(name, "before leaf_valid", false, examined.in_force(first - 1));
            sheet.same(name, "after leaf_valid", false, examined.in_force(last + DAY));
        }
    }

    /// A document with one byte changed is not what was signed.
    fn sensitive(&self, sheet: &mut Sheet) {
        if self.examined.signature.is_err() || self.examined.chain.is_err() {
            return;
        }
        let own = self.rim();
        let counts = |at: usize| {
            let mut bytes = self.bytes.to_vec();
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x01);
            // The digest of the document itself may differ, and nothing else.
            let says_more =
                |other: Rim| own.as_ref().is_none_or(|own| *own != Rim { source: own.source, ..other });
            examine(&bytes, Roots::nvidia().rim()).is_ok_and(|other| other.rim(None).is_ok_and(says_more))
        };
        let counted = (0..self.bytes.len()).step_by(STRIDE).filter(|at| counts(*at)).count();
        sheet.same(self.name, "signature.of-other-bytes", 0, counted);
    }

    fn rim(&self) -> Option<Rim> {
        self.examined.clone().rim(None).ok()
    }
}

fn outcome<E: std::error::Error>(result: &Result<(), E>) -> (bool, String) {
    (result.is_ok(), result.as_ref().err().map(|error| full(error)).unwrap_or_default())
}

fn shown((holds, why): &(bool, String)) -> String {
    if why.is_empty() { holds.to_string() } else { format!("{holds}: {why}") }
}

/// Reference values by the names of their files: one, a list, or every file of a folder.
pub(super) fn named(folder: &Folder, names: Option<&Value>) -> Result<Vec<Rim>, String> {
    let files: Vec<&str> = match names {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(name)) if folder.has(name) => vec![name],
        Some(Value::String(dir)) => folder.in_folder(dir.trim_end_matches('/')).collect(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(other) => return Err(format!("no reference values: {other}")),
    };
    // As the command does: what does not hold is not used.
    let rims = files.into_iter().map(|file| read(folder, file)).collect::<Result<Vec<_>, _>>()?;
    Ok(rims.into_iter().flatten().collect())
}

/// `None` for a document that does not hold.
fn read(folder: &Folder, file: &str) -> Result<Option<Rim>, String> {
    let bytes = folder.read(file).map_err(|error| format!("{file}: {error}"))?;
    Ok(load_document(Path::new(file), &bytes, Roots::nvidia().rim()).ok())
}

pub(super) fn measurements(folder: &Folder, file: &Value, cases: &BTreeMap<&str, Case>, sheet: &mut Sheet) {
    for json in list(file, "measurements") {
        let name = word(json, "case").unwrap_or("unnamed");
        let names = ["rim", "rims"].into_iter().find_map(|key| json.get(key));
        let rim =
            names.and_then(|names| names.as_str().or_else(|| names.get(0)?.as_str())).unwrap_or("unnamed");
        let Some(case) = cases.get(name) else {
            sheet.not_judged(name, rim, "no case has this name");
            continue;
        };
        let compared = named(folder, names).and_then(|rims| {
            let at = instant(file, json, &rims)?;
            Ok(Compared { name, rim, case, rims, at })
        });
        match compared {
            Ok(compared) if !compared.rims.is_empty() => compared.judge(json, sheet),
            Ok(_) => sheet.holds(name, rim, false, "signed reference values", "none that hold"),
            Err(error) => sheet.holds(name, rim, false, "readable", error),
        }
    }
}

/// When to compare: at the entry's own time, at that of a file it names, or when the reference values came into force.
fn instant(file: &Value, json: &Value, rims: &[Rim]) -> Result<Seconds, String> {
    let is_named = |entry: &&Value| {
        let name = entry.get("file");
        ["rim", "rims"].into_iter().filter_map(|key| json.get(key)).any(|names| {
            Some(names) == name
                || names.as_array().is_some_and(|names| names.iter().any(|one| Some(one) == name))
        })
    };
    let listed = list(file, "rims").iter().filter(is_named);
    let dated = [json].into_iter().chain(listed).find(|entry| word(entry, "time").is_some());
    match (dated, rims.iter().map(|rim| rim.not_before).max()) {
        (Some(entry), _) => time(entry),
        (None, Some(first)) => Ok(first),
        (None, None) => time(&Value::Null),
    }
}

/// A case beside the reference values that an entry names.
struct Compared<'a> {
    name: &'a str,
    rim: &'a str,
    case: &'a Case,
    rims: Vec<Rim>,
    at: Seconds,
}

impl Compared<'_> {
    fn judge(&self, json: &Value, sheet: &mut Sheet) {
        let evidence = &self.case.entry.evidence;
        let Ok(report) = Report::parse(&evidence.report) else {
            return sheet.not_judged(self.name, self.rim, "the report can't be read");
        };
        let comparison = compare(&report, evidence.architecture, &self.rims, self.at, HoldPolicy::default());
        let command = self.case.judged(None, &self.rims, self.at).json();
        let device = list(&command, "devices").first().cloned().unwrap_or_default();
        let check = look_up(&device, "measurements").cloned().unwrap_or_default();
        for (key, expected) in json.as_object().into_iter().flatten() {
            let check_name = format!("{} {key}", self.rim);
            match (key.as_str(), seen(&comparison, key), check.get(key)) {
                ("case" | "rim" | "rims" | "time", ..) => {}
                (remark, ..) if REMARKS.contains(&remark) => {}
                (_, Some(seen), _) if means(expected, &seen) => {
                    sheet.same(self.name, &check_name, expected, expected);
                }
                (_, Some(seen), _) => sheet.same(self.name, &check_name, expected, seen),
                (_, None, Some(seen)) => sheet.same(self.name, &check_name, expected, seen),
                _ => sheet.not_judged(self.name, &check_name, "no rule reads this key"),
            }
        }
        let equal = comparison.mismatched_rows().is_empty() && comparison.compared() > 0;
        let shown = check.get("result").cloned().unwrap_or_default();
        sheet.same(self.name, &format!("{} as the command says", self.rim), Value::from(equal), shown);
    }
}

fn seen(comparison: &Comparison, key: &str) -> Option<Value> {
    match key {
        "compared" => Some(comparison.compared().into()),
        "mismatched_rows" => Some(comparison.mismatched_rows().into()),
        "result" => Some(comparison.result().into()),
        _ => None,
    }
}
