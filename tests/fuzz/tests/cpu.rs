//! Nothing that a node sends as evidence, and no enrolment request, costs a validator more than 50 ms
//! of CPU: data files in every role, mutations, kept seeds, and inputs as large as the limits allow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use assay_appraisal::check_request;
use assay_boot::{EV_IPL, HashAlg, MAX_BANKS, MAX_EVENT_BYTES, MAX_EVENTS, MAX_LOG_BYTES};
use assay_fuzz::{Arrival, data, mutations, seeds, thread_time, world};
use assay_gpu::device::{Architecture, DeviceChain, DeviceEvidence, Report};
use assay_ledger::enrolment::EnrolRequest;
use assay_ledger::session::{Evidence, MAX_DEVICES};
use assay_wire::{cbor, limits};

/// CPU time that one input may cost.
const LIMIT: Duration = Duration::from_millis(50);
/// An input that took too long is measured this many times more; the least counts, as another
/// process may have taken the cache or the clock.
const REPEATS: usize = 3;

/// The least CPU time of `work`; repeated only when the first run is over the limit.
fn cost(mut work: impl FnMut()) -> Duration {
    let mut once = || {
        let start = thread_time();
        work();
        thread_time() - start
    };
    let first = once();
    if first <= LIMIT { first } else { (0..REPEATS).map(|_| once()).chain([first]).min().unwrap() }
}

/// The dearest inputs so far, by what they are.
#[derive(Default)]
struct Dearest {
    inputs: usize,
    most: Duration,
    what: String,
    over: Vec<String>,
}

impl Dearest {
    fn measure(&mut self, what: impl Fn() -> String, work: impl FnMut()) {
        let took = cost(work);
        self.inputs += 1;
        if took > self.most {
            (self.most, self.what) = (took, what());
        }
        if took > LIMIT {
            self.over.push(format!("{} took {took:?}", what()));
        }
    }

    fn evidence(&mut self, arrival: Arrival, bytes: &[u8], what: impl Fn() -> String) {
        let world = world();
        let sent = arrival.envelope(world, bytes);
        let what = || format!("{arrival:?} {}, {} bytes", what(), sent.len());
        self.measure(what, || drop(world.appraise(&sent)));
    }

    fn request(&mut self, request: &EnrolRequest, what: impl Fn() -> String) {
        self.measure(what, || drop(check_request(request)));
    }

    fn end(self, name: &str) {
        eprintln!("{name}: {} inputs, at most {:?}: {}", self.inputs, self.most, self.what);
        assert!(self.over.is_empty(), "{:#?}", self.over);
    }
}

/// An enrolment request with these certificates in every place that takes some.
fn with_certificates(bytes: &[u8], count: usize) -> EnrolRequest {
    let mut request = world().enrolment.request.clone();
    request.ek_certificates = vec![bytes.to_vec().into(); count];
    request.ek_chain = request.ek_certificates.clone();
    request.platform_certificates = request.ek_certificates.clone();
    request.device_certificates = request.ek_certificates.clone();
    request
}

#[test]
fn every_data_file_in_every_role() {
    let Some(files) = data() else {
        eprintln!("SKIPPED: no data folder; set ASSAY_DATA");
        return;
    };
    let mut dearest = Dearest::default();
    for (path, bytes) in &files {
        let name = || path.file_name().unwrap().to_string_lossy().into_owned();
        for arrival in Arrival::ALL {
            dearest.evidence(arrival, bytes, name);
        }
        dearest.request(&with_certificates(bytes, 4), name);
    }
    dearest.end("data files");
}

#[test]
fn mutations_and_kept_seeds() {
    let mut dearest = Dearest::default();
    for target in ["evidence", "eventlog"] {
        let seeds = seeds(target);
        let changed: Vec<_> = mutations("cpu", &seeds).take(400).collect();
        for (nth, bytes) in seeds.iter().chain(&changed).enumerate() {
            let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
            let (arrival, bytes) = match target {
                "evidence" => (Arrival::ALL[usize::from(*first) % Arrival::ALL.len()], rest),
                _ => (Arrival::Firmware, bytes.as_slice()),
            };
            dearest.evidence(arrival, bytes, || format!("{target} {nth}"));
        }
    }
    let certificates = seeds("certificate");
    for (nth, bytes) in mutations("cpu", &certificates).take(400).enumerate() {
        dearest.request(&with_certificates(&bytes, 4), || format!("certificate {nth}"));
    }
    dearest.end("mutations");
}

