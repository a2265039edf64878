//! Jobs through the running agent, and without one.

use super::*;

const LIMITS: &str = "[job.resources]\nlimits = \"rlimit\"\n";

#[test]
fn a_picture_an_endless_job_and_a_daemon() {
    let Some(stage) = Stage::started(quick()) else { return };
    let picture = stage.job(&format!("outputs = [\"/out\"]\n{LIMITS}"));
    assert_eq!(picture["succeeded"], true, "{picture}");
    let outputs = picture["outputs"].as_array().unwrap();
    assert!(outputs.iter().any(|o| o["path"] == "/out/picture.png"), "{picture}");

    let endless = stage.job(&format!(
        "command = [\"/bin/sh\", \"-c\", \"while :; do :; done\"]\ntimeout = \"1s\"\n{LIMITS}"
    ));
    assert_eq!(endless["succeeded"], false);
    assert!(endless["state"].as_str().unwrap().contains("timed out"), "{endless}");

    let daemon =
        stage.job(&format!("command = [\"/bin/sh\", \"-c\", \"(sleep 4242 &) ; exit 0\"]\n{LIMITS}"));
    assert_eq!(daemon["succeeded"], true, "{daemon}");
    let alive = std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("sleep\u{0}4242")
    });
    assert!(!alive, "the daemonized process outlived its job");

    stage.drained();
    let claim = stage.world.verify(&stage.export("claim")).unwrap();
    assert_eq!(claim["verdict"], "accept", "{claim:#}");
    assert_eq!(claim["facts"]["jobs"].as_array().unwrap().len(), 3);
}

#[test]
fn a_job_without_a_daemon_leaves_a_receipt_in_the_ledger() {
    let Some(mut stage) = Stage::started(quick()) else { return };
    stage.drained();
    stage.world.stop_agent();
    let ran = stage.job(&format!("command = [\"/bin/true\"]\n{LIMITS}"));
    assert_eq!(ran["succeeded"], true, "{ran}");
    assert_eq!(ran["checkable"], "quote", "{ran}");
    stage.world.start_agent().unwrap();
    stage.world.wait_for_beats(2, LONG).unwrap();
    stage.drained();
    let report = stage.world.verify(&stage.export("receipt")).unwrap();
    assert_eq!(report["verdict"], "accept", "{report:#}");
}
