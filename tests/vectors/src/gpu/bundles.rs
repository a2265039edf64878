//! `bundles`: files with several devices, judged as a set.
//!
//! An entry names its files under `file`, `files` or `bundle`, or cases under `cases`, and may give `time`,
//! `nonce` and `rims` (a folder or a list of files). What is expected stands in the entry itself or under `expected`, by the keys of the
//! command's JSON.

use std::collections::{BTreeMap, BTreeSet};

use assay_gpu::device::{HoldPolicy, Roots};
use assay_validator::verify_gpu::{Asked, Entry, Judged, bundle, judge as judge_devices};
use serde_json::{Map, Value};

use super::{Case, REMARKS, compare, full, list, look_up, missing, rims, time, word};
use crate::{Folder, Sheet};

/// Keys that name files.
const FILES: [&str; 3] = ["file", "files", "bundle"];
/// Keys that name cases.
const CASES: [&str; 1] = ["cases"];
/// Further keys that say what to judge, not what to expect.
const INPUT: [&str; 4] = ["name", "time", "nonce", "rims"];

pub(super) fn judge(folder: &Folder, file: &Value, cases: &BTreeMap<&str, Case>, sheet: &mut Sheet) {
    for json in list(file, "bundles") {
        let keys = file_keys(folder, json);
        let files = named(json, &keys);
        let name = word(json, "name").or_else(|| files.first().copied()).unwrap_or("unnamed bundle");
        if files.is_empty() && named(json, &CASES).is_empty() {
            sheet.holds(name, "file", false, "files or cases", "none is named");
            continue;
        }
        files.iter().for_each(|file| sheet.cover(file));
        if missing(folder, &files.iter().copied().map(Some).collect::<Vec<_>>(), name, sheet) {
            continue;
        }
        match judged(folder, &files, json, cases) {
            Ok(judged) => {
                let set = Set { name, judged: &judged, json: judged.json(), inputs: &keys };
                set.expect(json.as_object(), sheet);
            }
            Err(error) => unreadable(name, json, &error, sheet),
        }
    }
}

/// The keys that name files: the usual ones, and any other whose texts are all names of files.
fn file_keys<'a>(folder: &Folder, json: &'a Value) -> Vec<&'a str> {
    let is_file = |key: &&str| {
        let texts = named(json, &[key]);
        FILES.contains(key)
            || !texts.is_empty() && !INPUT.contains(key) && texts.iter().all(|text| folder.has(text))
    };
    json.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).filter(is_file).collect()
}

/// What stands under some keys, as a text or a list of texts.
fn named<'a>(json: &'a Value, keys: &[&str]) -> Vec<&'a str> {
    let texts = |value: &'a Value| match value {
        Value::String(text) => vec![text.as_str()],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    keys.iter().filter_map(|key| json.get(*key)).flat_map(texts).collect()
}

fn judged(
    folder: &Folder,
    files: &[&str],
    json: &Value,
    cases: &BTreeMap<&str, Case>,
) -> Result<Judged, String> {
    let mut entries: Vec<Entry> = Vec::new();
    for file in files {
        let bytes = folder.read(file).map_err(|error| format!("{file}: {error}"))?;
        entries.extend(bundle(&bytes).map_err(|error| full(&error))?);
    }
    for name in named(json, &CASES) {
        let case = cases.get(name).ok_or_else(|| format!("no case named {name}"))?;
        entries.push(case.entry.clone());
    }
    let at = time(json)?;
    let rims = rims::named(folder, json.get("rims"))?;
    let nonce = word(json, "nonce").map(|text| {
        let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| format!("no nonce: {text}"))
    });
    let (nonce, roots, hold) = (nonce.transpose()?, &Roots::nvidia(), HoldPolicy::default());
    Ok(judge_devices(entries, &Asked { nonce, at, roots, rims: &rims, hold }))
}

/// A bundle that can't be read is as good as one whose every check fails.
fn unreadable(name: &str, json: &Value, error: &str, sheet: &mut Sheet) {
    let fields = json
        .as_object()
        .into_iter()
        .flatten()
        .chain(json.get("expected").and_then(Value::as_object).into_iter().flatten());
    for (key, expected) in fields.filter(|(key, _)| is_expectation(key)) {
        match expected {
            Value::Bool(expected) => sheet.holds(name, key, !expected, &expected.to_string(), error),
            Value::Object(_) => {}
            other => sheet.holds(name, key, false, &other.to_string(), error),
        }
    }
}

