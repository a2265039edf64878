//! `verify-gpu`: the signed reports of NVIDIA GPUs and switches, checked offline.
//!
//! Purpose: reads a report with its certificate chain, or bundles of them in the form that NVIDIA's
//! tools write, and says of each device which checks hold, and of several whether they are one machine
//! ([`judge`]). What a check is worth is decided by `assay-gpu`; here are files, JSON and the page.
//!
//! Trust boundary: every file is hostile. Roots are the caller's, never those of a file; reference values
//! are taken as given, so their signatures were checked before.

mod command;
mod input;
mod json;
mod page;

use assay_gpu::device::{
    Check, DeviceFacts, Expectation, HoldPolicy, Judgement, Roots, Topology, topology, verify,
};
use assay_gpu::rim::Rim;
use assay_x509::Seconds;

use crate::rim::Refused;
pub(crate) use command::{VerifyGpuArgs, run};
pub use input::{Entry, InputError, MAX_CHAIN, MAX_OCSP, MAX_REPORT, bundle, pair};

/// What is asked of the devices.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The nonce that every report must answer; `None`: freshness is not judged.
    pub nonce: Option<[u8; 32]>,
    /// The time to check at, in seconds since 1970.
    pub at: Seconds,
    /// Where chains may end.
    pub roots: &'a Roots,
    /// Reference values whose signatures were checked.
    pub rims: &'a [Rim],
    /// In which chains a certificate on hold passes.
    pub hold: HoldPolicy,
}

/// What came of one device.
#[derive(Debug)]
pub struct Device {
    /// The evidence, and what its file says beside it.
    pub entry: Entry,
    /// What holds.
    pub judgement: Judgement,
}

/// What came of all of them.
#[derive(Debug)]
pub struct Judged {
    /// In the order of the file.
    pub devices: Vec<Device>,
    /// What they are together; `None` for one device.
    pub topology: Option<Topology>,
    /// Files of reference values that were at hand and did not count.
    pub refused: Vec<Refused>,
}

impl Judged {
    /// Whether there are devices, all are accepted, and they don't contradict each other.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let together = self.topology.as_ref().is_none_or(|topology| topology.result != Some(false));
        !self.devices.is_empty()
            && together
            && self.devices.iter().all(|device| device.judgement.is_accepted())
    }
}

/// Checks every device, and several as a set.
#[must_use]
pub fn judge(entries: Vec<Entry>, asked: &Asked<'_>) -> Judged {
    let Asked { nonce, at, roots, rims, hold } = *asked;
    let expect = Expectation { nonce, at, roots, rims, hold };
    let one = |entry: Entry| {
        let mut judgement = verify(&entry.evidence, &expect);
        stated(entry.nonce, &mut judgement);
        entry.fail(&mut judgement.checks);
        Device { entry, judgement }
    };
    let devices: Vec<Device> = entries.into_iter().map(one).collect();
    let facts = || devices.iter().map(|device| device.judgement.facts.clone()).collect::<Vec<DeviceFacts>>();
    let topology = (devices.len() > 1).then(|| topology(&facts()));
    Judged { devices, topology, refused: Vec::new() }
}

/// A report answers the nonce that its bundle states. That alone makes nothing fresh: the sender wrote both.
fn stated(stated: Option<[u8; 32]>, judgement: &mut Judgement) {
    let (Some(stated), Some(answered)) = (stated, judgement.facts.request_nonce) else { return };
    let check = &mut judgement.checks.nonce;
    match check.result {
        Some(false) => {}
        _ if answered != stated => {
            *check = Check::no("the report answers another nonce than the bundle states");
        }
        None => {
            *check = Check::none("no nonce was asked for; the report answers the one that the bundle states")
        }
        Some(true) => {}
    }
}
