//! The session's GPU table: which devices a session's beats speak of.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// One entry of a session's GPU table.
///
/// CDDL: `gpu-identity` in `gpu.cddl`. Beats name a GPU by [`GpuIdentity::index`] only.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct GpuIdentity {
    /// Position in the driver's enumeration when the session opened.
    #[n(0)]
    pub index: u8,
    /// The driver's identifier, `GPU-` and 36 characters.
    #[n(1)]
    pub uuid: String,
    /// Product name.
    #[n(2)]
    pub name: String,
    /// Memory in MiB, the part reserved by the driver included.
    #[n(3)]
    pub memory_mib: u32,
    /// PCI address as `domain:bus:device.function`, the domain with eight digits.
    #[n(4)]
    pub pci_bus_id: String,
    /// Version of the kernel driver.
    #[n(5)]
    pub driver: String,
    /// The library said that it is a simulation. A lying library says nothing, so only `true` has weight.
    #[n(6)]
    pub simulated: bool,
    /// Version of the video BIOS.
    #[n(7)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vbios: Option<String>,
    /// Serial number of the board.
    #[n(8)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Per-device identifier of the chip, which also stands in its certificate.
    #[n(9)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pdi: Option<u64>,
    /// Power limit that the driver enforces, in milliwatts.
    #[n(10)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_limit_mw: Option<u32>,
    /// Part number of the board.
    #[n(11)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub board_part_number: Option<String>,
    /// Version of the board's InfoROM image.
    #[n(12)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inforom: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare() -> GpuIdentity {
        GpuIdentity {
            index: 3,
            uuid: "GPU-01000100-0000-0000-0000-000000000003".into(),
            name: "NVIDIA H100 80GB HBM3".into(),
            memory_mib: 81_559,
            pci_bus_id: "00000000:4B:00.0".into(),
            driver: "550.163.01".into(),
            simulated: true,
            vbios: None,
            serial: None,
            pdi: None,
            power_limit_mw: None,
            board_part_number: None,
            inforom: None,
        }
    }

    #[test]
    fn round_trips_with_and_without_optional_fields() {
        let full = GpuIdentity {
            vbios: Some("96.00.74.00.09".into()),
            serial: Some("1562821083903".into()),
            pdi: Some(u64::MAX),
            power_limit_mw: Some(700_000),
            board_part_number: Some("699-21010-0200-000".into()),
            inforom: Some("1010.0200.00.02".into()),
            ..bare()
        };
        for identity in [bare(), full] {
            let bytes = minicbor::to_vec(&identity).unwrap();
            assert_eq!(minicbor::decode::<GpuIdentity>(&bytes).unwrap(), identity);
        }
    }

    #[test]
    fn absent_fields_leave_no_trace() {
        let bytes = minicbor::to_vec(bare()).unwrap();
        assert_eq!(bytes[0], 0xa7, "a map of the seven required fields");
        let json = serde_json::to_string(&bare()).unwrap();
        assert!(!json.contains("null"));
    }
}
