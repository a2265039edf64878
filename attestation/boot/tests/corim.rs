//! Other people's manifests: read, or refused for what the draft or their profile says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod folder;

use assay_boot::corim::{Corim, CorimFault, CorimTag, CryptoKey, MeasurementKey, PARSEC_TPM_PROFILE};
use assay_boot::{BootError, Release};
use proptest::prelude::*;

/// Files of the corim folder, and whether their line of the manifest asks for a refusal. What is
/// not called a CoRIM is none.
fn files() -> Vec<(String, Vec<u8>, bool)> {
    let Some(folder) = folder::attestation() else { return Vec::new() };
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.md")).unwrap();
    let rows = manifest.lines().filter_map(|line| {
        let name = line.strip_prefix("| corim/")?.split(" |").next()?;
        let refused = line.contains("EXPECT reject") || !name.contains("corim");
        Some((name.to_owned(), std::fs::read(folder.join("corim").join(name)).ok()?, refused))
    });
    rows.collect()
}

#[test]
fn every_manifest_is_read_or_refused_as_it_should_be() {
    for (name, bytes, refused) in files() {
        let read = Corim::parse(&bytes);
        assert_eq!(read.is_err(), refused, "{name}: {read:?}");
        assert!(Release::from_corim(&bytes).is_err(), "{name} is no release of ours");
        if let Err(BootError::Corim { fault, .. }) = &read {
            eprintln!("{name}: {fault}");
            let reasons = reasons(&name);
            assert!(reasons.is_empty() || reasons.contains(fault), "{name}: {fault}");
        }
    }
}

/// What a file's name says is wrong with it; nothing, where it uses other words.
fn reasons(name: &str) -> Vec<CorimFault> {
    use CorimFault::{Missing, NotCorim, Shape, Unexpected};
    let words = |text: &str| name.replace("corim-", "").contains(text);
    let rows = [
        ("no-digest", Missing("digests")),
        ("no-pcr", Missing("mkey")),
        ("bad-pcr", Shape("mkey")),
        ("no-class-id", Missing("class-id")),
        ("no-class-id", Missing("class")),
        ("no-class", Missing("class")),
        ("no-class", Missing("environment")),
        ("bad-class-id", Shape("class-id")),
        ("no-instance", Missing("instance")),
        ("bad-instance", Shape("instance")),
        ("keys", Unexpected("second key")),
        ("evidence", NotCorim),
    ];
    rows.into_iter().filter(|(text, _)| words(text)).map(|(_, fault)| fault).collect()
}

#[test]
fn a_manifest_of_pcrs_names_them_with_digests_and_keys() {
    for (name, bytes, refused) in files() {
        let Ok(corim) = Corim::parse(&bytes) else { continue };
        assert!(!refused);
        assert!(corim.has_profile(PARSEC_TPM_PROFILE), "{name}");
        for tag in &corim.tags {
            let CorimTag::Comid(comid) = tag else { panic!("{name}") };
            let measured = comid.reference.iter().flat_map(|triple| &triple.measurements);
            for measured in measured {
                assert!(matches!(measured.key, Some(MeasurementKey::Uint(pcr)) if pcr < 24), "{name}");
                assert!(!measured.values.digests.is_empty(), "{name}");
            }
            let keys = comid.attest_keys.iter().flat_map(|triple| &triple.keys);
            assert!(keys.clone().all(|key| matches!(key, CryptoKey::PkixBase64Key(_))), "{name}");
            assert!(keys.count() + comid.reference.len() > 0, "{name}");
        }
    }
}

#[test]
fn no_cut_and_no_flip_of_a_manifest_panics() {
    for (name, bytes, _) in files() {
        for cut in 0..bytes.len() {
            assert!(Corim::parse(&bytes[..cut]).is_err(), "{name} {cut}");
            for bit in [1, 0x20, 0x80] {
                let mut flipped = bytes.clone();
                flipped[cut] ^= bit;
                let _ = Corim::parse(&flipped);
            }
        }
        assert!(Corim::parse(&[&bytes[..], &[0]].concat()).is_err(), "{name}: a trailing byte");
    }
}

/// A manifest of the parsec profile as hex: environment and measurement or key, in the two triples.
fn parsec(triples: &str) -> Vec<u8> {
    let profile = hex::encode(PARSEC_TPM_PROFILE);
    let comid = format!("a201a100616104{triples}").replace(' ', "");
    let comid_len = comid.len() / 2;
    let text = format!("d901f5a30061780181d901fa59{comid_len:04x}{comid}03d820782c{profile}");
    hex::decode(text.replace(' ', "")).unwrap()
}

const CLASS: &str = "00a100d82550cd1f0e5526f9460db9d8f7fde171787c";
const INSTANCE: &str = "01d9023042aabb";
const DIGEST: &str = "02818201 58200000000000000000000000000000000000000000000000000000000000000000";

fn reference(environment: &str, measurement: &str) -> Result<Corim, BootError> {
    Corim::parse(&parsec(&format!("a1008182{environment}81{measurement}")))
}

fn key(environment: &str, keys: &str) -> Result<Corim, BootError> {
    Corim::parse(&parsec(&format!("a1038182{environment}{keys}")))
}

fn refused(read: Result<Corim, BootError>) -> CorimFault {
    match read {
        Err(BootError::Corim { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_rule_of_the_profile_refuses() {
    use CorimFault::{Missing, Shape, Unexpected};
    let class = format!("a1{CLASS}");
    let good = format!("a2000001a1{DIGEST}");
    assert!(reference(&class, &good).is_ok());
    assert_eq!(refused(reference(&format!("a1{INSTANCE}"), &good)), Missing("class"));
    assert_eq!(refused(reference("a100a1016161", &good)), Missing("class-id"));
    assert_eq!(refused(reference("a100a100d86f4101", &good)), Shape("class-id"));
    assert_eq!(refused(reference(&format!("a2{CLASS}{INSTANCE}"), &good)), Unexpected("instance"));
    let group = "02d8255000000000000000000000000000000000";
    assert_eq!(refused(reference(&format!("a2{CLASS}{group}"), &good)), Unexpected("group"));
    assert_eq!(refused(reference(&class, &format!("a101a1{DIGEST}"))), Missing("mkey"));
    assert_eq!(refused(reference(&class, &format!("a20061 6101a1{DIGEST}"))), Shape("mkey"));
    assert_eq!(refused(reference(&class, "a2000001a1086131")), Missing("digests"));
    assert_eq!(refused(reference(&class, "a2000001a0")), Missing("mval"));
    assert_eq!(refused(reference(&class, "a2000001a10280")), Missing("digests"));
    assert_eq!(refused(reference(&class, "a2000001a1028182014100")), Shape("digest"));
    let owner = format!("a2{CLASS}{INSTANCE}");
    assert!(key(&owner, "81d9022a6161").is_ok());
    assert_eq!(refused(key(&class, "81d9022a6161")), Missing("instance"));
    assert_eq!(
        refused(key(&format!("a2{CLASS}01d8255000000000000000000000000000000000"), "81d9022a6161")),
        Shape("instance")
    );
    assert_eq!(refused(key(&owner, "82d9022a6161d9022a6162")), Unexpected("second key"));
    assert_eq!(refused(key(&owner, "81d9022b6161")), Shape("key"));
    assert_eq!(refused(key(&owner, "80")), Missing("keys"));
    assert_eq!(refused(Corim::parse(&parsec("a0"))), Missing("triples"));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Corim::parse(&bytes);
        let _ = Corim::parse(&[&[0xd9, 0x01, 0xf5, 0xa2], &bytes[..]].concat());
    }
}
