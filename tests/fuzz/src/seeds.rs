//! What mutations start from.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use assay_appraisal::{Policy, State};
use assay_boot::release::{Pcr7Digest, Pcr7Event, PhaseValue};
use assay_boot::{EventLog, Release};
use assay_ledger::firmware::{FirmwareSet, FirmwareTable};
use assay_ledger::owner::OwnerTransfer;
use assay_ledger::protocol::{Accepted, ChallengeRequest, Records, Refusal, SessionChallenge};
use assay_ledger::revocation::{Revocation, RevocationList, RevokedKind};
use assay_wire::{Digest, Envelope, cbor};
use assay_x509::Store;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{Arrival, MESSAGES, World, world};

/// The longest file of the data folder that is a seed, in bytes; longer ones only slow mutations down.
const LONGEST: usize = 512 << 10;

/// A plan with every field in use.
const PLAN: &str = r#"{"version":2,"supervisor":1,"layers":["/layer"],"ids":{"range":{"base":1879048192}},"uid":0,"gid":0,
"argv":["/bin/true"],"env":["A=1"],"cwd":"/","hostname":"job","outputs":["/out"],"scratch_bytes":1048576,"scratch_inodes":1024,
"timeout_ms":1000,"logs":{"stdout":"/o","stderr":"/e","limit_bytes":1024},"rlimits":{"processes":8,"open_files":64,
"file_bytes":1048576,"cpu_seconds":2,"data_bytes":null,"address_space_bytes":1073741824},"cgroup":"/sys/fs/cgroup/job",
"binds":[{"source":"/in","target":"/in","writable":false}],"secrets":[{"name":"key","value_hex":"00ff"}]}"#;

/// Job files with every key, in both forms.
const JOBS: [&str; 2] = [
    r#"[job]
image = "oci:/layout:v1"
command = ["/bin/sh", "-c", "true"]
env = { A = "1" }
timeout = "30s"
network = "none"
outputs = ["/out"]
output_bytes = "8Mi"
restart = { on = "failure", max = 3, backoff = "5s" }
checkpoint = "/ckpt"
checkpoint_bytes = "4Mi"
[[job.inputs]]
source = "/data/set"
sha256 = "0707070707070707070707070707070707070707070707070707070707070707"
target = "/in"
[job.secrets]
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
[job.resources]
cpu = "500m"
memory = "512Mi"
disk = "1Gi"
pids = 16
gpus = 0
limits = "rlimit"
"#,
    r#"{"job": {"image": "registry.example/app@sha256:0707070707070707070707070707070707070707070707070707070707070707",
"inputs": [{"source": "/a", "sha256": "0707070707070707070707070707070707070707070707070707070707070707",
"target": "/in/a"}], "outputs": ["/out/a", "/out/b"], "checkpoint": "/c", "resources": {"pids": 1}}}"#,
];

/// Everything that `target` starts from: made here, kept in the repository, read from the data folder.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let made = made(target, world());
    let kept = files(&corpus_dir().join(target)).into_iter().map(|(_, bytes)| bytes);
    made.into_iter().chain(kept).chain(from_data(target)).collect()
}

