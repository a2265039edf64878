//! What kind of device it is, and which one.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize, Serializer};

/// A family of devices that sign reports of one form.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "UPPERCASE")]
pub enum Architecture {
    /// GH100 and its like.
    #[n(0)]
    Hopper,
    /// GB100 and its like.
    #[n(1)]
    Blackwell,
    /// The NVSwitch of Hopper machines.
    #[n(2)]
    Ls10,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hopper, Self::Blackwell, Self::Ls10];

    /// The word that NVIDIA's evidence files use.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hopper => "HOPPER",
            Self::Blackwell => "BLACKWELL",
            Self::Ls10 => "LS10",
        }
    }

    /// The inverse of [`Architecture::word`].
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.word() == word)
    }

    /// The family of a chip, by the name that stands in its certificate, such as `GH100 A01 GSP BROM`.
    #[must_use]
    pub fn of_model(model: &str) -> Option<Self> {
        let families = [("GH", Self::Hopper), ("GB", Self::Blackwell), ("LS", Self::Ls10)];
        families.into_iter().find(|(prefix, _)| model.starts_with(prefix)).map(|(_, family)| family)
    }

    /// Whether it is a switch and no GPU.
    #[must_use]
    pub const fn is_switch(self) -> bool {
        matches!(self, Self::Ls10)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Per-device identifier: 64 bits that a chip is given once, certified by its maker.
///
/// Shown as 16 hexadecimal digits, big-endian as in the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Pdi(#[n(0)] pub u64);

impl fmt::Display for Pdi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Pdi {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for architecture in Architecture::ALL {
            assert_eq!(Architecture::from_word(architecture.word()), Some(architecture));
            let json = format!("\"{architecture}\"");
            assert_eq!(serde_json::to_string(&architecture).unwrap(), json);
            assert_eq!(serde_json::from_str::<Architecture>(&json).unwrap(), architecture);
        }
        assert_eq!(Architecture::from_word("hopper"), None);
        assert_eq!(Architecture::ALL.map(Architecture::is_switch), [false, false, true]);
    }

    #[test]
    fn families_go_by_the_chip() {
        for (model, family) in [
            ("GH100 A01 GSP BROM", Some(Architecture::Hopper)),
            ("GB202 A01 GSP BROM", Some(Architecture::Blackwell)),
            ("LS_10 A01 FSP BROM", Some(Architecture::Ls10)),
            ("GA100 A01", None),
            ("", None),
        ] {
            assert_eq!(Architecture::of_model(model), family, "{model}");
        }
    }

    #[test]
    fn a_pdi_is_shown_in_sixteen_digits() {
        assert_eq!(Pdi(0x1a).to_string(), "000000000000001a");
        assert_eq!(serde_json::to_string(&Pdi(u64::MAX)).unwrap(), "\"ffffffffffffffff\"");
        assert_eq!(minicbor::to_vec(Pdi(7)).unwrap(), [7]);
    }
}
