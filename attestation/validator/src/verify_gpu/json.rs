//! What came of the devices, as JSON (schema 1).

use assay_gpu::device::{Judgement, Note, Report, Topology, TopologyFault};
use assay_gpu::rim::{Part, SignerStatus};
use serde_json::{Value, json};

use super::{Device, Judged};
use crate::rim::Refused;
use crate::text::plain;

impl Judged {
    /// The JSON form.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut all = json!({ "schema": 1, "devices": self.devices.iter().map(device).collect::<Vec<_>>() });
        if let (Some(topology), Some(all)) = (&self.topology, all.as_object_mut()) {
            all.insert("topology".to_owned(), together(topology));
        }
        if let (false, Some(all)) = (self.refused.is_empty(), all.as_object_mut()) {
            all.insert("refused_rims".to_owned(), self.refused.iter().map(refused).collect());
        }
        all
    }
}

fn device(device: &Device) -> Value {
    let Device { entry, judgement } = device;
    let mut facts = serde_json::to_value(&judgement.facts).unwrap_or_default();
    if let Some(facts) = facts.as_object_mut() {
        facts.insert("architecture".to_owned(), json!(entry.architecture));
    }
    if let (Some(facts), Ok(report)) = (facts.as_object_mut(), Report::parse(&entry.evidence.report)) {
        facts.insert("measurement_blocks".to_owned(), json!(report.measurements().len()));
        facts.insert("trailing_bytes".to_owned(), json!(report.trailing()));
        facts.insert("responder_nonce".to_owned(), json!(hex::encode(report.responder_nonce())));
    }
    json!({
        "arch": entry.architecture,
        "checks": checks(judgement),
        "facts": facts,
        "findings": judgement.findings.iter().map(note).collect::<Vec<_>>(),
    })
}

/// The checks, and beside the measurements' what was compared with what.
fn checks(judgement: &Judgement) -> Value {
    let mut checks = serde_json::to_value(&judgement.checks).unwrap_or_default();
    let measurements = checks.get_mut("measurements").and_then(Value::as_object_mut);
    if let (Some(check), Some(comparison)) = (measurements, &judgement.comparison) {
        check.insert("compared".to_owned(), json!(comparison.compared()));
        check.insert("mismatched_rows".to_owned(), json!(comparison.mismatched_rows()));
        check.insert("complete".to_owned(), json!(comparison.is_complete()));
        check.insert("rims".to_owned(), comparison.parts.iter().map(part).collect());
    }
    checks
}

/// One set of reference values that the report asks for.
fn part(part: &Part) -> Value {
    json!({
        "kind": part.kind.name(),
        "id": part.id,
        "verdict": part.verdict.name(),
        "compared": part.compared.len(),
        "mismatched_rows": part.mismatched,
        "collision": part.collision,
        "signer": part.signer_status().map(SignerStatus::name),
        "sources": part.sources.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn refused(refused: &Refused) -> Value {
    json!({ "file": plain(&refused.file.display().to_string()), "reason": plain(&refused.reason.to_string()) })
}

fn note(note: &Note) -> Value {
    json!({ "id": note.id(), "text": note.to_string() })
}

fn together(topology: &Topology) -> Value {
    let mut object = serde_json::to_value(topology).unwrap_or_default();
    if let Some(object) = object.as_object_mut() {
        let fault = |fault: &TopologyFault| json!({ "id": fault.id(), "text": fault.to_string() });
        object.insert("reason".to_owned(), json!(reason(topology)));
        object.insert("findings".to_owned(), topology.faults.iter().map(fault).collect());
    }
    object
}

/// The topology in one sentence.
pub(super) fn reason(topology: &Topology) -> String {
    match (topology.result, topology.faults.as_slice()) {
        (_, [first]) => first.to_string(),
        (_, [first, rest @ ..]) => format!("{first}; {} more", rest.len()),
        (Some(_), []) => {
            "every GPU names these switches, every switch these GPUs, each once, for one nonce".to_owned()
        }
        (None, []) => "nothing to compare".to_owned(),
    }
}
