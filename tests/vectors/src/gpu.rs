//! A folder of GPU evidence: `cases.json` names reports, reference values, their comparisons and bundles.
//!
//! Everything is judged by what `assay-validator verify-gpu` judges it by, and compared with its JSON: a
//! key that is expected is looked for there, and one that is not found is not judged.

mod bundles;
mod oracle;
mod rims;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use assay_gpu::device::{Architecture, DeviceChain, HoldPolicy, Report, Roots};
use assay_gpu::rim::Rim;
use assay_validator::civil;
use assay_validator::verify_gpu::{Asked, Entry, Judged, bundle, judge as judge_devices, pair};
use assay_x509::Seconds;
use serde_json::{Map, Value};

use crate::{Folder, Manifest, Sheet};

const FILE: &str = "cases.json";
/// Keys that say in words what the others say.
const REMARKS: [&str; 4] = ["why", "note", "reason", "comment"];
/// Keys under which every reader says what it found in words of its own.
const OWN_WORDS: [&str; 1] = ["findings"];
/// Bytes between two that are changed, each in a run of its own.
const STRIDE: usize = 97;

/// Whether the folder is of this form: its cases are reports or places in bundles.
pub(crate) fn recognises(folder: &Folder) -> bool {
    let file = folder.has(FILE).then(|| folder.json(FILE).ok()).flatten().unwrap_or_default();
    let is_ours = |case: &Value| case.get("report").is_some() || case.get("bundle").is_some();
    list(&file, "cases").iter().any(is_ours)
        || ["rims", "measurements", "bundles"].iter().any(|key| file.get(key).is_some())
}

pub(crate) fn judge(folder: &Folder, _: &Manifest, sheet: &mut Sheet) {
    if !recognises(folder) {
        return;
    }
    sheet.cover(FILE);
    let file = folder.json(FILE).unwrap_or_default();
    let mut cases = BTreeMap::new();
    for json in list(&file, "cases") {
        let name = name(json);
        if missing(folder, &["report", "chain", "bundle"].map(|key| word(json, key)), name, sheet) {
            continue;
        }
        match Case::read(folder, json, sheet) {
            Ok(case) => {
                case.judge(name, json, sheet);
                cases.insert(name, case);
            }
            Err(error) => unreadable(name, json, &error, sheet),
        }
    }
    rims::judge(folder, &file, sheet);
    rims::measurements(folder, &file, &cases, sheet);
    bundles::judge(folder, &file, &cases, sheet);
    oracle::judge(folder, &cases, sheet);
    roots(folder, sheet);
}

/// A certificate that lies alone in a file is one of the pinned ones, or nothing is said of it.
fn roots(folder: &Folder, sheet: &mut Sheet) {
    let roots = Roots::nvidia();
    let files: Vec<String> =
        folder.files().filter(|file| file.ends_with(".pem")).map(str::to_owned).collect();
    for file in files.iter().filter(|file| !sheet.covers(file)).collect::<Vec<_>>() {
        let bytes = folder.read(file).unwrap_or_default();
        let chain = DeviceChain::from_pem(&String::from_utf8_lossy(&bytes))
            .map(|chain| chain.der())
            .unwrap_or_default();
        let [one] = chain.as_slice() else { continue };
        let known =
            [("device", roots.device()), ("RIM", roots.rim())].into_iter().find(|(_, der)| der == one);
        match known {
            Some((name, _)) => sheet.same(file, "root", name, name),
            None => sheet.not_judged(file, "root", "none of the pinned ones"),
        }
    }
}

/// The list under a key; nothing where there is none.
pub(crate) fn list<'a>(file: &'a Value, key: &str) -> &'a [Value] {
    file.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn name(json: &Value) -> &str {
    json.get("name").and_then(Value::as_str).unwrap_or("unnamed")
}

fn word<'a>(json: &'a Value, key: &str) -> Option<&'a str> {
    json.get(key).and_then(Value::as_str)
}

/// The time that an entry asks for; without one, the clock's, as the command's.
pub(crate) fn time(json: &Value) -> Result<Seconds, String> {
    match word(json, "time") {
        Some(text) => seconds(text).ok_or_else(|| format!("no time: {text}")),
        None => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(Seconds::try_from(now.as_secs()).unwrap_or(Seconds::MAX))
        }
    }
}

/// RFC 3339, or a date alone for its first second.
pub(crate) fn seconds(text: &str) -> Option<Seconds> {
    let ms = civil::parse(text).or_else(|| civil::parse(&format!("{text}T00:00:00Z")))?;
    Seconds::try_from(ms / 1000).ok()
}

fn architecture(json: &Value) -> Option<Architecture> {
    Architecture::from_word(word(json, "arch")?)
}

