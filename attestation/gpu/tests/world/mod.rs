//! A made-up maker of devices: keys, certificates and reports written byte by byte, so that each test
//! can change one thing and nothing else.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod der;
// A test that takes the x509 world as well has these elements twice.
#[allow(clippy::duplicate_mod)]
#[path = "../../../x509/tests/world/der.rs"]
mod elements;
mod report;

use std::path::{Path, PathBuf};

use assay_gpu::device::{Architecture, DeviceEvidence, Expectation, HoldPolicy, Judgement, Roots, verify};
pub use der::*;
pub use elements::*;
use p384::ecdsa::SigningKey;
pub use report::*;

/// A time at which everything made here is in force: 2026-01-01.
pub const NOW: i64 = 1_767_225_600;

/// The data folder, or `None` with a line that says so.
pub fn data() -> Option<PathBuf> {
    let data = std::env::var_os("ASSAY_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let folder = data.join("gpu");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: no data folder; set ASSAY_DATA");
    None
}

pub fn key(seed: u64) -> SigningKey {
    let mut bytes = [1; 48];
    bytes[40..].copy_from_slice(&seed.to_be_bytes());
    SigningKey::from_slice(&bytes).unwrap()
}

/// One device and everything that was made for it.
#[derive(Clone)]
pub struct Device {
    pub architecture: Architecture,
    pub report: ReportDraft,
    pub certificates: [Draft; 5],
    /// The keys that the certificates are for, the leaf's first.
    pub keys: [SigningKey; 5],
}

/// Root of this world, unlike that of any other.
const ROOT: u64 = 1;

impl Device {
    /// A device with this identifier, under this world's root.
    pub fn new(architecture: Architecture, pdi: u64) -> Self {
        let chip = match architecture {
            Architecture::Hopper => "GH100",
            Architecture::Blackwell => "GB100",
            Architecture::Ls10 => "LS_10",
        };
        let keys = [key(pdi ^ 0x100), key(pdi ^ 0x200), key(3), key(2), key(ROOT)];
        let prefix = if architecture.is_switch() { "50" } else { "41" };
        let names = [
            device_name(&"AB".repeat(20), &format!("{chip} A01 GSP FMC LF")),
            device_name(&format!("{prefix}{pdi:016X}"), &format!("{chip} A01 GSP BROM")),
            common("Provisioner"),
            common("Family"),
            common("Root"),
        ];
        let issuers = [&names[1], &names[2], &names[3], &names[4], &names[4]];
        let draft = |at: usize| Draft {
            issuer: issuers[at].clone(),
            subject: names[at].clone(),
            extensions: vec![basic(true, None), usage(5)],
            ..Draft::new(&keys[at])
        };
        let mut certificates = [0, 1, 2, 3, 4].map(draft);
        let report = ReportDraft::new(architecture, pdi);
        let fwid = match architecture {
            Architecture::Blackwell => tcb_info(&[(SHA384, &FWID)]),
            _ => composite_id(&keys[1], SHA384, &FWID),
        };
        certificates[0].extensions = vec![usage(0), fwid];
        Self { architecture, report, certificates, keys }
    }

    /// DER of the certificates, each signed with the key of the next.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        let issuer = |at: usize| &self.keys[(at + 1).min(4)];
        self.certificates.iter().enumerate().map(|(at, draft)| draft.sign(issuer(at))).collect()
    }

    pub fn evidence(&self) -> DeviceEvidence {
        DeviceEvidence {
            gpu: (!self.architecture.is_switch()).then_some(0),
            architecture: self.architecture,
            report: self.report.sign(&self.keys[0]),
            chain: self.chain(),
            ocsp: Vec::new(),
            simulated: false,
        }
    }
}

/// Roots of this world.
pub fn roots() -> Roots {
    let device = Device::new(Architecture::Hopper, 0);
    Roots::new(device.chain()[4].clone(), Vec::new())
}

/// Judged under this world's roots.
pub fn judged(evidence: &DeviceEvidence) -> Judgement {
    judged_under(evidence, &roots())
}

pub fn judged_under(evidence: &DeviceEvidence, roots: &Roots) -> Judgement {
    let expect = Expectation { nonce: Some(NONCE), at: NOW, roots, rims: &[], hold: HoldPolicy::default() };
    verify(evidence, &expect)
}
