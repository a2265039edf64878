//! A report taken apart by another reader: every number and field is the same here.
//!
//! Such files are recognised by their keys, and belong to the case whose report has their `Nonce`. Numbers
//! of several bytes stand there as hexadecimal text in the order of the report.

use std::collections::BTreeMap;

use assay_gpu::device::{OpaqueField, Pdi, Report};
use serde_json::Value;

use super::Case;
use crate::{Folder, Sheet};

const FIELDS: &str = "OpaqueDataField";
const PREFIX: &str = "OPAQUE_FIELD_ID_";

pub(super) fn judge(folder: &Folder, cases: &BTreeMap<&str, Case>, sheet: &mut Sheet) {
    let files: Vec<&str> = folder.files().filter(|file| file.ends_with(".json")).collect();
    for file in files {
        let Ok(json) = folder.json(file) else { continue };
        if json.get("MeasurementRecord").is_none() || json.get("OpaqueData").is_none() {
            continue;
        }
        sheet.cover(file);
        let reports = cases.values().filter_map(|case| Report::parse(&case.entry.evidence.report).ok());
        let nonce = json.get("Nonce").and_then(Value::as_str).unwrap_or_default();
        match reports.into_iter().find(|report| number(report.responder_nonce()) == nonce) {
            Some(report) => Oracle { file, report }.judge(&json, sheet),
            None => sheet.not_judged(file, "Nonce", "no case has this report"),
        }
    }
}

/// Bytes as the files write them.
fn number(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

struct Oracle<'a> {
    file: &'a str,
    report: Report,
}

impl Oracle<'_> {
    fn judge(&self, json: &Value, sheet: &mut Sheet) {
        for (key, value) in json.as_object().into_iter().flatten() {
            match key.as_str() {
                "MeasurementRecord" => self.measurements(value, sheet),
                "OpaqueData" => self.opaque(value.get(FIELDS).unwrap_or(value), sheet),
                _ => match self.header(key) {
                    Some(seen) => sheet.same(self.file, key, value, seen),
                    None => sheet.not_judged(self.file, key, "no rule reads this key"),
                },
            }
        }
    }

    /// What stands before and behind the lists. A report that is read has its constants.
    fn header(&self, key: &str) -> Option<Value> {
        let report = &self.report;
        let (bytes, (r, s)) = (report.bytes(), report.signature());
        let response = |at: usize| bytes.get(REQUEST + at).map(|byte| number(&[*byte]).into());
        match key {
            "SPDMVersion" => response(0),
            "RequestResponseCode" => response(1),
            "Param1" => response(2),
            "Param2" => response(3),
            "NumberOfBlocks" => Some(report.measurements().len().into()),
            "MeasurementRecordLength" => Some(record(report).into()),
            "Nonce" => Some(number(report.responder_nonce()).into()),
            "OpaqueLength" => {
                let before = REQUEST + RESPONSE + record(report);
                let behind = r.len() + s.len() + report.trailing();
                Some(bytes.len().saturating_sub(before + behind).into())
            }
            "Signature" => Some(number(&[&r[..], &s[..]].concat()).into()),
            _ => None,
        }
    }

    fn measurements(&self, record: &Value, sheet: &mut Sheet) {
        let blocks = record.get("MeasurementBlocks").and_then(Value::as_object).into_iter().flatten();
        let mut counted = 0;
        for (index, block) in blocks {
            counted += 1;
            let check = format!("block {index}");
            let seen = self.report.measurements().iter().find(|one| one.index.to_string() == *index);
            let Some(seen) = seen else {
                sheet.holds(self.file, &check, false, "a block", "none");
                continue;
            };
            let text = |key: &str| block.get(key).map(ToString::to_string).unwrap_or_default();
            sheet.same(self.file, &check, text("DMTFSpecMeasurementValueType"), seen.value_type);
            sheet.same(self.file, &check, text("DMTFSpecMeasurementValueSize"), seen.value.len());
            sheet.same(self.file, &check, text("DMTFSpecMeasurementValue"), Value::from(number(&seen.value)));
        }
        sheet.same(self.file, "blocks", counted, self.report.measurements().len());
    }

    fn opaque(&self, fields: &Value, sheet: &mut Sheet) {
        for (key, expected) in fields.as_object().into_iter().flatten() {
            let name = key.strip_prefix(PREFIX).unwrap_or(key);
            match self.report.opaque().iter().find_map(|field| shown(field, name)) {
                Some(seen) => sheet.same(self.file, name, expected, seen),
                None => sheet.not_judged(self.file, name, "no rule reads this key"),
            }
        }
    }
}

/// Bytes of the request.
const REQUEST: usize = 37;
/// Bytes of the answer besides its lists and its signature.
const RESPONSE: usize = 8 + 32 + 2;
/// Bytes of a measurement block besides its value.
const BLOCK: usize = 7;

/// Bytes of all blocks.
fn record(report: &Report) -> usize {
    report.measurements().iter().map(|one| BLOCK + one.value.len()).sum()
}

/// Ports of a switch.
const PORTS: usize = 64;

/// Port by port: each bit stands for as many ports as are left for it, the highest for the first.
fn ports(groups: &[u8]) -> Vec<u8> {
    let each = PORTS / (8 * groups.len()).max(1);
    let bits = groups.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    bits.flat_map(|bit| std::iter::repeat_n(bit, each)).collect()
}

/// A field under the other reader's name, as it writes it.
fn shown(field: &OpaqueField, name: &str) -> Option<Value> {
    let pdi = |pdi: &Pdi| number(&pdi.0.to_be_bytes());
    let bytes = |list: &[u8]| list.iter().map(|byte| number(&[*byte])).collect::<Vec<_>>();
    Some(match (field, name) {
        (OpaqueField::OwnPdi(own), "DEVICE_PDI") => pdi(own).into(),
        (OpaqueField::DisabledPorts(groups), "DISABLED_PORTS") => ports(groups).into(),
        (OpaqueField::Counters(counters), "MSRSCNT") => counters.clone().into(),
        (OpaqueField::GpuPdis { gpus, .. }, "SWITCH_GPU_PDIS") => {
            gpus.iter().map(pdi).collect::<Vec<_>>().into()
        }
        (OpaqueField::GpuPdis { ports, .. }, "SWITCH_PORT") => bytes(ports).into(),
        (OpaqueField::LockStatus(status), "SWITCH_LOCK_STATUS") => number(status).into(),
        (OpaqueField::Position(position), "SWITCH_POSITION_ID") => number(position).into(),
        (OpaqueField::Vbios(text), "VBIOS_VERSION") => number(text.as_bytes()).into(),
        _ => return None,
    })
}
