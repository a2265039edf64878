//! A machine that is what its release says, and each way of being something else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;

use assay_boot::release::{Pcr7Digest, Pcr7Event, PhaseValue};
use assay_boot::write::LogWriter;
use assay_boot::*;
use assay_wire::{Digest, Envelope, Kind, Network, SigningKey};
use serde_json::Value;

mod folder;

/// Logs, and what a TPM holds that lived through them.
#[derive(Clone)]
struct Machine {
    log: EventLog,
    records: Vec<(u8, [u8; 32], String)>,
    quoted: BTreeMap<u8, [u8; 32]>,
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    HashAlg::Sha256.hash(&[bytes]).unwrap().try_into().unwrap()
}

impl Machine {
    fn new(log: EventLog, records: Vec<(u8, [u8; 32], String)>) -> Self {
        let mut machine = Self { log, records, quoted: BTreeMap::new() };
        machine.quote();
        machine
    }

    /// Extends a TPM with both logs and quotes it.
    fn quote(&mut self) {
        let firmware = self.log.extended().map(|event| {
            let digest = event.digest(HashAlg::Sha256).unwrap().to_vec();
            (u8::try_from(event.pcr).unwrap(), digest)
        });
        let records = self.records.iter().map(|(pcr, digest, _)| (*pcr, digest.to_vec()));
        self.quoted = RELEASE_PCRS.map(|pcr| (pcr, [0; 32])).into();
        for (pcr, digest) in firmware.chain(records) {
            let value = self.quoted.entry(pcr).or_default();
            *value = HashAlg::Sha256.hash(&[&value[..], &digest]).unwrap().try_into().unwrap();
        }
    }

    fn add(&mut self, pcr: u32, digest: [u8; 32], data: &[u8]) {
        let digests = vec![log_digest(digest)];
        self.log.events.push(Event { pcr, kind: EV_IPL, digests, data: data.to_vec() });
    }

    fn record(&mut self, pcr: u8, text: &str) {
        self.records.push((pcr, sha256(text.as_bytes()), text.to_owned()));
    }

    fn compare(&self, release: &Release) -> Vec<ReleaseDifference> {
        let records: Vec<_> = self
            .records
            .iter()
            .map(|(pcr, sha256, text)| UserspaceMeasurement { pcr: *pcr, sha256: *sha256, text })
            .collect();
        release.compare(MatchInput { firmware: &self.log, userspace: &records, quoted: &self.quoted })
    }

    /// The release of which this machine is a good one.
    fn release(&self) -> Release {
        let state = SecureBootState::read(&self.log);
        let digest = |digest: Option<[u8; 32]>| Digest(digest.unwrap());
        let key =
            |name: KeyName| Pcr7Event::ALL.into_iter().find(|event| event.name() == name.name()).unwrap();
        let keys = state.keys.iter().map(|keys| (key(keys.name), digest(keys.sha256)));
        let authorities = state.authorities.iter();
        let authorities = authorities.map(|read| (Pcr7Event::Authority, digest(read.sha256)));
        let mut secure_boot: Vec<_> =
            keys.chain(authorities).map(|(event, digest)| Pcr7Digest { event, digest }).collect();
        secure_boot.extend(state.other.iter().map(|index| {
            let seen = self.log.events[*index].digest(HashAlg::Sha256).unwrap();
            Pcr7Digest { event: Pcr7Event::Other, digest: seen.try_into().unwrap() }
        }));
        Release {
            name: "appliance".into(),
            version: "1".into(),
            number: 1,
            minimum: 1,
            issued_ms: 1_000,
            expires_ms: 2_000,
            kernel_boot: vec![PhaseValue { path: self.path(), value: Digest(self.quoted[&11]) }],
            applications: boot_applications(&self.log).iter().map(|read| digest(read.sha256)).collect(),
            secure_boot,
            overrides: vec![],
            extensions: vec![],
            root_hash: Digest([1; 32]),
            agent: Digest([2; 32]),
            command_line: None,
        }
    }

    fn path(&self) -> String {
        let records = self.records.iter().map(|(pcr, sha256, text)| UserspaceMeasurement {
            pcr: *pcr,
            sha256: *sha256,
            text,
        });
        phase_path(&records.collect::<Vec<_>>()).path
    }
}

fn log_digest(value: [u8; 32]) -> assay_boot::Digest {
    assay_boot::Digest { alg: HashAlg::Sha256, value: value.to_vec() }
}