/// Where committed seeds lie, a folder for each target.
pub fn corpus_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn made(target: &str, world: &World) -> Vec<Vec<u8>> {
    match target {
        "attest" => tpm_structures(world),
        "certificate" => {
            let shipped = Store::builtin().unwrap();
            shipped.entries().iter().map(|entry| entry.certificate.der().to_vec()).collect()
        }
        "claim" => [(0, world.claim.clone()), (0, world.receipt.clone())]
            .into_iter()
            .chain([(1, World::payload(&world.claim)), (2, World::payload(&world.receipt))])
            .map(|(first, bytes)| [vec![first], bytes].concat())
            .collect(),
        "enrolment" => vec![cbor::to_vec(&world.enrolment.request)],
        "envelope" => world.envelopes.iter().cloned().collect(),
        "eventlog" => vec![firmware(world)],
        "evidence" => {
            let raw = &world.session.records.evidence;
            let log = firmware(world);
            let arrivals = [(Arrival::Raw, raw.clone()), (Arrival::Sealed, World::payload(raw))];
            let further = [(Arrival::Firmware, log), (Arrival::Userspace, vec![]), (Arrival::Ima, vec![])];
            arrivals.into_iter().chain(further).map(|(arrival, bytes)| arriving(arrival, &bytes)).collect()
        }
        "plan" => vec![PLAN.as_bytes().to_vec()],
        "job" => JOBS.map(|text| text.as_bytes().to_vec()).into(),
        "image" => images(),
        "layer" => layers(),
        "message" => messages(world),
        "ocsp" => crate::ocsp::answers().to_vec(),
        "registry_ref" => references(),
        "rim" => crate::rim::seeds(),
        "release" => vec![cbor::to_vec(&release())],
        "corim" => release().to_corim().into_iter().collect(),
        "state" => vec![State::default().to_cbor(), state().to_cbor()],
        "policy" => {
            let texts = Policy::BUILTIN.iter().map(|(_, text)| text.as_bytes().to_vec());
            let canonical = Policy::BUILTIN.iter().filter_map(|(_, text)| Policy::parse(text).ok());
            texts.chain(canonical.map(|policy| policy.to_cbor())).collect()
        }
        "trust" => vec![world.trust.to_toml().into_bytes()],
        "uefi" => event_data(&firmware(world)),
        "report" | "opaque" | "chain" | "bundle" => crate::device::seeds(target),
        _ => vec![],
    }
}

/// References of every shape.
fn references() -> Vec<Vec<u8>> {
    let digest = format!("sha256:{}", "0".repeat(64));
    let texts = [
        "registry.example/a:1".to_owned(),
        format!("registry.example:5000/lib/a_b/c-d.e@{digest}"),
        format!("[::1]:5000/a:v1.2-x@{digest}"),
        "127.0.0.1:5000/a:latest".to_owned(),
        "localhost/a__b:_".to_owned(),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

/// A manifest and its config, and an index and its manifest.
fn images() -> Vec<Vec<u8>> {
    let digest = |bytes: &[u8]| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let descriptor = |kind: &str, bytes: &[u8]| {
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(bytes), "size": bytes.len(),
               "platform": {"os": "linux", "architecture": "amd64"}})
    };
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(b"")]},
                        "config": {"Env": ["A=b"], "Cmd": ["/bin/sh"], "User": "1:2", "WorkingDir": "/w"}});
    let config = config.to_string().into_bytes();
    let manifest = json!({"schemaVersion": 2, "config": descriptor("config.v1+json", &config),
                          "mediaType": "application/vnd.oci.image.manifest.v1+json",
                          "layers": [descriptor("layer.v1.tar+gzip", b"blob")]});
    let manifest = manifest.to_string().into_bytes();
    let index = json!({"schemaVersion": 2, "manifests": [descriptor("manifest.v1+json", &manifest)]});
    let index = index.to_string().into_bytes();
    vec![[&[0], &*manifest, &[0], &config].concat(), [&[1], &*index, &[0], &manifest].concat()]
}

/// A layer with every kind of entry and extension, in each compression.
fn layers() -> Vec<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, name: &str, link: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_size(u64::try_from(content.len()).unwrap());
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        tar.append(&header, content).unwrap();
    };
    add(tar::EntryType::Directory, "d", "", b"");
    add(tar::EntryType::Regular, "d/f", "", b"content");
    add(tar::EntryType::Symlink, "s", "d/f", b"");
    add(tar::EntryType::Link, "h", "d/f", b"");
    add(tar::EntryType::XHeader, "x", "", b"10 path=p\n12 uid=1000\n");
    add(tar::EntryType::Regular, "f", "", b"");
    add(tar::EntryType::GNULongName, "@", "", b"d/long");
    add(tar::EntryType::Regular, "f", "", b"x");
    add(tar::EntryType::Regular, "d/.wh.gone", "", b"");
    add(tar::EntryType::Regular, "d/.wh..wh..opq", "", b"");
    add(tar::EntryType::Fifo, "pipe", "", b"");
    let plain = tar.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let packed = [plain.clone(), gzip.finish().unwrap(), zstd::encode_all(plain.as_slice(), 1).unwrap()];
    packed.into_iter().zip(0u8..).map(|(blob, kind)| [vec![kind], blob].concat()).collect()
}

