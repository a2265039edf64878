//! `ocsp request` and `ocsp check`, as an operator runs them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assay_x509::ocsp_request_nonce;

use crate::world::key;
use crate::world::ocsp::Answer;
use serde_json::Value;

fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assay-validator")).arg("ocsp").args(args).output().unwrap()
}

fn printed(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output, code: i32) -> Value {
    serde_json::from_str(&printed(output, code)).unwrap()
}

/// Files of the data folder whose chains hold, and the option that each is given to: chains, bundles, reference values.
fn files() -> Vec<(&'static str, PathBuf)> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let data = std::env::var_os("ASSAY_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let Ok(text) = std::fs::read_to_string(data.join("gpu/cases.json")) else {
        println!("SKIPPED: no test data (set ASSAY_DATA)");
        return vec![];
    };
    let cases: Value = serde_json::from_str(&text).unwrap();
    let (mut files, mut broken) = (BTreeSet::new(), BTreeSet::new());
    let named = |entry: &Value, key: &str| entry[key].as_str().map(|name| data.join("gpu").join(name));
    for (list, key, option) in
        [("cases", "chain", "--chain"), ("cases", "bundle", "--bundle"), ("rims", "file", "--rim")]
    {
        for entry in cases[list].as_array().unwrap() {
            let Some(file) = named(entry, key) else { continue };
            let holds = entry["expected"]["chain"] == true;
            (if holds { &mut files } else { &mut broken }).insert((option, file));
        }
    }
    assert!(!files.is_empty(), "no files in the data");
    files.difference(&broken).cloned().collect()
}

/// Chains of single devices.
fn chains() -> Vec<PathBuf> {
    files().into_iter().filter(|(option, _)| *option == "--chain").map(|(_, path)| path).collect()
}

fn request(chain: &Path, out: &Path, more: &[&str]) -> Output {
    request_of(("--chain", chain), out, more)
}

fn request_of((option, file): (&str, &Path), out: &Path, more: &[&str]) -> Output {
    let args = [OsStr::new("request"), option.as_ref(), file.as_ref(), "--out".as_ref(), out.as_ref()];
    run(args.into_iter().chain(more.iter().map(OsStr::new)))
}

fn check(chain: &Path, more: &[&OsStr]) -> Output {
    let args = [OsStr::new("check"), "--json".as_ref(), "--chain".as_ref(), chain.as_ref()];
    run(args.into_iter().chain(more.iter().copied()))
}

#[test]
fn requests_for_real_chains_are_what_openssl_reads() {
    for (option, chain) in files() {
        let dir = tempfile::tempdir().unwrap();
        let (out, whose) = (dir.path().join("it's asked"), (option, chain.as_path()));
        let listed = json(&request_of(whose, &out, &["--json"]), 0);
        let requests = listed["requests"].as_array().unwrap();
        assert!(!requests.is_empty(), "{}", chain.display());
        let mut nonces = Vec::new();
        for one in requests {
            let der = std::fs::read(one["request"].as_str().unwrap()).unwrap();
            let nonce = ocsp_request_nonce(&der).unwrap().unwrap();
            assert_eq!(nonce.len(), 32);
            assert!(!nonces.contains(&nonce), "a nonce of its own for each");
            nonces.push(nonce);
            assert!(one["url"].as_str().unwrap().starts_with("http"));
            let command = one["command"].as_str().unwrap();
            assert!(
                command.contains("application/ocsp-request") && command.contains(r"it'\''s asked"),
                "{command}"
            );
            let words = ["ocsp", "-reqin", one["request"].as_str().unwrap(), "-req_text"];
            let Ok(read) = Command::new("openssl").args(words).output() else { continue };
            let text = String::from_utf8(read.stdout).unwrap();
            assert!(text.contains("Hash Algorithm: sha384") && text.contains("OCSP Nonce"), "{text}");
        }
        // A second round needs a folder of its own, or the first one's nonces are gone.
        assert_eq!(request_of(whose, &out, &[]).status.code(), Some(3));
        let plain = dir.path().join("plain");
        let page = printed(&request_of(whose, &plain, &["--no-nonce", "--hash", "sha1"]), 0);
        assert_eq!(page.matches("\ncurl ").count() + usize::from(page.starts_with("curl ")), requests.len());
        for file in std::fs::read_dir(&plain).unwrap() {
            assert_eq!(ocsp_request_nonce(&std::fs::read(file.unwrap().path()).unwrap()), Ok(None));
        }
    }
}