fn variable(guid: [u8; 16], name: &str, value: &[u8]) -> Vec<u8> {
    UefiVariable { guid, name: name.into(), value: value.to_vec() }.encode()
}

const CMDLINE: &str = "root=x systemd.import_credentials=no";

/// A machine as its makers meant it, without test data.
fn made() -> Machine {
    let mut writer = LogWriter::new();
    let config = EV_EFI_VARIABLE_DRIVER_CONFIG;
    writer.measure(7, config, &variable(EFI_GLOBAL_VARIABLE, "SecureBoot", &[1])).unwrap();
    for name in [KeyName::Pk, KeyName::Kek, KeyName::Db, KeyName::Dbx] {
        let signatures = vec![Signature { owner: [1; 16], data: vec![2; 32] }];
        let list = SignatureList { kind: SignatureType::Sha256, header: vec![], signatures };
        writer.measure(7, config, &variable(name.guid(), name.name(), &list.encode())).unwrap();
    }
    for pcr in [4, 7] {
        writer.measure(pcr, EV_SEPARATOR, &[0; 4]).unwrap();
    }
    let authority = variable(EFI_IMAGE_SECURITY_DATABASE, "db", &[7; 48]);
    writer.measure(7, EV_EFI_VARIABLE_AUTHORITY, &authority).unwrap();
    writer.event(4, EV_EFI_BOOT_SERVICES_APPLICATION, [9; 32], &[]).unwrap();
    for (name, content) in [(".linux", "MZ"), (".cmdline", CMDLINE)] {
        let text: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        writer.event(11, EV_IPL, sha256(format!("{name}\0").as_bytes()), &text).unwrap();
        writer.event(11, EV_IPL, sha256(content.as_bytes()), &text).unwrap();
    }
    let mut machine = Machine::new(EventLog::parse(&writer.finish()).unwrap(), vec![]);
    for word in ["enter-initrd", "leave-initrd", "sysinit", "ready"] {
        machine.record(11, word);
    }
    machine.record(15, &format!("machine-id:{}", "0a".repeat(16)));
    machine.records.push((15, [3; 32], "cryptsetup:state:uuid".into()));
    machine.quote();
    machine
}

/// The recorded boot of an appliance, with the PCRs that its TPM really had.
fn recorded() -> Option<Machine> {
    let folder = folder::attestation()?.join("appliance");
    if !folder.is_dir() {
        eprintln!("SKIPPED: the test data has no appliance");
        return None;
    }
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let pcrs: Value = serde_json::from_slice(&read("pcrs.json")).unwrap();
    let value = |text: &Value| hex::decode(text.as_str().unwrap()).unwrap().try_into().unwrap();
    let quoted = pcrs["pcrs"]["sha256"].as_object().unwrap().iter();
    let quoted = quoted.map(|(pcr, text)| (pcr.parse().unwrap(), value(text))).collect();
    let log = String::from_utf8(read("tpm2-measure.log")).unwrap();
    let records = log.split('\x1e').filter(|record| !record.trim().is_empty()).map(|record| {
        let record: Value = serde_json::from_str(record).unwrap();
        let digests = record["digests"].as_array().unwrap().iter();
        let digest = digests.clone().find(|digest| digest["hashAlg"] == "sha256").unwrap();
        let text = record["content"]["string"].as_str().unwrap_or_default().to_owned();
        (u8::try_from(record["pcr"].as_u64().unwrap()).unwrap(), value(&digest["digest"]), text)
    });
    let records = records.collect();
    let log = EventLog::parse(&read("binary_bios_measurements")).unwrap();
    Some(Machine { log, records, quoted })
}

fn machines() -> Vec<Machine> {
    std::iter::once(made()).chain(recorded()).collect()
}

/// What differs once a good machine is changed and its TPM has lived through the change.
fn changed(good: &Machine, change: impl Fn(&mut Machine)) -> Vec<(ReleaseCheck, u8)> {
    let mut machine = good.clone();
    change(&mut machine);
    machine.quote();
    rows(machine.compare(&good.release()))
}

fn rows(differences: Vec<ReleaseDifference>) -> Vec<(ReleaseCheck, u8)> {
    differences.into_iter().map(|row| (row.check, row.pcr)).collect()
}