fn firmware(world: &World) -> Vec<u8> {
    world.evidence.logs.firmware.as_ref().unwrap().to_vec()
}

fn tpm_structures(world: &World) -> Vec<Vec<u8>> {
    let evidence = &world.evidence;
    let attested = [&evidence.quote, &evidence.time].map(|a| [a.attest.clone(), a.signature.clone()]);
    let publics =
        [&world.enrolment.request.ek_public, &world.enrolment.request.ak_public].map(|p| p.to_vec());
    let name = world.ak.name().map(|name| name.as_bytes().to_vec());
    attested.into_iter().flatten().chain(publics).chain(name).collect()
}

/// Input of the evidence target.
fn arriving(arrival: Arrival, bytes: &[u8]) -> Vec<u8> {
    let first = Arrival::ALL.iter().position(|one| *one == arrival);
    [&[u8::try_from(first.unwrap_or_default()).unwrap()], bytes].concat()
}

fn messages(world: &World) -> Vec<Vec<u8>> {
    let nth = |name: &str| MESSAGES.iter().position(|(known, _, _)| *known == name).unwrap();
    let input = |nth: usize, bytes: Vec<u8>| [vec![u8::try_from(nth).unwrap()], bytes].concat();
    let sealed = world.envelopes.iter().map(|bytes| Envelope::decode(bytes).unwrap());
    let sealed = sealed.filter_map(|envelope| {
        let nth = MESSAGES.iter().position(|(_, kind, _)| *kind == Some(envelope.kind))?;
        Some(input(nth, envelope.payload))
    });
    let enrolment = &world.enrolment;
    let envelope = || world.envelopes.first().cloned().unwrap_or_default().into();
    let (digest, key) = (Digest([7; 32]), world.evidence.session.key);
    let revoked = Revocation { kind: RevokedKind::Node, digest, at_ms: 1, reason: "lost".into() };
    let set = FirmwareSet { pcr0: digest, owners: 3, first_ms: 1, name: "N1".into() };
    let refusal = Refusal { code: "a.b".into(), message: "c".into() };
    let others: [(&str, Vec<u8>); 12] = [
        ("release", cbor::to_vec(&release())),
        ("enrol request", cbor::to_vec(&enrolment.request)),
        ("enrol challenge", cbor::to_vec(&enrolment.challenge)),
        ("enrol answer", cbor::to_vec(&enrolment.answer)),
        ("challenge request", cbor::to_vec(&ChallengeRequest { node: digest })),
        ("session challenge", cbor::to_vec(&SessionChallenge { nonce: digest })),
        ("records", cbor::to_vec(&Records { session: digest, envelopes: vec![envelope()] })),
        (
            "accepted",
            cbor::to_vec(&Accepted { count: 1, receipts: vec![envelope()], refusal: Some(refusal.clone()) }),
        ),
        ("refusal", cbor::to_vec(&refusal)),
        ("revocations", cbor::to_vec(&RevocationList { number: 1, issued_ms: 1, entries: vec![revoked] })),
        ("owner transfer", cbor::to_vec(&OwnerTransfer { node: digest, from: key, to: key, at_ms: 1 })),
        ("firmware", cbor::to_vec(&FirmwareTable { issued_ms: 1, sets: vec![set] })),
    ];
    sealed.chain(others.into_iter().map(|(name, bytes)| input(nth(name), bytes))).collect()
}

/// A release with every list filled.
fn release() -> Release {
    let digest = Digest([9; 32]);
    Release {
        name: "os".into(),
        version: "1.2".into(),
        number: 12,
        minimum: 3,
        issued_ms: 1_000,
        expires_ms: 2_000_000,
        kernel_boot: vec![PhaseValue { path: "enter-initrd".into(), value: digest }],
        applications: vec![digest],
        secure_boot: Pcr7Event::ALL.map(|event| Pcr7Digest { event, digest }).to_vec(),
        overrides: vec![digest],
        extensions: vec![digest],
        root_hash: digest,
        agent: digest,
        command_line: Some("ro systemd.import_credentials=no".into()),
    }
}