/// One device of the folder.
pub(crate) struct Case {
    pub(crate) entry: Entry,
    at: Seconds,
}

impl Case {
    fn read(folder: &Folder, json: &Value, sheet: &mut Sheet) -> Result<Self, String> {
        let at = time(json)?;
        let entry = match (word(json, "report"), word(json, "chain"), word(json, "bundle")) {
            (Some(report), Some(chain), _) => {
                sheet.cover(report);
                sheet.cover(chain);
                let read = |file| folder.read(file).map_err(|error| format!("{file}: {error}"));
                pair(&read(report)?, &read(chain)?, architecture(json))
            }
            (_, _, Some(file)) => {
                sheet.cover(file);
                let bytes = folder.read(file).map_err(|error| format!("{file}: {error}"))?;
                let index =
                    json.get("index").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
                let entries = bundle(&bytes).map_err(|error| full(&error))?;
                entries.into_iter().nth(index.unwrap_or(0)).ok_or("the bundle has no such entry")?
            }
            _ => return Err("neither a report with its chain nor a bundle".to_owned()),
        };
        Ok(Self { entry, at })
    }

    /// What the command says of it, against these reference values.
    fn judged(&self, nonce: Option<[u8; 32]>, rims: &[Rim], at: Seconds) -> Judged {
        let (roots, hold) = (&Roots::nvidia(), HoldPolicy::default());
        judge_devices(vec![self.entry.clone()], &Asked { nonce, at, roots, rims, hold })
    }

    fn judge(&self, name: &str, json: &Value, sheet: &mut Sheet) {
        let judged = self.judged(None, &[], self.at);
        let seen = judged.json();
        let device = list(&seen, "devices").first().cloned().unwrap_or_default();
        if let Some(arch) = word(json, "arch") {
            let expected = architecture(json).map(|arch| arch.to_string());
            match expected {
                Some(_) => {
                    let seen = self.entry.architecture.map(Architecture::word);
                    sheet.same(name, "arch", arch, seen.unwrap_or("none"));
                }
                None => sheet.not_judged(name, "arch", "no architecture of this name"),
            }
        }
        if let Some(nonce) = word(json, "bundle_nonce") {
            let seen = self.entry.nonce.map(hex::encode);
            sheet.same(name, "bundle_nonce", nonce, seen.unwrap_or_else(|| "none".to_owned()));
        }
        let expected = json.get("expected").and_then(Value::as_object);
        compare(name, "", expected, &device, sheet);
        self.exit(name, expected, (&judged, &device), sheet);
        self.nonces(name, &device, sheet);
        self.sensitive(name, &judged, sheet);
    }

    /// The exit code follows from the expected checks, and from the nonce that a bundle states.
    fn exit(
        &self,
        name: &str,
        expected: Option<&Map<String, Value>>,
        (judged, device): (&Judged, &Value),
        sheet: &mut Sheet,
    ) {
        let Some(expected) = expected else { return };
        let is_check = |key: &str| device.get("checks").is_some_and(|checks| checks.get(key).is_some());
        let is_true = |key: &str| expected.get(key) == Some(&Value::Bool(true));
        let fails = expected.iter().any(|(key, value)| is_check(key) && *value == Value::Bool(false));
        if expected.contains_key("signature") && expected.contains_key("chain") {
            let good = is_true("signature") && is_true("chain") && !fails && self.answers_its_bundle(device);
            sheet.same(name, "accepted", good, judged.is_good());
        }
    }

    /// Whether the report answers the nonce that its bundle states, if one does.
    fn answers_its_bundle(&self, device: &Value) -> bool {
        let answered = look_up(device, "request_nonce").and_then(Value::as_str);
        self.entry.nonce.is_none_or(|stated| answered.is_none_or(|answered| answered == hex::encode(stated)))
    }

    /// The nonce that the report answers is right, and any other is wrong.
    fn nonces(&self, name: &str, device: &Value, sheet: &mut Sheet) {
        let answered = look_up(device, "request_nonce").and_then(Value::as_str);
        let Some(nonce) = answered.and_then(|text| <[u8; 32]>::try_from(hex::decode(text).ok()?).ok()) else {
            return sheet.not_judged(name, "nonce", "the report shows none");
        };
        let mut other = nonce;
        other.iter_mut().take(1).for_each(|byte| *byte ^= 1);
        let own = self.answers_its_bundle(device);
        for (check, nonce, expected) in [("nonce.own", nonce, own), ("nonce.other", other, false)] {
            let json = self.judged(Some(nonce), &[], self.at).json();
            let seen = list(&json, "devices").first().and_then(|device| look_up(device, "nonce"));
            let seen = seen.map(|seen| shown(seen, &Value::Null));
            sheet.same(name, check, expected, seen.unwrap_or_default());
        }
    }