#[test]
fn a_good_machine_is_its_release_and_the_release_survives_corim() {
    for machine in machines() {
        let release = machine.release();
        assert_eq!(machine.compare(&release), []);
        let bytes = assay_wire::cbor::to_vec(&release);
        assert_eq!(Release::decode(&bytes), Ok(release.clone()));
        assert_eq!(Release::from_corim(&release.to_corim().unwrap()), Ok(release));
    }
}

#[test]
fn a_release_travels_under_its_signers_key() {
    let (key, network) = (SigningKey::from_seed(&[1; 32]), Network::new("test"));
    let (release, kid) = (made().release(), key.verifying_key().validator_id());
    let bytes = Envelope::seal(Kind::Release, kid, &release, &key, &network);
    let envelope = Envelope::decode_as(Kind::Release, &bytes).unwrap();
    assert_eq!((envelope.kid, envelope.verify(&key.verifying_key(), &network)), (kid, Ok(())));
    assert_eq!(Release::decode(&envelope.payload), Ok(release));
}

#[test]
fn each_digest_that_a_release_does_not_name_is_a_difference() {
    for machine in machines() {
        let release = machine.release();
        for index in 0..release.applications.len() {
            let mut other = release.clone();
            other.applications[index].0[0] ^= 1;
            let differences = machine.compare(&other);
            assert_eq!(rows(differences.clone()), [(ReleaseCheck::BootApplication, 4)]);
            let event = differences[0].event.unwrap();
            let seen = machine.log.events[event.index].digest(HashAlg::Sha256).unwrap();
            assert_eq!((event.log, hex::encode(seen)), (LogKind::Firmware, differences[0].seen.clone()));
        }
        for index in 0..release.secure_boot.len() {
            let mut other = release.clone();
            other.secure_boot[index].digest.0[0] ^= 1;
            assert_eq!(rows(machine.compare(&other)), [(ReleaseCheck::SecureBootEvent, 7)]);
            let mut other = release.clone();
            other.secure_boot[index].event = Pcr7Event::Dbr;
            assert_eq!(rows(machine.compare(&other)), [(ReleaseCheck::SecureBootEvent, 7)]);
        }
        let mut other = release.clone();
        other.kernel_boot[0].value.0[0] ^= 1;
        assert_eq!(rows(machine.compare(&other)), [(ReleaseCheck::KernelBoot, 11)]);
        let mut other = release.clone();
        other.kernel_boot[0].path.push_str(":final");
        assert_eq!(rows(machine.compare(&other)), [(ReleaseCheck::KernelBoot, 11)]);
        let line = Some("something else".to_owned());
        let other = Release { command_line: line, ..release };
        assert_eq!(rows(machine.compare(&other)), [(ReleaseCheck::CommandLine, 11)]);
    }
}

#[test]
fn the_command_line_is_compared_where_the_release_names_it() {
    let machine = made();
    let release = Release { command_line: Some(CMDLINE.into()), ..machine.release() };
    assert_eq!(machine.compare(&release), []);
    assert_eq!(release.refuses_credentials(), Some(true));
}

#[test]
fn each_event_too_many_is_a_difference() {
    for good in machines() {
        let add = |pcr: u32| changed(&good, |machine| machine.add(pcr, [5; 32], b"x"));
        assert_eq!(add(4), [(ReleaseCheck::BootApplication, 4)]);
        assert_eq!(add(7), [(ReleaseCheck::SecureBootEvent, 7)]);
        assert_eq!(add(11), [(ReleaseCheck::KernelBoot, 11)]);
        assert_eq!(add(12), [(ReleaseCheck::Override, 12)]);
        assert_eq!(add(13), [(ReleaseCheck::Extension, 13)]);
        assert_eq!(add(14), [(ReleaseCheck::Shim, 14)]);
        assert_eq!(add(15), [(ReleaseCheck::Identity, 15)]);
        assert_eq!(add(9), [], "not a release's");
        let record = |pcr: u8, text: &str| changed(&good, |machine| machine.record(pcr, text));
        assert_eq!(record(11, "shutdown"), [(ReleaseCheck::KernelBoot, 11)]);
        assert_eq!(record(15, "anything"), [(ReleaseCheck::Identity, 15)]);
        for pcr in [4, 7, 12, 13, 14] {
            assert_eq!(record(pcr, OS_SEPARATOR), []);
            assert_eq!(record(pcr, "anything"), [(ReleaseCheck::OsSeparator, pcr)]);
            let twice = changed(&good, |machine| {
                machine.record(pcr, OS_SEPARATOR);
                machine.record(pcr, OS_SEPARATOR);
            });
            assert_eq!(twice, [(ReleaseCheck::OsSeparator, pcr)]);
        }
    }
}

