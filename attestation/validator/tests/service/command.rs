//! The command line: what it prints and how it exits.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assay_gpu::device::{Architecture, DeviceChain, DeviceEvidence, Measurement, Report};
use assay_gpu::rim::{RIM_NETWORK, Rim, RimKind, RimRow, SignerProof};
use assay_ledger::enrolment::EnrolmentRecord;
use assay_ledger::protocol::BEACON;
use assay_ledger::revocation::{Revocation, RevocationList, RevokedKind};
use assay_validator::civil;
use assay_wire::{Digest, Envelope, Kind, Network, SigningKey};
use assay_x509::Certificate;
use serde_json::Value;

use crate::node::Node;
use crate::server::{Server, fresh_dir};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assay-validator")).args(args).output().unwrap()
}

fn code(args: &[&str]) -> i32 {
    run(args).status.code().unwrap()
}

fn json(args: &[&str]) -> (i32, Value) {
    let output = run(args);
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A validator with one node's record and evidence in files beside it.
fn exported() -> (Server, PathBuf, PathBuf) {
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let evidence = node.evidence(node.start(node.challenge(&mut client), None));
    client.post("/v1/session", &evidence).ok();
    let (record, proof) = (server.dir.path().join("enrolment.cbor"), server.dir.path().join("evidence.cbor"));
    std::fs::write(&record, &node.record).unwrap();
    std::fs::write(&proof, evidence).unwrap();
    (server, record, proof)
}

#[test]
fn init_prints_pin_and_key_and_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v");
    let (exit, made) = json(&["init", text(&path), "--json", "--network", "n", "--host", "a.example", "::1"]);
    assert_eq!((exit, &made["schema"]), (0, &Value::from(1)));
    let trust = std::fs::read_to_string(path.join("trust.toml")).unwrap();
    assert!(trust.contains(made["key"].as_str().unwrap()) && trust.contains("id = \"n\""));
    assert_eq!(made["pin"].as_str().unwrap().len(), 64);
    let again = run(&["init", text(&path)]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8(again.stderr).unwrap().contains("nothing was changed"));
    let other = dir.path().join("w");
    let page = String::from_utf8(run(&["init", text(&other)]).stdout).unwrap();
    assert!(page.contains("pin ") && page.contains("serve --dir"), "{page}");
}

#[test]
fn verify_accepts_rejects_and_says_why() {
    let (server, record, evidence) = exported();
    let home = server.home();
    let trust = home.trust();
    let trust = text(&trust);
    assert_eq!(code(&["verify", "--trust", trust, text(&record), text(&evidence)]), 0);
    assert_eq!(code(&["verify", "--trust", trust, "--policy", "open", text(&record)]), 1);
    let other = fresh_dir();
    let stranger = other.path().join("v/trust.toml");
    let output = run(&["verify", "--trust", text(&stranger), text(&evidence)]);
    assert_eq!(output.status.code(), Some(1));
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.contains("✗ enrolment.validator") && page.contains("unknown validator"), "{page}");
    assert!(page.contains("REJECT") && !page.contains('\u{1b}'), "{page}");
}

#[test]
fn verify_json_is_an_object_for_one_file_and_an_array_for_several() {
    let (server, record, evidence) = exported();
    let trust = server.home().trust();
    let (exit, one) = json(&["verify", "--json", "--trust", text(&trust), text(&evidence)]);
    assert_eq!(exit, 0);
    assert_eq!(
        (&one["schema"], &one["kind"], &one["verdict"], &one["axes"]["identity"]),
        (&1.into(), &"evidence".into(), &"accept".into(), &"I0".into())
    );
    let finding = &one["findings"][0];
    for field in ["id", "severity", "checked", "spec"] {
        assert!(finding[field].is_string(), "{field}: {finding}");
    }
    let broken = server.dir.path().join("broken.cbor");
    std::fs::write(&broken, b"junk").unwrap();
    let (exit, several) = json(&["verify", "--json", "--trust", text(&trust), text(&record), text(&broken)]);
    assert_eq!(exit, 1);
    assert_eq!(several[0]["kind"], "enrolment");
    assert_eq!((&several[1]["verdict"], &several[1]["kind"]), (&"reject".into(), &Value::Null));
    assert_eq!(several[1]["findings"][0]["id"], "file.form");
}

