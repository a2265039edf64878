//! `serve` as a process of its own, killed at the worst moments.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use assay_ledger::protocol::BEACON;
use assay_validator::config::Home;
use assay_validator::store::Store;
use assay_wire::SigningKey;
use tempfile::TempDir;

use crate::client::Client;
use crate::node::{Node, Session, answer, deliver, request};
use crate::server::fresh_dir;
use crate::soft_tpm::SoftTpm;

struct Process {
    child: Child,
    address: SocketAddr,
    dir: Arc<TempDir>,
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay-validator"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--dir"]).arg(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Process {
    fn start(dir: Arc<TempDir>) -> Self {
        let mut child = command(&dir.path().join("v")).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.find_map(|line| line.ok().filter(|line| line.contains("listens on"))).unwrap();
        let address = line.split("listens on ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
        // Whoever logs must never wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, dir }
    }

    fn home(&self) -> Home {
        Home::new(self.dir.path().join("v"))
    }

    fn client(&self) -> Client {
        Client::new(self.address, &self.home().certificate())
    }

    fn signal(&mut self, name: &str) -> std::process::ExitStatus {
        let kill = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        self.child.wait().unwrap()
    }

    fn kill_and_restart(mut self) -> Self {
        self.signal("-KILL");
        Self::start(Arc::clone(&self.dir))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn enrolled(process: &Process) -> Node {
    let (tpm, key) = (SoftTpm::new(1), SigningKey::from_seed(&[1; 32]));
    let trust = assay_validator::trusted::trust(&process.home().trust()).unwrap();
    let mut client = process.client();
    let request = request(&tpm, &key);
    let body = client.post("/v1/enrol", &assay_wire::cbor::to_vec(&request)).ok();
    let challenge = assay_wire::cbor::from_slice("challenge", &body, 4096).unwrap();
    let answer = answer(&tpm, &request, &challenge);
    let record = client.post("/v1/enrol/answer", &assay_wire::cbor::to_vec(&answer)).ok();
    Node { tpm, key, network: trust.network, record }
}

fn beats(process: &Process, session: &Session) -> Vec<Vec<u8>> {
    let store = Store::open_read_only(&process.home().store()).unwrap();
    let row = store.session(&session.id).unwrap().unwrap();
    assert_eq!((row.seq, row.head), (session.seq, session.head));
    store.beats(row.number).unwrap().into_iter().map(|beat| beat.envelope).collect()
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let mut process = Process::start(fresh_dir());
    let node = enrolled(&process);
    let beacon = process.client().get(BEACON).ok();
    let mut session = node.open(&mut process.client(), None);
    let mut sent = Vec::new();
    for round in 0..5 {
        let mut client = process.client();
        let mut delivery = node.beats(&mut session, 20);
        delivery.push(node.anchor(&session));
        let accepted = deliver(&mut client, &session, &delivery);
        assert_eq!((accepted.count, &accepted.refusal), (21, &None));
        // Unanswered: whether it was stored is not known to the node, which sends it again.
        let unanswered = node.beats(&mut session, 3);
        let body = crate::node::records(&session, &unanswered);
        let head = format!("POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        client.send(&[head.as_bytes(), &body].concat());
        process = process.kill_and_restart();
        let again =
            deliver(&mut process.client(), &session, &[delivery.clone(), unanswered.clone()].concat());
        assert_eq!((again.count, &again.refusal), (24, &None), "round {round}");
        for receipt in &accepted.receipts {
            assert!(again.receipts.contains(receipt), "the same receipts as before the crash");
        }
        sent.extend(delivery[..20].iter().cloned().chain(unanswered));
    }
    assert_eq!(beats(&process, &session), sent);
    // The round may have passed meanwhile; the beacon that was handed out is kept all the same.
    let envelope = assay_wire::Envelope::decode(&beacon).unwrap();
    let round = envelope.message::<assay_ledger::beacon::Beacon>().unwrap().round;
    let store = Store::open_read_only(&process.home().store()).unwrap();
    assert_eq!(store.beacon(round).unwrap(), Some(beacon));
    assert_eq!(store.enrolled_nodes().unwrap().len(), 1);
}

#[test]
fn sigterm_and_sigint_end_it_in_order() {
    for signal in ["-TERM", "-INT"] {
        let mut process = Process::start(fresh_dir());
        let mut idle = process.client();
        assert_eq!(idle.get(BEACON).status, 200);
        assert_eq!(process.signal(signal).code(), Some(0));
        assert!(idle.ended());
        // Everything is in the database file: the log was folded in when it closed.
        assert!(!process.home().dir().join("validator.db-wal").exists());
    }
}

#[test]
fn one_process_serves_a_directory() {
    let process = Process::start(fresh_dir());
    let second = command(process.home().dir()).output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    assert!(String::from_utf8(second.stderr).unwrap().contains("another assay-validator"));
}
