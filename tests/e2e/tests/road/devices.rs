//! Device evidence from the GPU library to the verdict: recorded reports of real GPUs, given again.

use std::fs;

use assay_gpu::device::{Architecture, Report};

use super::*;

/// Report and chain of a recorded GPU; `None` after a SKIPPED line without the data folder.
fn recorded() -> Option<(PathBuf, PathBuf)> {
    let data = std::env::var_os("ASSAY_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let folder = data.join("gpu");
    let Ok(cases) = fs::read_to_string(folder.join("cases.json")) else {
        eprintln!("SKIPPED: no data folder; set ASSAY_DATA");
        return None;
    };
    let cases: Value = serde_json::from_str(&cases).unwrap();
    let gpu = |case: &&Value| {
        case["arch"] == Architecture::Hopper.word()
            && case["expected"]["signature"] == true
            && case["report"].is_string()
    };
    let case = cases["cases"].as_array().unwrap().iter().find(gpu).unwrap();
    let path = |key: &str| fs::canonicalize(folder.join(case[key].as_str().unwrap())).unwrap();
    Some((path("report"), path("chain")))
}

/// Eight simulated GPUs, of which the first gives a recorded report; `more` are keys of it, `fault` is the
/// machine's.
fn replaying(dir: &Path, (report, chain): &(PathBuf, PathBuf), more: &str, fault: &str) -> Pace {
    let text = fs::read_to_string(scenarios().join("h100x8.toml")).unwrap();
    let keys = format!("[[gpu]]\nreport = {report:?}\nchain = {chain:?}\n{more}\n");
    let path = dir.join("scenario.toml");
    fs::write(&path, format!("{}{fault}", text.replacen("[[gpu]]\n", &keys, 1))).unwrap();
    Pace { scenario: Some(path), ..quick() }
}

/// The verdict on an exported session, and its device's facts.
fn verdict(stage: &Stage) -> (Value, Value) {
    let report = stage.world.verify(&stage.export("evidence")).unwrap();
    assert_eq!(report["verdict"], "accept", "{report:#}");
    assert_eq!(report["axes"]["gpu"], "G0", "what is simulated proves nothing");
    let devices = report["facts"]["sessions"][0]["devices"].clone();
    (report, devices)
}

fn says(report: &Value, id: &str, severity: &str) {
    assert!(findings(report).contains(&(id.to_owned(), severity.to_owned())), "{id}: {report:#}");
}

#[test]
fn a_recorded_report_arrives_and_is_told_by_its_nonce() {
    let (dir, recorded) = (tempfile::tempdir().unwrap(), recorded());
    let Some(recorded) = recorded else { return };
    let Some(stage) = Stage::started(replaying(dir.path(), &recorded, "", "")) else { return };
    assert!(stage.health("device.unattested").contains("GPU unattested: 7 of 8"));
    let status = stage.world.status().unwrap();
    assert_eq!(status["gpus"][0].get("unattested"), None, "{status:#}");
    assert!(status["gpus"][1]["unattested"].as_str().unwrap().contains("no signed report"));
    let (report, devices) = verdict(&stage);
    says(&report, "gpu.device.nonce", "info");
    says(&report, "gpu.device.report", "info");
    let [device] = devices.as_array().unwrap().as_slice() else { panic!("{devices}") };
    let checks = ["signature", "chain", "nonce", "simulated", "attested"].map(|check| device[check].clone());
    assert_eq!(checks, [true, true, false, true, false].map(Value::from));
    let bytes = hex::decode(fs::read_to_string(&recorded.0).unwrap().trim()).unwrap();
    let facts = Report::parse(&bytes).unwrap().facts().clone();
    assert_eq!(device["vbios"].as_str(), facts.vbios.as_deref());
    // The first GPU alone signs for itself, and its owner sees it.
    let mut inventory = stage.world.agent_command();
    inventory.args(["inventory", "--json"]).env("ASSAY_NVML_SCENARIO", dir.path().join("scenario.toml"));
    let inventory = assay_demo::world::json(&mut inventory).unwrap();
    assert_eq!(inventory["attestation"][0]["report_bytes"], bytes.len());
    assert!(inventory["attestation"][7]["unattested"].is_string(), "{inventory:#}");
}

#[test]
fn node_and_verifier_compute_one_nonce() {
    let (dir, recorded) = (tempfile::tempdir().unwrap(), recorded());
    let Some(recorded) = recorded else { return };
    let pace = replaying(dir.path(), &recorded, "echo_nonce = true", "");
    let Some(stage) = Stage::started(pace) else { return };
    let (report, devices) = verdict(&stage);
    let checks = ["signature", "nonce"].map(|check| devices[0][check].clone());
    assert_eq!(checks, [false, true].map(Value::from));
    says(&report, "gpu.device.signature", "info");
    says(&report, "gpu.device.nonce", "pass");
}

#[test]
fn a_gpu_that_never_signs_does_not_stop_the_session() {
    let (dir, recorded) = (tempfile::tempdir().unwrap(), recorded());
    let Some(recorded) = recorded else { return };
    let fault = "\n[[fault]]\nkind = \"hanging-report\"\ngpu = 0\n";
    let Some(stage) = Stage::started(replaying(dir.path(), &recorded, "", fault)) else { return };
    assert!(stage.health("device.unattested").contains("8 of 8; GPU 0: no answer within"));
    let (_, devices) = verdict(&stage);
    assert_eq!(devices, Value::Null);
}