#[test]
fn verify_takes_a_time_and_refuses_an_expired_record() {
    let (server, record, _) = exported();
    let trust = server.home().trust();
    let at = |time: &str| code(&["verify", "--trust", text(&trust), "--time", time, text(&record)]);
    assert_eq!(at("9999-01-01T00:00:00Z"), 1);
    assert_eq!(at("1999-01-01T00:00:00Z"), 1);
    assert_eq!(at("tomorrow"), 2);
}

#[test]
fn verify_uses_the_policy_beside_the_trust_file() {
    let (server, record, _) = exported();
    let home = server.home();
    let trust = home.trust();
    let strict = std::fs::read_to_string(home.policies().join("strict.toml")).unwrap();
    std::fs::write(home.policies().join("development.toml"), strict).unwrap();
    assert_eq!(code(&["verify", "--trust", text(&trust), text(&record)]), 1);
    std::fs::write(home.policies().join("development.toml"), "schema = 1\nsurprise = 1").unwrap();
    assert_eq!(code(&["verify", "--trust", text(&trust), text(&record)]), 2);
}

#[test]
fn exit_codes_tell_arguments_from_files() {
    let (server, record, _) = exported();
    let trust = server.home().trust();
    let (trust, record) = (text(&trust), text(&record));
    assert_eq!(code(&[]), 2);
    assert_eq!(code(&["--help"]), 0);
    assert_eq!(code(&["verify", record]), 2);
    assert_eq!(code(&["verify", "--trust", trust, "--policy", "lenient", record]), 2);
    assert_eq!(code(&["verify", "--trust", record, record]), 3, "a trust file that is no text");
    assert_eq!(code(&["verify", "--trust", "/nowhere", record]), 3);
    assert_eq!(code(&["verify", "--trust", trust, record, "/nowhere"]), 3);
    assert_eq!(code(&["inspect", "/nowhere"]), 3);
    assert_eq!(code(&["inspect", trust]), 1);
    assert_eq!(code(&["nodes", "--dir", "/nowhere"]), 3);
    assert_eq!(code(&["serve", "--dir", "/nowhere"]), 3);
}

#[test]
fn inspect_shows_every_part_and_says_that_it_proves_nothing() {
    let (server, _, evidence) = exported();
    let page = String::from_utf8(run(&["inspect", text(&evidence)]).stdout).unwrap();
    assert!(page.lines().next().unwrap().contains("not verified"), "{page}");
    for part in ["kind: evidence", "quote:", "reset_count: 4", "enrolment:", "tpm_class: unknown"] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let beacon = server.dir.path().join("beacon.cbor");
    std::fs::write(&beacon, server.client().get(BEACON).ok()).unwrap();
    let (exit, shown) = json(&["inspect", "--json", text(&beacon)]);
    assert_eq!((exit, &shown["kind"], &shown["verified"]), (0, &"beacon".into(), &false.into()));
}

#[test]
fn the_configuration_prints_itself() {
    let output = run(&["serve", "--print-config"]);
    assert_eq!(output.status.code(), Some(0));
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.contains("listen = \"127.0.0.1:7443\"") && page.contains("# Seconds"), "{page}");
}

#[test]
fn nodes_lists_what_the_store_holds_while_it_is_served() {
    let (server, _, _) = exported();
    let dir = server.home().dir().to_owned();
    let (exit, listed) = json(&["nodes", "--json", "--dir", text(&dir)]);
    assert_eq!((exit, &listed["schema"]), (0, &1.into()));
    assert_eq!(listed["nodes"][0]["newest"]["state"], "open");
    assert_eq!(listed["nodes"][0]["tpm_class"], "unknown");
    let page = String::from_utf8(run(&["nodes", "--dir", text(&dir)]).stdout).unwrap();
    assert!(page.contains(listed["nodes"][0]["node"].as_str().unwrap()), "{page}");
}

#[test]
fn report_prints_a_page_and_the_verdict() {
    let (server, _, evidence) = exported();
    let trust = server.home().trust();
    let output = run(&["report", "--trust", text(&trust), text(&evidence)]);
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{page}");
    for section in ["Machine", "Identity", "Boot", "GPUs", "Verdict"] {
        assert!(page.lines().any(|line| line.starts_with(section)), "{section}\n{page}");
    }
}