/// A log with these banks and one event after the other until a limit is reached.
fn log(banks: &[(u16, usize)], event_bytes: usize) -> Vec<u8> {
    let mut spec_id = [b"Spec ID Event03\0", &[0, 0, 0, 0, 0, 2, 0, 2][..]].concat();
    spec_id.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
    for (id, len) in banks {
        spec_id.extend(id.to_le_bytes());
        spec_id.extend(u16::try_from(*len).unwrap().to_le_bytes());
    }
    spec_id.push(0);
    let mut log = [[0u32, 3].map(u32::to_le_bytes).concat(), vec![0; 20]].concat();
    log.extend(u32::try_from(spec_id.len()).unwrap().to_le_bytes());
    log.extend(spec_id);
    let mut event = [7u32, EV_IPL].map(u32::to_le_bytes).concat();
    event.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
    for (id, len) in banks {
        event.extend(id.to_le_bytes());
        event.extend(vec![1; *len]);
    }
    event.extend(u32::try_from(event_bytes).unwrap().to_le_bytes());
    event.extend(vec![0; event_bytes]);
    let count = MAX_EVENTS.min((MAX_LOG_BYTES - log.len()) / event.len());
    log.extend(event.repeat(count));
    log
}

/// Banks that a log can declare: all that are computed, and others up to the limit.
fn banks() -> Vec<(u16, usize)> {
    let computed = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    let computed = computed.map(|alg| (alg.id(), alg.digest_len().unwrap()));
    computed.into_iter().chain((0x70..).map(|id| (id, 1))).take(MAX_BANKS).collect()
}

/// The honest evidence with one list as long as an envelope allows; each entry is good by itself, and
/// the node's own word about itself is truly quoted where a quote covers it.
fn crowded() -> Vec<Evidence> {
    let world = world();
    let honest = &world.evidence;
    let room = limits::ENVELOPE - 64 * 1024;
    let record = honest.enrolment.clone();
    let records = vec![record.clone().into(); room / (record.len() + 3)];
    let mut many = vec![Evidence { further: records, ..honest.clone() }];
    let pcrs = honest.pcrs.iter().copied().cycle().take(limits::ITEMS / 8).collect();
    many.push(Evidence { pcrs, ..honest.clone() });
    let mut gpus = honest.clone();
    gpus.session.gpus = honest.session.gpus.iter().cloned().cycle().take(limits::ITEMS / 32).collect();
    many.push(gpus);
    // One device's evidence, as good as a stranger can have it, as often as is read.
    let chain = vec![vec![0x30; limits::CERTIFICATE]; 8];
    let (architecture, report) = (Architecture::Ls10, vec![0x11; Report::MAX]);
    let device =
        DeviceEvidence { gpu: None, architecture, report, ocsp: chain.clone(), chain, simulated: false };
    let devices = vec![device; MAX_DEVICES / 8];
    many.push(Evidence { devices: Some(devices), ..honest.clone() });
    let recorded = recorded().unwrap_or_default();
    let devices = recorded.iter().cloned().cycle().take(MAX_DEVICES * recorded.len().min(1)).collect();
    many.push(Evidence { devices: Some(devices), ..honest.clone() });
    many
}

/// Evidence of a real switch, which has no place in a session's table.
fn recorded() -> Option<Vec<DeviceEvidence>> {
    let data = std::env::var_os("ASSAY_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let folder = data.join("gpu");
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).ok();
    let cases: serde_json::Value = serde_json::from_str(&read("cases.json")?).unwrap();
    let switch =
        |case: &&serde_json::Value| case["arch"] == Architecture::Ls10.word() && case["report"].is_string();
    let load = |case: &serde_json::Value| DeviceEvidence {
        gpu: None,
        architecture: Architecture::Ls10,
        report: hex::decode(read(case["report"].as_str().unwrap()).unwrap().trim()).unwrap(),
        chain: DeviceChain::from_pem(&read(case["chain"].as_str().unwrap()).unwrap()).unwrap().der(),
        ocsp: vec![],
        simulated: false,
    };
    Some(cases["cases"].as_array().unwrap().iter().filter(switch).map(load).collect())
}

#[test]
fn inputs_as_large_as_the_limits_allow() {
    let mut dearest = Dearest::default();
    let sha256 = [(HashAlg::Sha256.id(), 32)];
    for banks in [&sha256[..], &banks()] {
        for event_bytes in [0, 100, 200, 4096, MAX_EVENT_BYTES] {
            let log = log(banks, event_bytes);
            dearest.evidence(Arrival::Firmware, &log, || {
                format!("{} banks, events of {event_bytes}", banks.len())
            });
        }
    }
    for arrival in Arrival::ALL {
        for len in [limits::BOOT_LOG, limits::ENVELOPE - 8192, limits::ENVELOPE] {
            for byte in [0u8, b' ', 0xff] {
                dearest.evidence(arrival, &vec![byte; len], || format!("{len} bytes of {byte:#x}"));
            }
        }
    }
    for (byte, count) in [(0u8, 4), (0x30, 4), (0xff, 512)] {
        let request = with_certificates(&vec![byte; limits::CERTIFICATE], count);
        dearest.request(&request, || format!("{count} certificates of {byte:#x}"));
    }
    for evidence in crowded() {
        dearest.evidence(Arrival::Sealed, &cbor::to_vec(&evidence), || "crowded".into());
    }
    dearest.end("largest");
}
