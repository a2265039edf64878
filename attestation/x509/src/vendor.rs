//! What stands behind a TPM, by its vendor and by what software TPMs say of themselves.

use serde::Deserialize;

/// What stands behind a TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VendorClass {
    /// A chip of its own.
    Discrete,
    /// Firmware of the CPU.
    Firmware,
    /// Software: proves nothing about hardware.
    Virtual,
    /// Not in any table.
    #[serde(skip)]
    Unknown,
}

impl VendorClass {
    /// The word in files and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Firmware => "firmware",
            Self::Virtual => "virtual",
            Self::Unknown => "unknown",
        }
    }

    /// The class of this word in a file; `unknown` is none.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::Discrete, Self::Firmware, Self::Virtual].into_iter().find(|class| class.name() == name)
    }
}

/// A vendor of the TCG TPM Vendor ID Registry, or one that software TPMs invented.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vendor {
    /// tpmManufacturer, such as `id:49465800`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it makes.
    pub class: VendorClass,
}

/// Firmware that is known to be broken: versions of one major line below the first sound one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareFloor {
    /// tpmManufacturer.
    pub vendor: String,
    /// The line: the first 16 bits of `firmwareVersion`.
    pub major: u16,
    /// The first sound version of the line: the next 16 bits.
    pub minor: u16,
    /// What is wrong below it.
    pub reason: String,
}

impl FirmwareFloor {
    /// Whether this `firmwareVersion` of this vendor lies below the floor.
    ///
    /// `firmwareVersion` is TPM_PT_FIRMWARE_VERSION_1 and _2 (Part 2, 10.12.8); vendors put major
    /// and minor into the first.
    #[must_use]
    pub fn breaks(&self, vendor: &str, firmware_version: u64) -> bool {
        let major = firmware_version >> 48;
        let minor = firmware_version >> 32 & 0xffff;
        vendor.eq_ignore_ascii_case(&self.vendor) && major == self.major.into() && minor < self.minor.into()
    }
}