#[test]
fn verify_names_problems_first_with_what_to_do() {
    let (server, record, _) = exported();
    let trust = server.home().trust();
    let output = run(&["verify", "--trust", text(&trust), "--policy", "open", text(&record)]);
    let page = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = page.lines().collect();
    assert!(lines[1].contains("✗ policy.floor") && lines[2].contains("next: "), "{page}");
    assert!(page.contains("under open ("), "{page}");
}

#[test]
fn verify_takes_a_validators_statements_and_no_others() {
    let (server, record, evidence) = exported();
    let (home, node) = (server.home(), Envelope::decode(&std::fs::read(&record).unwrap()).unwrap());
    let trust = home.trust();
    let key = assay_validator::trusted::signing_key(&home.key()).unwrap();
    let issued = node.message::<EnrolmentRecord>().unwrap().issued_ms;
    let entry =
        Revocation { kind: RevokedKind::Record, digest: node.hash(), at_ms: issued, reason: "x".into() };
    let list = RevocationList { number: 1, issued_ms: 0, entries: vec![entry] };
    let statement = |key: &SigningKey| {
        let id = key.verifying_key().validator_id();
        Envelope::seal(Kind::Revocations, id, &list, key, &server.trust().network)
    };
    let file = server.dir.path().join("revocations.cbor");
    std::fs::write(&file, statement(&key)).unwrap();
    for option in ["--state", "--revocations"] {
        let (exit, result) =
            json(&["verify", "--json", "--trust", text(&trust), option, text(&file), text(&evidence)]);
        assert_eq!(exit, 1);
        let findings = result["findings"].as_array().unwrap();
        assert_eq!(findings.last().unwrap()["id"], "enrolment.revoked");
    }
    std::fs::write(&file, statement(&SigningKey::from_seed(&[77; 32]))).unwrap();
    assert_eq!(code(&["verify", "--trust", text(&trust), "--state", text(&file), text(&evidence)]), 2);
}

/// A real switch, said to be simulated, for its report is over a nonce of its own.
fn recorded() -> Option<DeviceEvidence> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let data =
        std::env::var_os("ASSAY_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from).join("gpu");
    let read = |name: &Value| std::fs::read_to_string(data.join(name.as_str()?)).ok();
    let cases: Value = serde_json::from_str(&read(&"cases.json".into())?).unwrap();
    let is_switch = |case: &&Value| {
        case["arch"] == "LS10" && case["report"].is_string() && case["expected"]["signature"] == true
    };
    let case = cases["cases"].as_array().unwrap().iter().find(is_switch)?;
    Some(DeviceEvidence {
        gpu: None,
        architecture: Architecture::Ls10,
        report: hex::decode(read(&case["report"])?.trim()).unwrap(),
        chain: DeviceChain::from_pem(&read(&case["chain"])?).unwrap().der(),
        ocsp: vec![],
        simulated: true,
    })
}

/// A validator, and the evidence of a node with that switch in a file beside it.
fn with_switch() -> Option<(Server, PathBuf, DeviceEvidence)> {
    let Some(switch) = recorded() else {
        eprintln!("SKIPPED: no data folder; set ASSAY_DATA");
        return None;
    };
    let server = Server::start();
    let mut client = server.client();
    let node = Node::enrolled(&server, &mut client, 1);
    let evidence = node.evidence_with(node.start(node.challenge(&mut client), None), vec![switch.clone()]);
    let file = server.dir.path().join("evidence.cbor");
    std::fs::write(&file, evidence).unwrap();
    Some((server, file, switch))
}

#[test]
fn more_answers_about_a_devices_certificate_than_are_judged_are_refused() {
    use crate::responder::ocsp::{Answer, good, id_of, single};
    let Some((server, file, switch)) = with_switch() else { return };
    let [certificate, issuer] = [1, 2].map(|at| Certificate::parse(&switch.chain[at]).unwrap());
    let id = id_of(&certificate.serial, &issuer);
    let answers: Vec<PathBuf> = (1..=5)
        .map(|day| {
            let this = format!("2026010{day}000000Z");
            let answer = Answer { singles: vec![single(&id, &good(), &this, None, &[])], ..Answer::good() };
            let path = server.dir.path().join(format!("{day}.der"));
            std::fs::write(&path, answer.sign(&crate::responder::key(1))).unwrap();
            path
        })
        .collect();
    let trust = server.home().trust();
    let with = |count: usize| {
        let answers = answers.iter().take(count).flat_map(|path| ["--ocsp", text(path)]);
        let args: Vec<&str> =
            ["verify", "--trust", text(&trust), text(&file)].into_iter().chain(answers).collect();
        code(&args)
    };
    assert_eq!((with(4), with(5)), (0, 3));
}

