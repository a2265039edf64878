//! What kind of device evidence seems to be of, where nobody says it.

use super::DeviceChain;
use super::architecture::Architecture;
use super::chain::{DEVICE, certificate};
use super::evidence::DeviceEvidence;
use super::report::Report;

impl DeviceEvidence {
    /// The architecture that evidence shows: by the device's certificate, else by any other that names a chip,
    /// else by the form of the report. Absent where none of them can be read.
    ///
    /// It says how to judge, not what is true: a chain whose own device's certificate names no architecture, or
    /// another one, does not hold.
    #[must_use]
    pub fn seen(report: &[u8], chain: &[Vec<u8>]) -> Option<Architecture> {
        let named = |index| Architecture::of_model(certificate(chain, index).ok()?.subject.common_name()?);
        let named = std::iter::once(DEVICE).chain(0..chain.len().min(DeviceChain::MAX)).find_map(named);
        named.or_else(|| Report::parse(report).ok().map(|report| of_report(&report)))
    }
}

/// Only switches name themselves or GPUs. A chip's name is in Blackwell's reports alone, as are raw values.
fn of_report(report: &Report) -> Architecture {
    let facts = report.facts();
    let raw = || report.measurements().iter().any(|measurement| measurement.digest().is_none());
    match facts.chip_name.as_deref().and_then(Architecture::of_model) {
        _ if facts.is_switch() => Architecture::Ls10,
        Some(named) => named,
        None if raw() => Architecture::Blackwell,
        None => Architecture::Hopper,
    }
}
