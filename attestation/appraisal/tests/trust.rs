//! Trust files at the limits of what they may say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_appraisal::{Trust, TrustError};
use assay_wire::Digest;

const VALIDATOR: &str = "[[validator]]\nname = \"v\"\noperator = \"OPERATOR\"\nkey = \"KEY\"\n";

fn file(id: &str, per_mille: u32, operators: &[&str], more: &str) -> String {
    let network = format!(
        "[network]\nid = \"{id}\"\nreceipt_threshold = 1\nbeacon_period_ms = 5000\nanchor_per_mille = {per_mille}\n"
    );
    let validator = |(n, operator): (usize, &&str)| {
        VALIDATOR.replace("OPERATOR", operator).replace("KEY", &format!("{n:064x}"))
    };
    let validators: String = operators.iter().enumerate().map(validator).collect();
    format!("schema = 1\npolicy = \"open\"\nvendors = \"none\"\n{network}{validators}{more}")
}

fn refused(text: &str) -> Option<String> {
    match Trust::parse(text) {
        Err(TrustError::Value { field, .. }) => Some(field),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

#[test]
fn a_networks_id_is_1_to_64_printable_characters() {
    for (id, good) in [
        ("", false),
        ("a", true),
        (&"a".repeat(63)[..], true),
        (&"a".repeat(64), true),
        (&"a".repeat(65), false),
        (&"a".repeat(66), false),
        ("a b", false),
    ] {
        let expected = (!good).then(|| "network.id".to_owned());
        assert_eq!(refused(&file(id, 0, &["o"], "")), expected, "{id}");
    }
}

#[test]
fn every_slot_may_ask_for_an_anchor() {
    for per_mille in [0, 999, 1000] {
        assert_eq!(refused(&file("n", per_mille, &["o"], "")), None);
    }
    assert_eq!(refused(&file("n", 1001, &["o"], "")).as_deref(), Some("network.anchor_per_mille"));
}

#[test]
fn operators_are_counted_once_each() {
    let count = |operators: &[&str]| Trust::parse(&file("n", 0, operators, "")).unwrap().operators();
    assert_eq!([count(&["a"]), count(&["a", "a"]), count(&["a", "b", "a", "c"])], [1, 1, 3]);
}

#[test]
fn known_firmware_is_named_by_pcr_0() {
    let section = |pcr0: &str, name: &str| format!("[[firmware]]\npcr0 = \"{pcr0}\"\nname = \"{name}\"\n");
    let pcr0 = "07".repeat(32);
    let trust = Trust::parse(&file("n", 0, &["o"], &section(&pcr0, "board 1"))).unwrap();
    assert_eq!(trust.firmware, [(Digest([7; 32]), "board 1".to_owned())].into());
    assert_eq!(Trust::parse(&trust.to_toml()), Ok(trust));
    let wrong = |pcr0: &str, name: &str| refused(&file("n", 0, &["o"], &section(pcr0, name)));
    assert_eq!(wrong(&pcr0[1..], "x").as_deref(), Some("firmware.pcr0"));
    assert_eq!(wrong(&pcr0, "").as_deref(), Some("firmware.name"));
}

/// Makers sign platform certificates with keys that are no authority's: each certificate among the data's
/// platform certificates that is a signer's can be named as one, and only an authority as `[[ca]]`.
#[test]
fn real_signers_of_platform_certificates_can_be_named() {
    use assay_appraisal::{PlatformSigner, TrustedCa};
    use assay_x509::{Certificate, PlatformCertificate};
    let data = std::env::var_os("ASSAY_DATA").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        std::path::PathBuf::from,
    );
    let Ok(files) = std::fs::read_dir(data.join("attestation/platform-certs")) else {
        println!("SKIPPED: no data folder; set ASSAY_DATA");
        return;
    };
    let all: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    let signers: Vec<_> =
        all.iter().filter_map(|bytes| Some((bytes, Certificate::from_file(bytes).ok()?))).collect();
    for (bytes, certificate) in &signers {
        let signer = PlatformSigner::read("maker", bytes).unwrap();
        let trust = Trust::parse(&file("n", 0, &["o"], &signer.to_toml())).unwrap();
        assert_eq!(trust.platform_signers, [signer]);
        assert_eq!(trust.store.entries().len(), 0, "no anchor of EK certificates");
        assert_eq!(TrustedCa::read("maker", "discrete", bytes).is_ok(), certificate.is_ca());
    }
    let platforms = all.iter().filter_map(|bytes| PlatformCertificate::from_nv(bytes).ok());
    let signed = platforms.filter(|one| one.holder.is_some()).inspect(|one| {
        assert_eq!(one.unknown_critical, None, "{}", one.issuer);
    });
    let by = |one: &PlatformCertificate| signers.iter().any(|(_, signer)| one.verify(signer).is_ok());
    println!("{} signers, {} certificates by one of them", signers.len(), signed.filter(by).count());
    assert!(!signers.is_empty());
}
