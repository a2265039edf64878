//! EK certificates of the data folder: each reads or is refused, and shows who vouches for it.

use serde_json::json;

use crate::data::folder;
use crate::{Files, json, page, refused};

/// The certificates of `ekcerts`.
fn certificates() -> Vec<std::path::PathBuf> {
    let Some(folder) = folder() else { return Vec::new() };
    let Ok(files) = std::fs::read_dir(folder.join("ekcerts")) else { return Vec::new() };
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_certificate_shows_its_tpm_and_its_chain() {
    let mut held = 0;
    let files = certificates();
    for file in &files {
        let shown = json("ek-cert", file);
        assert_eq!((&shown["schema"], &shown["format"]), (&json!(1), &json!("x509")));
        for key in ["subject", "issuer", "key", "not_before", "not_after", "serial"] {
            assert!(shown[key].is_string(), "{} {key}", file.display());
        }
        for key in ["quirks", "key_usage", "purposes"] {
            assert!(shown[key].is_array(), "{} {key}", file.display());
        }
        let result = shown["chain"]["result"].as_str().unwrap();
        held += usize::from(result == "holds");
        let page = page("ek-cert", file);
        assert_eq!(page.contains("\n  chain "), result == "holds", "{page}");
        assert_eq!(page.contains("! chain: "), result != "holds", "{page}");
    }
    assert!(files.is_empty() || held > 0, "the built-in store vouches for none of them");
}

#[test]
fn a_certificate_that_is_cut_or_bent_is_refused_or_unsigned() {
    for file in
        certificates().into_iter().filter(|file| file.extension().is_some_and(|e| e == "der" || e == "cer"))
    {
        let bytes = std::fs::read(&file).unwrap();
        let files = Files::new();
        let line = refused("ek-cert", &files.put("cut", &bytes[..bytes.len() / 2]));
        assert!(line.contains("offset"), "{line}");
    }
}
