//! Logs beside a `pcrs.json`: together they lead to its values.

use std::collections::BTreeMap;

use assay_boot::{BootLogs, Cause, EventLog, ImaLog, LogKind, UserspaceLog};
use serde_json::Value;

use crate::logs::{bank_alg, expected_values};
use crate::{Folder, Manifest, Sheet};

const FILE: &str = "pcrs.json";
/// The PCR of IMA, of which nothing is known without its log.
const IMA_PCR: u8 = 10;

pub(crate) fn judge(folder: &Folder, _: &Manifest, sheet: &mut Sheet) {
    for file in folder.files() {
        let Some(dir) = file.strip_suffix(FILE).and_then(|dir| dir.strip_suffix('/')) else { continue };
        match folder.json(file) {
            Ok(json) => judge_boot(folder, dir, file, &json, sheet),
            Err(error) => sheet.holds(file, "form", false, "JSON", error),
        }
    }
}

fn judge_boot(folder: &Folder, dir: &str, file: &str, json: &Value, sheet: &mut Sheet) {
    let (mut firmware, mut userspace, mut ima) = (None, None, None);
    for name in folder.in_folder(dir).filter(|name| *name != file) {
        let bytes = folder.read(name).unwrap_or_default();
        let kind = if let Ok(log) = EventLog::parse(&bytes) {
            firmware = Some(log);
            LogKind::Firmware
        } else if let Ok(log) = UserspaceLog::parse(&bytes) {
            userspace = Some(log);
            LogKind::Userspace
        } else if ImaLog::parse(&bytes).is_ok() {
            ima = Some(bytes);
            LogKind::Ima
        } else {
            sheet.not_judged(name, "log", "no log of a known kind");
            continue;
        };
        sheet.holds(name, "log", true, "a log", kind.name());
    }
    let Some(firmware) = firmware else {
        return sheet.holds(file, "replay", false, "a firmware log", "none");
    };
    let ima = ima.as_deref().and_then(|bytes| ImaLog::parse(bytes).ok());
    let logs = BootLogs { firmware: &firmware, userspace: userspace.as_ref(), ima: ima.as_ref() };
    for (bank, values) in json.get("pcrs").and_then(Value::as_object).into_iter().flatten() {
        judge_bank(file, bank, values, logs, sheet);
    }
}

fn judge_bank(file: &str, bank: &str, values: &Value, logs: BootLogs<'_>, sheet: &mut Sheet) {
    let Some(alg) = bank_alg(bank) else {
        return sheet.not_judged(file, bank, "digests of this algorithm are carried, not computed");
    };
    let values = expected_values(values);
    let quoted: BTreeMap<u8, Vec<u8>> =
        values.iter().map(|(pcr, value)| (*pcr, hex::decode(value).unwrap_or_default())).collect();
    let comparison = logs.compare(alg, &quoted);
    for (pcr, value) in &values {
        let check = format!("{bank}.{pcr}");
        match comparison.differences.iter().find(|difference| difference.pcr == *pcr) {
            None => sheet.same(file, &check, value, value),
            Some(found) if *pcr == IMA_PCR && logs.ima.is_none() && found.cause == Cause::NoEvent => {
                sheet.not_judged(file, &check, "IMA's, and no IMA log is here");
            }
            Some(found) => {
                let seen = found.expected.as_ref().map_or_else(|| "nothing".to_owned(), hex::encode);
                sheet.holds(file, &check, false, value, format_args!("{seen} ({})", found.cause.name()));
            }
        }
    }
}
