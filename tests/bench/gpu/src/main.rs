//! Device evidence judged, against the bare P-384 checks in it: `assay-bench --gpu` runs this twice.
//!
//! Five checks are needed: the report under the leaf's key, and the certificates 0 to 3 each under the next
//! one's. The root is compared with the pinned one byte for byte, and its own signature says nothing more.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use assay_gpu::bundle::report_from_hex;
use assay_gpu::device::{
    Architecture, DeviceChain, DeviceEvidence, DeviceFacts, Expectation, HoldPolicy, Report, Roots, topology,
    verify,
};
use assay_gpu::rim::{Rim, RimKind, RimRow, SignerProof};
use assay_wire::Digest;
use minicbor::bytes::ByteArray;
use serde_json::Value;
use x509_cert::der::{Decode as _, Encode as _};

/// Pairs of runs; ours and the rival's alternate.
const ROUNDS: usize = 201;
/// Who does the arithmetic in this build, on both sides.
const BACKEND: &str = if cfg!(feature = "ring") { "ring" } else { "portable" };
/// A day in 2026: chains of devices don't end, and the reference values here are made for it.
const AT: i64 = 1_790_000_000;
/// A baseboard.
const GPUS: usize = 8;
const SWITCHES: usize = 4;

/// One device, and a whole baseboard, from the reports of the data folder; without it a line that says so.
fn main() {
    let devices = devices();
    let of = |is_switch| {
        devices.iter().find(move |one: &&DeviceEvidence| one.architecture.is_switch() == is_switch)
    };
    let (Some(gpu), Some(switch)) = (of(false), of(true)) else {
        println!("SKIPPED: no GPU's and switch's report (set ASSAY_DATA)");
        return;
    };
    let rims: Vec<Rim> = [gpu, switch].into_iter().flat_map(rims).collect();
    let (roots, bare) = (Roots::nvidia(), Bare::new(gpu));
    let expect =
        Expectation { nonce: nonce(gpu), at: AT, roots: &roots, rims: &rims, hold: HoldPolicy::default() };
    let holds = |one: &DeviceEvidence, expect: &Expectation<'_>| {
        let judgement = verify(one, expect);
        judgement.is_accepted() && judgement.checks.measurements.holds()
    };
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for _ in 0..ROUNDS {
        ours.add(|| holds(gpu, &expect));
        theirs.add(|| bare.verify());
    }
    let name = format!("GPU report, chain, RIMs; {BACKEND}");
    row(&name, ours.rate(), theirs.rate(), "/s");
    println!("{:<34} {ROUNDS} pairs; 99th percentile {:.2} and {:.2} ms", "", ours.at(99), theirs.at(99));
    board(gpu, switch, &expect, &bare);
}

/// Eight GPUs and four switches one after the other, and what they say of each other. They are copies of two
/// devices, so the last step finds them to be no set; its work is the same.
fn board(gpu: &DeviceEvidence, switch: &DeviceEvidence, expect: &Expectation<'_>, bare: &Bare) {
    let set: Vec<&DeviceEvidence> =
        std::iter::repeat_n(gpu, GPUS).chain(std::iter::repeat_n(switch, SWITCHES)).collect();
    let any = Expectation { nonce: None, ..*expect };
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for _ in 0..ROUNDS {
        ours.add(|| {
            let judgements: Vec<_> = set.iter().map(|one| verify(one, &any)).collect();
            let good = judgements
                .iter()
                .all(|judgement| judgement.checks.measurements.holds() && judgement.is_accepted());
            let facts: Vec<DeviceFacts> = judgements.into_iter().map(|judgement| judgement.facts).collect();
            good && topology(&facts).result.is_some()
        });
        theirs.add(|| set.iter().all(|_| bare.verify()));
    }
    let name = format!("HGX, {GPUS} GPUs {SWITCHES} switches; {BACKEND}");
    row(&name, ours.at(50), theirs.at(50), "ms");
    println!("{:<34} {ROUNDS} pairs; 99th percentile {:.2} and {:.2} ms", "", ours.at(99), theirs.at(99));
}

/// How long runs took, by the thread's own clock: what else the machine does is not in it.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn add(&mut self, work: impl FnOnce() -> bool) {
        let start = clock();
        let held = work();
        self.0.push(clock().saturating_sub(start));
        assert!(held, "what is measured is good");
    }

    /// A percentile in milliseconds.
    fn at(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted
            .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
            .map_or(0.0, |took| took.as_secs_f64() * 1000.0)
    }

    fn rate(&self) -> f64 {
        1000.0 / self.at(50)
    }
}

