//! Raw samples: what the library said of one GPU at one moment.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// What the library said of one GPU at one moment.
///
/// Raw samples stay on the node; a beat carries the root of a tree over their encodings.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct GpuSample {
    /// Index in the session's GPU table.
    #[n(0)]
    pub index: u8,
    /// Monotonic clock of the machine, in milliseconds.
    #[n(1)]
    pub t_ms: u64,
    /// The driver says that the device is gone from the bus.
    #[n(2)]
    pub lost: bool,
    /// The values that the device gave.
    #[n(3)]
    pub readings: Readings,
}

impl GpuSample {
    /// A sample with nothing in it yet.
    #[must_use]
    pub fn empty(index: u8, t_ms: u64) -> Self {
        Self { index, t_ms, lost: false, readings: Readings::default() }
    }

    /// The sample of a device that has fallen off the bus.
    #[must_use]
    pub fn lost(index: u8, t_ms: u64) -> Self {
        Self { lost: true, ..Self::empty(index, t_ms) }
    }
}

/// Values of one sample; a value that the device does not give is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(default)]
pub struct Readings {
    /// Energy since the driver was loaded, in millijoules.
    #[n(0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_mj: Option<u64>,
    /// Share of the library's last window in which a kernel ran, in percent.
    #[n(1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization_percent: Option<u32>,
    /// Memory in use, in MiB.
    #[n(2)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_mib: Option<u64>,
    /// Power draw, in milliwatts.
    #[n(3)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_mw: Option<u32>,
    /// Temperature of the GPU, in degrees Celsius.
    #[n(4)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<u32>,
    /// Bytes received over PCIe; a counter of unspecified width that may wrap.
    #[n(5)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcie_rx_bytes: Option<u64>,
    /// Bytes sent over PCIe; a counter of unspecified width that may wrap.
    #[n(6)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcie_tx_bytes: Option<u64>,
}

impl Readings {
    /// Whether the device gave no value at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_round_trip() {
        let mut sample = GpuSample::empty(7, 123_456);
        sample.readings.energy_mj = Some(1 << 40);
        sample.readings.pcie_tx_bytes = Some(9);
        let bytes = minicbor::to_vec(&sample).unwrap();
        assert_eq!(minicbor::decode::<GpuSample>(&bytes).unwrap(), sample);
        let json = serde_json::to_string(&sample).unwrap();
        assert_eq!(serde_json::from_str::<GpuSample>(&json).unwrap(), sample);
    }

    #[test]
    fn an_empty_sample_is_told_from_a_lost_device() {
        let empty = GpuSample::empty(0, 1);
        assert!(empty.readings.is_empty());
        assert_ne!(empty, GpuSample::lost(0, 1));
    }
}