#[test]
fn verify_holds_devices_against_a_folder_of_reference_values() {
    let Some((server, file, switch)) = with_switch() else { return };
    let (home, rims) = (server.home(), server.dir.path().join("rims"));
    let report = Report::parse(&switch.report).unwrap();
    let row = |block: &Measurement| RimRow {
        index: block.index - 1,
        name: "m".into(),
        values: vec![(*block.digest().unwrap()).into()],
    };
    let rim = Rim {
        kind: RimKind::Switch,
        product: "LS10".into(),
        version: report.facts().vbios.clone().unwrap(),
        tag: "t".into(),
        board: None,
        rows: report.measurements().iter().take(3).map(row).collect(),
        source: Digest([1; 32]),
        signer: Digest([2; 32]),
        not_before: 0,
        not_after: i64::MAX,
        proof: SignerProof::default(),
    };
    let seal = |key: &SigningKey| {
        let id = key.verifying_key().validator_id();
        Envelope::seal(Kind::GpuRim, id, &rim, key, &Network::new(RIM_NETWORK))
    };
    std::fs::create_dir(&rims).unwrap();
    std::fs::write(rims.join("ours"), seal(&assay_validator::trusted::signing_key(&home.key()).unwrap()))
        .unwrap();
    std::fs::write(rims.join("theirs"), seal(&SigningKey::from_seed(&[9; 32]))).unwrap();
    let (trust, later) = (home.trust(), server.dir.path().join("later"));
    // "Try later" (RFC 6960 2.3): an answer, if one of no use.
    std::fs::write(&later, [0x30, 3, 0x0a, 1, 3]).unwrap();
    let with = |more: &[&str]| {
        let output = run(&[&["verify", "--json", "--trust", text(&trust), text(&file)], more].concat());
        let judged: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let measured = judged["facts"]["sessions"][0]["devices"][0]["measurements"].clone();
        (output.status.code(), measured, String::from_utf8(output.stderr).unwrap(), judged.to_string())
    };
    let (code, measured, ..) = with(&[]);
    assert_eq!((code, measured), (Some(0), Value::Null));
    let (code, measured, said, judged) = with(&["--rims", text(&rims), "--ocsp", text(&later)]);
    assert_eq!((code, measured), (Some(0), Value::Bool(true)), "{said}");
    assert!(said.lines().count() == 1 && said.contains("theirs is not used"), "{said}");
    assert!(judged.contains("answer 0"), "answers are looked at: {judged}");
    assert_eq!(with(&["--rims", "/nowhere"]).0, Some(3));
    assert_eq!(with(&["--ocsp", "/nowhere"]).0, Some(3));
}

#[test]
fn verify_writes_the_same_token_again() {
    let (server, record, evidence) = exported();
    let home = server.home();
    let (trust, key, out) = (home.trust(), home.key(), server.dir.path().join("ear"));
    let export = |format: &str, file: &Path| {
        let time = civil::format(server.now_ms());
        let args = ["verify", "--trust", text(&trust), "--time", &time, "--ear", format];
        let exit = code(&[&args[..], &["--key", text(&key), "--out", text(&out), text(file)]].concat());
        let token = std::fs::read(&out).unwrap();
        std::fs::remove_file(&out).unwrap();
        (exit, token)
    };
    for format in ["jwt", "cwt"] {
        let first = export(format, &evidence);
        assert_eq!((first.0, &first), (0, &export(format, &evidence)), "{format}");
        assert_ne!(first.1, export(format, &record).1, "{format}");
    }
    let one = ["verify", "--trust", text(&trust), "--ear", "jwt", text(&record)];
    assert_eq!(code(&one), 2, "no key");
    let two = ["--key", text(&key), "--out", text(&out), text(&evidence)];
    assert_eq!(code(&[&one[..], &two].concat()), 2, "two files");
    let over = [&one[..], &["--key", text(&key), "--out", text(&key)]].concat();
    let before = std::fs::read(&key).unwrap();
    assert_eq!((code(&over), std::fs::read(&key).unwrap()), (3, before), "nothing is overwritten");
}
