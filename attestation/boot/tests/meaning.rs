//! What real logs mean, against the data's expectations and other people's readings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::PathBuf;

use assay_boot::*;
use serde_json::Value;

mod folder;

/// Every log that parses: those of `expected.json` with their row, those beside quotes, the appliance's.
fn logs() -> Vec<(String, EventLog, Value)> {
    let Some(folder) = folder::attestation() else { return Vec::new() };
    let expected: Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let rows = expected["logs"].as_object().unwrap().iter();
    let mut named: Vec<(String, Value)> = rows.map(|(name, row)| (name.clone(), row.clone())).collect();
    named.push(("appliance/binary_bios_measurements".into(), Value::Null));
    let read = |(name, row): (String, Value)| {
        let log = EventLog::parse(&std::fs::read(folder.join(&name)).ok()?).ok()?;
        Some((name, log, row))
    };
    named.into_iter().filter_map(read).collect()
}

#[test]
fn secure_boots_keys_are_readable_wherever_they_are_measured() {
    for (name, log, expected) in logs() {
        let state = SecureBootState::read(&log);
        if let Some(row) = expected.as_object() {
            assert_eq!(state.enabled, row["secure_boot"].as_bool(), "{name}");
        }
        for keys in &state.keys {
            let lists = keys.lists.as_ref().unwrap_or_else(|e| panic!("{name} {}: {e}", keys.name.name()));
            let bytes: Vec<u8> = lists.iter().flat_map(SignatureList::encode).collect();
            assert_eq!(bytes, UefiVariable::parse(&log.events[keys.event].data).unwrap().value, "{name}");
        }
        if state.enabled == Some(true) {
            for key in [KeyName::Pk, KeyName::Kek, KeyName::Db] {
                assert!(!state.keys(key).unwrap().lists.as_ref().unwrap().is_empty(), "{name}");
            }
        }
        eprintln!("{name}: {} authorities, {} other", state.authorities.len(), state.other.len());
    }
}

#[test]
fn every_event_is_described_and_most_as_what_it_is() {
    for (name, log, _) in logs() {
        for (index, event) in log.events.iter().enumerate() {
            let data = describe(event);
            assert!(!data.fields.is_empty(), "{name} {index}");
            let printable = data.fields.iter().all(|(_, value)| !value.contains(char::is_control));
            assert!(printable, "{name} {index}");
            if is_variable(event) && data.form != "bytes" {
                assert_ne!(coverage(&log, event), Coverage::Nothing, "{name} {index}: a variable's digest");
            }
        }
    }
}

fn is_variable(event: &Event) -> bool {
    [EV_EFI_VARIABLE_DRIVER_CONFIG, EV_EFI_VARIABLE_BOOT, EV_EFI_VARIABLE_AUTHORITY].contains(&event.kind)
}

#[test]
fn every_application_has_a_digest_and_virtual_machines_show() {
    for (name, log, _) in logs() {
        let applications = boot_applications(&log);
        let images = log.extended().filter(|event| event.kind == EV_EFI_BOOT_SERVICES_APPLICATION);
        assert!(applications.len() >= images.filter(|event| event.pcr == 4).count(), "{name}");
        let hints = virtualization_hints(&log);
        let host = |event: &Event| event.data.starts_with(b"GCE NonHostInfo");
        if log.extended().any(host) {
            assert!(hints.iter().any(|hint| hint.kind == HintKind::GceNonHostInfo && hint.covered), "{name}");
        }
        for hint in hints {
            eprintln!("{name}: {}", hint.seen);
        }
    }
}

#[test]
fn the_appliances_sections_and_phases_are_read() {
    let Some(folder) = folder::attestation() else { return };
    let Ok(bytes) = std::fs::read(folder.join("appliance/binary_bios_measurements")) else {
        eprintln!("SKIPPED: the test data has no appliance");
        return;
    };
    let uki = Uki::read(&EventLog::parse(&bytes).unwrap());
    assert!([".linux", ".cmdline", ".initrd"].iter().all(|name| uki.section(name).is_some()));
    assert!(uki.other.is_empty(), "{:?}", uki.other);
}

/// Golden readings of `tpm2_eventlog`, each beside its log.
fn golden() -> Vec<(PathBuf, EventLog, String)> {
    let Some(folder) = folder::attestation() else { return Vec::new() };
    let mut read = Vec::new();
    for entry in std::fs::read_dir(folder.join("eventlogs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let log = EventLog::parse(&std::fs::read(path.with_extension("")).unwrap()).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            read.push((path, log, text));
        }
    }
    read
}

/// The values of a key in their order.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let values = text.lines().filter_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(": "));
    values.map(|value| value.trim_matches(['"', '\''])).collect()
}

#[test]
fn variables_and_paths_are_what_others_read() {
    for (path, log, text) in golden() {
        let name = path.display();
        let variables: Vec<_> = log.events.iter().filter(|event| is_variable(event)).collect();
        let read: Vec<_> = variables.iter().map(|event| describe(event).fields).collect();
        let one = |fields: &Vec<(&str, String)>, key: &str| {
            fields.iter().find(|field| field.0 == key).unwrap().1.clone()
        };
        let field = |key: &str| read.iter().map(|fields| one(fields, key)).collect::<Vec<_>>();
        assert_eq!(field("name"), values(&text, "UnicodeName"), "{name}");
        assert_eq!(field("guid"), values(&text, "VariableName"), "{name}");
        let options = variables.iter().filter_map(|event| {
            let variable = UefiVariable::parse(&event.data).ok()?;
            LoadOption::parse(&variable.value).ok().filter(|_| variable.name.starts_with("Boot0"))
        });
        let descriptions = values(&text, "Description");
        if !descriptions.is_empty() {
            let seen: Vec<_> = options.map(|option| option.description).collect();
            assert_eq!(seen, descriptions, "{name}");
        }
        let images: Vec<_> = log.events.iter().filter_map(image).collect();
        let locations: Vec<_> = images.iter().map(|image| format!("{:#x}", image.location)).collect();
        assert_eq!(locations, values(&text, "ImageLocationInMemory"), "{name}");
        for image in images.iter().filter(|image| !image.path.nodes.is_empty()) {
            let hex = hex::encode(image.path.encode());
            let mut paths = values(&text, "DevicePath").into_iter();
            assert!(paths.any(|path| path == hex), "{name}: {hex}");
        }
    }
}

fn image(event: &Event) -> Option<ImageLoad> {
    let kinds =
        [EV_EFI_BOOT_SERVICES_APPLICATION, EV_EFI_BOOT_SERVICES_DRIVER, EV_EFI_RUNTIME_SERVICES_DRIVER];
    kinds.contains(&event.kind).then(|| ImageLoad::parse(&event.data).unwrap())
}