#[test]
fn real_chains_are_good_only_with_answers() {
    for chain in chains() {
        let dir = tempfile::tempdir().unwrap();
        let seen = json(&check(&chain, &[]), 1);
        assert_eq!(seen["chains"][0]["result"], Value::Null);
        assert_eq!(seen["chains"][0]["reason"], "no OCSP answers");
        // A stranger's answer, one cut short, and a refusal.
        let (out, cache) = (dir.path().join("asked"), dir.path().join("cache"));
        let listed = json(&request(&chain, &out, &["--json"]), 0);
        let answer = |nth: usize| PathBuf::from(listed["requests"][nth]["answer"].as_str().unwrap());
        let stranger = Answer::good().sign(&key(1));
        std::fs::write(answer(0), &stranger).unwrap();
        std::fs::write(answer(1), &stranger[..40]).unwrap();
        let refusal = dir.path().join("refusal.der");
        std::fs::write(&refusal, [0x30, 3, 0x0a, 1, 6]).unwrap();
        let words = [
            OsStr::new("--asked"),
            out.as_ref(),
            "--cache".as_ref(),
            cache.as_ref(),
            "--require-nonce".as_ref(),
            refusal.as_ref(),
        ];
        let seen = json(&check(&chain, &words), 1);
        let judged = &seen["chains"][0];
        assert_eq!(judged["result"], Value::Null);
        assert_eq!(judged["unread"].as_array().unwrap().len(), 2, "{judged}");
        assert!(judged["certificates"].as_array().unwrap().iter().all(|one| one["status"].is_null()));
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 0);
        let page = printed(&run([OsStr::new("check"), "--chain".as_ref(), chain.as_ref()]), 1);
        assert!(page.contains("NOT KNOWN") && page.contains("no OCSP answer"), "{page}");
    }
}

/// An entry without certificates, and one whose certificates lead nowhere, keep none of the others back.
#[test]
fn what_cannot_be_asked_about_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (_, bundle) in files().into_iter().filter(|(option, _)| *option == "--bundle") {
        let mut entries: Vec<Value> = serde_json::from_slice(&std::fs::read(&bundle).unwrap()).unwrap();
        let (out, bad, all) = (dir.path().join("out"), dir.path().join("bad"), dir.path().join("all"));
        let whole = json(&request_of(("--bundle", &bundle), &out, &["--json"]), 0);
        let mut unread = entries[0].clone();
        unread["certificate"] = "!".into();
        let mut unproven = entries[0].clone();
        unproven["certificate"] = "".into();
        let count = entries.len();
        entries.extend([unread, unproven]);
        std::fs::write(&bad, serde_json::to_vec(&entries).unwrap()).unwrap();
        let output = request_of(("--bundle", &bad), &all, &["--json"]);
        assert_eq!(
            json(&output, 1)["requests"].as_array().map(Vec::len),
            whole["requests"].as_array().map(Vec::len)
        );
        let lines = String::from_utf8(output.stderr).unwrap();
        assert!(lines.contains(&format!("bad: device {count}: certificate: not base64")), "{lines}");
        assert!(lines.contains(&format!("bad#{}: the chain does not hold", count + 1)), "{lines}");
        let words = ["check", "--json", "--bundle"].map(OsStr::new).into_iter().chain([bad.as_os_str()]);
        assert_eq!(json(&run(words), 1)["chains"].as_array().map(Vec::len), Some(count));
        for folder in [out, all] {
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}

#[test]
fn files_that_hold_no_chain_are_said_to() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    for (name, bytes) in [
        ("binary", &[0xff, 0xfe][..]),
        ("broken", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    ] {
        let path = put(name, bytes);
        for output in [check(&path, &[]), request(&path, &dir.path().join("out"), &[])] {
            assert_eq!(output.status.code(), Some(1));
            assert!(String::from_utf8(output.stderr).unwrap().contains(name));
        }
    }
    // Certificates that lead nowhere: nothing is asked, and answers mean nothing.
    let stranger = put("stranger", b"no certificate at all\n");
    assert_eq!(check(&stranger, &[]).status.code(), Some(1));
    assert_eq!(run(["check"]).status.code(), Some(2));
    assert_eq!(check(&dir.path().join("absent"), &[]).status.code(), Some(3));
    for chain in chains() {
        let text = std::fs::read_to_string(&chain).unwrap();
        let cut = text.rfind("-----BEGIN").unwrap();
        let short = put("short", &text.as_bytes()[..cut]);
        let output = check(&short, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr).unwrap().contains("the chain does not hold"));
        assert_eq!(request(&chain, &put("file", b""), &[]).status.code(), Some(3), "a file for a folder");
        let asked = dir.path().join("asked");
        let listed = json(&request(&chain, &asked, &["--json"]), 0);
        std::fs::write(listed["requests"][0]["request"].as_str().unwrap(), b"x").unwrap();
        let output = check(&chain, &["--asked".as_ref(), asked.as_ref()]);
        assert_eq!(output.status.code(), Some(2), "a request that is none");
        std::fs::remove_dir_all(&asked).unwrap();
    }
}
