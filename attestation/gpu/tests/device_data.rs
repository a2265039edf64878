//! Real devices, walked by `cases.json`: each is read and judged as its case says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::path::Path;
use std::process::Command;

use assay_gpu::bundle::{self, BundleDevice};
use assay_gpu::device::{
    Architecture, DeviceChain, DeviceEvidence, Expectation, HoldPolicy, Judgement, OpaqueField, Report,
    Roots, verify,
};
use assay_x509::{Certificate, der_to_pem};
use serde_json::Value;
use world::{NOW, data, order_minus};

struct Case {
    name: String,
    evidence: DeviceEvidence,
    expected: Value,
}

impl Case {
    fn expects(&self, check: &str) -> Option<bool> {
        self.expected[check].as_bool()
    }

    /// Whether its device is real: signature and chain hold.
    fn is_good(&self) -> bool {
        self.expects("signature") == Some(true) && self.expects("chain") == Some(true)
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn device_of(data: &Path, case: &Value) -> DeviceEvidence {
    if let Some(file) = case["bundle"].as_str() {
        let devices = bundle::parse(text(&data.join(file)).as_bytes()).unwrap();
        let device = devices[usize::try_from(case["index"].as_u64().unwrap()).unwrap()].clone();
        assert_eq!(case["bundle_nonce"].as_str().unwrap(), hex::encode(device.nonce.unwrap()));
        return device.evidence().unwrap();
    }
    let file = |key: &str| text(&data.join(case[key].as_str().unwrap()));
    let (chain, faults) = bundle::certificates(file("chain").as_bytes());
    let device = BundleDevice {
        architecture: Architecture::from_word(case["arch"].as_str().unwrap()),
        nonce: None,
        report: bundle::report_from_hex(&file("report")).unwrap(),
        chain,
        faults: faults.into_iter().collect(),
    };
    device.evidence().unwrap()
}

fn cases() -> Vec<Case> {
    let Some(data) = data() else { return Vec::new() };
    let json: Value = serde_json::from_str(&text(&data.join("cases.json"))).unwrap();
    let read = |case: &Value| Case {
        name: case["name"].as_str().unwrap().into(),
        evidence: device_of(&data, case),
        expected: case["expected"].clone(),
    };
    let cases: Vec<_> = json["cases"].as_array().unwrap().iter().map(read).collect();
    assert!(!cases.is_empty());
    cases
}

fn judged(evidence: &DeviceEvidence) -> Judgement {
    let roots = Roots::nvidia();
    verify(
        evidence,
        &Expectation { nonce: None, at: NOW, roots: &roots, rims: &[], hold: HoldPolicy::default() },
    )
}

#[test]
fn every_case_is_judged_as_it_says() {
    for case in cases() {
        let name = &case.name;
        let judgement = judged(&case.evidence);
        for (check, found) in judgement.checks.named() {
            if case.expected.get(check).is_some() {
                assert_eq!(found.result, case.expects(check), "{name}: {check}: {}", found.reason);
            }
        }
        let facts = serde_json::to_value(&judgement.facts).unwrap();
        for fact in
            ["vbios", "driver", "project", "project_sku", "chip_sku", "device_serial", "request_nonce"]
        {
            assert_eq!(facts[fact], case.expected[fact], "{name}: {fact}");
        }
        let report = Report::parse(&case.evidence.report).ok();
        let count = |of: fn(&Report) -> usize| report.as_ref().map(|report| of(report) as u64);
        let blocks = count(|report| report.measurements().len());
        assert_eq!(blocks, case.expected["measurement_blocks"].as_u64(), "{name}");
        assert_eq!(count(Report::trailing), case.expected["trailing_bytes"].as_u64(), "{name}");
        let fails = judgement.checks.named().iter().any(|(_, check)| check.fails());
        assert_eq!(judgement.is_accepted(), case.is_good() && !fails, "{name}");
    }
}

/// The maker's own reading of a switch's report, field by field.
#[test]
fn an_oracle_reads_the_same() {
    let Some(data) = data() else { return };
    let file = data.join("evidence/expected_switch_spdm_parse_sdk.json");
    if !file.is_file() {
        println!("SKIPPED: no oracle in the data folder");
        return;
    }
    let oracle: Value = serde_json::from_str(&text(&file)).unwrap();
    let hex_of = |value: &Value| value.as_str().unwrap().trim_start_matches("0x").to_owned();
    let nonce = hex_of(&oracle["Nonce"]);
    // Others of the same nonce may be there, changed.
    let signed = |case: Case| {
        let report = Report::parse(&case.evidence.report).ok()?;
        let chain = DeviceChain::from_der(&case.evidence.chain).ok()?;
        report.verify(&chain.leaf().ok()?.key).is_ok().then_some(report)
    };
    let reports = cases().into_iter().filter_map(signed);
    let reports: Vec<_> = reports.filter(|report| hex::encode(report.responder_nonce()) == nonce).collect();
    assert!(!reports.is_empty());
    for report in reports {
        let (r, s) = report.signature();
        assert_eq!(hex_of(&oracle["Signature"]), hex::encode([&r[..], s].concat()));
        let blocks = oracle["MeasurementRecord"]["MeasurementBlocks"].as_object().unwrap();
        assert_eq!(blocks.len(), report.measurements().len());
        for measurement in report.measurements() {
            let block = &blocks[&measurement.index.to_string()];
            assert_eq!(hex_of(&block["DMTFSpecMeasurementValue"]), hex::encode(&measurement.value));
            assert_eq!(block["DMTFSpecMeasurementValueType"].as_u64(), Some(measurement.value_type.into()));
        }
        let opaque = &oracle["OpaqueData"]["OpaqueDataField"];
        let list = |id: &str| opaque[format!("OPAQUE_FIELD_ID_{id}")].clone();
        let hex_list = |id: &str| list(id).as_array().unwrap().iter().map(hex_of).collect::<Vec<_>>();
        for field in report.opaque() {
            match field {
                OpaqueField::OwnPdi(pdi) => assert_eq!(hex_of(&list("DEVICE_PDI")), pdi.to_string()),
                OpaqueField::Counters(counters) => {
                    assert_eq!(list("MSRSCNT"), serde_json::to_value(counters).unwrap());
                }
                OpaqueField::GpuPdis { gpus, ports } => {
                    let gpus: Vec<_> = gpus.iter().map(ToString::to_string).collect();
                    assert_eq!(hex_list("SWITCH_GPU_PDIS"), gpus);
                    let ports: Vec<_> = ports.iter().map(|port| format!("{port:02x}")).collect();
                    assert_eq!(hex_list("SWITCH_PORT"), ports);
                }
                OpaqueField::LockStatus(data) => {
                    assert_eq!(hex_of(&list("SWITCH_LOCK_STATUS")), hex::encode(data));
                }
                OpaqueField::Position(data) => {
                    assert_eq!(hex_of(&list("SWITCH_POSITION_ID")), hex::encode(data));
                }
                OpaqueField::Vbios(version) => {
                    assert_eq!(hex_of(&list("VBIOS_VERSION")), hex::encode(version));
                }
                _ => {}
            }
        }
    }
}

/// One good case of each architecture.
fn one_of_each() -> Vec<Case> {
    let mut seen = Vec::new();
    let mut fresh = |case: &Case| {
        let kind = case.evidence.architecture;
        case.is_good() && !seen.contains(&kind) && {
            seen.push(kind);
            true
        }
    };
    cases().into_iter().filter(|case| fresh(case)).collect()
}

#[test]
fn every_flipped_byte_of_a_report_is_refused() {
    for case in one_of_each() {
        let chain = DeviceChain::from_der(&case.evidence.chain).unwrap();
        let key = &chain.leaf().unwrap().key;
        let good = &case.evidence.report;
        let end = good.len() - Report::parse(good).unwrap().trailing();
        for at in 0..end {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            if let Ok(report) = Report::parse(&bytes) {
                assert!(report.verify(key).is_err(), "{}: {at}", case.name);
            }
        }
    }
}

#[test]
fn every_flipped_byte_of_a_chain_is_refused() {
    let roots = Roots::nvidia();
    for case in one_of_each() {
        for index in 0..case.evidence.chain.len() {
            for at in 0..case.evidence.chain[index].len() {
                let mut chain = case.evidence.chain.clone();
                chain[index][at] ^= 1 << (at % 8);
                if let Ok(chain) = DeviceChain::from_der(&chain) {
                    assert!(chain.judge(&roots, NOW).is_err(), "{}: {index} {at}", case.name);
                }
            }
        }
    }
}

#[test]
fn certificates_of_two_devices_do_not_mix() {
    let good: Vec<_> = cases().into_iter().filter(Case::is_good).collect();
    for (mine, theirs) in good.iter().flat_map(|a| good.iter().map(move |b| (a, b))) {
        for at in 0..5 {
            if mine.evidence.chain[at] == theirs.evidence.chain[at] {
                continue;
            }
            let mut mixed = mine.evidence.clone();
            mixed.chain[at] = theirs.evidence.chain[at].clone();
            assert!(!judged(&mixed).is_accepted(), "{} with {at} of {}", mine.name, theirs.name);
        }
        if mine.evidence.chain[0] != theirs.evidence.chain[0] {
            let chain = theirs.evidence.chain.clone();
            let swapped = judged(&DeviceEvidence { chain, ..mine.evidence.clone() });
            assert!(swapped.checks.signature.fails(), "{} under {}", mine.name, theirs.name);
        }
    }
}

#[test]
fn real_chains_keep_their_order_and_length() {
    let roots = Roots::nvidia();
    let judge = |chain: &[Vec<u8>]| DeviceChain::from_der(chain).unwrap().judge(&roots, NOW);
    for case in one_of_each() {
        let good = case.evidence.chain;
        assert_eq!(judge(&good), Ok(()));
        for at in 0..good.len() {
            let without = [&good[..at], &good[at + 1..]].concat();
            let twice = [&good[..=at], &good[at..]].concat();
            assert!(judge(&without).is_err() && judge(&twice).is_err());
            for other in 0..at {
                let mut swapped = good.clone();
                swapped.swap(at, other);
                assert!(judge(&swapped).is_err());
            }
        }
    }
}

#[test]
fn the_embedded_roots_are_the_published_ones() {
    let Some(data) = data() else { return };
    let roots = Roots::nvidia();
    let embedded = [roots.device(), roots.rim()];
    let folder = std::fs::read_dir(data.join("certs")).unwrap().map(|entry| entry.unwrap().path());
    let published: Vec<_> =
        folder.map(|path| Certificate::from_file(&std::fs::read(path).unwrap()).unwrap()).collect();
    for der in embedded {
        assert!(published.iter().any(|certificate| certificate.der() == der));
        let root = Certificate::parse(der).unwrap();
        assert!(root.is_ca() && root.verify(&root.key).is_ok());
    }
}

fn openssl(args: &[&str]) -> bool {
    Command::new("openssl").args(args).output().is_ok_and(|output| output.status.success())
}

/// Two independent implementations agree on every signature, and on every chain that is accepted.
#[test]
fn openssl_agrees() {
    if !openssl(&["version"]) {
        println!("SKIPPED: no openssl");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    for case in cases() {
        let chain = DeviceChain::from_der(&case.evidence.chain);
        let (Ok(chain), Ok(report)) = (chain, Report::parse(&case.evidence.report)) else { continue };
        let pem: Vec<_> = chain.der().iter().map(|der| der_to_pem(der)).collect();
        let Some((first, rest)) = pem.split_first() else { continue };
        write("leaf", first.as_bytes());
        write("between", rest.concat().as_bytes());
        write("root", der_to_pem(Roots::nvidia().device()).as_bytes());
        let (leaf, between, root) = (path("leaf"), path("between"), path("root"));
        let at = NOW.to_string();
        let holds = openssl(&["verify", "-attime", &at, "-CAfile", &root, "-untrusted", &between, &leaf]);
        let ours = chain.judge(&Roots::nvidia(), NOW).is_ok();
        // Ours takes the order for evidence; `chain_differential.rs` has the differences.
        assert!(holds || !ours, "{}", case.name);
        assert!(ours || case.expects("chain") != Some(true), "{}", case.name);

        let (public, signed, signature) = (path("public"), path("signed"), path("signature"));
        assert!(openssl(&["x509", "-in", &leaf, "-noout", "-pubkey", "-out", &public]));
        let bytes = report.bytes();
        write("signed", &bytes[..bytes.len() - 96 - report.trailing()]);
        let (r, s) = report.signature();
        let key = &chain.leaf().unwrap().key;
        for (r, s) in [(*r, *s), (*r, order_minus(s)), (*s, *r), ([0; 48], *s), (*r, [0xff; 48])] {
            let number = |number: &[u8; 48]| world::unsigned(number);
            write("signature", &world::seq(&[&number(&r), &number(&s)]));
            let holds = openssl(&["dgst", "-sha384", "-verify", &public, "-signature", &signature, &signed]);
            let at = bytes.len() - 96 - report.trailing();
            let ours = Report::parse(&[&bytes[..at], &r, &s].concat()).unwrap();
            assert_eq!(ours.verify(key).is_ok(), holds, "{}", case.name);
        }
    }
}