fn is_expectation(key: &str) -> bool {
    ![&FILES[..], &CASES, &INPUT, &REMARKS].iter().any(|keys| keys.contains(&key))
}

/// A judged set under its name.
struct Set<'a> {
    name: &'a str,
    judged: &'a Judged,
    json: Value,
    /// Keys that name its files.
    inputs: &'a [&'a str],
}

impl Set<'_> {
    fn expect(&self, expected: Option<&Map<String, Value>>, sheet: &mut Sheet) {
        let is_ours = |key: &str| is_expectation(key) && !self.inputs.contains(&key);
        for (key, value) in expected.into_iter().flatten().filter(|(key, _)| is_ours(key)) {
            match (key.as_str(), value) {
                ("expected", Value::Object(fields)) => self.expect(Some(fields), sheet),
                ("devices", Value::Array(devices)) => self.devices(devices, sheet),
                ("devices" | "count", Value::Number(count)) => {
                    sheet.same(self.name, key, count, self.judged.devices.len());
                }
                ("accept" | "accepted" | "good", value) => {
                    sheet.same(self.name, key, value, self.judged.is_good());
                }
                ("exit" | "exit_code", value) => {
                    sheet.same(self.name, key, value, u8::from(!self.judged.is_good()));
                }
                _ => self.other(key, value, sheet),
            }
        }
    }

    /// One object of expectations per device.
    fn devices(&self, expected: &[Value], sheet: &mut Sheet) {
        let seen = list(&self.json, "devices");
        sheet.same(self.name, "devices", expected.len(), seen.len());
        for (nth, (expected, seen)) in expected.iter().zip(seen).enumerate() {
            let prefix = format!("devices[{nth}].");
            match expected {
                Value::Object(fields) => {
                    let inner = fields.get("expected").and_then(Value::as_object);
                    compare(self.name, &prefix, Some(inner.unwrap_or(fields)), seen, sheet);
                }
                _ => sheet.not_judged(self.name, &prefix, "neither a number nor an object of keys"),
            }
        }
    }

    /// How many GPUs or switches the devices name, where none of these is among them.
    fn named(&self, key: &str) -> Option<u64> {
        let names = [("gpus", "gpu_pdis"), ("switches", "switch_pdis")];
        let (_, fact) = names.into_iter().find(|(kind, _)| *kind == key)?;
        let is_absent =
            |topology: &Value| topology.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty);
        self.json.get("topology").filter(|topology| is_absent(topology))?;
        let lists = list(&self.json, "devices").iter().filter_map(|device| look_up(device, fact)?.as_array());
        let named: BTreeSet<&str> = lists.flatten().filter_map(Value::as_str).collect();
        u64::try_from(named.len()).ok()
    }

    /// A key of the whole, of the topology, or of every device.
    fn other(&self, key: &str, value: &Value, sheet: &mut Sheet) {
        let one = Map::from_iter([(key.to_owned(), value.clone())]);
        let topology = self.json.get("topology");
        if value.as_u64().is_some_and(|count| self.named(key) == Some(count)) {
            return sheet.same(self.name, key, value, value);
        }
        if let Some(topology) = topology.filter(|topology| topology.get(key).is_some() && key != "result") {
            return compare(self.name, "topology.", Some(&one), topology, sheet);
        }
        if self.json.get(key).is_some() {
            return compare(self.name, "", Some(&one), &self.json, sheet);
        }
        let devices = list(&self.json, "devices");
        if devices.is_empty() || !devices.iter().all(|device| look_up(device, key).is_some()) {
            return sheet.not_judged(self.name, key, "nothing in the JSON has this key");
        }
        // What GPUs have and switches have not, or the other way round, is asked of those that have it.
        let has = |device: &&Value| {
            look_up(device, key).is_some_and(|seen| !seen.is_null() && *seen != Value::Array(Vec::new()))
        };
        let is_switch = |device: &Value| look_up(device, "architecture") == Some(&Value::from("LS10"));
        let kinds: Vec<bool> = devices.iter().filter(has).map(is_switch).collect();
        for (nth, device) in devices.iter().enumerate() {
            if kinds.is_empty() || kinds.contains(&is_switch(device)) {
                compare(self.name, &format!("devices[{nth}]."), Some(&one), device, sheet);
            }
        }
    }
}
