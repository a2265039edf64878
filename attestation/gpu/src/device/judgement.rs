//! What a verification found, as values.

use serde::{Serialize, Serializer};

use super::architecture::{Architecture, Pdi};
use super::revocation::CertificateStatus;
use crate::rim::Comparison;

/// One check: yes, no, or nothing to compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `None` where there is nothing to compare.
    pub result: Option<bool>,
    /// Why, in a sentence.
    pub reason: String,
}

impl Check {
    /// It holds.
    pub fn yes(reason: impl Into<String>) -> Self {
        Self { result: Some(true), reason: reason.into() }
    }

    /// It does not hold.
    pub fn no(reason: impl ToString) -> Self {
        Self { result: Some(false), reason: reason.to_string() }
    }

    /// There is nothing to compare.
    pub fn none(reason: impl Into<String>) -> Self {
        Self { result: None, reason: reason.into() }
    }

    /// Whether it holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.result == Some(true)
    }

    /// Whether it was made and does not hold.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.result == Some(false)
    }
}

/// The checks of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checks {
    /// The report is signed by the leaf's key.
    pub signature: Check,
    /// The certificates lead to the pinned root, and are those of this device.
    pub chain: Check,
    /// The report's firmware is the certificate's.
    pub fwid: Check,
    /// The report is for the nonce that was asked for.
    pub nonce: Check,
    /// The measurements are the published ones.
    pub measurements: Check,
    /// No certificate is revoked.
    pub revocation: Check,
}

impl Checks {
    /// Each with its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, &Check); 6] {
        [
            ("signature", &self.signature),
            ("chain", &self.chain),
            ("fwid", &self.fwid),
            ("nonce", &self.nonce),
            ("measurements", &self.measurements),
            ("revocation", &self.revocation),
        ]
    }
}

/// What the evidence says of the device; worth what the checks are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceFacts {
    /// What the device is said to be.
    pub architecture: Architecture,
    /// Version of the VBIOS.
    pub vbios: Option<String>,
    /// Version of the driver.
    pub driver: Option<String>,
    /// Project of the board.
    pub project: Option<String>,
    /// SKU of the project.
    pub project_sku: Option<String>,
    /// SKU of the chip.
    pub chip_sku: Option<String>,
    /// Number of the chip.
    pub chip_id: Option<u16>,
    /// The device's name in its certificate.
    pub model: Option<String>,
    /// The device's serial in its certificate.
    pub device_serial: Option<String>,
    /// The device's identifier, of its certificate.
    pub pdi: Option<Pdi>,
    /// The switches that a GPU is linked to.
    pub switch_pdis: Vec<Pdi>,
    /// The GPUs that a switch is linked to.
    pub gpu_pdis: Vec<Pdi>,
    /// The nonce that the report is for.
    #[serde(serialize_with = "hex_text")]
    pub request_nonce: Option<[u8; 32]>,
    /// Whether PCIe is protected.
    pub protected_pcie: Option<bool>,
    /// 0 one GPU, 1 several, 2 several under protected PCIe.
    pub feature_flag: Option<u8>,
    /// The source said that it is a simulation.
    pub simulated: bool,
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn hex_text<S: Serializer>(bytes: &Option<[u8; 32]>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.map(hex::encode).serialize(serializer)
}

/// Something worth knowing that decides nothing by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// Bytes follow the signature.
    #[error("{count} bytes follow the signature, covered by nothing")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// An opaque field of a type that nobody here knows.
    #[error("opaque field {kind} is unknown")]
    UnknownOpaque {
        /// The type.
        kind: u16,
    },
    /// The report names no firmware.
    #[error("the report names no firmware, so it can't be compared with the certificate's")]
    FwidAbsent,
    /// An OCSP answer that can't be read, or in which a responder refuses.
    #[error("OCSP answer {place}: {detail}")]
    OcspUnread {
        /// Its place in the list, from 0.
        place: usize,
        /// Why.
        detail: String,
    },
    /// The source said that it is a simulation.
    #[error("the evidence is marked as simulated")]
    Simulated,
}

impl Note {
    /// Stable id.
    #[must_use]
    pub const fn id(&self) -> &'static str {
        match self {
            Self::TrailingBytes { .. } => "trailing-bytes",
            Self::UnknownOpaque { .. } => "unknown-opaque",
            Self::FwidAbsent => "fwid-absent",
            Self::OcspUnread { .. } => "ocsp-unread",
            Self::Simulated => "simulated",
        }
    }
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The checks.
    pub checks: Checks,
    /// What the evidence says.
    pub facts: DeviceFacts,
    /// Notes beside the checks.
    pub findings: Vec<Note>,
    /// What is known of each certificate below the root; empty when the chain does not hold.
    pub certificates: Vec<CertificateStatus>,
    /// The measurements against the reference values that the report asks for; absent where the report
    /// can't be read.
    pub comparison: Option<Comparison>,
}

impl Judgement {
    /// Whether signature and chain hold and no other check fails.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        let checks = &self.checks;
        checks.signature.holds()
            && checks.chain.holds()
            && checks.named().iter().all(|(_, check)| !check.fails())
    }
}
