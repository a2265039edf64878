//! The authorities that evidence must end at, byte for byte.

/// Where chains may end. Whoever verifies for real takes [`Roots::nvidia`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    device: Vec<u8>,
    rim: Vec<u8>,
}

impl Roots {
    /// These certificates, as DER: above devices, and above signers of reference values.
    #[must_use]
    pub const fn new(device: Vec<u8>, rim: Vec<u8>) -> Self {
        Self { device, rim }
    }

    /// NVIDIA Device Identity CA and NVIDIA CoRIM signing Root CA.
    #[must_use]
    pub fn nvidia() -> Self {
        Self::new(include_bytes!("roots/device.der").to_vec(), include_bytes!("roots/rim.der").to_vec())
    }

    /// DER of the certificate above devices.
    #[must_use]
    pub fn device(&self) -> &[u8] {
        &self.device
    }

    /// DER of the certificate above signers of reference values.
    #[must_use]
    pub fn rim(&self) -> &[u8] {
        &self.rim
    }
}