fn state() -> State {
    let digest = Digest([9; 32]);
    let head = world().session.head();
    State {
        known: Some(head),
        revocations: [(digest, RevocationList { number: 1, issued_ms: 1, entries: vec![] })].into(),
        firmware: [(digest, 3)].into(),
        approved_firmware: [(digest, digest)].into(),
        gpu_rims: vec![],
        gpu_ocsp: vec![vec![0x30, 0].into()],
    }
}

/// The data of every event, each once.
fn event_data(log: &[u8]) -> Vec<Vec<u8>> {
    let events = EventLog::parse(log).map(|log| log.events).unwrap_or_default();
    let mut data: Vec<_> = events.into_iter().map(|event| event.data).collect();
    data.sort();
    data.dedup();
    data
}

/// Files of the data folder's `attestation`, by path; `None` where there is no such folder.
pub fn data() -> Option<Vec<(PathBuf, Vec<u8>)>> {
    let folder = data_folder().join("attestation");
    folder.is_dir().then(|| files(&folder))
}

/// Evidence files of the data folder's `gpu`, by path.
pub(crate) fn device_files() -> Vec<(PathBuf, Vec<u8>)> {
    files(&data_folder().join("gpu/evidence"))
}

/// RIM documents of the data folder's `gpu`, by path.
pub(crate) fn rim_files() -> Vec<(PathBuf, Vec<u8>)> {
    files(&data_folder().join("gpu/rims"))
}

fn data_folder() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    env::var_os("ASSAY_DATA").map_or_else(default, PathBuf::from)
}

/// Files below a folder in the order of their paths.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    let below = |path: PathBuf| {
        if path.is_dir() {
            files(&path)
        } else {
            fs::read(&path).map(|bytes| vec![(path, bytes)]).unwrap_or_default()
        }
    };
    paths.into_iter().flat_map(below).collect()
}

fn from_data(target: &str) -> Vec<Vec<u8>> {
    let files = data().unwrap_or_default().into_iter().filter(|(_, bytes)| bytes.len() <= LONGEST);
    files.flat_map(|(path, bytes)| from_file(target, &path, bytes)).collect()
}

/// What a file of the data folder is to a target.
fn from_file(target: &str, path: &Path, bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let text = path.to_string_lossy();
    let (is_ima, is_userspace) = (text.contains("/ima/"), text.ends_with(".log"));
    let is_log = !is_ima && EventLog::parse(&bytes).is_ok();
    let is_certificate =
        ["/ekcerts/", "/ca-store/", "/platform-certs/"].iter().any(|part| text.contains(part));
    match target {
        "eventlog" if is_log => vec![bytes],
        "evidence" if is_log => vec![arriving(Arrival::Firmware, &bytes)],
        "evidence" if is_ima => vec![arriving(Arrival::Ima, &bytes)],
        "evidence" if is_userspace => vec![arriving(Arrival::Userspace, &bytes)],
        "uefi" if is_log => event_data(&bytes),
        "ima" if is_ima => vec![bytes],
        "userspace_log" if is_userspace => vec![bytes],
        "corim" if text.contains("/corim/") => vec![bytes],
        "certificate" | "platform_certificate" if is_certificate => vec![bytes],
        "attest" if text.ends_with(".json") => {
            hex_strings(&serde_json::from_slice(&bytes).unwrap_or_default())
        }
        _ => vec![],
    }
}

/// Every string that is hex, decoded: quotes, signatures and keys in a case file.
fn hex_strings(value: &Value) -> Vec<Vec<u8>> {
    match value {
        Value::String(text) if text.len() > 64 => hex::decode(text).into_iter().collect(),
        Value::Array(items) => items.iter().flat_map(hex_strings).collect(),
        Value::Object(fields) => fields.values().flat_map(hex_strings).collect(),
        _ => vec![],
    }
}
