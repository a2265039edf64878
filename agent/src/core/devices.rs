//! Device evidence: each GPU's own signed report over this session.
//!
//! The nonce is over the TPM's name for its key, the session and the boot as the session's quote has
//! them, so that a report is of no use to another machine, session or boot. A GPU that gives none is
//! said to be unattested; neither that nor a GPU that takes its time stops the session.

use std::collections::BTreeMap;
use std::time::Duration;

use assay_gpu::device::{Architecture, BootId, DeviceEvidence, nonce};
use assay_inventory::Fact;
use assay_inventory::nvml::GpuAttestation;
use assay_ledger::session::SessionStart;
use assay_tpm::{Attest, Public};
use tokio::time::{Instant, timeout_at};

use super::gpus::Gpus;
use super::node::Node;
use super::status::Severity;
use crate::gpu_report::checked;

/// How long all GPUs together may take; a validator's nonce lives longer.
const PATIENCE: Duration = Duration::from_secs(40);
/// Health item of GPUs without a report.
const CODE: &str = "device.unattested";

/// Whom to ask, and under which TPM key.
#[derive(Clone, Copy)]
pub(super) struct Reporters<'a> {
    pub(super) gpus: &'a Gpus,
    /// TPMT_PUBLIC of the AK.
    pub(super) ak_public: &'a [u8],
}

impl Reporters<'_> {
    /// Has each GPU of the session's table sign a report. `quote` is the session's TPMS_ATTEST.
    ///
    /// GPUs without one are remembered with the reason.
    pub(super) async fn collect(self, start: &SessionStart, quote: &[u8]) -> Vec<DeviceEvidence> {
        let nonce = self.nonce(start, quote);
        let end = Instant::now() + PATIENCE;
        let (mut evidence, mut unattested) = (Vec::new(), BTreeMap::new());
        for gpu in &start.gpus {
            match self.one(gpu.index, nonce, end).await {
                Ok(device) => evidence.push(device),
                Err(why) => drop(unattested.insert(gpu.index, why)),
            }
        }
        self.gpus.set_unattested(unattested);
        evidence
    }

    /// `None` for what no TPM of ours says.
    fn nonce(self, start: &SessionStart, quote: &[u8]) -> Option<[u8; 32]> {
        let name = Public::parse(self.ak_public).ok()?.name().ok()?;
        let clock = Attest::parse(quote).ok()?.clock_info;
        let boot = BootId { reset_count: clock.reset_count, restart_count: clock.restart_count };
        Some(nonce(&start.challenge.0, name.as_bytes(), &start.id().0, &boot))
    }

    async fn one(self, gpu: u8, nonce: Option<[u8; 32]>, end: Instant) -> Result<DeviceEvidence, String> {
        let nonce = nonce.ok_or("the TPM's quote can't be read")?;
        let late = |_| format!("no report within the {} s that all GPUs have", PATIENCE.as_secs());
        let attested = timeout_at(end, self.gpus.attest(gpu, nonce)).await.map_err(late)??;
        evidence(gpu, &attested, &nonce)
    }
}

/// As it travels, if this node finds nothing wrong with it.
fn evidence(gpu: u8, attested: &GpuAttestation, nonce: &[u8; 32]) -> Result<DeviceEvidence, String> {
    let (report, chain) = checked(attested, nonce)?;
    Ok(DeviceEvidence {
        gpu: Some(gpu),
        architecture: architecture(&attested.architecture)?,
        report,
        chain: chain.der(),
        ocsp: Vec::new(),
        simulated: attested.simulated,
    })
}

fn architecture(name: &Fact<String>) -> Result<Architecture, String> {
    match name.value().map(String::as_str) {
        Some("Hopper") => Ok(Architecture::Hopper),
        Some("Blackwell") => Ok(Architecture::Blackwell),
        Some(other) => Err(format!("reports of architecture {other} are unknown here")),
        None => Err("the library does not tell its architecture".to_owned()),
    }
}

/// Says which of the session's GPUs are unattested.
pub(super) fn tell(node: &Node) {
    let gpus = node.gpus.as_ref().map(Gpus::status).unwrap_or_default();
    let without = || gpus.iter().filter_map(|gpu| Some((gpu.index, gpu.unattested.as_deref()?)));
    match without().next() {
        Some((index, why)) => {
            let count = without().count();
            let text = format!("GPU unattested: {count} of {}; GPU {index}: {why}", gpus.len());
            node.raise(CODE, Severity::Info, text);
        }
        None => node.clear(CODE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_architectures_whose_reports_are_known_are_asked_on() {
        let of = |name: &str| architecture(&Fact::Value(name.to_owned()));
        assert_eq!(of("Hopper"), Ok(Architecture::Hopper));
        assert!(of("Ada").is_err_and(|why| why.contains("Ada")));
        assert!(architecture(&Fact::NotSupported).is_err());
    }

    #[test]
    fn a_gpu_without_a_report_says_why() {
        let attested = GpuAttestation {
            simulated: false,
            architecture: Fact::Value("Hopper".into()),
            report: Fact::NotSupported,
            chain: Fact::NotSupported,
        };
        let why = |attested: &GpuAttestation| evidence(0, attested, &[0; 32]).unwrap_err();
        assert!(why(&attested).contains("no signed report"));
        let chain = Fact::Value("no certificates".into());
        let bad = GpuAttestation { report: Fact::Value(vec![1]), chain, ..attested };
        assert!(why(&bad).contains("certificates"));
    }

    /// The node's checks of a real report, and what it sends of it.
    #[test]
    fn a_report_that_would_not_hold_is_not_sent() {
        let Some((report, chain)) = crate::gpu_report::recorded() else { return };
        let nonce = report[4..36].try_into().unwrap();
        let attested = GpuAttestation {
            simulated: false,
            architecture: Fact::Value("Hopper".into()),
            report: Fact::Value(report.clone()),
            chain: Fact::Value(chain),
        };
        let sent = evidence(3, &attested, &nonce).unwrap();
        assert_eq!((sent.gpu, &sent.report, sent.chain.len()), (Some(3), &report, 5));
        let changed = |at: usize| {
            let mut report = report.clone();
            report[at] ^= 1;
            GpuAttestation { report: Fact::Value(report), ..attested.clone() }
        };
        let why = |attested: &GpuAttestation, nonce| evidence(3, attested, nonce).unwrap_err();
        assert!(why(&attested, &[7; 32]).contains("another nonce"));
        assert!(why(&changed(37), &nonce).contains("can't be read"));
        assert!(why(&changed(60), &nonce).contains("does not hold"));
        // Of what is marked as a simulation nothing but the form is asked.
        let simulated = |attested| GpuAttestation { simulated: true, ..attested };
        assert!(evidence(3, &simulated(changed(60)), &[7; 32]).is_ok_and(|sent| sent.simulated));
        assert!(why(&simulated(changed(37)), &nonce).contains("can't be read"));
    }
}