#[test]
fn overrides_and_extensions_can_be_a_releases_own() {
    let good = made();
    let mut release = good.release();
    release.overrides.push(Digest([5; 32]));
    release.extensions.push(Digest([6; 32]));
    let mut machine = good;
    machine.add(12, [5; 32], b"x");
    machine.add(13, [6; 32], b"x");
    machine.quote();
    assert_eq!(machine.compare(&release), []);
    machine.add(13, [5; 32], b"x");
    machine.quote();
    assert_eq!(rows(machine.compare(&release)), [(ReleaseCheck::Extension, 13)]);
}

#[test]
fn a_log_that_does_not_lead_to_the_quote_explains_nothing() {
    for good in machines() {
        let release = good.release();
        for pcr in RELEASE_PCRS {
            let mut machine = good.clone();
            machine.quoted.get_mut(&pcr).unwrap()[0] ^= 1;
            assert!(rows(machine.compare(&release)).contains(&(ReleaseCheck::Explained, pcr)), "{pcr}");
            machine.quoted.remove(&pcr);
            assert!(rows(machine.compare(&release)).contains(&(ReleaseCheck::Quoted, pcr)), "{pcr}");
        }
        let mut machine = good.clone();
        machine.log.banks = vec![HashAlg::Sha1];
        let rows = rows(machine.compare(&release));
        assert!(RELEASE_PCRS.iter().all(|pcr| rows.contains(&(ReleaseCheck::Explained, *pcr))));
    }
}

/// Replaces an event's data, and its digest with the hash of it.
fn remeasure(machine: &mut Machine, name: &str, change: impl Fn(&mut UefiVariable)) {
    let read = |event: &Event| UefiVariable::parse(&event.data).ok();
    let mut events = machine.log.events.iter_mut();
    let named = |event: &&mut Event| read(event).is_some_and(|read| event.pcr == 7 && read.name == name);
    let event = events.find(named).unwrap();
    let mut variable = read(event).unwrap();
    change(&mut variable);
    event.data = variable.encode();
    event.digests = vec![log_digest(sha256(&event.data))];
}

#[test]
fn secure_boot_is_on_and_nothing_of_it_is_missing() {
    for good in machines() {
        let off = changed(&good, |machine| remeasure(machine, "SecureBoot", |read| read.value = vec![0]));
        assert_eq!(off, [(ReleaseCheck::SecureBoot, 7)]);
        let gone =
            changed(&good, |machine| remeasure(machine, "SecureBoot", |read| read.name = "Secure".into()));
        assert_eq!(gone, [(ReleaseCheck::SecureBoot, 7), (ReleaseCheck::SecureBootEvent, 7)]);
        for name in ["PK", "KEK", "db", "dbx"] {
            let other = changed(&good, |machine| remeasure(machine, name, |read| read.value = vec![]));
            assert_eq!(other, [(ReleaseCheck::SecureBootEvent, 7)], "{name}: another value");
        }
        let unvouched = changed(&good, |machine| {
            let state = SecureBootState::read(&machine.log);
            for authority in state.authorities.iter().rev() {
                machine.log.events.remove(authority.event);
            }
        });
        assert_eq!(unvouched, [(ReleaseCheck::SecureBootEvent, 7)]);
        let unloaded = changed(&good, |machine| {
            for application in boot_applications(&machine.log).iter().rev() {
                machine.log.events.remove(application.event);
            }
        });
        assert_eq!(unloaded, [(ReleaseCheck::BootApplication, 4)]);
    }
}

#[test]
fn a_relabelled_event_is_what_its_digest_says() {
    for good in machines() {
        for kind in [EV_SEPARATOR, EV_EFI_ACTION, EV_EFI_VARIABLE_AUTHORITY] {
            let hidden = changed(&good, |machine| {
                for pcr in [4, 7] {
                    let digests = vec![log_digest([5; 32])];
                    machine.log.events.push(Event { pcr, kind, digests, data: vec![0; 4] });
                }
            });
            assert_eq!(hidden, [(ReleaseCheck::BootApplication, 4), (ReleaseCheck::SecureBootEvent, 7)]);
        }
    }
}
