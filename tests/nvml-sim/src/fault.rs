//! What can go wrong, when and on which GPU.

use serde::Deserialize;

/// A fault of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// The GPU it strikes; all of them if absent.
    #[serde(default)]
    pub(crate) gpu: Option<usize>,
    /// Milliseconds after the library was initialized in this process.
    #[serde(default)]
    pub(crate) after_ms: u64,
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FaultKind {
    /// Initialization finds no kernel driver.
    DriverNotLoaded,
    /// Initialization finds a kernel driver of another version.
    VersionMismatch,
    /// Calls never return.
    Hang,
    /// Calls answer that the GPU is gone.
    Lost,
    /// Calls abort the process.
    Crash,
    /// The library claims billions of GPUs.
    AbsurdGpuCount,
    /// The library claims a hundred million processes.
    AbsurdProcessCount,
    /// Strings fill their buffer without an end.
    UnterminatedStrings,
    /// Gauges show values that no device can have.
    AbsurdGauges,
    /// A report is larger than its buffer by its size.
    AbsurdReportSize,
    /// A certificate chain is larger than its buffer by its size.
    AbsurdChainSize,
    /// A call for a report never returns.
    HangingReport,
}

impl Fault {
    /// Whether the fault is on for `gpu` (or for the machine) at `elapsed_ms` after initialization.
    pub(crate) fn strikes(&self, kind: FaultKind, gpu: Option<usize>, elapsed_ms: u64) -> bool {
        let here = self.gpu.is_none() || self.gpu == gpu;
        self.kind == kind && here && elapsed_ms >= self.after_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strikes_its_gpu_from_its_time_on() {
        let fault = Fault { kind: FaultKind::Lost, gpu: Some(2), after_ms: 100 };
        assert!(fault.strikes(FaultKind::Lost, Some(2), 100));
        assert!(!fault.strikes(FaultKind::Lost, Some(2), 99));
        assert!(!fault.strikes(FaultKind::Lost, Some(1), 100));
        assert!(!fault.strikes(FaultKind::Hang, Some(2), 100));
        assert!(Fault { gpu: None, ..fault }.strikes(FaultKind::Lost, Some(1), 100));
    }
}
