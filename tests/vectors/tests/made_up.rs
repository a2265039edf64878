//! Folders made here: a right expectation is `ok`, each wrong one is a `DIFF` of its own check, and
//! what nothing covers is named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;

use assay_boot::write::LogWriter;
use assay_boot::{
    EFI_GLOBAL_VARIABLE, EV_EFI_VARIABLE_DRIVER_CONFIG, EV_POST_CODE, EventLog, HashAlg, UefiVariable,
};
use assay_vectors::{Outcome, Sheet, judge};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Made {
    dir: TempDir,
}

impl Made {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn json(&self, name: &str, value: &Value) {
        self.file(name, value.to_string().as_bytes());
    }

    fn judge(&self, family: &str) -> Sheet {
        judge(self.dir.path(), |name| family == "all" || name == family).unwrap()
    }
}

fn lines(sheet: &Sheet, outcome: Outcome) -> Vec<(String, String)> {
    let of = sheet.verdicts().iter().filter(|verdict| verdict.outcome == outcome);
    of.map(|verdict| (verdict.file.clone(), verdict.check.clone())).collect()
}

fn differing(sheet: &Sheet) -> Vec<String> {
    lines(sheet, Outcome::Differs).into_iter().map(|(_, check)| check).collect()
}

fn log() -> Vec<u8> {
    let mut writer = LogWriter::new();
    writer.measure(0, EV_POST_CODE, b"code").unwrap();
    let on = UefiVariable { guid: EFI_GLOBAL_VARIABLE, name: "SecureBoot".into(), value: vec![1] };
    writer.measure(7, EV_EFI_VARIABLE_DRIVER_CONFIG, &on.encode()).unwrap();
    writer.finish()
}

fn banks(bytes: &[u8]) -> Value {
    let log = EventLog::parse(bytes).unwrap();
    let values = |alg: &HashAlg| {
        let values = log
            .replay(*alg)
            .into_iter()
            .map(|(pcr, value)| (pcr.to_string(), Value::from(hex::encode(value))));
        (alg.name().to_owned(), Value::Object(values.collect()))
    };
    Value::Object(log.banks.iter().map(values).collect())
}

fn expected(bytes: &[u8]) -> Value {
    json!({
        "verdict": "ok", "format": "crypto-agile", "event_count": 2, "startup_locality": 0,
        "secure_boot": true, "banks": banks(bytes),
    })
}

fn with_row(row: &Value) -> Sheet {
    let made = Made::new();
    made.file("eventlogs/a", &log());
    made.json("expected.json", &json!({ "logs": { "eventlogs/a": row } }));
    made.judge("logs")
}

#[test]
fn a_right_row_is_ok_in_every_check() {
    let sheet = with_row(&expected(&log()));
    assert_eq!(differing(&sheet), [""; 0]);
    assert_eq!(sheet.count(Outcome::NotJudged), 0);
    assert!(sheet.count(Outcome::Same) >= 8, "{}", sheet.summary());
}

#[test]
fn each_wrong_value_of_a_row_differs_in_its_own_check() {
    for (key, wrong) in [
        ("verdict", json!("refuse")),
        ("format", json!("sha1-legacy")),
        ("event_count", json!(3)),
        ("startup_locality", json!(3)),
        ("secure_boot", json!(false)),
        ("secure_boot", json!(null)),
        ("tail_bytes", json!(4)),
    ] {
        let mut row = expected(&log());
        row[key] = wrong;
        assert_eq!(differing(&with_row(&row)), [key]);
    }
}

#[test]
fn each_wrong_value_of_a_bank_differs() {
    let bank = EventLog::parse(&log()).unwrap().banks[0].name();
    let check = format!("banks.{bank}");
    let mut row = expected(&log());
    row["banks"][bank]["7"] = json!("00");
    assert_eq!(differing(&with_row(&row)), [check.as_str()], "another value");
    let mut row = expected(&log());
    row["banks"][bank].as_object_mut().unwrap().remove("7");
    assert_eq!(differing(&with_row(&row)), [check.as_str()], "a PCR too many in the log");
    let mut row = expected(&log());
    row["banks"][bank]["8"] = json!("00");
    assert_eq!(differing(&with_row(&row)), [check.as_str()], "a PCR too few");
    let mut row = expected(&log());
    row["banks"]["sha512"] = json!({});
    assert_eq!(differing(&with_row(&row)), ["banks"], "a bank too few");
}

#[test]
fn what_must_parse_or_be_refused_is_held_to_it() {
    let made = Made::new();
    made.file("eventlogs/bad", b"no log");
    let rows = |verdict| json!({ "logs": { "eventlogs/bad": { "verdict": verdict }, "eventlogs/gone": { "verdict": verdict } } });
    made.json("expected.json", &rows("refuse"));
    assert_eq!(
        lines(&made.judge("logs"), Outcome::Differs),
        [("eventlogs/gone".to_owned(), "verdict".to_owned())]
    );
    made.json("expected.json", &rows("ok"));
    assert_eq!(differing(&made.judge("logs")), ["verdict", "verdict"]);
    made.json("expected.json", &rows("either"));
    assert_eq!(differing(&made.judge("logs")).len(), 1, "only the one that is not there");
}

#[test]
fn keys_that_no_rule_reads_are_named() {
    let mut row = expected(&log());
    row["bios_version"] = json!("1.2");
    let sheet = with_row(&row);
    assert_eq!(lines(&sheet, Outcome::NotJudged), [("eventlogs/a".to_owned(), "bios_version".to_owned())]);
    let made = Made::new();
    made.file("elsewhere/x", b"x");
    made.file("MANIFEST.md", b"| elsewhere/x | 2 | r | p | MIT | a thing. EXPECT reject |\n");
    let sheet = made.judge("all");
    let named = lines(&sheet, Outcome::NotJudged);
    assert!(named.contains(&("elsewhere/x".to_owned(), "manifest".to_owned())), "{named:?}");
    assert_eq!(differing(&sheet), ["length of elsewhere/x"]);
}

#[test]
fn a_golden_output_that_says_otherwise_differs() {
    let made = Made::new();
    made.file("eventlogs/a", &log());
    let value = banks(&log())["sha256"]["7"].as_str().unwrap().to_owned();
    let zero = banks(&log())["sha256"]["0"].as_str().unwrap().to_owned();
    let output = |seven: &str| format!("---\npcrs:\n  sha256:\n    0  : 0x{zero}\n    7  : 0x{seven}\n");
    made.file("eventlogs/a.yaml", output(&value).as_bytes());
    assert_eq!(differing(&made.judge("golden")), [""; 0]);
    made.file("eventlogs/a.yaml", output(&zero).as_bytes());
    assert_eq!(differing(&made.judge("golden")), ["pcrs.sha256"]);
}
