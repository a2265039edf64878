//! From an empty folder to four files that anyone can check.

use super::*;

#[test]
fn a_machine_enrols_beats_works_survives_a_kill_and_proves_it() {
    let Some(mut stage) = Stage::started(quick()) else { return };
    let ran = stage.job(
        "outputs = [\"/out\"]\ntimeout = \"1m\"\n[job.resources]\nlimits = \"rlimit\"\ndisk = \"64Mi\"\n",
    );
    assert_eq!(ran["succeeded"], true, "{ran}");
    // Two seconds between the opening and the last anchor are what powered time is made of.
    stage.world.wait_for_beats(15, LONG).unwrap();
    let anchors = stage.world.status_number("anchors");
    stage.world.wait("an anchor", LONG, |w| Ok(w.status_number("anchors") > anchors)).unwrap();
    let node = stage.world.status().unwrap()["node"].clone();

    stage.world.kill_agent();
    stage.world.start_agent().unwrap();
    stage.world.wait_for_beats(3, LONG).unwrap();
    stage.world.wait("an anchor", LONG, |w| Ok(w.status_number("anchors") >= 1)).unwrap();
    assert_eq!(stage.world.status().unwrap()["node"], node);
    stage.drained();

    for what in ["enrolment", "evidence", "claim", "receipt"] {
        let path = stage.export(what);
        let report = stage.world.verify(&path).unwrap();
        assert_eq!(report["verdict"], "accept", "{report:#}");
        assert_eq!(report["kind"], what);
        assert_eq!(report["facts"]["node"]["authority"], "swtpm test CA", "the trust file pins it");
        assert_eq!(report["axes"], serde_json::json!({"identity": "I0", "platform": "P0", "gpu": "G0"}));
        for policy in ["open", "strict"] {
            assert_eq!(stage.verify_under(policy, &path)["verdict"], "reject", "{what} under {policy}");
        }
    }
    let claim = stage.world.verify(&stage.path("claim.cbor")).unwrap();
    let uptime = &claim["facts"]["uptime"];
    assert_eq!(claim["facts"]["sessions"].as_array().unwrap().len(), 2);
    assert!(
        uptime["powered_s"].as_u64().unwrap() >= 1 && uptime["reachable_s"].as_u64().unwrap() >= 1,
        "{uptime}"
    );
    assert!(uptime["beat_bytes"].as_u64().unwrap() <= 550, "{uptime}");
    assert_eq!(claim["facts"]["gpus"].as_array().unwrap().len(), 8);
    assert!(claim["facts"]["gpus"][0]["energy_mj"].as_u64().unwrap() > 0);
    assert!(findings(&claim).contains(&("session.simulated".to_owned(), "info".to_owned())));

    let verified = assay_demo::world::output(stage.world.agent_command().args(["ledger", "verify"]));
    assert!(verified.is_ok(), "{verified:?}");
    stage.world.stop_agent();
}

#[test]
fn a_demo_folder_is_the_same_node_again() {
    let Some(mut stage) = Stage::started(quick()) else { return };
    let before = stage.world.status().unwrap();
    stage.world.stop_agent();
    let dir = stage.world.dir().to_path_buf();
    drop(stage.world);
    let mut world = World::start(&dir, quick()).unwrap();
    world.start_agent().unwrap();
    world.wait_for_beats(1, LONG).unwrap();
    let after = world.status().unwrap();
    assert_eq!(before["node"], after["node"]);
    assert_ne!(before["session"], after["session"]);
}
