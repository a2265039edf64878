//! The three axes: how far a node's word goes.

use serde::{Serialize, Serializer};

/// Identity, platform and GPU (DESIGN: I0-I2, P0-P2, G0-G3). The default is the bottom of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Axes {
    /// I0 software, virtual or unknown TPM; I1 this EK pinned by hand; I2 vendor root.
    #[serde(serialize_with = "identity")]
    pub identity: u8,
    /// P0 any operating system; P1 boot log matches a known release; P2 and its root of measurement holds.
    #[serde(serialize_with = "platform")]
    pub platform: u8,
    /// G0 claimed; G1 claimed by a P2 platform; G2 proof of GPU; G3 signed report.
    #[serde(serialize_with = "gpu")]
    pub gpu: u8,
}

fn axis<S: Serializer>(letter: char, value: u8, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{letter}{value}"))
}

fn identity<S: Serializer>(value: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    axis('I', *value, serializer)
}

fn platform<S: Serializer>(value: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    axis('P', *value, serializer)
}

fn gpu<S: Serializer>(value: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    axis('G', *value, serializer)
}

impl std::fmt::Display for Axes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "I{} P{} G{}", self.identity, self.platform, self.gpu)
    }
}
