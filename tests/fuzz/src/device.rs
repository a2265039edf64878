//! Evidence of GPUs and switches: reports, their opaque fields, chains and bundles.

use std::sync::OnceLock;

use assay_gpu::bundle::{self, BundleDevice, MAX_DEVICES};
use assay_gpu::device::{Architecture, DeviceChain, DeviceEvidence, Report, Roots};
use assay_x509::der_to_pem;
use base64ct::{Base64, Encoding as _};
use serde_json::json;

use crate::seeds::device_files;

#[allow(unused_imports, reason = "a world of tests, of which a part is needed here")]
#[path = "../../../attestation/gpu/tests/world/mod.rs"]
pub(crate) mod made;

/// A device that was made here, with its own roots.
struct Made {
    evidence: DeviceEvidence,
    chain: DeviceChain,
    roots: Roots,
}

fn devices() -> &'static [Made] {
    static DEVICES: OnceLock<Vec<Made>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        // Keys go by the identifier.
        let made = |(architecture, pdi): (Architecture, u64)| {
            let evidence = made::Device::new(architecture, pdi).evidence();
            let chain = DeviceChain::from_der(&evidence.chain).unwrap();
            Made { evidence, chain, roots: made::roots() }
        };
        let mut all: Vec<Made> = Architecture::ALL.into_iter().zip(7..).map(made).collect();
        // The report of another of a chip's processors, whose blocks differ in size.
        let mut other = made::Device::new(Architecture::Blackwell, 10);
        other.report = made::ReportDraft::of_another_processor();
        let evidence = other.evidence();
        let chain = DeviceChain::from_der(&evidence.chain).unwrap();
        all.push(Made { evidence, chain, roots: made::roots() });
        all
    })
}

/// What comes before the signature, which nothing else may follow but at most three bytes.
fn signed(report: &Report) -> &[u8] {
    let bytes = report.bytes();
    &bytes[..bytes.len() - 96 - report.trailing()]
}

/// The measurement record of a report that can be read.
fn record(data: &[u8]) -> &[u8] {
    &data[45..][..usize::from(u16::from_le_bytes([data[42], data[43]]))]
}

/// A report: its parts are the bytes that it was read from, and no change of a signed one is accepted.
pub fn report(data: &[u8]) {
    let first = Report::parse(data);
    assert_eq!(first, Report::parse(data));
    let Ok(report) = first else { return };
    assert!(data.len() <= Report::MAX && report.trailing() <= 3 && report.bytes() == data);
    assert_eq!(report.request_nonce()[..], data[4..36]);
    let (r, s) = report.signature();
    let parts = [signed(&report), r, s].concat();
    assert_eq!(parts, data[..data.len() - report.trailing()]);
    let mut blocks = record(data);
    for (at, measurement) in report.measurements().iter().enumerate() {
        let (block, rest) = blocks.split_at(7 + measurement.value.len());
        assert_eq!((usize::from(measurement.index), &measurement.value[..]), (at + 1, &block[7..]));
        // Raw bytes are no digest, however many they are.
        assert_eq!(measurement.digest().is_some(), block[4] < 0x80);
        blocks = rest;
    }
    assert!(blocks.is_empty());
    for device in devices() {
        let key = &device.chain.leaf().unwrap().key;
        let good = Report::parse(&device.evidence.report).unwrap();
        // The twin of a signature is another signature of the same.
        assert!(report.verify(key).is_err() || signed(&report) == signed(&good));
    }
}

/// Opaque fields in a report around them: another reader finds the same types in the same order.
pub fn opaque(data: &[u8]) {
    let Ok(len) = u16::try_from(data.len()) else { return };
    let mut draft = made::ReportDraft::new(Architecture::Hopper, 7);
    draft.opaque.clear();
    let mut bytes = draft.signed_part();
    bytes.truncate(bytes.len() - 2);
    bytes.extend([&len.to_le_bytes()[..], data, &[1; 96]].concat());
    let Ok(report) = Report::parse(&bytes) else { return };
    let (mut rest, mut kinds) = (data, Vec::new());
    while let [a, b, c, d, after @ ..] = rest {
        let kind = u16::from_le_bytes([*a, *b]);
        assert!(!kinds.contains(&kind), "the same type twice");
        kinds.push(kind);
        rest = &after[usize::from(u16::from_le_bytes([*c, *d]))..];
    }
    assert!(rest.is_empty());
    assert_eq!(report.opaque().iter().map(|field| field.kind()).collect::<Vec<_>>(), kinds);
    let facts = report.facts();
    for list in [&facts.switch_pdis, &facts.gpu_pdis] {
        let mut distinct = list.clone();
        distinct.sort();
        distinct.dedup();
        assert!(distinct.len() == list.len() && list.iter().all(|pdi| !matches!(pdi.0, 0 | u64::MAX)));
    }
    for text in [&facts.vbios, &facts.driver, &facts.project, &facts.chip_sku].into_iter().flatten() {
        assert!(!text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    }
}

/// A chain as PEM: written again it reads the same, and only chains that were made hold.
pub fn chain(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(chain) = DeviceChain::from_pem(text) else { return };
    let list = chain.der();
    let again: String = list.iter().map(|der| der_to_pem(der)).collect();
    assert_eq!(DeviceChain::from_pem(&again), Ok(chain.clone()));
    assert_eq!(DeviceChain::from_der(&list), Ok(chain.clone()));
    assert_eq!(chain.identity(), chain.identity());
    for device in devices() {
        let holds = chain.judge(&device.roots, made::NOW).is_ok();
        assert!(!holds || devices().iter().any(|known| known.evidence.chain == list));
    }
    let holds = chain.judge(&Roots::nvidia(), made::NOW).is_ok();
    assert!(!holds || real_chains().contains(&list));
}

/// Chains of the data folder.
fn real_chains() -> &'static [Vec<Vec<u8>>] {
    static CHAINS: OnceLock<Vec<Vec<Vec<u8>>>> = OnceLock::new();
    CHAINS.get_or_init(|| {
        let files = device_files();
        let texts = files.iter().filter_map(|(_, bytes)| std::str::from_utf8(bytes).ok());
        let plain = texts.filter_map(|text| DeviceChain::from_pem(text).ok()).map(|chain| chain.der());
        let bundles = files.iter().filter_map(|(_, bytes)| bundle::parse(bytes).ok()).flatten();
        plain.chain(bundles.map(|device| device.chain)).collect()
    })
}

