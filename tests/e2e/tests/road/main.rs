//! The whole road with the real programs: agent, validator, jailer, software TPM, simulated NVML.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod breaks;
mod devices;
mod given;
mod jobs;
mod walk;

use std::path::{Path, PathBuf};
use std::time::Duration;

use assay_demo::world::{Pace, World, scenarios};
use assay_demo::{DemoError, image};
use serde_json::Value;

const LONG: Duration = Duration::from_secs(60);

/// A world in a folder of its own; `None` after a SKIPPED line where swtpm is not installed.
struct Stage {
    world: World,
    _dir: tempfile::TempDir,
}

/// Five beats a second, slots of a second with p = 1/2.
fn quick() -> Pace {
    Pace {
        beat_ms: 200,
        sample_ms: 200,
        beacon_period_ms: 1000,
        anchor_per_mille: 500,
        scenario: Some(scenarios().join("h100x8.toml")),
        real_parts: false,
    }
}

fn stage(pace: Pace) -> Option<Stage> {
    let dir = tempfile::tempdir().unwrap();
    match World::start(dir.path(), pace) {
        Ok(world) => Some(Stage { world, _dir: dir }),
        Err(error @ DemoError::MissingProgram { .. }) => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

impl Stage {
    fn started(pace: Pace) -> Option<Self> {
        let mut stage = stage(pace)?;
        stage.world.start_agent().unwrap();
        stage.world.wait_for_beats(2, LONG).unwrap();
        Some(stage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.dir().join(name)
    }

    /// Waits until the first validator has acknowledged every record.
    fn drained(&self) {
        let empty = |world: &World| {
            Ok(world.status().is_some_and(|s| s["unsent"] == 0 && s["validators"][0]["connected"] == true))
        };
        self.world.wait("an empty outbox", LONG, empty).unwrap();
    }

    fn export(&self, what: &str) -> PathBuf {
        let path = self.path(&format!("{what}.cbor"));
        self.world.export(what, &path).unwrap();
        path
    }

    fn verify_under(&self, policy: &str, path: &Path) -> Value {
        let mut verify = std::process::Command::new(self.world.programs().validator());
        verify
            .arg("verify")
            .arg("--trust")
            .arg(self.world.trust())
            .args(["--policy", policy, "--json"])
            .arg(path);
        assay_demo::world::json(&mut verify).unwrap()
    }

    /// Waits for a health item and gives its text.
    fn health(&self, code: &str) -> String {
        let mut text = String::new();
        self.world
            .wait(code, LONG, |world| {
                let status = world.status().unwrap_or_default();
                let items = status["health"].as_array().cloned().unwrap_or_default();
                let found =
                    items.iter().find(|item| item["code"].as_str().is_some_and(|c| c.starts_with(code)));
                text = found.map(|item| item["text"].to_string()).unwrap_or_default();
                Ok(found.is_some())
            })
            .unwrap();
        text
    }

    /// Writes a job file over the demo's image and runs it; gives what `job run --json` printed.
    fn job(&self, body: &str) -> Value {
        let reference = image::make_image(&self.path("image")).unwrap();
        let file = self.path("test-job.toml");
        std::fs::write(&file, format!("[job]\nimage = \"{reference}\"\n{body}")).unwrap();
        assay_demo::world::json(self.world.agent_command().args(["job", "run", "--json"]).arg(&file)).unwrap()
    }
}

fn findings(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = report["findings"].as_array().cloned().unwrap_or_default();
    all.iter().map(|f| (text(&f["id"]), text(&f["severity"]))).collect()
}
