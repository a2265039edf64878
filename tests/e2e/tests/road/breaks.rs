//! What goes wrong between node and validator, and heals.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};

use super::*;

/// All beats of the running session reach the validator, once and in order.
fn all_arrive(stage: &Stage) {
    stage.drained();
    let claim = stage.world.verify(&stage.export("claim")).unwrap();
    assert_eq!(claim["verdict"], "accept", "{claim:#}");
    let status = stage.world.status().unwrap();
    let nodes = assay_demo::world::json(
        std::process::Command::new(stage.world.programs().validator())
            .args(["nodes", "--json", "--dir"])
            .arg(stage.world.validator_dir()),
    )
    .unwrap();
    let node = &nodes["nodes"][0];
    assert_eq!(node["newest"]["session"], status["session"]);
    // One row for each sequence number: nothing twice, nothing missing, no second history.
    assert_eq!(node["beats"], node["newest"]["seq"], "{node:#}");
    assert_eq!((&node["offences"], &node["sessions"]), (&0.into(), &1.into()));
    // What was delivered a moment ago; beats go on meanwhile.
    assert!(node["newest"]["seq"].as_u64().unwrap() + 5 >= status["seq"].as_u64().unwrap(), "{node:#}");
}

#[test]
fn a_validator_that_dies_and_comes_back_gets_every_beat() {
    let Some(mut stage) = Stage::started(quick()) else { return };
    let session = stage.world.status().unwrap()["session"].clone();
    stage.world.kill_validator();
    let seq = stage.world.status_number("seq");
    stage.world.wait_for_beats(seq + 10, LONG).unwrap();
    assert!(stage.world.status_number("unsent") >= 5);
    stage.world.start_validator().unwrap();
    all_arrive(&stage);
    assert_eq!(stage.world.status().unwrap()["session"], session, "the session goes on");
}

#[test]
fn garbage_and_silence_in_the_validators_place_lose_nothing() {
    let Some(mut stage) = Stage::started(quick()) else { return };
    stage.world.stop_validator();
    for answer in [Some(&b"HTTP/1.1 200 OK\r\n\r\nnonsense\xff\x00"[..]), None] {
        let imposter = Imposter::start(stage.world.listen(), answer);
        let seq = stage.world.status_number("seq");
        stage.world.wait_for_beats(seq + 10, LONG).unwrap();
        imposter.stop();
    }
    assert!(stage.world.status_number("unsent") >= 10);
    stage.world.start_validator().unwrap();
    all_arrive(&stage);
}

/// Something else on the validator's port: answers with garbage, or takes everything and says nothing.
struct Imposter(Arc<AtomicBool>, JoinHandle<()>);

impl Imposter {
    fn start(listen: SocketAddr, answer: Option<&'static [u8]>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let listener = TcpListener::bind(listen).unwrap();
        listener.set_nonblocking(true).unwrap();
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut held = Vec::new();
            while !told.load(Ordering::Relaxed) {
                if let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
                    let _ = stream.read(&mut [0; 512]);
                    let _ = answer.map(|bytes| stream.write_all(bytes));
                    held.extend(answer.is_none().then_some(stream));
                }
                sleep(Duration::from_millis(10));
            }
        });
        Self(stop, thread)
    }

    fn stop(self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.join().unwrap();
    }
}

#[test]
fn yesterdays_ledger_is_refused() {
    let Some(mut stage) = Stage::started(quick()) else { return };
    stage.drained();
    stage.world.stop_agent();
    let (ledger, copy) = (stage.path("ledger.db"), stage.path("yesterday.db"));
    std::fs::copy(&ledger, &copy).unwrap();
    stage.world.start_agent().unwrap();
    stage.world.wait_for_beats(3, LONG).unwrap();
    stage.drained();
    stage.world.stop_agent();
    for leftover in ["ledger.db-wal", "ledger.db-shm"] {
        let _ = std::fs::remove_file(stage.path(leftover));
    }
    std::fs::copy(&copy, &ledger).unwrap();
    stage.world.start_agent().unwrap();
    let text = stage.health("validator.refused");
    assert!(text.contains("ledger.rollback"), "{text}");
    assert_eq!(stage.world.status_number("seq"), 0);
}

#[test]
fn a_hung_gpu_library_is_recorded_and_beats_go_on() {
    let pace = Pace { scenario: Some(scenarios().join("one-gpu-hang.toml")), ..quick() };
    let Some(stage) = Stage::started(pace) else { return };
    stage.health("gpu.");
    let seq = stage.world.status_number("seq");
    stage.world.wait_for_beats(seq + 5, LONG).unwrap();
    stage.drained();
    assert_eq!(stage.world.verify(&stage.export("claim")).unwrap()["verdict"], "accept");
}

#[test]
fn a_machine_without_gpus_beats_too() {
    let Some(stage) = Stage::started(Pace { scenario: None, ..quick() }) else { return };
    stage.drained();
    let claim = stage.world.verify(&stage.export("claim")).unwrap();
    assert_eq!(claim["verdict"], "accept", "{claim:#}");
}