/// A bundle, or a report's text: within its bounds, and written again it reads the same.
pub fn bundle(data: &[u8]) {
    if let Ok(bytes) = std::str::from_utf8(data).map_err(drop).and_then(|text| {
        let bytes = bundle::report_from_hex(text).map_err(drop)?;
        assert!(bytes.len() <= text.len() / 2);
        Ok(bytes)
    }) {
        assert_eq!(bundle::report_from_hex(&hex::encode(&bytes)), Ok(bytes));
    }
    let Ok(devices) = bundle::parse(data) else { return };
    assert!((1..=MAX_DEVICES).contains(&devices.len()));
    assert!(
        devices
            .iter()
            .all(|device| device.report.len() <= Report::MAX && device.chain.len() <= DeviceChain::MAX)
    );
    assert!(devices.iter().all(|device| device.faults.len() <= 4));
    // An entry that could not be read as a whole is no evidence, and can't be written.
    let whole: Vec<_> = devices.into_iter().filter(|device| device.clone().evidence().is_ok()).collect();
    assert!(whole.iter().all(|device| device.faults.is_empty()));
    if !whole.is_empty() {
        assert_eq!(bundle::parse(&written(&whole)), Ok(whole));
    }
}

fn written(devices: &[BundleDevice]) -> Vec<u8> {
    let entry = |device: &BundleDevice| {
        let pem: String = device.chain.iter().map(|der| der_to_pem(der)).collect();
        json!({
            "arch": device.architecture.unwrap().word(),
            "nonce": hex::encode(device.nonce.unwrap()),
            "evidence": Base64::encode_string(&device.report),
            "certificate": Base64::encode_string(pem.as_bytes()),
        })
    };
    serde_json::to_vec(&devices.iter().map(entry).collect::<Vec<_>>()).unwrap()
}

/// Evidence of every architecture in each form, made here and read in the data folder.
pub(crate) fn seeds(target: &str) -> Vec<Vec<u8>> {
    let files = device_files();
    let bundles = files.iter().filter_map(|(_, bytes)| bundle::parse(bytes).ok()).flatten();
    let texts = files.iter().filter_map(|(_, bytes)| std::str::from_utf8(bytes).ok());
    let reports = texts.filter_map(|text| bundle::report_from_hex(text).ok());
    let reports: Vec<_> = devices()
        .iter()
        .map(|device| device.evidence.report.clone())
        .chain(bundles.map(|device| device.report))
        .chain(reports)
        .filter(|bytes| Report::parse(bytes).is_ok())
        .collect();
    match target {
        "report" => reports,
        "opaque" => reports.iter().map(|bytes| opaque_part(bytes)).collect(),
        "chain" => {
            let made = devices().iter().map(|device| &device.evidence.chain);
            let all = made.chain(real_chains()).filter(|chain| !chain.is_empty());
            all.map(|chain| chain.iter().map(|der| der_to_pem(der)).collect::<String>().into_bytes())
                .collect()
        }
        "bundle" => {
            let made = devices().iter().map(|device| {
                let DeviceEvidence { architecture, report, chain, .. } = device.evidence.clone();
                let (architecture, nonce) = (Some(architecture), Some(made::NONCE));
                BundleDevice { architecture, nonce, report, chain, faults: Vec::new() }
            });
            let text = hex::encode(&reports[0]).into_bytes();
            let all = files.into_iter().map(|(_, bytes)| bytes).filter(|bytes| bundle::parse(bytes).is_ok());
            all.chain([written(&made.collect::<Vec<_>>()), text]).collect()
        }
        _ => vec![],
    }
}

/// The opaque fields of a report.
fn opaque_part(bytes: &[u8]) -> Vec<u8> {
    let start = 45 + record(bytes).len() + 32;
    let len = usize::from(u16::from_le_bytes([bytes[start], bytes[start + 1]]));
    bytes[start + 2..][..len].to_vec()
}
