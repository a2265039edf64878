//! `rim import` through the command line.

use std::path::{Path, PathBuf};
use std::process::Command;

use assay_appraisal::Trust;
use assay_gpu::device::Roots;
use assay_validator::rim::{Shelf, load_dir};
use serde_json::Value;

use crate::data;

fn run(args: &[&str]) -> (i32, Vec<u8>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_assay-validator")).args(args).output().unwrap();
    (output.status.code().unwrap(), output.stdout, String::from_utf8(output.stderr).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A validator's directory and a folder for RIMs, which is not there yet.
fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (home, out) = (dir.path().join("v"), dir.path().join("rims"));
    assert_eq!(run(&["init", text(&home)]).0, 0);
    (dir, home, out)
}

#[test]
fn what_is_imported_is_what_a_trust_file_lets_count() {
    let documents = data::examined();
    if documents.is_empty() {
        return;
    }
    let (_dir, home, out) = place();
    let (key, trust) = (home.join("validator.key"), home.join("trust.toml"));
    let mut good = 0;
    for (file, case, examined) in &documents {
        let time = case["time"].as_str().unwrap();
        let args =
            ["rim", "import", text(file), "--out", text(&out), "--key", text(&key), "--time", time, "--json"];
        let (code, stdout, stderr) = run(&args);
        let json: Value = serde_json::from_slice(&stdout).unwrap();
        let document = &json["documents"][0];
        assert_eq!(
            (&json["schema"], code == 0),
            (&Value::from(1), examined.clone().rim(None).is_ok()),
            "{stderr}"
        );
        for fact in ["signature", "chain"] {
            assert_eq!(document[fact]["result"], case["expected"][fact], "{document}");
        }
        assert_eq!(document["in_force"]["result"], true);
        assert_eq!(document["active_rows"], case["active_rows"]);
        assert_eq!(document["written"].is_string(), code == 0);
        good += usize::from(code == 0);
        // The same again is the same.
        assert_eq!(run(&args).0, code);
    }
    // By another key it would be another file of the same name.
    let (file, case, _) = documents.iter().find(|(_, _, one)| one.clone().rim(None).is_ok()).unwrap();
    let (_other, stranger, _) = place();
    let (time, stranger) = (case["time"].as_str().unwrap(), stranger.join("validator.key"));
    let args = ["rim", "import", text(file), "--out", text(&out), "--key", text(&stranger), "--time", time];
    assert_eq!(run(&args).0, 2);
    let trust = Trust::parse(&std::fs::read_to_string(trust).unwrap()).unwrap();
    let (rims, refused) = load_dir(&out, Roots::nvidia().rim(), Some(&trust)).unwrap();
    assert_eq!((rims.len(), refused.len()), (good, 0));
    let (rims, refused) = load_dir(&out, Roots::nvidia().rim(), None).unwrap();
    assert_eq!((rims.len(), refused.len()), (0, good), "without a trust file nobody vouches for them");
}

#[test]
fn what_is_out_of_force_or_no_rim_is_not_imported() {
    let Some((file, _, _)) = data::examined().into_iter().find(|(_, _, one)| one.clone().rim(None).is_ok())
    else {
        return;
    };
    let (dir, home, out) = place();
    let key = home.join("validator.key");
    let at = |file: &Path, time: &str| {
        run(&["rim", "import", text(file), "--out", text(&out), "--key", text(&key), "--time", time])
    };
    for time in ["2020-01-01T00:00:00Z", "2060-01-01T00:00:00Z"] {
        let (code, stdout, _) = at(&file, time);
        assert!(code == 1 && String::from_utf8(stdout).unwrap().contains("in force from"));
    }
    let nothing = dir.path().join("nothing.xml");
    std::fs::write(&nothing, "<a/>").unwrap();
    let (code, stdout, _) = at(&nothing, "2024-01-01T00:00:00Z");
    assert!(code == 1 && String::from_utf8(stdout).unwrap().contains("refused"));
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
    assert_eq!(at(&file, "yesterday").0, 2);
    assert_eq!(at(&dir.path().join("absent"), "2024-01-01T00:00:00Z").0, 3);
}

#[test]
fn an_answer_that_says_nothing_is_named_and_not_kept() {
    let documents = data::examined();
    let Some((file, case, _)) = documents.iter().find(|(_, _, one)| one.clone().rim(None).is_ok()) else {
        return;
    };
    let (dir, home, out) = place();
    let (key, answer) = (home.join("validator.key"), dir.path().join("answer"));
    // "Try later" (RFC 6960 2.3).
    let later = [0x30, 3, 0x0a, 1, 3];
    std::fs::write(&answer, later).unwrap();
    let time = case["time"].as_str().unwrap();
    let args =
        ["rim", "import", text(file), "--out", text(&out), "--key", text(&key), "--time", time, "--json"];
    let (code, stdout, stderr) = run(&[&args[..], &["--ocsp", text(&answer)]].concat());
    let json: Value = serde_json::from_slice(&stdout).unwrap();
    assert_eq!((code, &json["documents"][0]["signer_status"]), (1, &Value::from("unchecked")));
    assert!(stderr.contains("answer: OCSP answer: the responder refused"), "{stderr}");
    let trust = Trust::parse(&std::fs::read_to_string(home.join("trust.toml")).unwrap()).unwrap();
    let (rims, _) = load_dir(&out, Roots::nvidia().rim(), Some(&trust)).unwrap();
    assert_eq!(rims[0].proof.ocsp, []);
}

#[test]
fn one_file_that_fails_leaves_the_others_imported() {
    let documents = data::examined();
    let Some((file, case, _)) = documents.iter().find(|(_, _, one)| one.clone().rim(None).is_ok()) else {
        return;
    };
    let (dir, home, out) = place();
    let (key, absent) = (home.join("validator.key"), dir.path().join("absent"));
    let time = case["time"].as_str().unwrap();
    let with = ["--out", text(&out), "--key", text(&key), "--time", time];
    let (code, stdout, stderr) = run(&[&["rim", "import", text(&absent), text(file)], &with[..]].concat());
    assert!(code == 3 && stderr.contains("absent"), "{stderr}");
    assert!(String::from_utf8(stdout).unwrap().contains("rows in"));
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);
}

/// With the validator's directory alone, as the advice says it: its key signs, and its service finds what was written.
#[test]
fn what_a_validator_imports_its_service_takes() {
    let documents = data::examined();
    let Some((file, case, _)) = documents.iter().find(|(_, _, one)| one.clone().rim(None).is_ok()) else {
        return;
    };
    let (_dir, home, _) = place();
    let time = case["time"].as_str().unwrap();
    let (code, stdout, stderr) = run(&["rim", "import", text(file), "--dir", text(&home), "--time", time]);
    assert_eq!(code, 0, "{stderr}");
    assert!(String::from_utf8(stdout).unwrap().contains("rows in"));
    let trust = Trust::parse(&std::fs::read_to_string(home.join("trust.toml")).unwrap()).unwrap();
    let shelf = Shelf::open(&home.join("rims"), &trust).unwrap();
    assert_eq!(shelf.rims().len(), 1);
    // Half of what the validator's directory stands for is not enough.
    let key = home.join("validator.key");
    let (code, _, stderr) = run(&["rim", "import", text(file), "--key", text(&key), "--time", time]);
    assert!(code == 2 && stderr.contains("--dir"), "{stderr}");
}
