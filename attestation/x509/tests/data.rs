//! Real certificates, walked by the manifest: each is read and judged as its row says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::Command;

use assay_x509::{
    Certificate, Chain, ChainFault, Entry, PlatformCertificate, Quirk, Role, Store, VendorClass, chain,
    tpm_names,
};

/// The data folder, or `None` with a line that says so.
fn data() -> Option<PathBuf> {
    let data = std::env::var_os("ASSAY_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let folder = data.join("attestation");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: no data folder; set ASSAY_DATA");
    None
}

/// Rows of the manifest under `folder/`: path and meaning.
fn rows(data: &Path, folder: &str) -> Vec<(PathBuf, String)> {
    let text = std::fs::read_to_string(data.join("MANIFEST.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let file = cells.get(1)?.strip_prefix(folder)?.strip_prefix('/')?;
        Some((
            data.join(folder).join(file),
            (*cells.last().filter(|c| !c.is_empty()).or(cells.iter().rev().nth(1))?).to_owned(),
        ))
    });
    let rows: Vec<_> = rows.collect();
    assert!(!rows.is_empty(), "no rows of {folder}");
    rows
}

fn read(path: &Path) -> Certificate {
    let bytes = std::fs::read(path).unwrap();
    Certificate::from_file(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every authority of the folder: the self-signed ones as roots, the others as intermediates.
fn folder_store(data: &Path) -> (Store, Vec<(PathBuf, Certificate)>) {
    let mut store = Store::default();
    let mut all = Vec::new();
    for (path, _) in rows(data, "ca-store") {
        let certificate = read(&path);
        let role = if certificate.subject == certificate.issuer { Role::Root } else { Role::Intermediate };
        // The folder has some certificates under two names.
        let _ = store.add(Entry {
            name: path.display().to_string(),
            vendor: None,
            class: VendorClass::Discrete,
            role,
            source: String::new(),
            certificate: certificate.clone(),
        });
        all.push((path, certificate));
    }
    (store, all)
}

#[test]
fn every_authority_parses_and_chains_where_its_issuer_is_there() {
    let Some(data) = data() else { return };
    let (store, all) = folder_store(&data);
    let (mut chained, mut weak, mut early) = (0, 0, 0);
    for (path, certificate) in &all {
        assert!(certificate.is_ca(), "{}", path.display());
        let has_issuer = all.iter().any(|(_, other)| other.subject == certificate.issuer);
        let result = chain(certificate, &[], &store);
        match (result, has_issuer) {
            (Ok(Chain { .. }), true) => chained += 1,
            // TPM 1.2's authorities signed over SHA-1.
            (Err(ChainFault::Signature { fault: assay_x509::SignatureFault::WeakHash, .. }), true) => {
                weak += 1
            }
            // Some were made before their issuer's certificate begins; what they sign later isn't.
            (Err(ChainFault::IssuerValidity { .. }), true) => early += 1,
            // An intermediate whose own issuer is missing.
            (Err(fault), _) if fault.is_unknown() => {}
            (other, _) => panic!("{}: {other:?}", path.display()),
        }
    }
    println!("{chained} of {} chain, {weak} over SHA-1, {early} early", all.len());
    assert!(chained > 0);
}

#[test]
fn every_ek_certificate_is_judged_as_the_manifest_says() {
    let Some(data) = data() else { return };
    let (mut store, _) = folder_store(&data);
    store.merge(Store::builtin().unwrap().without_authorities()).unwrap();
    let mut chains = 0;
    for (path, meaning) in rows(&data, "ekcerts") {
        let certificate = read(&path);
        let meaning = meaning.to_ascii_lowercase();
        let result = chain(&certificate, &[], &store);
        chains += usize::from(result.is_ok());
        if meaning.contains("expect chain failure") {
            assert!(result.is_err(), "{}", path.display());
        }
        if meaning.contains("set of not in der order") {
            assert!(certificate.quirks.contains(&Quirk::UnsortedSet), "{}", path.display());
        }
        if meaning.contains("padding") {
            assert!(certificate.quirks.contains(&Quirk::NvPadding), "{}", path.display());
        }
        if meaning.contains("header before the der") {
            assert!(certificate.quirks.contains(&Quirk::NvHeader), "{}", path.display());
        }
        if !certificate.is_ca() {
            let names = tpm_names(&certificate).unwrap();
            assert!(names.manufacturer.starts_with("id:") && !names.model.is_empty(), "{}", path.display());
            assert!(!store.is_virtual(&names.model, None), "{}", path.display());
        }
    }
    println!("{chains} chains");
    assert!(chains > 0);
}

/// The same certificate with and without its NV header reads alike.
#[test]
fn nv_header_and_padding_change_nothing() {
    let Some(data) = data() else { return };
    let all: Vec<_> = rows(&data, "ekcerts").into_iter().map(|(path, _)| read(&path)).collect();
    let headed = all.iter().filter(|c| c.quirks.contains(&Quirk::NvHeader));
    for certificate in headed {
        let twin = |c: &&Certificate| !c.quirks.contains(&Quirk::NvHeader) && c.der() == certificate.der();
        assert!(all.iter().any(|c| twin(&c)));
    }
}

#[test]
fn the_shipped_store_agrees_with_the_folder() {
    let Some(data) = data() else { return };
    let builtin = Store::builtin().unwrap();
    let roots: Vec<_> = builtin.entries().iter().map(|e| e.certificate.fingerprint()).collect();
    let mut chained = 0;
    let (_, all) = folder_store(&data);
    let certificates: Vec<_> = all.iter().map(|(_, c)| c.clone()).collect();
    let shared = certificates.iter().filter(|c| roots.contains(&c.fingerprint())).count();
    for (path, certificate) in &all {
        match chain(certificate, &certificates, &builtin) {
            Ok(_) => chained += 1,
            Err(fault) => println!("{}: {fault}", path.display()),
        }
    }
    println!("{shared} of {} shipped, {chained} chain to one", all.len());
    assert!(shared > 0 && chained > shared);
}

#[test]
fn every_platform_certificate_reads_as_its_json_says() {
    let Some(data) = data() else { return };
    let mut compared = 0;
    let files: Vec<_> = rows(&data, "platform-certs").into_iter().map(|(path, _)| path).collect();
    let signers: Vec<_> =
        files.iter().filter_map(|path| Certificate::from_nv(&std::fs::read(path).unwrap()).ok()).collect();
    for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let text = std::fs::read_to_string(path).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let bytes = std::fs::read(path.with_extension("")).unwrap();
        let seen = PlatformCertificate::from_nv(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        compare(&json, &seen);
        // Too large for a JSON library's numbers.
        let holder = decimal(&seen.holder.as_ref().unwrap().serial);
        assert!(text.contains(&format!("\"Serial\": {holder}")));
        assert!(text.contains(&format!("\"SerialNumber\": {},", decimal(&seen.serial))));
        for signer in &signers {
            let result = seen.verify(signer);
            println!("{}: {result:?}", path.display());
        }
        compared += 1;
    }
    assert!(compared > 0);
}

fn compare(json: &serde_json::Value, seen: &PlatformCertificate) {
    assert_eq!(json["PlatformManufacturer"], seen.names.manufacturer);
    assert_eq!(json["PlatformModel"], seen.names.model);
    assert_eq!(json["PlatformVersion"], seen.names.version);
    assert_eq!(json["PlatformSerial"], seen.names.serial);
    let holder = seen.holder.as_ref().unwrap();
    for (names, name) in
        [(&json["Holder"]["Issuer"]["Names"], &holder.issuer), (&json["Issuer"]["Names"], &seen.issuer)]
    {
        let expected: Vec<_> =
            names.as_array().unwrap().iter().map(|n| n["Value"].as_str().unwrap()).collect();
        let texts: Vec<_> = name.attributes().iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, expected);
    }
    for (field, at) in [("NotBefore", seen.not_before), ("NotAfter", seen.not_after)] {
        assert_eq!(seconds(json[field].as_str().unwrap()), at);
    }
    let version = &json["TCGPlatformSpecification"]["Version"];
    let expected = ["MajorVersion", "MinorVersion", "Revision"]
        .map(|f| u32::try_from(version[f].as_u64().unwrap()).unwrap());
    assert_eq!(seen.attributes.specification, Some(expected));
    let empty = vec![];
    let components = json["Components"].as_array().unwrap_or(&empty);
    assert_eq!(components.len(), seen.attributes.components.len());
    for (json, component) in components.iter().zip(&seen.attributes.components) {
        assert_eq!(json["Manufacturer"], component.manufacturer);
        assert_eq!(json["Model"], component.model);
        assert_eq!(json["Serial"], component.serial);
        assert_eq!(json["Revision"], component.revision);
    }
    let properties = json["Properties"].as_array().unwrap_or(&empty);
    assert_eq!(properties.len(), seen.attributes.properties.len());
    for (json, (name, text)) in properties.iter().zip(&seen.attributes.properties) {
        assert_eq!(&json["PropertyName"], name);
        assert_eq!(&json["PropertyValue"], text);
    }
}

/// A big-endian number in decimal.
fn decimal(bytes: &[u8]) -> String {
    let mut digits = vec![0_u32];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let n = *digit * 256 + carry;
            *digit = n % 10;
            carry = n / 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    digits.iter().rev().map(ToString::to_string).collect()
}

/// Seconds of `YYYY-MM-DDTHH:MM:SSZ`, by counting days.
fn seconds(text: &str) -> i64 {
    let n = |range: std::ops::Range<usize>| -> i64 { text[range].parse().unwrap() };
    let leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let (year, month, day) = (n(0..4), n(5..7), n(8..10));
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days: i64 = (1970..year).map(|y| 365 + i64::from(leap(y))).sum::<i64>()
        + lengths[..usize::try_from(month).unwrap() - 1].iter().sum::<i64>()
        + day
        - 1;
    ((days * 24 + n(11..13)) * 60 + n(14..16)) * 60 + n(17..19)
}

/// What OpenSSL prints of serial, dates and public key is what was read.
#[test]
fn openssl_reads_the_same() {
    let Some(data) = data() else { return };
    if Command::new("openssl").arg("version").output().is_err() {
        println!("SKIPPED: no openssl");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for (path, _) in rows(&data, "ca-store").into_iter().chain(rows(&data, "ekcerts")) {
        let certificate = read(&path);
        let file = folder.path().join("certificate.der");
        std::fs::write(&file, certificate.der()).unwrap();
        let arguments = ["x509", "-inform", "der", "-noout", "-serial", "-fingerprint", "-sha256", "-in"];
        let output = Command::new("openssl").args(arguments).arg(&file).output().unwrap();
        if !output.status.success() {
            println!("{}: not for openssl", path.display());
            continue;
        }
        let text = String::from_utf8(output.stdout).unwrap().replace(':', "").to_ascii_lowercase();
        let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).unwrap().to_owned();
        let serial = hex::encode(&certificate.serial);
        assert_eq!(
            field("serial=").trim_start_matches('0'),
            serial.trim_start_matches('0'),
            "{}",
            path.display()
        );
        let print = text.lines().find(|l| l.contains("fingerprint=")).unwrap();
        assert!(print.ends_with(&certificate.fingerprint().to_string()));
        compared += 1;
    }
    assert!(compared > 0);
}

/// Where OpenSSL finds that one certificate of the folder signed another, so do we.
#[test]
fn openssl_verifies_the_same() {
    let Some(data) = data() else { return };
    if Command::new("openssl").arg("version").output().is_err() {
        println!("SKIPPED: no openssl");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pem = |name: &str, certificate: &Certificate| {
        let path = folder.path().join(name);
        std::fs::write(&path, assay_x509::der_to_pem(certificate.der())).unwrap();
        path
    };
    let (_, all) = folder_store(&data);
    let mut compared = 0;
    for (path, child) in &all {
        for (_, issuer) in all.iter().filter(|(_, issuer)| issuer.subject == child.issuer) {
            let ours = child.verify(&issuer.key);
            if ours == Err(assay_x509::SignatureFault::WeakHash) {
                continue;
            }
            let output = Command::new("openssl")
                .args(["verify", "-partial_chain", "-no_check_time", "-trusted"])
                .args([pem("issuer.pem", issuer), pem("child.pem", child)])
                .output()
                .unwrap();
            assert_eq!(ours.is_ok(), output.status.success(), "{}: {ours:?}", path.display());
            compared += 1;
        }
    }
    assert!(compared > 0);
}

/// No prefix and no flipped byte of a real certificate panics, and none is taken for signed.
#[test]
fn mutations_are_refused_or_unsigned() {
    let Some(data) = data() else { return };
    let (_, all) = folder_store(&data);
    for (path, _) in rows(&data, "ekcerts") {
        let der = read(&path).der().to_vec();
        for end in 0..der.len() {
            assert!(Certificate::parse(&der[..end]).is_err(), "{}: {end}", path.display());
        }
        assert!(Certificate::parse(&[&der[..], &[0]].concat()).is_err());
        let issuer = all.iter().find(|(_, c)| c.subject == read(&path).issuer).map(|(_, c)| c.key.clone());
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 1 << (at % 8);
            if let (Ok(certificate), Some(issuer)) = (Certificate::parse(&changed), &issuer) {
                assert!(certificate.verify(issuer).is_err(), "{}: byte {at}", path.display());
            }
        }
    }
    for (path, _) in rows(&data, "platform-certs") {
        let bytes = std::fs::read(&path).unwrap();
        if PlatformCertificate::from_nv(&bytes).is_err() {
            continue;
        }
        for at in 0..bytes.len() {
            assert!(PlatformCertificate::from_nv(&bytes[..at]).is_err());
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let _ = PlatformCertificate::from_nv(&changed);
        }
    }
}