/// The thread's CPU time.
fn clock() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The cases of the data folder that are a report beside its chain, and hold.
fn devices() -> Vec<DeviceEvidence> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let folder = std::env::var_os("ASSAY_DATA").map_or_else(beside, PathBuf::from).join("gpu");
    let read = |name: Option<&Value>| std::fs::read_to_string(folder.join(name?.as_str()?)).ok();
    let cases: Value = std::fs::read(folder.join("cases.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let cases = cases.get("cases").and_then(Value::as_array).cloned().unwrap_or_default();
    let evidence = |case: &Value| {
        let architecture = Architecture::from_word(case.get("arch")?.as_str()?)?;
        let report = report_from_hex(&read(case.get("report"))?).ok()?;
        let chain = DeviceChain::from_pem(&read(case.get("chain"))?).ok()?.der();
        let gpu = (!architecture.is_switch()).then_some(0);
        let one = DeviceEvidence { gpu, architecture, report, chain, ocsp: Vec::new(), simulated: false };
        let roots = Roots::nvidia();
        let any = Expectation { nonce: None, at: AT, roots: &roots, rims: &[], hold: HoldPolicy::default() };
        verify(&one, &any).is_accepted().then_some(one)
    };
    cases.iter().filter_map(evidence).collect()
}

fn nonce(one: &DeviceEvidence) -> Option<[u8; 32]> {
    Some(*Report::parse(&one.report).ok()?.request_nonce())
}

/// Reference values that allow what a report measured, in the shape of real ones: a VBIOS claims 12 rows of a GPU,
/// a driver 21 others with an alternative each; a switch's firmware claims all of its rows.
fn rims(one: &DeviceEvidence) -> Vec<Rim> {
    let Ok(report) = Report::parse(&one.report) else { return Vec::new() };
    let vbios = |row: u8| row < 13 && row != 7;
    let driver = |row: u8| row == 7 || (22..42).contains(&row);
    match one.architecture.is_switch() {
        true => vec![rim(&one.chain, &report, RimKind::Switch, |_| true)],
        false => vec![
            rim(&one.chain, &report, RimKind::Vbios, vbios),
            rim(&one.chain, &report, RimKind::Driver, driver),
        ],
    }
}

fn rim(chain: &[Vec<u8>], report: &Report, kind: RimKind, is_active: fn(u8) -> bool) -> Rim {
    let facts = report.facts();
    let version = if kind == RimKind::Driver { &facts.driver } else { &facts.vbios };
    let product = if kind == RimKind::Switch { "LS10" } else { "GH100" };
    let alternatives = usize::from(kind == RimKind::Driver);
    let rows = report.measurements().iter().filter_map(|one| {
        let mut values = vec![ByteArray::from([0xa5; 48]); alternatives];
        values.push(ByteArray::from(*one.digest()?));
        Some(RimRow {
            index: one.index.saturating_sub(1),
            name: format!("Measurement_{}", one.index),
            values,
        })
    });
    Rim {
        kind,
        product: product.to_owned(),
        version: version.clone().unwrap_or_default(),
        tag: "bench".to_owned(),
        board: None,
        rows: rows.filter(|row| is_active(row.index)).collect(),
        source: Digest([1; 32]),
        signer: Digest([2; 32]),
        not_before: AT,
        not_after: AT,
        // Read anew for each comparison, like those of a signer.
        proof: SignerProof {
            certificates: chain.iter().map(|der| der.clone().into()).collect(),
            ocsp: Vec::new(),
        },
    }
}

/// One line in the table of `assay-bench`.
fn row(figure: &str, ours: f64, other: f64, unit: &str) {
    let (left, right) = (format!("{ours:.2} {unit}"), format!("{other:.2} {unit}"));
    println!("{figure:<34} {left:>14} {right:>14} {:>8.2}", ours / other);
}

/// The same signatures over the same bytes, each by its library alone; keys and signatures are decoded anew
/// each time, as a verifier meets them.
struct Bare(Vec<Signed>);

/// A message, the point of a key, and r and s.
struct Signed {
    message: Vec<u8>,
    key: Vec<u8>,
    signature: Vec<u8>,
}

impl Bare {
    fn new(one: &DeviceEvidence) -> Self {
        let certificates: Vec<_> =
            one.chain.iter().filter_map(|der| x509_cert::Certificate::from_der(der).ok()).collect();
        let point = |certificate: &x509_cert::Certificate| {
            certificate.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes().to_vec()
        };
        let link = |pair: &[x509_cert::Certificate]| {
            let [child, issuer] = pair else { return None };
            let der = p384::ecdsa::DerSignature::from_bytes(child.signature.raw_bytes()).ok()?;
            let signature = p384::ecdsa::Signature::try_from(der).ok()?.to_bytes().to_vec();
            Some(Signed { message: child.tbs_certificate.to_der().ok()?, key: point(issuer), signature })
        };
        let mut all: Vec<Signed> = certificates.windows(2).filter_map(link).collect();
        if let (Ok(report), Some(leaf)) = (Report::parse(&one.report), certificates.first()) {
            let (r, s) = report.signature();
            let signature = [&r[..], &s[..]].concat();
            let end = report.bytes().len().saturating_sub(signature.len() + report.trailing());
            let message = report.bytes().get(..end).unwrap_or_default().to_vec();
            all.push(Signed { message, key: point(leaf), signature });
        }
        Self(all)
    }

    fn verify(&self) -> bool {
        self.0.len() == 5 && self.0.iter().all(Signed::verify)
    }
}

impl Signed {
    #[cfg(feature = "ring")]
    fn verify(&self) -> bool {
        let key =
            ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P384_SHA384_FIXED, &self.key);
        key.verify(&self.message, &self.signature).is_ok()
    }

    #[cfg(not(feature = "ring"))]
    fn verify(&self) -> bool {
        use p384::ecdsa::signature::Verifier as _;

        let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&self.key);
        let signature = p384::ecdsa::Signature::from_slice(&self.signature);
        matches!((key, signature), (Ok(key), Ok(signature)) if key.verify(&self.message, &signature).is_ok())
    }
}