    /// Bytes that differ in one bit are not what was signed.
    fn sensitive(&self, name: &str, judged: &Judged, sheet: &mut Sheet) {
        if !judged.is_good() {
            return;
        }
        let holds = |at: usize| {
            let mut changed = Self { entry: self.entry.clone(), at: self.at };
            if let Some(byte) = changed.entry.evidence.report.get_mut(at) {
                *byte ^= 0x10;
            }
            changed.judged(None, &[], self.at).is_good()
        };
        // What follows the signature is covered by nothing.
        let trailing = Report::parse(&self.entry.evidence.report).map_or(0, |report| report.trailing());
        let signed = self.entry.evidence.report.len().saturating_sub(trailing);
        let held = (0..signed).step_by(STRIDE).filter(|at| holds(*at)).count();
        sheet.same(name, "signature.of-other-bytes", 0, held);
    }
}

/// Says which of the files that an entry names are not there, and whether any is.
fn missing(folder: &Folder, files: &[Option<&str>], name: &str, sheet: &mut Sheet) -> bool {
    let missing: Vec<&str> = files.iter().flatten().copied().filter(|file| !folder.has(file)).collect();
    missing.iter().for_each(|file| sheet.holds(name, "file", false, "there", file));
    !missing.is_empty()
}

/// A case whose files can't be read is as good as one that is refused.
fn unreadable(name: &str, json: &Value, error: &str, sheet: &mut Sheet) {
    for (key, expected) in json.get("expected").and_then(Value::as_object).into_iter().flatten() {
        match key.as_str() {
            remark if REMARKS.contains(&remark) => {}
            "signature" | "chain" => sheet.holds(name, key, expected == false, &expected.to_string(), error),
            _ => sheet.not_judged(name, key, error),
        }
    }
}

/// Every expected key against the value that the JSON has under it.
pub(crate) fn compare(
    name: &str,
    prefix: &str,
    expected: Option<&Map<String, Value>>,
    seen: &Value,
    sheet: &mut Sheet,
) {
    for (key, value) in expected.into_iter().flatten().filter(|(key, _)| !REMARKS.contains(&key.as_str())) {
        let check = format!("{prefix}{key}");
        match (look_up(seen, key), value) {
            // An object asks for some of the keys below.
            (Some(seen @ Value::Object(_)), Value::Object(fields)) => {
                compare(name, &format!("{check}."), Some(fields), seen, sheet);
            }
            _ if OWN_WORDS.contains(&key.as_str()) => {
                sheet.not_judged(name, &check, "every reader has words of its own");
            }
            (Some(seen), value) => {
                let seen = shown(seen, value);
                match means(value, &seen) {
                    true => sheet.same(name, &check, value, value),
                    false => sheet.same(name, &check, value, seen),
                }
            }
            (None, _) => sheet.not_judged(name, &check, "nothing in the JSON has this key"),
        }
    }
}

/// What the JSON has under a key: its own, a check's, a fact, or a check's further field.
pub(crate) fn look_up<'a>(json: &'a Value, key: &str) -> Option<&'a Value> {
    let within = |part: &str| json.get(part).and_then(|part| part.get(key));
    let deeper = || json.get("checks")?.as_object()?.values().find_map(|check| check.get(key));
    let found = json.get(key).or_else(|| within("checks")).or_else(|| within("facts"));
    found.or_else(deeper)
}

/// A check stands for its result, and a list for its length where a number is expected.
fn shown(seen: &Value, expected: &Value) -> Value {
    match (seen, expected) {
        (Value::Array(items), Value::Number(_)) => items.len().into(),
        (Value::Object(check), _) => check.get("result").unwrap_or(seen).clone(),
        _ => seen.clone(),
    }
}

/// Whether two values mean the same: hexadecimal digits in either case, and a result by its word.
pub(crate) fn means(expected: &Value, seen: &Value) -> bool {
    let is_hex = |text: &str| text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match (expected, seen) {
        (Value::String(a), Value::String(b)) => a == b || is_hex(a) && a.eq_ignore_ascii_case(b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| means(a, b)),
        (Value::String(word), Value::Bool(true)) => ["match", "closed"].contains(&word.as_str()),
        (Value::String(word), Value::Bool(false)) => word == "mismatch",
        (Value::String(word), Value::Null) => ["no-rim", "open"].contains(&word.as_str()),
        _ => expected == seen,
    }
}

/// An error with its sources on one line.
fn full(error: &dyn std::error::Error) -> String {
    assay_validator::error::chain(error)
}
