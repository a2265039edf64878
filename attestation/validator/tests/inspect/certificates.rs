//! EK certificates of the data folder: each reads or is refused, and shows who vouches for it.

use assay_x509::{Store, der_to_pem};
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
    for file in &certificates() {
        let shown = json("ek-cert", file);
        assert_eq!((&shown["schema"], &shown["format"]), (&json!(1), &json!("x509")));
        for key in ["subject", "issuer", "key", "not_before", "not_after", "serial"] {
            assert!(shown[key].is_string(), "{} {key}", file.display());
        }
        for key in ["quirks", "key_usage", "purposes"] {
            assert!(shown[key].is_array(), "{} {key}", file.display());
        }
        let result = shown["chain"]["result"].as_str().unwrap();
        let page = page("ek-cert", file);
        assert_eq!(page.contains("\n  chain "), result == "holds", "{page}");
        assert_eq!(page.contains("! chain: "), result != "holds", "{page}");
    }
}

#[test]
fn the_built_in_store_vouches_for_what_it_holds() {
    let store = Store::builtin().unwrap();
    let anchor = store.entries().iter().find(|entry| entry.is_anchor()).unwrap();
    let files = Files::new();
    let file = files.put("der", anchor.certificate.der());
    let shown = json("ek-cert", &file);
    assert_eq!(
        (&shown["chain"]["result"], &shown["chain"]["anchor"]),
        (&json!("holds"), &json!(anchor.name))
    );
    assert_eq!(shown["authority"], true);
    let pem = files.put("pem", der_to_pem(anchor.certificate.der()));
    assert_eq!(json("ek-cert", &pem), shown, "PEM is read too");
    assert!(page("ek-cert", &file).contains("! an authority's certificate"));
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
