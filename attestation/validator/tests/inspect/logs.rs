//! Firmware, userspace and IMA logs that are made here.

use assay_boot::write::LogWriter;
use assay_boot::{
    EFI_GLOBAL_VARIABLE, EV_EFI_VARIABLE_DRIVER_CONFIG, EV_POST_CODE, EventLog, HashAlg, UefiVariable,
};
use serde_json::json;

use crate::{Files, json, page, refused};

fn firmware() -> Vec<u8> {
    let mut writer = LogWriter::new();
    writer.startup_locality(3).unwrap();
    writer.measure(0, EV_POST_CODE, b"ACPI DATA").unwrap();
    let on = UefiVariable { guid: EFI_GLOBAL_VARIABLE, name: "SecureBoot".into(), value: vec![1] };
    writer.measure(7, EV_EFI_VARIABLE_DRIVER_CONFIG, &on.encode()).unwrap();
    writer.finish()
}

#[test]
fn a_firmware_log_shows_its_values_and_events() {
    let files = Files::new();
    let shown = json("eventlog", &files.put("log", firmware()));
    let values = EventLog::parse(&firmware()).unwrap().replay(HashAlg::Sha256);
    assert_eq!(shown["schema"], 1);
    assert_eq!(shown["format"], "crypto-agile");
    assert_eq!((&shown["event_count"], &shown["startup_locality"]), (&json!(3), &json!(3)));
    assert_eq!((&shown["secure_boot"], &shown["quirks"]), (&json!(true), &json!([])));
    assert_eq!(
        shown["banks"]["sha256"],
        json!({ "0": hex::encode(&values[&0]), "7": hex::encode(&values[&7]) })
    );
    assert_eq!(shown.get("tail_bytes"), None);
    let event = &shown["events"][2];
    assert_eq!((&event["index"], &event["pcr"]), (&json!(2), &json!(7)));
    assert_eq!(event["type"], "EV_EFI_VARIABLE_DRIVER_CONFIG");
    assert_eq!(event["digests"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!((&event["data"]["name"], &event["data"]["value"]), (&json!("SecureBoot"), &json!("01")));
    assert_eq!((&event["measured"], &shown["events"][0]["measured"]), (&json!(true), &json!(false)));
}

#[test]
fn a_page_begins_with_what_is_wrong() {
    let files = Files::new();
    let mut writer = LogWriter::new();
    writer.measure(4, EV_POST_CODE, b"\x1b[2Jx\ny").unwrap();
    let page = page("eventlog", &files.put("log", writer.finish()));
    let mut lines = page.lines();
    assert!(
        lines.next().unwrap().contains("a firmware log, crypto-agile; this is only what it says"),
        "{page}"
    );
    assert!(lines.next().unwrap().starts_with("  ! no event in PCR 0"), "{page}");
    assert!(page.contains("secure boot"), "{page}");
    assert!(!page.contains('\u{1b}'), "neither colours nor a stranger's bytes");
}

#[test]
fn a_firmware_log_that_is_cut_names_field_and_offset() {
    let files = Files::new();
    let bytes = firmware();
    let line = refused("eventlog", &files.put("log", &bytes[..bytes.len() - 1]));
    assert!(line.contains("Event at offset") && line.contains("cut off"), "{line}");
}

fn record(pcr: u8, string: &str, digest: &str) -> String {
    let record = json!({
        "pcr": pcr, "digests": [{ "hashAlg": "sha256", "digest": digest }], "content_type": "systemd",
        "content": { "string": string, "eventType": "phase" },
    });
    format!("\u{1e}{record}\n")
}

#[test]
fn a_userspace_log_is_recognised() {
    let files = Files::new();
    let digest = hex::encode(HashAlg::Sha256.hash(&[b"enter-initrd"]).unwrap());
    let log = files.put("log", record(11, "enter-initrd", &digest) + &record(11, "lie", &digest));
    let shown = json("eventlog", &log);
    assert_eq!((&shown["format"], &shown["event_count"]), (&json!("cel-json"), &json!(2)));
    assert_eq!((&shown["startup_locality"], &shown["secure_boot"]), (&json!(null), &json!(null)));
    let digest = hex::decode(digest).unwrap();
    let extend = |value: Vec<u8>| HashAlg::Sha256.hash(&[&value, &digest]).unwrap();
    assert_eq!(shown["banks"]["sha256"], json!({ "11": hex::encode(extend(extend(vec![0; 32]))) }));
    assert_eq!(shown["events"][0]["type"], "phase");
    assert_eq!(shown["events"][0]["data"]["string"], "enter-initrd");
    assert_eq!(
        (&shown["events"][0]["measured"], &shown["events"][1]["measured"]),
        (&json!(true), &json!(false))
    );
    assert!(page("eventlog", &log).contains("values start from zeros"));
    let line = refused("eventlog", &files.put("bad", "\u{1e}{}\n"));
    assert!(line.contains("offset 1"), "{line}");
}

/// One entry of template "ima-ng" for this file digest and path.
fn entry(digest: &str, path: &str) -> String {
    let field = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat();
    let digest_field = [b"sha1:\0", &hex::decode(digest).unwrap()[..]].concat();
    let data = [field(&digest_field), field(&[path.as_bytes(), b"\0"].concat())].concat();
    let hash = hex::encode(HashAlg::Sha1.hash(&[&data]).unwrap());
    format!("10 {hash} ima-ng sha1:{digest} {path}\n")
}

#[test]
fn an_ima_log_shows_its_entries() {
    let files = Files::new();
    let good = entry(&"11".repeat(20), "/usr/bin/true");
    let log = files.put("ima", &good);
    let shown = json("ima", &log);
    assert_eq!((&shown["format"], &shown["event_count"]), (&json!("ima-ascii"), &json!(1)));
    assert_eq!((&shown["first_altered"], &shown["violations"]), (&json!(null), &json!(0)));
    assert_eq!(shown["events"][0]["data"]["path"], "/usr/bin/true");
    assert_eq!(shown["events"][0]["pcr"], 10);
    assert_eq!(shown["banks"]["sha256"]["10"].as_str().unwrap().len(), 64);
    let altered = json("ima", &files.put("altered", good.replace("/true", "/evil")));
    assert_eq!(altered["first_altered"], 0);
    let zeros = format!("10 {} ima-ng sha1:{} /x\n", "00".repeat(20), "00".repeat(20));
    let page = page("ima", &files.put("violation", good + &zeros));
    assert!(page.lines().nth(1).unwrap().contains("1 violations"), "{page}");
    assert!(refused("ima", &files.put("bad", "not a log\n")).contains("offset 0"));
}
